package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// last is the newest event of a kind.
func (w *world) last(t *testing.T, kind string) eventlog.Sequence {
	t.Helper()
	var found eventlog.Sequence
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		events, err := v.EventsAfter(0, 100_000)
		for _, e := range events {
			if string(e.Kind) == kind {
				found = e.Sequence
			}
		}
		return err
	}))
	if found == 0 {
		t.Fatalf("there is no event %s", kind)
	}
	return found
}

// undo undoes the newest event of a kind.
func (w *world) undo(t *testing.T, kind string) registry.UndoResult {
	t.Helper()
	result, err := w.Undo(t.Context(), operator, w.last(t, kind), "by mistake")
	must(t, err)
	return result
}

// conflicts expects that an event is not undone, and why.
func (w *world) conflicts(t *testing.T, s eventlog.Sequence, why ...string) {
	t.Helper()
	before := head(t, w)
	_, err := w.Undo(t.Context(), operator, s, "by mistake")
	e := refused(t, err, registry.Conflict)
	for _, part := range why {
		if !strings.Contains(e.Message, part) {
			t.Errorf("%q does not say %q", e.Message, part)
		}
	}
	if head(t, w) != before {
		t.Error("events were added")
	}
}

// index pushes an index of manifests.
func index(t *testing.T, r *registry.Repository, tag string, manifests ...string) string {
	t.Helper()
	all := []any{}
	for _, m := range manifests {
		mediaType := "application/vnd.oci.image.manifest.v1+json"
		if strings.Contains(m, "image.index") {
			mediaType = "application/vnd.oci.image.index.v1+json"
		}
		all = append(all, descriptor(mediaType, m))
	}
	data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": all})
	must(t, err)
	ref := registry.Reference{Digest: digest(string(data))}
	if tag != "" {
		ref = tagged(tag)
	}
	_, err = r.PutManifest(t.Context(), registry.ManifestPush{Reference: ref, MediaType: "application/vnd.oci.image.index.v1+json",
		Length: int64(len(data)), Body: strings.NewReader(string(data))})
	must(t, err)
	return string(data)
}

// names expects what tags name; "" is nothing.
func names(t *testing.T, r *registry.Repository, want map[string]string) {
	t.Helper()
	for tag, manifest := range want {
		info, err := r.TagInfo(t.Context(), tag)
		if manifest == "" {
			refused(t, err, registry.ManifestUnknown)
			continue
		}
		must(t, err)
		if info.Digest != digest(manifest) {
			t.Errorf("tag %s names %s, want %s", tag, info.Digest, digest(manifest))
		}
	}
}

// served expects that manifests are there, absent that they are not.
func served(t *testing.T, r *registry.Repository, manifests ...string) {
	t.Helper()
	for _, m := range manifests {
		if _, err := r.Manifest(t.Context(), registry.Reference{Digest: digest(m)}); err != nil {
			t.Errorf("manifest %s: %v", digest(m), err)
		}
	}
}

func absent(t *testing.T, r *registry.Repository, manifests ...string) {
	t.Helper()
	for _, m := range manifests {
		_, err := r.Manifest(t.Context(), registry.Reference{Digest: digest(m)})
		refused(t, err, registry.ManifestUnknown)
	}
}

func TestUndoingATag(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	first := put(t, r, "v1", "first", "")
	second := put(t, r, "v1", "second", "")

	result := w.undo(t, fact.KindTagMoved)
	if !slices.Equal(result.Moved, []string{"v1"}) || result.Repository != "a" || len(result.Restored) != 0 {
		t.Errorf("moved back: %+v", result)
	}
	names(t, r, map[string]string{"v1": first})
	w.undo(t, fact.KindTagMoved) // of the undo
	names(t, r, map[string]string{"v1": second})

	must(t, r.DeleteManifest(ctx, tagged("v1")))
	deleted := w.last(t, fact.KindTagDeleted)
	if result := w.undo(t, fact.KindTagDeleted); !slices.Equal(result.Moved, []string{"v1"}) {
		t.Errorf("put back: %+v", result)
	}
	names(t, r, map[string]string{"v1": second})
	for manifest, untagged := range map[string]bool{first: true, second: false} {
		info, err := r.Retention(ctx, registry.Reference{Digest: digest(manifest)})
		must(t, err)
		if info.Untagged.IsZero() == untagged {
			t.Errorf("%s: untagged since %v, want a time: %t", digest(manifest), info.Untagged, untagged)
		}
	}
	w.conflicts(t, deleted, fmt.Sprintf("event %d has moved tag v1 since", deleted+1))
	// What has made the tag is undone by deleting it.
	if result := w.undo(t, fact.KindTagMoved); !slices.Equal(result.Removed, []string{"v1"}) {
		t.Errorf("removed: %+v", result)
	}
	names(t, r, map[string]string{"v1": ""})
	w.undo(t, fact.KindTagDeleted)
	names(t, r, map[string]string{"v1": second})
}

