package metastore_test

import (
	"fmt"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

func TestPullsOfManyManifestsAreLookedUpAtOnce(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}, &fact.RepositoryCreated{Repository: "other"}))
	var all []identity.Digest
	for i := range 40 {
		text := fmt.Sprint("image ", i)
		s.update(t, image("demo", text, "", "", nil))
		all = append(all, primary(text))
	}
	day := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	s.update(t, facts(&fact.ManifestPulled{Repository: "demo", Day: day.UnixMicro(), Manifests: all[3:35]}))
	s.update(t, facts(&fact.ManifestPulled{Repository: "demo", Day: day.Add(-48 * time.Hour).UnixMicro(), Manifests: all[:10]}))
	s.read(t, func(v registry.View) error {
		pulled, err := v.Pulled("demo", append(all, primary("absent")))
		must(t, err)
		if len(pulled) != 40 {
			t.Errorf("%d manifests", len(pulled))
		}
		for i, d := range all {
			want := day
			switch {
			case i < 3:
				want = day.Add(-48 * time.Hour)
			case i >= 35:
				want = time.Time{}
			}
			if got, there := pulled[d]; !there || !got.Equal(want) {
				t.Errorf("manifest %d was pulled %v, want %v", i, got, want)
			}
		}
		for _, name := range []string{"other", "absent"} {
			if pulled, err := v.Pulled(name, all); err != nil || len(pulled) != 0 {
				t.Errorf("%s: %v, %v", name, pulled, err)
			}
		}
		none, err := v.Pulled("demo", nil)
		if len(none) != 0 {
			t.Errorf("of none: %v", none)
		}
		return err
	})
}

func TestOnePermanentRecordIsFound(t *testing.T) {
	s := checked(t)
	populated(t, s)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "other"}))
	finds := func(repository string, want identity.Digest) {
		t.Helper()
		s.read(t, func(v registry.View) error {
			got, err := v.PermanentManifest(repository)
			if got != want {
				t.Errorf("found %s in %s, want %s", got, repository, want)
			}
			return err
		})
	}
	class := func(content, class, rule string) *fact.DefaultApplied {
		return &fact.DefaultApplied{Repository: "demo", Manifest: primary(content), Class: class, Rule: rule}
	}
	finds("demo", identity.Digest{})
	s.update(t, facts(class("image", "permanent-record", ""), class("signature", "raw-evidence", "policy p")))
	finds("demo", identity.Digest{}) // nobody made it one
	s.update(t, facts(class("signature", "permanent-record", "policy p")))
	finds("demo", digest(identity.SHA256, "signature"))
	finds("other", identity.Digest{})
	s.update(t, facts(&fact.ClassChanged{Repository: "demo", Manifest: primary("image"), From: "transient", To: "permanent-record"}))
	finds("demo", digest(identity.SHA256, "image"))
}

func TestReasonsAreLookedUpAtOnce(t *testing.T) {
	s := checked(t)
	var of []eventlog.Sequence
	for i := range 40 {
		entry := registry.Entry{Fact: &fact.RepositoryCreated{Repository: fmt.Sprint("r", i)}}
		if i%2 == 0 {
			entry.Reason = fmt.Sprint("reason ", i+1)
		}
		s.update(t, &registry.Change{Entries: []registry.Entry{entry}})
		of = append(of, eventlog.Sequence(i+1))
	}
	s.read(t, func(v registry.View) error {
		reasons, err := v.Reasons(append(of, 1_000))
		if len(reasons) != 20 {
			t.Errorf("%d reasons", len(reasons))
		}
		for at, reason := range reasons {
			if reason != fmt.Sprint("reason ", at) {
				t.Errorf("event %d has the reason %q", at, reason)
			}
		}
		return err
	})
}
