package metastore_test

import (
	"testing"

	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestNamesChangeHandsInOneChange: what is written together is written in an order
// in which no two repositories have one name at any time.
func TestNamesChangeHandsInOneChange(t *testing.T) {
	s := checked(t)
	states := func(want map[string]int64) {
		t.Helper()
		s.read(t, func(v registry.View) error {
			for name, id := range want {
				state, err := v.RepositoryState(name)
				must(t, err)
				if id == 0 && state != nil || id != 0 && (state == nil || state.ID != id) {
					t.Errorf("%s is %+v, want that of event %d", name, state, id)
				}
			}
			return nil
		})
	}
	for range 8 { // the order would be random
		s := s
		s.update(t, facts(&fact.RepositoryCreated{Repository: "a"}))
		head, err := s.Events().Head(t.Context())
		must(t, err)
		first := int64(head.Sequence)
		deleted := func(n string) *fact.RepositoryDeleted {
			return &fact.RepositoryDeleted{Repository: "a", Name: "a#" + n}
		}
		s.update(t, facts(deleted("1"), &fact.RepositoryCreated{Repository: "a"}))
		states(map[string]int64{"a": first + 2, "a#1": first})
		s.update(t, facts(deleted("2"), &fact.RepositoryRestored{Repository: "a", Name: "a#1"}))
		states(map[string]int64{"a": first, "a#1": 0, "a#2": first + 2})
		s.update(t, facts(deleted("3"), &fact.RepositoryForgotten{Name: "a#2"}, &fact.RepositoryCreated{Repository: "a"}))
		states(map[string]int64{"a": first + 7, "a#2": 0, "a#3": first})
		s.update(t, facts(deleted("4"), &fact.RepositoryForgotten{Name: "a#3"}, &fact.RepositoryForgotten{Name: "a#4"}))
	}
}

// TestWhatIsDeletedIsNotListed: and is shown as deleted where operators ask.
func TestWhatIsDeletedIsNotListed(t *testing.T) {
	s := checked(t)
	populated(t, s)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "other"}, &fact.BlobLinked{Repository: "other", Blob: primary("layer")}))
	s.update(t, facts(&fact.RepositoryDeleted{Repository: "demo", Name: "demo#9"}))
	s.read(t, func(v registry.View) error {
		totals, err := v.Totals()
		must(t, err)
		if totals.Repositories != 1 || totals.Deleted != 1 || totals.Manifests != 0 || totals.Tags != 0 || totals.Stores[0].Blobs == 0 {
			t.Errorf("totals: %+v", totals)
		}
		infos, err := v.RepositoryInfos("", 10)
		must(t, err)
		names, err := v.RepositoryPage("", 10)
		must(t, err)
		if len(infos) != 1 || len(names) != 1 || names[0] != "other" {
			t.Errorf("listed: %v, %q", infos, names)
		}
		if holder, err := v.BlobHolder(primary("layer")); holder != "other" {
			t.Errorf("mounted from %q, %v", holder, err)
		}
		holders, err := v.Holders(primary("layer"), 0, 10)
		must(t, err)
		if len(holders) != 2 || !holders[0].Deleted || holders[0].Repository != "demo#9" || holders[1].Deleted {
			t.Errorf("holders: %+v", holders)
		}
		users, err := v.Users(digests("layer"), registry.UserPlace{}, 10)
		must(t, err)
		natives, err := v.NativeOf(primary("native of image"), 10)
		must(t, err)
		if len(users) != 2 || !users[0].Deleted || len(natives) != 1 || !natives[0].Deleted {
			t.Errorf("users: %+v, %+v", users, natives)
		}
		return nil
	})
	s.update(t, facts(&fact.HoldPlaced{Name: "h", Target: fact.Target{Repository: "demo#9"}}))
	s.update(t, facts(&fact.RepositoryRestored{Repository: "demo", Name: "demo#9"}))
	s.read(t, func(v registry.View) error {
		totals, err := v.Totals()
		if totals.Repositories != 2 || totals.Deleted != 0 || totals.Manifests != 2 || totals.Tags != 1 {
			t.Errorf("totals: %+v", totals)
		}
		must(t, err)
		if holds, err := v.HoldsIn("demo"); len(holds) != 1 {
			t.Errorf("holds: %+v, %v", holds, err)
		}
		return err
	})
	s.update(t, facts(&fact.RepositoryCreated{Repository: "e"}, &fact.HoldPlaced{Name: "h", Target: fact.Target{Repository: "e"}},
		&fact.HoldPlaced{Name: "h", Target: fact.Target{Repository: "e", Tag: "t"}}, &fact.RepositoryDeleted{Repository: "e", Name: "e#1"}))
	s.update(t, facts(&fact.RepositoryForgotten{Name: "e#1"}))
	if n := s.count(t, "SELECT count(*) FROM holds"); n != 1 {
		t.Errorf("%d holds, want 1", n)
	}
}
