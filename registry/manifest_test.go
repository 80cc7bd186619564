package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// body is an image manifest of a config and some padding, which makes it long.
func body(config string, padding int, subject string) string {
	m := map[string]any{
		"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config":      descriptor("application/vnd.oci.image.config.v1+json", config),
		"layers":      []any{},
		"annotations": map[string]string{"padding": strings.Repeat("p", padding)},
	}
	if subject != "" {
		m["subject"] = descriptor("application/vnd.oci.image.manifest.v1+json", subject)
	}
	data, _ := json.Marshal(m) // maps of strings always encode
	return string(data)
}

func descriptor(mediaType, content string) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": digest(content).String(), "size": len(content)}
}

func tagged(tag string) registry.Reference { return registry.Reference{Tag: tag} }

func TestManifestsOfEverySizeAreServedVerbatim(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	for _, padding := range []int{0, 1, 100_000} {
		m := body(small, padding, "")
		result, err := r.PutManifest(ctx, image(tagged("v1"), m))
		must(t, err)
		if result.Digest != digest(m) {
			t.Fatalf("digest %s", result.Digest)
		}
		for _, ref := range []registry.Reference{tagged("v1"), {Digest: digest(m)}, {Digest: identity.FromBytes(identity.BLAKE3, []byte(m))}} {
			c, err := r.Manifest(ctx, ref)
			must(t, err)
			rc, err := c.Open(ctx, 0, -1)
			must(t, err)
			got, err := io.ReadAll(io.LimitReader(rc, c.Size))
			must(t, err)
			must(t, rc.Close())
			if string(got) != m {
				t.Fatal("served other bytes")
			}
		}
	}
	if ids := w.staged(t); len(ids) != 0 {
		t.Fatalf("left staged: %v", ids)
	}
}

func TestRefusedManifestLeavesNothing(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	before := head(t, w)
	_, err := r.PutManifest(context.Background(), image(tagged("v1"), body(small, 100_000, "")))
	refused(t, err, registry.ManifestBlobUnknown)
	if head(t, w) != before || len(w.staged(t)) != 0 {
		t.Fatal("something was stored")
	}
}

func TestRepeatedPutAddsNoEvents(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	m := body(small, 0, "")
	_, err := r.PutManifest(ctx, image(tagged("v1"), m))
	must(t, err)
	before := head(t, w)
	for _, match := range [][]string{nil, {"*"}, {digest("something else").String()}} {
		p := image(tagged("v1"), m)
		p.IfMatch = match
		_, err := r.PutManifest(ctx, p)
		must(t, err)
	}
	if head(t, w) != before {
		t.Fatal("events were added")
	}
}

func TestConditionsHoldForAllTagsOrNothingMoves(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	first, second := body(small, 1, ""), body(small, 2, "")
	_, err := r.PutManifest(ctx, image(tagged("v1"), first))
	must(t, err)
	p := image(registry.Reference{Digest: digest(second)}, second)
	p.Tags, p.IfMatch = []string{"v1", "v2"}, []string{digest(first).String()}
	_, err = r.PutManifest(ctx, p) // v2 does not exist
	refused(t, err, registry.PreconditionFailed)
	p = image(registry.Reference{Digest: digest(second)}, second)
	p.Tags, p.IfNoneMatch = []string{"v2", "v1"}, true
	_, err = r.PutManifest(ctx, p) // v1 exists
	e := refused(t, err, registry.PreconditionFailed)
	if e.Detail.(map[string]string)["digest"] != digest(first).String() {
		t.Fatalf("detail %v", e.Detail)
	}
	if page, err := r.Tags(ctx, "", 10); err != nil || len(page.Names) != 1 {
		t.Fatalf("tags %v, %v", page, err)
	}
	p = image(tagged("v1"), second)
	p.IfMatch = []string{identity.FromBytes(identity.BLAKE3, []byte(first)).String()}
	_, err = r.PutManifest(ctx, p)
	must(t, err)
}

