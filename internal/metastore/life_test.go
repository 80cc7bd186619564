package metastore_test

import (
	"testing"
	"time"

	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// stray is a blob in a store, that is no content row.
var stray = fact.Receipt{Store: "files", Locator: "ab/cd/stray-1"}

// aged goes on from populated: every kind of event about life and death, and at
// least one row in every view of them.
func aged(t testing.TB, s *store) {
	t.Helper()
	signature, old := primary("signature"), primary("old")
	due := time.Now().Add(time.Hour).UnixMicro()
	s.update(t, facts(
		&fact.PoliciesSet{Source: fact.SourceAdmin, Document: []byte("{}")},
		&fact.DefaultApplied{Repository: "demo", Manifest: signature, Class: "transient", Expires: 1_900_000_000_000_000, Rule: "policy ci", Chosen: true},
		&fact.Extended{Repository: "demo", Manifest: signature, From: 1_900_000_000_000_000, To: 1_900_000_000_000_001},
		&fact.Expired{Repository: "demo", Manifest: signature, Why: "its time has come"},
		&fact.Renewed{Repository: "demo", Manifest: signature, Class: "transient", Expires: 1_900_000_000_000_002},
		&fact.ClassChanged{Repository: "demo", Manifest: signature, From: "transient", To: "raw-evidence", Expires: 1_900_000_000_000_003},
		&fact.ManifestPulled{Repository: "demo", Day: 1_700_006_400_000_000, Manifests: []identity.Digest{signature}},
		&fact.HoldPlaced{Name: "audit", Target: fact.Target{Repository: "demo", Manifest: signature}},
		&fact.HoldPlaced{Name: "audit", Target: fact.Target{Repository: "demo"}, Until: due},
		&fact.HoldPlaced{Name: "audit", Target: fact.Target{Repository: "demo", Tag: "latest"}},
		&fact.HoldReleased{Name: "audit", Target: fact.Target{Repository: "demo", Tag: "latest"}},
	))
	// A referrer that is deleted and restored, and one that is deleted for ever.
	s.update(t, image("demo", "old", "image", "application/x.signature", []string{"layer"}))
	s.update(t, facts(&fact.ManifestDeleted{Repository: "demo", Manifest: old}, &fact.ManifestRestored{Repository: "demo", Manifest: old}))
	s.update(t, image("demo", "gone", "image", "", []string{"layer"}))
	s.update(t, facts(&fact.ManifestDeleted{Repository: "demo", Manifest: primary("gone")},
		&fact.ManifestForgotten{Repository: "demo", Manifest: primary("gone"), Cause: fact.CauseDeleted}))
	s.update(t, image("demo", "buried", "", "", []string{"layer"}))
	s.update(t, facts(&fact.ManifestDeleted{Repository: "demo", Manifest: primary("buried")}))
	// A blob that is condemned, revived, condemned again and gone.
	s.update(t, facts(&fact.BlobStored{Digests: identity.Of([]byte("stray")), Size: 5, Receipt: stray},
		&fact.BlobLinked{Repository: "demo", Blob: primary("stray")},
		&fact.BlobCondemned{Repository: "demo", Blob: primary("stray"), Due: due},
		&fact.BlobRevived{Repository: "demo", Blob: primary("stray")},
		&fact.LocationVerified{Store: "files", Blobs: []identity.Digest{primary("stray")}},
		&fact.BlobCondemned{Repository: "demo", Blob: primary("stray"), Due: due},
		&fact.BlobReleased{Repository: "demo", Blob: primary("stray")},
		&fact.BlobCondemned{Blob: primary("stray"), Due: due},
		&fact.BlobForgotten{Blob: primary("stray"), Size: 5, Receipt: stray},
		&fact.LocationDamaged{Blob: primary("layer"), Receipt: fact.Receipt{Store: fact.Content}},
	))
	s.update(t, facts(&fact.RepositoryCreated{Repository: "late"}, &fact.RepositoryDeleted{Repository: "late", Name: "late#1"},
		&fact.RepositoryCreated{Repository: "late"}, &fact.RepositoryDeleted{Repository: "late", Name: "late#2"},
		&fact.RepositoryRestored{Repository: "late", Name: "late#1"}, &fact.RepositoryForgotten{Name: "late#2"},
		&fact.ClockJumped{From: 1, To: 2}, &fact.ClockConfirmed{At: 3}, &fact.ClockJumped{From: 4, To: 5}, &fact.ClockJumped{From: 6, To: 7}))
}

func TestLifeOfThings(t *testing.T) {
	s := checked(t)
	populated(t, s)
	aged(t, s)
	s.read(t, func(v registry.View) error {
		m, _, err := v.Manifest("demo", primary("signature"))
		must(t, err)
		if m.Class != "raw-evidence" || m.Expires.UnixMicro() != 1_900_000_000_000_003 || m.Rule != "operator" || !m.Chosen || m.Extended ||
			!m.Marked.IsZero() || m.Pulled.UnixMicro() != 1_700_006_400_000_000 {
			t.Errorf("the manifest is %+v", m)
		}
		if m, _, _ := v.Manifest("demo", primary("old")); m == nil || m.Subject.IsZero() {
			t.Errorf("the restored manifest is %+v", m)
		}
		page, err := v.ReferrerPage("demo", identity.Of([]byte("image")), "", 0, 10, 1<<20)
		if len(page) != 2 || err != nil {
			t.Errorf("%d referrers, %v, want signature and old", len(page), err)
		}
		g, err := v.Grave("demo", primary("buried"))
		if g == nil || err != nil || g.By == 0 || g.Deleted.IsZero() {
			t.Errorf("the deleted manifest is %+v, %v", g, err)
		}
		if g, _ := v.Grave("demo", primary("gone")); g != nil {
			t.Errorf("the forgotten manifest is %+v", g)
		}
		state, err := v.RepositoryState("demo")
		must(t, err)
		if state.Holds != 2 || state.Lost != 1 {
			t.Errorf("the repository is %+v", state)
		}
		if b, err := v.Blob(primary("stray")); b != nil || err != nil {
			t.Errorf("the forgotten blob is %+v, %v", b, err)
		}
		if b, err := v.Blob(primary("layer")); b == nil || !b.Damaged || err != nil {
			t.Errorf("the damaged blob is %+v, %v", b, err)
		}
		due, err := v.Erasures(registry.ErasurePlace{}, time.Now().Add(time.Hour), 10)
		if len(due) != 1 || due[0].Receipt != stray || due[0].Size != 5 || err != nil {
			t.Errorf("objects to be deleted: %+v, %v", due, err)
		}
		names, err := v.RepositoryPage("", 10)
		if len(names) != 2 || names[1] != "late" || err != nil {
			t.Errorf("repositories %v, %v", names, err)
		}
		jump, err := v.ClockJump()
		if jump == nil || jump.Since.UnixMicro() != 4 || jump.Until.UnixMicro() != 7 || err != nil {
			t.Errorf("the clock: %+v, %v", jump, err)
		}
		return nil
	})
	s.update(t, facts(&fact.BlobErased{Blob: primary("stray"), Receipt: stray, By: erasing(t, s)}))
	s.check(t)
}

// erasing is the event that gave up the one object that is to be deleted.
func erasing(t testing.TB, s *store) (by uint64) {
	s.read(t, func(v registry.View) error {
		due, err := v.Erasures(registry.ErasurePlace{}, time.Now().Add(time.Hour), 10)
		if len(due) == 1 {
			by = uint64(due[0].By)
		}
		return err
	})
	return by
}

// TestContentOfWhatIsForgottenGoes with the events that forget it.
func TestContentOfWhatIsForgottenGoes(t *testing.T) {
	s := create(t, metastore.Options{})
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, layer("demo", "layer"))
	var blob *registry.Blob
	s.read(t, func(v registry.View) (err error) { blob, err = v.Blob(primary("layer")); return err })
	before := s.count(t, "SELECT count(*) FROM objects")
	c := facts(&fact.BlobReleased{Repository: "demo", Blob: primary("layer")}, &fact.BlobForgotten{Blob: primary("layer"), Size: 5, Receipt: blob.Receipt})
	c.Forget = append(c.Forget, blob.Content)
	s.update(t, c)
	if after := s.count(t, "SELECT count(*) FROM objects"); after != before-1 {
		t.Errorf("%d content rows, %d before", after, before)
	}
	s.check(t)
}
