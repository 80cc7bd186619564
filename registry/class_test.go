package registry_test

import (
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// pushed pushes an image with some tags, and returns its bytes.
func pushed(t *testing.T, r *registry.Repository, padding int, subject string, tags ...string) string {
	t.Helper()
	push(t, r, small)
	m := body(small, padding, subject)
	p := image(registry.Reference{Digest: digest(m)}, m)
	p.Tags = tags
	_, err := r.PutManifest(t.Context(), p)
	must(t, err)
	return m
}

// info is what is known of a manifest; nil if it is gone.
func (w *world) info(t *testing.T, repository, m string) (found *registry.Manifest) {
	t.Helper()
	must(t, w.ledger.Read(t.Context(), func(v registry.View) (err error) {
		found, _, err = v.Manifest(repository, digest(m))
		return err
	}))
	return found
}

func TestAnEndIsPutOffOnlyForLater(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	m := pushed(t, r, 0, "", "v1")
	end := w.info(t, "ci/a", m).Expires
	if end.IsZero() {
		t.Fatal("the manifest never ends")
	}
	for _, until := range []time.Time{{}, end, end.Add(-time.Second)} {
		_, err := r.Extend(t.Context(), tagged("v1"), until, "a reason")
		refused(t, err, registry.RetentionInvalid)
	}
	_, err := r.Extend(t.Context(), tagged("v1"), end.Add(day), " ")
	refused(t, err, registry.ReasonInvalid)
	_, err = r.Extend(t.Context(), tagged("v2"), end.Add(day), "a reason")
	refused(t, err, registry.ManifestUnknown)
	_, err = w.repo(t, "b").Extend(t.Context(), tagged("v2"), end.Add(day), "a reason")
	refused(t, err, registry.NameUnknown)
	got, err := r.Extend(t.Context(), tagged("v1"), end.Add(day+time.Nanosecond), "a reason")
	must(t, err)
	if want := end.Add(day + time.Microsecond); !got.Equal(want) || !w.info(t, "ci/a", m).Expires.Equal(want) {
		t.Errorf("ends at %s, want %s", got, want)
	}
	// What lies in the past is later than the present end, and no use.
	w.pass(t, 20*day)
	_, err = r.Extend(t.Context(), tagged("v1"), end.Add(2*day), "a reason")
	refused(t, err, registry.RetentionInvalid)
	forever := pushed(t, w.repo(t, "b"), 0, "", "v1")
	_, err = w.repo(t, "b").Extend(t.Context(), registry.Reference{Digest: digest(forever)}, end.Add(100*day), "a reason")
	refused(t, err, registry.RetentionInvalid)
}

func TestAClassIsChangedUnlessItIsAPermanentRecord(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := pushed(t, r, 0, "", "v1")
	given, err := r.ChangeClass(t.Context(), tagged("v1"), "raw-evidence", "a reason")
	must(t, err)
	now := w.info(t, "a", m)
	if given.Class != retention.RawEvidence || now.Class != "raw-evidence" || !now.Chosen || !now.Expires.Equal(given.Expires) || given.Expires.IsZero() {
		t.Errorf("got %+v, the manifest is %+v", given, now)
	}
	for _, class := range []string{"raw-evidence", "", "no-such-class"} {
		_, err = r.ChangeClass(t.Context(), tagged("v1"), class, "a reason")
		refused(t, err, registry.RetentionInvalid)
	}
	_, err = r.ChangeClass(t.Context(), tagged("v1"), "transient", "")
	refused(t, err, registry.ReasonInvalid)
	_, err = r.ChangeClass(t.Context(), tagged("v1"), "permanent-record", "a reason")
	must(t, err)
	_, err = r.ChangeClass(t.Context(), tagged("v1"), "transient", "a reason")
	refused(t, err, registry.Denied)
	refused(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(m)}), registry.Denied)
}