func TestOfManyConcurrentCreatesOneWins(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	var wg sync.WaitGroup
	results := make([]error, 100)
	for i := range results {
		wg.Go(func() {
			p := image(tagged("v1"), body(small, i, ""))
			p.IfNoneMatch = true
			_, results[i] = r.PutManifest(ctx, p)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range results {
		if err == nil {
			won++
			continue
		}
		refused(t, err, registry.PreconditionFailed)
	}
	if won != 1 {
		t.Fatalf("%d creates won", won)
	}
}

func TestReferencedBlobIsKept(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	d := push(t, r, small)
	m := body(small, 0, "")
	_, err := r.PutManifest(ctx, image(tagged("v1"), m))
	must(t, err)
	refused(t, r.DeleteBlob(ctx, d), registry.BlobInUse)
	refused(t, r.DeleteBlob(ctx, identity.FromBytes(identity.BLAKE3, []byte(small))), registry.BlobInUse)
	must(t, r.DeleteManifest(ctx, registry.Reference{Digest: digest(m)}))
	must(t, r.DeleteBlob(ctx, d))
	_, err = r.Manifest(ctx, tagged("v1"))
	refused(t, err, registry.ManifestUnknown)
}

func TestManifestWithManyTagsIsDeletedWhole(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	m := body(small, 0, "")
	for i := 0; i < 2100; i += 200 {
		p := image(registry.Reference{Digest: digest(m)}, m)
		for j := range 200 {
			p.Tags = append(p.Tags, fmt.Sprintf("t%d", i+j))
		}
		_, err := r.PutManifest(ctx, p)
		must(t, err)
	}
	must(t, r.DeleteManifest(ctx, registry.Reference{Digest: digest(m)}))
	if page, err := r.Tags(ctx, "", 10); err != nil || len(page.Names) != 0 {
		t.Fatalf("tags %v, %v", page, err)
	}
}

func TestReferrersArePagedInOrderAndFiltered(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	subject := body(small, 0, "")
	for i := range 5 { // also before the subject exists
		if i == 2 {
			_, err := r.PutManifest(ctx, image(tagged("v1"), subject))
			must(t, err)
		}
		result, err := r.PutManifest(ctx, image(tagged("x"), body(small, i+1, subject)))
		must(t, err)
		if result.Subject != digest(subject) {
			t.Fatalf("subject %s", result.Subject)
		}
	}
	for _, d := range identity.Of([]byte(subject)) {
		page, more, err := r.Referrers(ctx, d, "", 0, 3, 1<<20)
		must(t, err)
		if len(page) != 3 || !more {
			t.Fatalf("%d referrers, more %v", len(page), more)
		}
		rest, more, err := r.Referrers(ctx, d, "", page[2].Sequence, 3, 1<<20)
		must(t, err)
		if len(rest) != 2 || more {
			t.Fatalf("%d referrers, more %v", len(rest), more)
		}
	}
	none, _, err := r.Referrers(ctx, digest(subject), "application/x", 0, 3, 1<<20)
	must(t, err)
	if len(none) != 0 {
		t.Fatalf("%d referrers of another type", len(none))
	}
}

func TestSparseManifestsNeedPermission(t *testing.T) {
	w := open(t, registry.Options{AllowSparse: true})
	_, err := w.repo(t, "a").PutManifest(context.Background(), image(tagged("v1"), body(small, 0, "")))
	must(t, err)
}

func TestDeletingCanBeSwitchedOff(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{DeleteDisabled: true})
	r := w.repo(t, "a")
	d := push(t, r, small)
	m := body(small, 0, "")
	_, err := r.PutManifest(ctx, image(tagged("v1"), m))
	must(t, err)
	refused(t, r.DeleteBlob(ctx, d), registry.Unsupported)
	refused(t, r.DeleteManifest(ctx, tagged("v1")), registry.Unsupported)
	refused(t, r.DeleteManifest(ctx, registry.Reference{Digest: digest(m)}), registry.Unsupported)
}

func TestMountTakesOnlyWhatTheSourceHolds(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	d := push(t, w.repo(t, "a"), large)
	b := w.repo(t, "b")
	for from, want := range map[string]bool{"nowhere": false, "../../etc": false, "b": false} {
		mounted, err := b.MountBlob(ctx, d, from)
		if err != nil || mounted != want {
			t.Fatalf("from %q: %v, %v", from, mounted, err)
		}
	}
	mounted, err := b.MountBlob(ctx, d, "a")
	if err != nil || !mounted || read(t, b, d) != large {
		t.Fatalf("mount: %v, %v", mounted, err)
	}
	mounted, err = w.repo(t, "c").MountBlob(ctx, d, "")
	if err != nil || !mounted {
		t.Fatalf("anonymous mount: %v, %v", mounted, err)
	}
	if mounted, _ := b.MountBlob(ctx, digest("nothing"), ""); mounted {
		t.Fatal("mounted what nobody has")
	}
}

// TestPutRacingWithDeletesNeverDangles: a manifest that was accepted has its
// config, whatever was deleted at the same time.
func TestPutRacingWithDeletesNeverDangles(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 25 {
				_, _ = r.PushBlob(ctx, digest(small), whole(small))
				m := body(small, i*100+j, "")
				if _, err := r.PutManifest(ctx, image(tagged(fmt.Sprint(i)), m)); err == nil {
					if _, err := r.Blob(ctx, digest(small)); err != nil {
						t.Errorf("the manifest was accepted, its config: %v", err)
					}
					_ = r.DeleteManifest(ctx, registry.Reference{Digest: digest(m)})
				}
				_ = r.DeleteBlob(ctx, digest(small))
			}
		})
	}
	wg.Wait()
}

func TestEventsOfAPushSayWhatHappened(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, small)
	_, err := r.PutManifest(ctx, image(tagged("v1"), body(small, 0, "")))
	must(t, err)
	page, err := w.ledger.Events().Read(ctx, 0, 100)
	must(t, err)
	var events []string
	for _, e := range page {
		if e.Actor != caller.Actor || e.Request != caller.Request {
			t.Errorf("event %d is by %q, request %q", e.Sequence, e.Actor, e.Request)
		}
		events = append(events, string(e.Kind))
	}
	want := []string{fact.KindBlobStored, fact.KindRepositoryCreated, fact.KindBlobLinked,
		fact.KindBlobStored, fact.KindBlobStored, fact.KindManifestPut, fact.KindDefaultApplied, fact.KindTagMoved}
	if strings.Join(events, " ") != strings.Join(want, " ") {
		t.Fatalf("events %v, want %v", events, want)
	}
}
