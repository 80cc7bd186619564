package registry_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// named lists manifests, given as pairs of a repository and a content.
func named(pairs ...string) iter.Seq2[registry.ManifestName, error] {
	return func(yield func(registry.ManifestName, error) bool) {
		for i := 0; i < len(pairs); i += 2 {
			if !yield(registry.ManifestName{Repository: pairs[i], Digest: digest(pairs[i+1])}, nil) {
				return
			}
		}
	}
}

func (w *world) freed(t *testing.T, pairs ...string) registry.Freed {
	t.Helper()
	f, err := w.Freed(context.Background(), named(pairs...))
	must(t, err)
	return f
}

// bytes is the size of all byte sequences.
func (w *world) bytes(t *testing.T) (n int64) {
	t.Helper()
	must(t, w.ledger.Read(context.Background(), func(v registry.View) error {
		all, err := v.BlobItems(0, 10_000)
		for _, b := range all {
			n += b.Size
		}
		return err
	}))
	return n
}

// layered pushes an image of layers, in which each may be more than once.
func layered(t *testing.T, r *registry.Repository, tag string, layers ...string) string {
	t.Helper()
	var list []string
	for _, l := range layers {
		push(t, r, l)
		list = append(list, fmt.Sprintf(`{"mediaType":"x/y","digest":%q,"size":%d}`, digest(l), len(l)))
	}
	m := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + list[0] + `,"layers":[` + strings.Join(list, ",") + "]}"
	_, err := r.PutManifest(context.Background(), image(tagged(tag), m))
	must(t, err)
	return m
}

func TestFreedCountsWhatOnlyTheseManifestsKeep(t *testing.T) {
	w := open(t, registry.Options{})
	a, b := w.repo(t, "a"), w.repo(t, "b")
	one := layered(t, a, "one", "base", "one")
	two := layered(t, a, "two", "base", "two", "two")
	other := layered(t, b, "other", "base", "one")
	check := func(what string, got registry.Freed, manifests int64, blobs ...string) {
		t.Helper()
		var bytes int64
		for _, c := range blobs {
			bytes += int64(len(c))
		}
		if got.Manifests != manifests || got.Bytes-got.ManifestBytes-got.NativeBytes != bytes {
			t.Errorf("%s: %+v, want %d manifests and %d bytes of blobs", what, got, manifests, bytes)
		}
	}
	got := w.freed(t, "a", two)
	check("one manifest", got, 1, "two")
	if got.ManifestBytes != int64(len(two)) || got.NativeBytes == 0 || got.Blobs != 3 {
		t.Errorf("one manifest: %+v", got)
	}
	check("both of a", w.freed(t, "a", one, "a", two, "a", two, "a", "no such manifest"), 2, "two")
	if got := w.freed(t, "a", one); got.ManifestBytes != 0 || got.Bytes != 0 { // b has it as well
		t.Errorf("what b has as well: %+v", got)
	}
	check("all", w.freed(t, "a", one, "a", two, "b", other), 3, "base", "one", "two")
	push(t, w.repo(t, "c"), "two") // without use
	check("a link without use", w.freed(t, "a", two), 1, "two")
	w.events(t, hold("audit", fact.Target{Repository: "c"}, w.clock.Now().Add(time.Hour)))
	check("a link under a hold", w.freed(t, "a", two), 1)
	w.pass(t, 2*time.Hour)
	check("a link whose hold has ended", w.freed(t, "a", two), 1, "two")
	copied := layered(t, w.repo(t, "d"), "v", "two")
	check("another user", w.freed(t, "a", two), 1)
	remove(t, w.repo(t, "d"), copied)
	check("a deleted user", w.freed(t, "a", two), 1)
	check("a deleted manifest that is asked about", w.freed(t, "a", two, "d", copied), 2, "two")
	indexOf(t, a, "index", two)
	if got := w.freed(t, "a", two); got.ManifestBytes != int64(len(two)) {
		t.Errorf("a manifest that an index lists: %+v", got) // the index is not what keeps it
	}
}