// TestATagAnswersAsItDidBefore: with the digest by which it was pushed.
func TestATagAnswersAsItDidBefore(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, "config")
	m := body("config", 0, "")
	long := identity.FromBytes(identity.SHA512, []byte(m))
	p := image(registry.Reference{Digest: long}, m)
	p.Tags = []string{"v1"}
	_, err := r.PutManifest(t.Context(), p)
	must(t, err)
	put(t, r, "v1", "other", "")
	answers := func() {
		t.Helper()
		if info, err := r.TagInfo(t.Context(), "v1"); err != nil || info.Digest != long {
			t.Errorf("the tag answers with %+v, %v", info, err)
		}
	}
	w.undo(t, fact.KindTagMoved)
	answers()
	must(t, r.DeleteManifest(t.Context(), tagged("v1")))
	w.undo(t, fact.KindTagDeleted)
	answers()
	remove(t, r, m)
	w.undo(t, fact.KindManifestDeleted)
	answers()
}

func TestUndoingTheDeletionOfAManifest(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	subject := put(t, r, "", "subject", "")
	m := put(t, r, "v1", large, subject)
	for _, tag := range []string{"v2", "v3", "kept"} {
		_, err := r.PutManifest(ctx, image(tagged(tag), m))
		must(t, err)
	}
	other := put(t, r, "kept", "other", "")
	remove(t, r, m)
	put(t, r, "v3", "newer", "")
	again := w.last(t, fact.KindTagMoved)
	w.pass(t, 6*day)
	w.sweep(t)

	result := w.undo(t, fact.KindManifestDeleted)
	if !slices.Equal(result.Restored, []identity.Digest{digest(m)}) || !slices.Equal(result.Moved, []string{"v1", "v2"}) ||
		!slices.Equal(result.Left, []registry.LeftTag{{Tag: "v3", Event: again}}) || len(result.Notes) != 0 {
		t.Errorf("%+v", result)
	}
	served(t, r, m)
	names(t, r, map[string]string{"v1": m, "v2": m, "kept": other})
	if page, _, err := r.Referrers(ctx, digest(subject), "", 0, 10, 1<<20); err != nil || len(page) != 1 {
		t.Errorf("%d referrers, %v", len(page), err)
	}
	if read(t, r, digest(large)) != large {
		t.Error("the config is not served")
	}
	w.conflicts(t, result.Sequence, "it was put back before")
	w.conflicts(t, w.last(t, fact.KindManifestRestored), "delete the manifest again")
	w.pass(t, 20*day)
	w.sweep(t)
	served(t, r, m)
}

// TestAReasonIsInEveryEventOfAnUndo, and so is who asked for it.
func TestAReasonIsInEveryEventOfAnUndo(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	remove(t, r, put(t, r, "v1", small, ""))
	before := head(t, w)
	w.undo(t, fact.KindManifestDeleted)
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		events, err := v.EventsAfter(eventlog.Sequence(before), 10)
		for _, e := range events {
			if e.Reason() != "by mistake" || e.Actor != operator.Actor || e.Request != operator.Request {
				t.Errorf("event %s by %s: %q", e.Kind, e.Actor, e.Reason())
			}
		}
		if len(events) != 2 {
			t.Errorf("%d events", len(events))
		}
		return err
	}))
	for _, reason := range []string{"", " ", "two\nlines", strings.Repeat("x", registry.MaxReason+1), "\xff"} {
		_, err := w.Undo(t.Context(), operator, 1, reason)
		refused(t, err, registry.ReasonInvalid)
	}
}

