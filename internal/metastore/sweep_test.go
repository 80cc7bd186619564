package metastore_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// deleting is a data plane of which only Delete is asked.
type deleting struct {
	registry.Bytes
	deleted []fact.Receipt
}

func (d *deleting) Delete(_ context.Context, r fact.Receipt, _ eventlog.Sequence) error {
	d.deleted = append(d.deleted, r)
	return nil
}

// swept has something for every phase of a sweep, due at once or, what was deleted,
// after a second; and what stays: the image "image" with its layer in demo, tagged.
func swept(t testing.TB, s *store) {
	t.Helper()
	const past = 1
	s.update(t, facts(&fact.PoliciesSet{Source: fact.SourceConfiguration, Document: []byte(`{"grace":"1s"}`)}))
	populated(t, s)
	s.update(t, facts(tag("demo", "kept", "image")))
	s.update(t, layer("demo", "unused"))
	s.update(t, layer("demo", "unlinked"))
	s.update(t, facts(&fact.RepositoryCreated{Repository: "gone"}, &fact.BlobLinked{Repository: "gone", Blob: primary("unused")},
		&fact.BlobStored{Digests: identity.Of([]byte("stray")), Size: 5, Receipt: stray}, &fact.BlobLinked{Repository: "gone", Blob: primary("stray")}))
	again := image("gone", "image", "", "", []string{"stray"}, "v1")
	again.Entries = again.Entries[2:] // its bytes are there
	s.update(t, again)
	s.update(t, image("gone", "lost", "image", "", []string{"stray"}))
	s.update(t, image("gone", "dead", "image", "", []string{"stray"}))
	s.update(t, facts(
		&fact.BlobCondemned{Repository: "demo", Blob: primary("unused"), Due: past},
		&fact.BlobCondemned{Repository: "demo", Blob: primary("layer"), Due: past}, // and used
		&fact.BlobUnlinked{Repository: "demo", Blob: primary("unlinked")}, &fact.BlobCondemned{Blob: primary("unlinked"), Due: past},
		&fact.ManifestDeleted{Repository: "gone", Manifest: primary("dead")},
		&fact.ManifestDeleted{Repository: "demo", Manifest: primary("signature")}, &fact.TagDeleted{Repository: "demo", Tag: "latest", Manifest: primary("signature")},
		&fact.RepositoryDeleted{Repository: "gone", Name: "gone#9"}))
}

func TestSweepTakesWhatIsDue(t *testing.T) {
	s := checked(t)
	swept(t, s)
	plane := new(deleting)
	r, err := registry.New(t.Context(), s, plane, registry.Options{EraseDelay: time.Microsecond})
	must(t, err)
	var repositories, manifests, revived int64
	until(t, "all of it is gone", func() bool {
		report, err := r.Sweep(t.Context(), registry.SweepOptions{Batch: 7})
		must(t, err)
		for _, p := range report.Phases {
			repositories, manifests, revived = repositories+p.Repositories, manifests+p.Manifests, revived+p.Revived.Number
		}
		return repositories == 1 && manifests >= 4 && len(plane.deleted) == 1
	})
	if manifests != 4 || revived != 1 || plane.deleted[0] != stray {
		t.Errorf("%d manifests, %d revived, deleted %v", manifests, revived, plane.deleted)
	}
	var left []string
	s.read(t, func(v registry.View) error {
		all, err := v.BlobItems(0, 100)
		for _, b := range all {
			left = append(left, b.Digests.Primary().String())
		}
		must(t, err)
		g, err := v.Graves(0, 10)
		if len(g) != 0 || err != nil {
			t.Errorf("deleted manifests %v, %v", g, err)
		}
		return nil
	})
	want := []string{primary("layer").String(), primary("image").String(), primary("native of image").String()}
	if !slices.Equal(sorted(left), sorted(want)) {
		t.Errorf("left are %v, want %v", left, want)
	}
	if n := s.count(t, "SELECT count(*) FROM objects"); n != 3 {
		t.Errorf("%d content rows are left", n)
	}
	if n := s.count(t, "SELECT count(*) FROM manifest_references"); n != 1 {
		t.Errorf("%d references are left", n)
	}
	if n := s.count(t, "SELECT count(*) FROM passes"); n != 0 {
		t.Errorf("%d passes are under way", n)
	}
}

func TestWhatManifestsShare(t *testing.T) {
	s := checked(t)
	swept(t, s)
	r, err := registry.New(t.Context(), s, new(deleting), registry.Options{})
	must(t, err)
	name := func(repository, content string) registry.ManifestName {
		return registry.ManifestName{Repository: repository, Digest: primary(content)}
	}
	freed := func(of ...registry.ManifestName) registry.Freed {
		f, err := r.Freed(t.Context(), func(yield func(registry.ManifestName, error) bool) {
			for _, m := range of {
				if !yield(m, nil) {
					return
				}
			}
		})
		must(t, err)
		return f
	}
	size := func(contents ...string) (n int64) {
		for _, c := range contents {
			n += int64(len(c))
		}
		return n
	}
	// The native form of image is that of both.
	if f := freed(name("demo", "image")); f.Bytes != 0 {
		t.Errorf("image of demo: %+v", f)
	}
	if f := freed(name("gone#9", "lost"), name("gone#9", "image"), name("gone#9", "dead")); f.Bytes != size("stray", "lost", "native of lost", "dead", "native of dead") {
		t.Errorf("all of gone: %+v", f)
	}
	if f := freed(name("gone#9", "lost"), name("gone#9", "image")); f.Bytes != size("lost", "native of lost") {
		t.Errorf("the live ones of gone: %+v", f)
	}
	shared, err := r.Sharing(t.Context(), "demo")
	must(t, err)
	if want := (registry.Sharing{Logical: size("layer", "unused", "image", "signature"), Shared: size("unused", "image"),
		Exclusive: size("layer", "signature"), Deleted: size("signature")}); shared != want {
		t.Errorf("demo shares %+v, want %+v", shared, want)
	}
	for content, want := range map[string]int{"layer": 1, "unused": 2, "image": 2, "native of lost": 1, "dead": 1, "stray": 1} {
		chains, err := r.Why(t.Context(), digest(identity.SHA256, content))
		must(t, err)
		if len(chains) != want {
			t.Errorf("%s has chains %+v, want %d", content, chains, want)
		}
	}
}