func TestFreedRefusesTooMany(t *testing.T) {
	w := open(t, registry.Options{})
	failed := errors.New("no list")
	_, err := w.Freed(context.Background(), func(yield func(registry.ManifestName, error) bool) { yield(registry.ManifestName{}, failed) })
	if !errors.Is(err, failed) {
		t.Errorf("a list that fails: %v", err)
	}
}

// TestFreedIsWhatASweepFrees, of random manifests of random repositories.
func TestFreedIsWhatASweepFrees(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	w := open(t, registry.Options{})
	type place struct{ repository, manifest string }
	var all []place
	for i := range 25 {
		name := []string{"a", "b", "c"}[random.IntN(3)]
		layers := make([]string, 1+random.IntN(4))
		for j := range layers {
			layers[j] = strings.Repeat("x", 10+20*random.IntN(10))
		}
		m := layered(t, w.repo(t, name), fmt.Sprint("t", i), layers...)
		all = append(all, place{name, m})
		if random.IntN(4) == 0 {
			all = append(all, place{name, indexOf(t, w.repo(t, name), fmt.Sprint("i", i), m)})
		}
	}
	for len(all) > 0 {
		random.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
		n := 1 + random.IntN(min(len(all), 6))
		var pairs []string
		for _, p := range all[:n] {
			pairs = append(pairs, p.repository, p.manifest)
		}
		told, before := w.freed(t, pairs...), w.bytes(t)
		for _, p := range all[:n] {
			if err := w.repo(t, p.repository).DeleteManifest(context.Background(), registry.Reference{Digest: digest(p.manifest)}); err != nil {
				refused(t, err, registry.ManifestUnknown) // it was there twice
			}
		}
		all = all[n:]
		w.pass(t, 8*day)
		w.sweep(t)
		w.sweep(t)
		w.pass(t, day)
		w.sweep(t)
		if freed := before - w.bytes(t); freed != told.Bytes {
			t.Fatalf("%d manifests: %d bytes were freed, %+v was told", n, freed, told)
		}
	}
	if w.bytes(t) != 0 {
		t.Errorf("%d bytes are left", w.bytes(t))
	}
}

func TestSharingSumsUpWhatARepositoryHolds(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a, b := w.repo(t, "a"), w.repo(t, "b")
	check := func(what string, want registry.Sharing) {
		t.Helper()
		got, err := w.Sharing(ctx, "a")
		must(t, err)
		if got != want {
			t.Errorf("%s: %+v, want %+v", what, got, want)
		}
	}
	size := func(contents ...string) (n int64) {
		for _, c := range contents {
			n += int64(len(c))
		}
		return n
	}
	_, err := w.Sharing(ctx, "a")
	refused(t, err, registry.NameUnknown)
	m := layered(t, a, "one", "base", "one")
	check("an image", registry.Sharing{Logical: size("base", "one", m), Exclusive: size("base", "one", m)})
	push(t, a, m) // a blob as well
	push(t, a, "unused")
	push(t, b, "base")
	check("a manifest that is a blob as well", registry.Sharing{Logical: size("base", "one", "unused", m), Shared: size("base"), Exclusive: size("one", "unused", m)})
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	check("after a sweep", registry.Sharing{Logical: size("base", "one", "unused", m), Shared: size("base"), Exclusive: size("one", "unused", m), Condemned: size("unused")})
	gone := layered(t, a, "two", "base", "two", "one")
	remove(t, a, gone)
	check("with a deleted manifest", registry.Sharing{Logical: size("base", "one", "two", "unused", m, gone), Shared: size("base"),
		Exclusive: size("one", "two", "unused", m, gone), Condemned: size("unused"), Deleted: size("two", gone)})
	remove(t, b, layered(t, b, "two", "base", "two", "one"))
	check("which b has had as well", registry.Sharing{Logical: size("base", "one", "two", "unused", m, gone), Shared: size("base", "one", "two", gone),
		Exclusive: size("unused", m), Condemned: size("unused")})
}