func TestWhatWasForgottenIsNotPutBack(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	first := put(t, r, "v1", "first", "")
	put(t, r, "v1", "second", "")
	moved := w.last(t, fact.KindTagMoved)
	remove(t, r, first)
	deleted := w.last(t, fact.KindManifestDeleted)
	w.pass(t, 8*day)
	w.sweep(t)
	forgotten := w.last(t, fact.KindManifestForgotten)
	for _, s := range []eventlog.Sequence{deleted, moved} {
		w.conflicts(t, s, fmt.Sprintf("was forgotten by event %d on 2023-11-22", forgotten))
	}
	w.conflicts(t, forgotten, "it is final")
	w.conflicts(t, w.last(t, fact.KindRepositoryCreated), "v1.repository.created, which cannot be undone")
	_, err := w.Undo(t.Context(), operator, 1_000, "x")
	refused(t, err, registry.EventUnknown)
}

// TestTheEventThatForgotIsFoundInALongLog: it is looked for where the grace had passed.
func TestTheEventThatForgotIsFoundInALongLog(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", "first", "")
	remove(t, r, m)
	deleted := w.last(t, fact.KindManifestDeleted)
	long := func() {
		for range 25 {
			c := new(registry.Change)
			for range 1000 {
				c.Add(&fact.BlobRevived{Repository: "a", Blob: identity.FromBytes(identity.BLAKE3, []byte("first"))})
			}
			w.change(t, c)
		}
	}
	long()
	w.pass(t, 8*day)
	w.sweep(t)
	w.conflicts(t, deleted, "was forgotten by event")
	// Where it is not found, the grace is the reason.
	w2 := open(t, registry.Options{})
	w, r = w2, w2.repo(t, "a")
	m = put(t, r, "v1", "first", "")
	remove(t, r, m)
	deleted = w.last(t, fact.KindManifestDeleted)
	w.pass(t, 8*day)
	long()
	w.sweep(t)
	w.conflicts(t, deleted, "when the grace had passed")
}

// TestChildrenComeBackWithAnIndex: as deep as they lie, and only those that are gone.
func TestChildrenComeBackWithAnIndex(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	amd, arm, live := put(t, r, "", "amd", ""), put(t, r, "", large, ""), put(t, r, "", "live", "")
	inner := index(t, r, "", amd, arm)
	outer := index(t, r, "v1", inner, live, arm)
	remove(t, r, outer)
	deleted := w.last(t, fact.KindManifestDeleted)
	for _, m := range []string{inner, arm, amd} {
		remove(t, r, m)
	}
	w.pass(t, day)
	w.sweep(t)
	absent(t, r, outer, inner, arm, amd)
	result, err := w.Undo(t.Context(), operator, deleted, "by mistake")
	must(t, err)
	if n := len(result.Restored); n != 4 || result.Restored[3] != digest(outer) || result.Restored[2] != digest(inner) {
		t.Errorf("restored %v", result.Restored)
	}
	served(t, r, outer, inner, arm, amd, live)
	names(t, r, map[string]string{"v1": outer})

	// A child that is gone for ever is named.
	remove(t, r, amd)
	w.pass(t, 8*day)
	w.sweep(t)
	remove(t, r, outer)
	remove(t, r, inner)
	w.conflicts(t, w.last(t, fact.KindManifestDeleted), identity.FromBytes(identity.BLAKE3, []byte(amd)).String(), "was forgotten by event")
	absent(t, r, outer, inner)
}

// TestBlobsOfADeletedManifestAreBroughtBack: those that are condemned, and those
// that the repository has lost as long as somebody has them.
func TestBlobsOfADeletedManifestAreBroughtBack(t *testing.T) {
	w := open(t, registry.Options{})
	r, other := w.repo(t, "a"), w.repo(t, "b")
	m := put(t, r, "v1", large, "")
	put(t, other, "v1", large, "")
	remove(t, r, m)
	must(t, r.DeleteBlob(t.Context(), digest(large)))
	w.undo(t, fact.KindManifestDeleted)
	if read(t, r, digest(large)) != large {
		t.Error("the blob is not served")
	}
	remove(t, r, m)
	w.events(t, &fact.BlobCondemned{Repository: "a", Blob: identity.FromBytes(identity.BLAKE3, []byte(large)), Due: 1})
	before := head(t, w)
	w.undo(t, fact.KindManifestDeleted)
	if kinds := w.kinds(t, before); kinds[fact.KindBlobRevived] != 1 {
		t.Errorf("%v", kinds)
	}
	// Without anybody who has it, it is gone for good.
	n := put(t, r, "v2", small, "")
	remove(t, r, n)
	must(t, r.DeleteBlob(t.Context(), digest(small)))
	b := w.found(t, digest(small))
	w.change(t, &registry.Change{Forget: []eventlog.Sequence{b.Content}, Entries: []registry.Entry{
		{Fact: &fact.BlobForgotten{Blob: b.Digests.Primary(), Size: b.Size, Receipt: b.Receipt}}}})
	w.conflicts(t, w.last(t, fact.KindManifestDeleted), "blob "+identity.FromBytes(identity.BLAKE3, []byte(small)).String(), "push it")
}

