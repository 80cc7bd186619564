package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

func TestEveryViewIsFilledAndReplaysToTheSame(t *testing.T) {
	s := checked(t)
	populated(t, s)
	aged(t, s)
	report := s.check(t, "repositories", "blobs", "links", "manifests", "references", "referrers", "tags", "tag_history",
		"graves", "holds", "policies", "erasures", "clock")
	var names []string
	for _, v := range report.Views {
		names = append(names, v.Name)
	}
	want := []string{"repositories", "blobs", "links", "manifests", "references", "referrers", "tags", "tag_history",
		"graves", "holds", "policies", "erasures", "clock"}
	if !slices.Equal(names, want) {
		t.Errorf("views %v, want %v", names, want)
	}
}

func TestBlobsAreFoundByEveryDigest(t *testing.T) {
	s := checked(t)
	all := digests("layer")
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}, &fact.RepositoryCreated{Repository: "other"}))
	s.update(t, layer("demo", "layer"))

	find := func(d identity.Digest) (b, linked *registry.Blob, content []byte) {
		s.read(t, func(v registry.View) (err error) {
			if b, err = v.Blob(d); err != nil {
				return err
			}
			linked, content, err = v.LinkedBlob("demo", d)
			return err
		})
		return b, linked, content
	}
	sha512, _ := all.Get(identity.SHA512)
	if b, linked, _ := find(sha512); b != nil || linked != nil {
		t.Error("found by a digest that nobody has told")
	}
	s.update(t, facts(&fact.BlobIdentified{Blob: all.Primary(), Digest: sha512}))
	for _, d := range all {
		b, linked, content := find(d)
		if b == nil || linked == nil {
			t.Fatalf("%s is not found", d)
		}
		if !b.Digests.Equal(all) || b.Size != 5 || b.Receipt.Store != fact.Content || string(content) != "layer" {
			t.Errorf("%s: %+v with content %q", d, b, content)
		}
		object, err := s.Object(t.Context(), b.Content)
		must(t, err)
		if string(object) != "layer" {
			t.Errorf("content row %d is %q", b.Content, object)
		}
	}
	s.read(t, func(v registry.View) error {
		b, content, err := v.LinkedBlob("other", all.Primary())
		if b != nil || content != nil {
			t.Error("found in a repository that does not hold it")
		}
		for repository, want := range map[string]bool{"demo": true, "other": false, "none": false} {
			if linked, err := v.Linked(repository, all.Primary()); err != nil || linked != want {
				t.Errorf("Linked(%s) = %v, %v", repository, linked, err)
			}
		}
		if holder, err := v.BlobHolder(sha512); err != nil || holder != "demo" {
			t.Errorf("holder %q, %v", holder, err)
		}
		return err
	})
	s.update(t, facts(&fact.BlobUnlinked{Repository: "demo", Blob: all.Primary()}))
	if b, linked, _ := find(all.Primary()); b == nil || linked != nil {
		t.Errorf("after unlinking: blob %v, linked %v", b, linked)
	}
}

// TestTheOldestRepositoryHoldsABlob: events name it, so it must be the same one
// in every database.
func TestTheOldestRepositoryHoldsABlob(t *testing.T) {
	s := checked(t)
	d := digests("layer").Primary()
	s.update(t, facts(
		&fact.RepositoryCreated{Repository: "z-old"}, &fact.RepositoryCreated{Repository: "m"}, &fact.RepositoryCreated{Repository: "a-new"},
		&fact.BlobStored{Digests: identity.Of([]byte("layer")), Size: 5, Receipt: fact.Receipt{Store: "default", Locator: "blobs/ab/1"}},
		&fact.BlobLinked{Repository: "a-new", Blob: d}, &fact.BlobLinked{Repository: "m", Blob: d}, &fact.BlobLinked{Repository: "z-old", Blob: d},
	))
	for _, want := range []string{"z-old", "m", "a-new", ""} {
		s.read(t, func(v registry.View) error {
			holder, err := v.BlobHolder(d)
			if holder != want {
				t.Errorf("holder %q, want %q", holder, want)
			}
			return err
		})
		if want != "" {
			s.update(t, facts(&fact.BlobUnlinked{Repository: want, Blob: d}))
		}
	}
}

