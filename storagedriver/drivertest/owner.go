package drivertest

import (
	"strings"
	"sync"

	"artifactstore/storagedriver"
)

// ownerCases are for drivers of places that say whose they are; others pass them.
func ownerCases() []testCase {
	cases := []ownerCase{
		{"a new store is nobody's", func(t *trial, o storagedriver.Owned) {
			t.owner(o, "")
			t.put("a", []byte("abc"))
			t.owner(o, "")
		}},
		{"the first one owns the store, and goes on owning it", func(t *trial, o storagedriver.Owned) {
			for _, id := range []string{"one", "two", "one"} {
				owner, err := o.Own(t.Context(), id, "")
				if t.must(err); owner != "one" {
					t.Errorf("%s comes, and %q owns the store", id, owner)
				}
			}
			t.reopen()
			o, _ = storagedriver.Find[storagedriver.Owned](t.d)
			t.owner(o, "one")
			owner, err := o.Own(t.Context(), "two", "")
			if t.must(err); owner != "one" {
				t.Errorf("after a crash %q owns the store", owner)
			}
		}},
		{"a store is taken over from the one that is named", func(t *trial, o storagedriver.Owned) {
			for _, c := range []struct{ id, instead, want string }{
				{"one", "none", "one"}, {"two", "none", "one"}, {"two", "one", "two"}, {"one", "one", "two"}, {"two", "two", "two"},
			} {
				owner, err := o.Own(t.Context(), c.id, c.instead)
				if t.must(err); owner != c.want {
					t.Errorf("%s comes instead of %s, and %s owns the store", c.id, c.instead, owner)
				}
				t.owner(o, c.want)
			}
		}},
		{"of many who come at once one owns the store", func(t *trial, o storagedriver.Owned) {
			if _, nodes := storagedriver.Find[storagedriver.Persistent](t.d); !nodes {
				return // only one process comes
			}
			owners := make([]string, 8)
			var coming sync.WaitGroup
			for i := range owners {
				coming.Go(func() {
					owner, err := o.Own(t.Context(), "id"+string(rune('a'+i)), "")
					if owners[i] = owner; err != nil {
						t.Error(err)
					}
				})
			}
			coming.Wait()
			for _, owner := range owners {
				t.owner(o, owner)
			}
		}},
		{"an owner is no object, and nothing staged", func(t *trial, o storagedriver.Owned) {
			_, err := o.Own(t.Context(), "one", "")
			t.must(err)
			t.staged()
			if w, ok := storagedriver.Find[storagedriver.Walker](t.d); ok {
				t.found(t.page(w, "", 10))
			}
			t.lacks("owner")
			t.must(t.d.Delete(t.Context(), "owner"))
			t.must(t.d.Discard(t.Context(), "owner", nil))
			t.owner(o, "one")
		}},
		{"who has no id owns nothing", func(t *trial, o storagedriver.Owned) {
			for _, id := range []string{"", "A", "a b", "a\n", "../a", strings.Repeat("a", 65)} {
				_, err := o.Own(t.Context(), id, "")
				t.wants(err, storagedriver.ErrInvalid)
			}
			t.owner(o, "")
		}},
		{"owning heeds its context", func(t *trial, o storagedriver.Owned) {
			_, err := o.Own(t.cancelled(), "one", "")
			t.wants(err, t.cancelled().Err())
			_, err = o.Owner(t.cancelled())
			t.wants(err, t.cancelled().Err())
			t.owner(o, "")
		}},
	}
	all := make([]testCase, len(cases))
	for i, c := range cases {
		all[i] = testCase{c.name, func(t *trial) {
			if o, ok := storagedriver.Find[storagedriver.Owned](t.d); ok {
				c.run(t, o)
			}
		}}
	}
	return all
}

// ownerCase is a testCase for a driver that is Owned.
type ownerCase struct {
	name string
	run  func(t *trial, o storagedriver.Owned)
}

// owner expects whose the store is.
func (t *trial) owner(o storagedriver.Owned, want string) {
	t.Helper()
	owner, err := o.Owner(t.Context())
	if t.must(err); owner != want {
		t.Errorf("the owner is %q, want %q", owner, want)
	}
}