func TestErasingIsForLegalCausesAlone(t *testing.T) {
	w := open(t, registry.Options{})
	m := pushed(t, w.repo(t, "a"), 0, "", "v1")
	refused(t, w.repo(t, "a").EraseManifest(t.Context(), digest(m), "a reason"), registry.Unsupported)

	w = open(t, registry.Options{AllowErase: true})
	w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"keep","repositories":["*"],"class":"permanent-record","write_once":true}]}`)
	r := w.repo(t, "a")
	m = pushed(t, r, 0, "", "v1", "v2")
	d := digest(m)
	refused(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: d}), registry.Denied)
	refused(t, r.EraseManifest(t.Context(), d, ""), registry.ReasonInvalid)
	refused(t, r.EraseManifest(t.Context(), digest("other"), "a reason"), registry.ManifestUnknown)
	hold := fact.Target{Repository: "a", Tag: "v2"}
	w.events(t, &fact.HoldPlaced{Name: "court", Target: hold})
	if e := refused(t, r.EraseManifest(t.Context(), d, "a reason"), registry.Denied); w.info(t, "a", m) == nil {
		t.Fatalf("erased under a hold: %v", e)
	}
	w.events(t, &fact.HoldReleased{Name: "court", Target: hold})
	must(t, r.EraseManifest(t.Context(), d, "court order 17"))
	if w.info(t, "a", m) != nil {
		t.Fatal("the manifest is there")
	}
	if page, err := r.Tags(t.Context(), "", 10); err != nil || len(page.Names) != 0 {
		t.Errorf("tags %v, %v", page, err)
	}
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		if b, err := v.Blob(d); b != nil || err != nil {
			t.Errorf("its bytes are there: %v, %v", b, err)
		}
		// Its past stays as it was, although nothing has its SHA-256 any more.
		moves, err := v.TagMoves("a", "v1", 0, 10)
		must(t, err)
		if primary := identity.FromBytes(identity.BLAKE3, []byte(m)); len(moves) != 2 || moves[1].To != primary || moves[0].From != primary || !moves[0].To.IsZero() {
			t.Errorf("the history of its tag is %+v", moves)
		}
		head, err := v.Head()
		must(t, err)
		found := false
		for s := head; s > head-6; s-- {
			e, err := v.Event(s)
			must(t, err)
			if e.Reason() != "court order 17" && !found {
				t.Errorf("event %d (%s) has the reason %q", s, e.Kind, e.Reason())
			}
			found = found || e.Kind == fact.KindTagDeleted
		}
		return nil
	}))
}

func TestADeletedManifestCanBeErased(t *testing.T) {
	w := open(t, registry.Options{AllowErase: true})
	r := w.repo(t, "a")
	subject := pushed(t, r, 0, "")
	m := pushed(t, r, 1, subject)
	must(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(m)}))
	must(t, r.EraseManifest(t.Context(), identity.FromBytes(identity.BLAKE3, []byte(m)), "a reason"))
	refused(t, r.EraseManifest(t.Context(), digest(m), "a reason"), registry.ManifestUnknown)
}

// TestChildrenOfWhatHasToStayAreNotDeleted: they have a class of their own, by which
// they could go.
func TestChildrenOfWhatHasToStayAreNotDeleted(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"p","repositories":["**"],"class":"transient","immutable_tags":[{"tags":["v*"]}]}]}`)
	r := w.repo(t, "a")
	child := put(t, r, "", "child", "")
	inner := index(t, r, "", child)
	of := func(m string) registry.Reference { return registry.Reference{Digest: digest(m)} }

	outer := index(t, r, "", inner)
	_, err := r.ChangeClass(t.Context(), of(outer), "permanent-record", "a record")
	must(t, err)
	for _, m := range []string{child, inner, outer} {
		refused(t, r.DeleteManifest(t.Context(), of(m)), registry.Denied)
	}

	other := w.repo(t, "b")
	child = put(t, other, "", "child", "")
	inner = index(t, other, "v1", child)
	for _, m := range []string{child, inner} {
		refused(t, other.DeleteManifest(t.Context(), of(m)), registry.Denied)
	}
	free := put(t, other, "", "free", "")
	remove(t, other, index(t, other, "", free))
	remove(t, other, free)
}