func TestBlobMovesToAnotherPlace(t *testing.T) {
	s := checked(t)
	from := fact.Receipt{Store: "default", Locator: "blobs/ab/1"}
	d := digests("layer")
	s.update(t, facts(&fact.BlobStored{Digests: identity.Of([]byte("layer")), Size: 5, Receipt: from}))
	move := func(entry registry.Entry) *registry.Blob {
		s.update(t, &registry.Change{Entries: []registry.Entry{entry}})
		var b *registry.Blob
		s.read(t, func(v registry.View) (err error) { b, err = v.Blob(d.Primary()); return err })
		return b
	}
	inside := fact.Receipt{Store: fact.Content}
	b := move(registry.Entry{Fact: &fact.BlobMoved{Blob: d.Primary(), From: from, To: inside}, Content: []byte("layer")})
	if b.Receipt != inside || b.Content != 2 || b.Sequence != 1 {
		t.Errorf("moved into the database: %+v", b)
	}
	away := fact.Receipt{Store: "default", Locator: "blobs/ab/2"}
	if b := move(registry.Entry{Fact: &fact.BlobMoved{Blob: d.Primary(), From: inside, To: away}}); b.Receipt != away || b.Content != 0 {
		t.Errorf("moved out of the database: %+v", b)
	}
	must(t, s.DeleteObject(t.Context(), 2))
	if _, err := s.Object(t.Context(), 2); !errors.Is(err, fact.ErrGone) {
		t.Errorf("a deleted content row gives %v", err)
	}
	must(t, s.DeleteObject(t.Context(), 2))
}

func TestManifestsTagsAndReferences(t *testing.T) {
	s := checked(t)
	populated(t, s)
	s.read(t, func(v registry.View) error {
		for _, d := range identity.Of([]byte("image")) {
			m, content, err := v.Manifest("demo", d)
			must(t, err)
			if m == nil || string(content) != "image" {
				t.Fatalf("manifest %s is %+v with content %q", d, m, content)
			}
			if m.Digest != digest(identity.SHA256, "image") || m.Native != primary("native of image") || !m.Subject.IsZero() {
				t.Errorf("manifest %s is %+v", d, m)
			}
		}
		m, tag, content, err := v.TaggedManifest("demo", "latest")
		must(t, err)
		if m == nil || tag.Manifest != primary("signature") || tag.Digest != digest(identity.SHA256, "signature") ||
			string(content) != "signature" || m.Subject != digest(identity.SHA256, "image") || m.ArtifactType != "application/x.signature" {
			t.Errorf("latest is %+v, %+v with %q", m, tag, content)
		}
		if m, tag, _, err := v.TaggedManifest("demo", "v1"); m != nil || tag != nil || err != nil {
			t.Errorf("a deleted tag gives %v, %v, %v", m, tag, err)
		}
		if tag, err := v.Tag("demo", "latest"); err != nil || tag == nil || tag.Manifest != primary("signature") {
			t.Errorf("tag is %+v, %v", tag, err)
		}
		if names, err := v.TagsOf("demo", digest(identity.SHA256, "signature"), 10); err != nil || !slices.Equal(names, []string{"latest"}) {
			t.Errorf("tags of the manifest are %v, %v", names, err)
		}
		user, err := v.Referencing("demo", digests("layer"))
		must(t, err)
		if user != digest(identity.SHA256, "image") && user != digest(identity.SHA256, "signature") {
			t.Errorf("the layer is referenced by %s", user)
		}
		if user, err := v.Referencing("other", digests("layer")); err != nil || !user.IsZero() {
			t.Errorf("in another repository the layer is referenced by %s, %v", user, err)
		}
		algorithm, err := v.PreferredAlgorithm("demo")
		if algorithm != identity.SHA256 {
			t.Errorf("preferred algorithm %q", algorithm)
		}
		return err
	})

	s.update(t, facts(&fact.TagDeleted{Repository: "demo", Tag: "latest", Manifest: primary("signature")},
		&fact.ManifestDeleted{Repository: "demo", Manifest: primary("signature")},
		&fact.ManifestDeleted{Repository: "demo", Manifest: primary("image")}))
	s.read(t, func(v registry.View) error {
		if user, err := v.Referencing("demo", digests("layer")); err != nil || !user.IsZero() {
			t.Errorf("after the deletes the layer is referenced by %s, %v", user, err)
		}
		page, err := v.ReferrerPage("demo", identity.Of([]byte("image")), "", 0, 10, 1<<20)
		if len(page) != 0 {
			t.Errorf("after the deletes there are %d referrers", len(page))
		}
		return err
	})
	report := s.check(t)
	for _, v := range report.Views {
		// What deleted manifests reference stays until they are forgotten.
		if want := map[string]int{"manifests": 0, "graves": 2, "references": 2, "referrers": 0, "tags": 0, "tag_history": 5}; v.Name != "" {
			if n, ok := want[v.Name]; ok && n != v.Rows {
				t.Errorf("view %s has %d rows, want %d", v.Name, v.Rows, n)
			}
		}
	}
}

