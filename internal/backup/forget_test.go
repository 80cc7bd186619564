package backup_test

import (
	"context"
	"errors"
	"os"
	"testing"

	"artifactstore/internal/backup"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// forget takes what was stored away, as a sweep does.
func (w *world) forget(t testing.TB, content string) {
	t.Helper()
	must(t, w.ledger.Update(context.Background(), registry.System, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
		b, err := v.Blob(primary(content))
		if err != nil || b == nil {
			return nil, errors.Join(err, errors.New("there is no such blob"))
		}
		c := &registry.Change{}
		c.Add(&fact.BlobForgotten{Blob: primary(content), Size: b.Size, Receipt: b.Receipt})
		if b.Receipt.Store == fact.Content {
			c.Forget = append(c.Forget, b.Content)
		}
		return c, nil
	}))
}

// erase deletes an object, as a sweep does.
func (w *world) erase(t testing.TB, content string, r fact.Receipt) {
	t.Helper()
	must(t, os.Remove(w.path(r)))
	by := w.head(t).Sequence
	w.commit(t, registry.Entry{Fact: &fact.BlobErased{Blob: primary(content), Receipt: r, By: uint64(by)}})
}

// referrer pushes a manifest with a subject.
func (w *world) referrer(t testing.TB, content string) {
	t.Helper()
	w.small(t, content)
	w.small(t, "native of "+content)
	w.commit(t, registry.Entry{Content: []byte("descriptor of " + content), Fact: &fact.ManifestPut{Repository: "demo",
		Manifest: primary(content), Native: primary("native of " + content), Digest: identity.FromBytes(identity.SHA256, []byte(content)),
		Size: int64(len(content)), SubjectDigest: identity.FromBytes(identity.SHA256, []byte("subject"))}})
}

// forgetReferrer takes it away, but for its bytes.
func (w *world) forgetReferrer(t testing.TB, content string) {
	t.Helper()
	must(t, w.ledger.Update(context.Background(), registry.System, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
		m, _, err := v.Manifest("demo", primary(content))
		if err != nil || m == nil {
			return nil, errors.Join(err, errors.New("there is no such manifest"))
		}
		c := &registry.Change{Forget: nil}
		c.Add(&fact.ManifestForgotten{Repository: "demo", Manifest: primary(content), Cause: fact.CauseDeleted})
		c.Forget = append(c.Forget, m.Sequence)
		return c, nil
	}))
}

func withContent(all []metastore.Recorded) (n int) {
	for _, r := range all {
		if r.Content != nil {
			n++
		}
	}
	return n
}

// TestWhatTheSourceForgotIsInNoCopy brings a copy up to date after its source lost
// contents and objects.
func TestWhatTheSourceForgotIsInNoCopy(t *testing.T) {
	source, early, late := newWorld(t), newWorld(t), newWorld(t)
	source.repository(t, "demo")
	source.small(t, "small")
	source.small(t, "small that stays")
	gone, moved := source.large(t, "large"), source.large(t, "moved")
	source.referrer(t, "referrer")
	source.copyTo(t, early)

	source.forget(t, "small")
	source.forgetReferrer(t, "referrer")
	source.forget(t, "large")
	source.erase(t, "large", gone)
	source.moved(t, "moved", moved)
	source.erase(t, "moved", moved)
	for name, to := range map[string]*world{"an earlier copy": early, "a new copy": late} {
		if result := source.copyTo(t, to); result.Damaged != 0 {
			t.Errorf("%s: %+v", name, result)
		}
		to.whole(t, source)
		if n := withContent(to.log(t)); n != 3 {
			t.Errorf("%s has %d content rows, want 3", name, n)
		}
		for _, r := range []fact.Receipt{gone, moved} {
			if _, err := os.Stat(to.path(r)); !os.IsNotExist(err) {
				t.Errorf("%s has object %s: %v", name, r.Locator, err)
			}
		}
	}
}

// TestARunThatWasKilledBeforeItErasedIsMadeUpFor has the event without what it says.
func TestARunThatWasKilledBeforeItErasedIsMadeUpFor(t *testing.T) {
	source, to := newWorld(t), newWorld(t)
	gone := source.large(t, "large")
	source.copyTo(t, to)
	data, err := os.ReadFile(to.path(gone))
	must(t, err)
	source.forget(t, "large")
	source.erase(t, "large", gone)
	source.copyTo(t, to)
	must(t, os.WriteFile(to.path(gone), data, 0o600))
	source.copyTo(t, to)
	if _, err := os.Stat(to.path(gone)); !os.IsNotExist(err) {
		t.Errorf("the copy has the object: %v", err)
	}
}

// TestADescriptorThatGoesMeanwhileIsNoDamage forgets a referrer between the moment at
// which the head of the source was read and the copying of its event.
func TestADescriptorThatGoesMeanwhileIsNoDamage(t *testing.T) {
	source, to := newWorld(t), newWorld(t)
	source.repository(t, "demo")
	source.referrer(t, "referrer")
	begun := false
	result, err := backup.Run(t.Context(), source.source(), to.target(), func(backup.Progress) {
		if !begun {
			begun = true
			source.forgetReferrer(t, "referrer")
		}
	})
	must(t, err)
	if result.Damaged != 0 || result.Head != source.head(t) {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}