func TestMovingBackBringsTheManifestBack(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	first := put(t, r, "v1", "first", "")
	put(t, r, "v1", "second", "")
	moved := w.last(t, fact.KindTagMoved)
	remove(t, r, first)
	result, err := w.Undo(t.Context(), operator, moved, "by mistake")
	must(t, err)
	if !slices.Equal(result.Restored, []identity.Digest{digest(first)}) {
		t.Errorf("%+v", result)
	}
	names(t, r, map[string]string{"v1": first})
}

func TestLaterEventsAreInTheWay(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", "first", "")
	remove(t, r, m)
	first := w.last(t, fact.KindManifestDeleted)
	w.undo(t, fact.KindManifestDeleted)
	remove(t, r, m)
	second := w.last(t, fact.KindManifestDeleted)
	w.conflicts(t, first, fmt.Sprintf("event %d has deleted the manifest again since", second), "undo that one")
	put(t, r, "v1", "first", "")
	w.conflicts(t, second, fmt.Sprintf("event %d has put the manifest again since", w.last(t, fact.KindManifestPut)))

	must(t, r.DeleteManifest(t.Context(), tagged("v1")))
	gone := w.last(t, fact.KindTagDeleted)
	_, err := w.DeleteRepository(t.Context(), operator, "a", "tidy")
	must(t, err)
	by := w.last(t, fact.KindRepositoryDeleted)
	for range 2 {
		for _, s := range []eventlog.Sequence{gone, second} {
			w.conflicts(t, s, fmt.Sprintf("repository a was deleted by event %d since", by), "undo that one first")
		}
		put(t, r, "v1", "first", "") // another repository of the name
	}
	w.pass(t, 8*day)
	w.sweep(t)
	w.conflicts(t, gone, "nothing is left of it")
}

func TestPoliciesAndHoldsForbidAMove(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	first := put(t, r, "v1", "first", "")
	second := put(t, r, "v1", "second", "")
	moved := w.last(t, fact.KindTagMoved)
	deny := func(want string) {
		t.Helper()
		before := head(t, w)
		_, err := w.Undo(t.Context(), operator, moved, "by mistake")
		if e := refused(t, err, registry.Denied); !strings.Contains(e.Message, want) {
			t.Errorf("%q does not say %q", e.Message, want)
		}
		if head(t, w) != before {
			t.Error("events were added")
		}
	}
	remove(t, r, first) // nothing is restored if the tag may not move
	hold := registry.HoldRequest{Name: "audit", Repository: "a", Reference: tagged("v1"), Reason: "case 7"}
	_, err := w.PlaceHold(t.Context(), operator, hold)
	must(t, err)
	deny("hold audit")
	must(t, w.ReleaseHold(t.Context(), operator, "audit", "a", tagged("v1"), "closed"))
	w.ruled(t, retention.Policy{Name: "p", Repositories: []string{"a"}, ImmutableTags: []retention.Immutable{{Tags: []string{"v*"}}}})
	deny("policy p makes it immutable")
	put(t, r, "v2", "third", "")
	made := w.last(t, fact.KindTagMoved)
	_, err = w.Undo(t.Context(), operator, made, "by mistake")
	refused(t, err, registry.Denied)
	w.ruled(t, retention.Policy{Name: "p", Repositories: []string{"a"}, WriteOnce: true})
	deny("write-once")
	w.ruled(t)
	_, err = w.Undo(t.Context(), operator, moved, "by mistake")
	must(t, err)
	names(t, r, map[string]string{"v1": first})
	served(t, r, second)
}

// ruled sets the policies in force.
func (w *world) ruled(t *testing.T, all ...retention.Policy) {
	t.Helper()
	text, err := retention.Document{Policies: all}.Encode()
	must(t, err)
	w.events(t, &fact.PoliciesSet{Source: fact.SourceAdmin, Document: text})
}