func TestManifestThatIsPutAgainReplacesItsRows(t *testing.T) {
	s := checked(t)
	populated(t, s)
	again := image("demo", "signature", "layer", "application/y", []string{"layer", "image"})
	again.Entries = again.Entries[2:] // its bytes are stored already
	s.update(t, again)
	s.read(t, func(v registry.View) error {
		old, err := v.ReferrerPage("demo", identity.Of([]byte("image")), "", 0, 10, 1<<20)
		must(t, err)
		now, err := v.ReferrerPage("demo", identity.Of([]byte("layer")), "", 0, 10, 1<<20)
		if len(old) != 0 || len(now) != 1 {
			t.Errorf("referrers: %d of the old subject, %d of the new", len(old), len(now))
		}
		return err
	})
	if n := s.count(t, "SELECT count(*) FROM manifest_references"); n != 3 {
		t.Errorf("%d references, want 3", n)
	}
}

func TestPages(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, image("demo", "image", "", "", nil))
	want := []string{"A", "B", "_", "a", "a.1", "aa", "b"}
	for _, name := range []string{"b", "aa", "a", "a.1", "B", "_", "A"} {
		s.update(t, facts(tag("demo", name, "image"), &fact.RepositoryCreated{Repository: "x/" + name}))
	}
	s.read(t, func(v registry.View) error {
		for limit := 1; limit <= len(want)+1; limit++ {
			var names, repositories []string
			for {
				after := ""
				if len(names) > 0 {
					after = names[len(names)-1]
				}
				page, err := v.TagPage("demo", after, limit)
				must(t, err)
				more, err := v.RepositoryPage("x/"+after, limit)
				must(t, err)
				if len(page) == 0 {
					break
				}
				names = append(names, page...)
				for _, r := range more {
					repositories = append(repositories, strings.TrimPrefix(r, "x/"))
				}
			}
			if !slices.Equal(names, want) || !slices.Equal(repositories, want) {
				t.Errorf("pages of %d: tags %v, repositories %v, want %v", limit, names, repositories, want)
			}
		}
		if page, err := v.TagPage("none", "", 10); err != nil || len(page) != 0 {
			t.Errorf("tags of no repository: %v, %v", page, err)
		}
		return nil
	})
}

func TestReferrerPagesMergeAllDigestsOfTheSubject(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	subject := digests("image")
	var all, typed []registry.Referrer
	for i := range 12 {
		name := fmt.Sprintf("referrer %d", i)
		c := image("demo", name, "image", fmt.Sprintf("type/%d", i%2), nil)
		put := c.Entries[2].Fact.(*fact.ManifestPut)
		put.SubjectDigest = subject[i%len(subject)] // as each client chose to write it
		s.update(t, c)
		m := new(registry.Manifest)
		s.read(t, func(v registry.View) (err error) { m, _, err = v.Manifest("demo", primary(name)); return err })
		r := registry.Referrer{Sequence: m.Sequence, Descriptor: c.Entries[2].Content}
		all = append(all, r)
		if i%2 == 1 {
			typed = append(typed, r)
		}
	}
	equal := func(a, b registry.Referrer) bool {
		return a.Sequence == b.Sequence && string(a.Descriptor) == string(b.Descriptor)
	}
	for _, c := range []struct {
		artifactType string
		want         []registry.Referrer
	}{{"", all}, {"type/1", typed}, {"type/none", nil}} {
		for _, limits := range [][2]int{{1, 1 << 20}, {5, 1 << 20}, {100, 1 << 20}, {100, 1}, {100, 200}} {
			var got []registry.Referrer
			s.read(t, func(v registry.View) error {
				for {
					var last registry.Referrer
					if len(got) > 0 {
						last = got[len(got)-1]
					}
					page, err := v.ReferrerPage("demo", subject, c.artifactType, last.Sequence, limits[0], limits[1])
					if err != nil || len(page) == 0 {
						return err
					}
					if size := len(page) * len(page[0].Descriptor); len(page) > limits[0] || len(page) > 1 && size > limits[1] {
						t.Errorf("page of %d referrers under the limits %v", len(page), limits)
					}
					got = append(got, page...)
				}
			})
			if !slices.EqualFunc(got, c.want, equal) {
				t.Errorf("type %q, limits %v: %d referrers, want %d", c.artifactType, limits, len(got), len(c.want))
			}
		}
	}
}

func TestLostReferrersDoNotHideThoseAfterThem(t *testing.T) {
	s := create(t, metastore.Options{})
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	var last eventlog.Sequence
	for i := range 5 {
		name := fmt.Sprintf("referrer %d", i)
		c := image("demo", name, "image", "type/x", nil)
		c.Entries[2].Fact.(*fact.ManifestPut).SubjectDigest = primary("image")
		s.update(t, c)
		s.read(t, func(v registry.View) error {
			m, _, err := v.Manifest("demo", primary(name))
			last = m.Sequence
			return err
		})
		if i < 4 {
			if err := s.DeleteObject(t.Context(), last); err != nil {
				t.Fatal(err)
			}
		}
	}
	s.read(t, func(v registry.View) error {
		page, err := v.ReferrerPage("demo", digests("image"), "", 0, 2, 1<<20)
		if len(page) != 1 || page[0].Sequence != last {
			t.Errorf("got %v, want event %d", page, last)
		}
		return err
	})
}

func TestUploadsAreKeptUntilDropped(t *testing.T) {
	s := checked(t)
	start := time.UnixMicro(1_800_000_000_000_000).UTC()
	var all []registry.Upload
	for i := range 5 {
		all = append(all, registry.Upload{
			ID: fmt.Sprintf("u%d", i), Repository: "demo", Actor: "anonymous", State: registry.UploadOpen, Generation: 3,
			Staged:  fact.Staged{ID: "s1", Store: "default", Offset: 7, Driver: []byte{1}, Hash: []byte{2}, Boot: "b", Locator: "l"},
			Expires: start.Add(time.Duration(i) * time.Hour),
		})
	}
	all[4].State, all[4].Result = registry.UploadFinished, primary("x")
	all[4].Staged = fact.Staged{ID: "s2", Inline: []byte("bytes")}
	s.update(t, &registry.Change{Puts: all})
	all[1].Generation = 4
	s.update(t, &registry.Change{Puts: all[1:2], Drops: []string{"u0", "none"}})
	s.reopen(t)
	s.read(t, func(v registry.View) error {
		for i, want := range all {
			got, err := v.Upload(want.ID)
			must(t, err)
			if i == 0 {
				if got != nil {
					t.Error("a dropped upload is still there")
				}
				continue
			}
			if got == nil || fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
				t.Errorf("upload is %+v, want %+v", got, want)
			}
		}
		expired, err := v.UploadsExpired(start.Add(3*time.Hour), 10)
		must(t, err)
		if len(expired) != 2 || expired[0].ID != "u1" || expired[1].ID != "u2" {
			t.Errorf("expired: %+v", expired)
		}
		first, err := v.UploadsExpired(start.Add(100*time.Hour), 1)
		if len(first) != 1 || first[0].ID != "u1" {
			t.Errorf("first to expire: %+v", first)
		}
		return err
	})
	if n := s.count(t, "SELECT count(*) FROM events"); n != 0 {
		t.Errorf("uploads made %d events", n)
	}
}