// TestManyTagsComeBack: they were deleted in several commits, with those of others
// between them.
func TestManyTagsComeBack(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "", small, "")
	var want []string
	for i := range 1201 {
		want = append(want, fmt.Sprintf("t%04d", i))
	}
	for some := range slices.Chunk(want, 256) {
		p := image(registry.Reference{Digest: digest(m)}, m)
		p.Tags = some
		_, err := r.PutManifest(t.Context(), p)
		must(t, err)
	}
	late, ledger := w.lateNode(t)
	n := 0
	ledger.before = func() {
		if n++; n == 1 {
			ledger.before = func() { put(t, w.repo(t, "b"), "v1", "between", "") }
		}
	}
	remove(t, late, m)
	result := w.undo(t, fact.KindManifestDeleted)
	if !slices.Equal(result.Moved, want) || len(result.Restored) != 1 {
		t.Errorf("%d tags, %d manifests", len(result.Moved), len(result.Restored))
	}
	info, err := r.TagInfo(t.Context(), "t1200")
	must(t, err)
	if info.Digest != digest(m) {
		t.Errorf("%+v", info)
	}
}

// TestAnUndoThatWasCutOffGoesOn: the children of an index are put back in several
// commits, and the tags of a manifest.
func TestAnUndoThatWasCutOffGoesOn(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	var children []string
	push(t, r, small)
	layers := make([]any, 0, 1500)
	for range cap(layers) {
		layers = append(layers, descriptor("application/octet-stream", small))
	}
	for i := range 8 {
		data, err := json.Marshal(map[string]any{
			"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
			"config": descriptor("application/vnd.oci.image.config.v1+json", small), "layers": layers,
			"annotations": map[string]string{"child": fmt.Sprint(i)},
		})
		must(t, err)
		_, err = r.PutManifest(t.Context(), image(registry.Reference{Digest: digest(string(data))}, string(data)))
		must(t, err)
		children = append(children, string(data))
	}
	top := index(t, r, "v1", children...)
	remove(t, r, top)
	deleted := w.last(t, fact.KindManifestDeleted)
	for _, c := range children {
		remove(t, r, c)
	}
	late, ledger := w.lateNode(t)
	ctx, cut := context.WithCancel(t.Context())
	ledger.before = func() {
		ledger.before = func() { cut() }
	}
	before := head(t, w)
	_, err := late.Undo(ctx, operator, deleted, "by mistake")
	if err == nil || head(t, w) == before {
		t.Fatalf("it was not cut off: %v", err)
	}
	absent(t, r, top)
	result, err := w.Undo(t.Context(), operator, deleted, "by mistake")
	must(t, err)
	if n := len(result.Restored); n < 2 || n >= 9 {
		t.Errorf("%d manifests", n)
	}
	served(t, r, append(children, top)...)
	names(t, r, map[string]string{"v1": top})
}

func TestARestoredManifestThatHasExpiredIsSaidToGo(t *testing.T) {
	w := open(t, registry.Options{})
	w.ruled(t, retention.Policy{Name: "p", Repositories: []string{"a"}, Class: retention.Transient})
	r := w.repo(t, "a")
	m := put(t, r, "", small, "")
	w.pass(t, 6*day)
	remove(t, r, m)
	w.pass(t, 2*day)
	result := w.undo(t, fact.KindManifestDeleted)
	if len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "ended on 2023-11-21") {
		t.Errorf("%q", result.Notes)
	}
}

// TestARestoredManifestHasAnotherGrace: it had expired before it was deleted, and its
// grace passed while it was.
func TestARestoredManifestHasAnotherGrace(t *testing.T) {
	w := open(t, registry.Options{})
	w.ruled(t, retention.Policy{Name: "p", Repositories: []string{"a"}, Class: retention.Transient})
	r := w.repo(t, "a")
	m := put(t, r, "", small, "")
	w.pass(t, 8*day)
	enforce := func() {
		t.Helper()
		_, err := w.Enforce(t.Context(), registry.EnforceOptions{})
		must(t, err)
	}
	enforce()
	w.pass(t, 5*day)
	remove(t, r, m)
	w.pass(t, 5*day)
	if result := w.undo(t, fact.KindManifestDeleted); len(result.Notes) != 1 || !strings.Contains(result.Notes[0], "another grace") {
		t.Errorf("%q", result.Notes)
	}
	enforce()
	w.pass(t, 6*day)
	enforce()
	served(t, r, m)
	w.pass(t, 2*day)
	enforce()
	absent(t, r, m)
}