func TestWhatIsNotThereIsNil(t *testing.T) {
	s := checked(t)
	populated(t, s)
	absent := digests("absent")
	s.read(t, func(v registry.View) error {
		for _, d := range absent {
			b, err := v.Blob(d)
			must(t, err)
			linked, content, err := v.LinkedBlob("demo", d)
			must(t, err)
			m, bytes, err := v.Manifest("demo", d)
			must(t, err)
			if b != nil || linked != nil || content != nil || m != nil || bytes != nil {
				t.Errorf("something was found by %s", d)
			}
		}
		if tag, err := v.Tag("demo", "absent"); tag != nil || err != nil {
			t.Errorf("tag %v, %v", tag, err)
		}
		if u, err := v.Upload("absent"); u != nil || err != nil {
			t.Errorf("upload %v, %v", u, err)
		}
		if a, err := v.PreferredAlgorithm("absent"); a != "" || err != nil {
			t.Errorf("algorithm %q, %v", a, err)
		}
		if holder, err := v.BlobHolder(absent[0]); holder != "" || err != nil {
			t.Errorf("holder %q, %v", holder, err)
		}
		exists, err := v.RepositoryExists("absent")
		if exists {
			t.Error("a repository that nobody made")
		}
		return err
	})
	if _, err := s.Object(t.Context(), 1); !errors.Is(err, fact.ErrGone) {
		t.Errorf("an event without content gives %v", err)
	}
}

func TestSecretsStayTheSame(t *testing.T) {
	s := checked(t)
	get := func(name string) (secret []byte) {
		s.read(t, func(v registry.View) (err error) { secret, err = v.Secret(name); return err })
		return secret
	}
	a, b := get("a"), get("b")
	if len(a) != 32 || string(a) == string(b) {
		t.Errorf("secrets %x and %x", a, b)
	}
	s.reopen(t)
	var inside []byte
	must(t, s.Update(t.Context(), caller, registry.Keys{}, func(v registry.View) (_ *registry.Change, err error) {
		inside, err = v.Secret("a")
		return nil, err
	}))
	if string(get("a")) != string(a) || string(inside) != string(a) {
		t.Error("a secret changed")
	}
	if other := create(t, metastore.Options{}); string(a) == func() (x string) {
		other.read(t, func(v registry.View) error { y, err := v.Secret("a"); x = string(y); return err })
		return x
	}() {
		t.Error("two stores have the same secret")
	}
}

func TestReadersRunBesideTheWriter(t *testing.T) {
	s := checked(t)
	populated(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 8 {
		readers.Go(func() {
			for ctx.Err() == nil {
				err := s.Read(ctx, func(v registry.View) error {
					// Tag and manifest move together: one state is seen, or the other.
					m, tag, content, err := v.TaggedManifest("demo", "latest")
					if err == nil && (tag.Manifest != m.Blob.Digests.Primary() || digest(identity.BLAKE3, string(content)) != tag.Manifest) {
						err = fmt.Errorf("tag %s beside manifest %s", tag.Manifest, m.Blob.Digests.Primary())
					}
					return err
				})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 100 {
		s.update(t, facts(tag("demo", "latest", []string{"image", "signature"}[i%2])))
	}
	cancel()
	readers.Wait()
}

func TestReadGivesUpWithItsContext(t *testing.T) {
	s := checked(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Read(ctx, func(v registry.View) error {
		cancel()
		var err error
		for range 100_000 { // a server is told while it answers
			if _, err = v.RepositoryExists("demo"); err != nil {
				break
			}
		}
		return err
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	populated(t, s) // the connection is as good as new
}

func TestFilesAreNotForOthers(t *testing.T) {
	s := checked(t)
	populated(t, s)
	files, err := os.ReadDir(filepath.Dir(s.path))
	must(t, err)
	if len(files) != 3 {
		t.Errorf("%d files, want the database, its WAL and its shared memory", len(files))
	}
	for _, f := range files {
		info, err := f.Info()
		must(t, err)
		if mode := info.Mode().Perm(); mode&^0o640 != 0 {
			t.Errorf("%s has mode %o", f.Name(), mode)
		}
	}
}
