package importer_test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
	"artifactstore/registry"
)

// TestAllOfADistributionStoreComes: tags, manifests without a tag, indexes,
// referrers and nested names.
func TestAllOfADistributionStoreComes(t *testing.T) {
	s := distributionStore{files{}}
	base := random(99, 5000)
	one, two, untagged := image(1, nil, base), image(2, nil, base), image(3, nil)
	both := index(one.Descriptor, two.Descriptor)
	signed := signature(4, both.Descriptor)
	s.put("team/app", one)
	s.put("team/app", two, "two", "latest")
	s.put("team/app", both, "v1")
	s.put("team/app", untagged)
	s.put("team/app", signed)
	s.put("team/app/deep/er", one, "v1")

	for place, dir := range map[string]string{"the root": "", "docker": "docker", "docker/registry": "docker/registry", "v2": distributionRoot} {
		t.Run("named by "+place, func(t *testing.T) {
			h := newHome(t, registry.Options{})
			r := bring(t, open(t, filepath.Join(s.folder(t), dir), ""), h)
			allCame(t, r)
			h.has("team/app", "v1", both.Digest)
			h.has("team/app", "two", two.Digest)
			h.has("team/app", "latest", two.Digest)
			h.has("team/app", one.Digest.String(), one.Digest)
			h.has("team/app", untagged.Digest.String(), untagged.Digest)
			h.has("team/app/deep/er", "v1", one.Digest)
			for _, a := range []artifact{one, two, untagged, signed} {
				for _, blob := range a.blobs {
					h.hasBlob("team/app", blob)
				}
			}
			if got := h.referrers("team/app", both.Digest); !slices.Equal(got, []digest.Digest{signed.Digest}) {
				t.Errorf("referrers %v", got)
			}
			want := importer.Count{Copied: 6}
			if r.Repositories != 2 || r.Tags != (importer.Count{Copied: 4}) || r.Manifests != want {
				t.Errorf("%d repositories, tags %+v, manifests %+v", r.Repositories, r.Tags, r.Manifests)
			}
		})
	}
}

// TestADistributionStoreIsReadAsItIsServed: what the old registry would answer
// with 404 is not there.
func TestADistributionStoreIsReadAsItIsServed(t *testing.T) {
	s := distributionStore{files{}}
	other, deleted, foreign := image(1, nil), image(2, nil), image(3, nil)
	s.put("other", other, "v1")
	s.put("mine", deleted, "gone")
	delete(s.files, distributionRoot+"repositories/mine/_manifests/revisions/sha256/"+deleted.Digest.Encoded()+"/link")
	s.put("mine", foreign, "v1")
	// A manifest that names a layer which only the other repository has.
	delete(s.files, distributionRoot+"repositories/mine/_layers/sha256/"+digest.FromBytes(foreign.blobs[1]).Encoded()+"/link")
	h := newHome(t, registry.Options{})
	r := bring(t, open(t, s.folder(t), ""), h)
	h.has("other", "v1", other.Digest)
	h.lacks("mine", "gone")
	h.lacks("mine", "v1")
	if r.Tags.Refused != 2 || r.Failures() != 2 {
		t.Errorf("report %+v", r)
	}
}

// TestNothingOutsideOfAFolderIsRead: a link may lead anywhere.
func TestNothingOutsideOfAFolderIsRead(t *testing.T) {
	secret := filepath.Join(t.TempDir(), "secret")
	a := image(1, nil)
	must(t, os.WriteFile(secret, a.blobs[1], 0o600))
	s := distributionStore{files{}}
	s.put("app", a, "v1")
	layer := distributionRoot + "blobs/sha256/" + a.hex(1)[:2] + "/" + a.hex(1) + "/data"
	delete(s.files, layer)
	dir := s.folder(t)
	must(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, layer)), 0o700))
	must(t, os.Symlink(secret, filepath.Join(dir, layer)))
	h := newHome(t, registry.Options{})
	r := bring(t, open(t, dir, ""), h)
	h.lacks("app", "v1")
	if len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "escapes") {
		t.Errorf("refused %+v", r.Refused)
	}
}

// TestARepositoryBehindALinkIsReported: distribution serves it, so it must not be
// left out in silence.
func TestARepositoryBehindALinkIsReported(t *testing.T) {
	a := image(1, nil)
	store, zot := distributionStore{files{}}, files{}
	store.put("team/app", a, "v1")
	layout(zot, "team/app/", []ocispec.Descriptor{named(a, refName, "v1")}, a)
	cases := []struct{ name, dir, link string }{
		{"distribution", store.folder(t), distributionRoot + "repositories/team/big"},
		{"zot", zot.folder(t), "team/big"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			must(t, os.Symlink(t.TempDir(), filepath.Join(c.dir, c.link)))
			h := newHome(t, registry.Options{})
			r := bring(t, open(t, c.dir, ""), h)
			h.has("team/app", "v1", a.Digest)
			if len(r.Refused) != 1 || r.Refused[0].Repository != "team/big" || !strings.Contains(r.Refused[0].Reason, "symbolic link") {
				t.Errorf("refused %+v", r.Refused)
			}
		})
	}
}

// TestAPipeIsNotWaitedFor, wherever a source has one.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	must(t, syscall.Mkfifo(pipe, 0o600))
	if _, err := importer.Open(pipe, ""); err == nil || !strings.Contains(err.Error(), "neither a folder nor a file") {
		t.Errorf("got %v", err)
	}
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("app", a, "v1")
	layer := distributionRoot + "blobs/sha256/" + a.hex(1)[:2] + "/" + a.hex(1) + "/data"
	dir := s.folder(t)
	must(t, os.Remove(filepath.Join(dir, layer)))
	must(t, syscall.Mkfifo(filepath.Join(dir, layer), 0o600))
	r := bring(t, open(t, dir, ""), newHome(t, registry.Options{}))
	if len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "is no file") {
		t.Errorf("refused %+v", r.Refused)
	}
}

// hex is the encoded digest of a blob.
func (a artifact) hex(blob int) string { return digest.FromBytes(a.blobs[blob]).Encoded() }

// TestContentNamedBySHA512Comes, with its tag under the same name.
func TestContentNamedBySHA512Comes(t *testing.T) {
	s := distributionStore{files{}}
	a := image(1, nil)
	s.put("app", a)
	a.Digest = digest.SHA512.FromBytes(a.raw)
	s.put("app", a, "v1")
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, open(t, s.folder(t), ""), h))
	h.has("app", "v1", a.Digest)
	h.has("app", a.Digest.String(), a.Digest)
}

// TestABlobNamedBySHA512Comes: distribution keeps it under its SHA-256, to which
// the link leads, and answers with that.
func TestABlobNamedBySHA512Comes(t *testing.T) {
	without(t)
	s := distributionStore{files{}}
	a := image(1, nil)
	byOther := image(1, func(m *ocispec.Manifest) { m.Layers[0].Digest = digest.SHA512.FromBytes(a.blobs[1]) })
	s.put("app", byOther, "v1")
	layers := distributionRoot + "repositories/app/_layers/"
	s.files[layers+"sha512/"+digest.SHA512.FromBytes(a.blobs[1]).Encoded()+"/link"] = []byte(digest.FromBytes(a.blobs[1]))
	old := running(t, s, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha512:") {
				w.Header().Set("Docker-Content-Digest", digest.FromBytes(a.blobs[1]).String())
				_, _ = w.Write(a.blobs[1])
				return
			}
			next.ServeHTTP(w, r)
		})
	})
	for _, src := range []importer.Source{open(t, s.folder(t), ""), fromRegistry(t, old.URL)} {
		t.Run(src.String(), func(t *testing.T) {
			h := newHome(t, registry.Options{})
			allCame(t, bring(t, src, h))
			h.has("app", "v1", byOther.Digest)
			h.hasBlob("app", a.blobs[1])
		})
	}
}

// TestAManifestOfAnyKindIsRead: the folder does not say which type it has.
func TestAManifestOfAnyKindIsRead(t *testing.T) {
	s := distributionStore{files{}}
	bare := image(1, func(m *ocispec.Manifest) { m.MediaType = "" })
	docker := image(2, func(m *ocispec.Manifest) { m.MediaType = "application/vnd.docker.distribution.manifest.v2+json" })
	list := artifact{raw: encode(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.docker.distribution.manifest.list.v2+json",
		"manifests": []ocispec.Descriptor{{MediaType: "application/vnd.docker.distribution.manifest.v2+json", Digest: docker.Digest, Size: docker.Size}}})}
	list.Digest = digest.FromBytes(list.raw)
	cache := index(describe(ocispec.MediaTypeImageLayer, bare.blobs[1])) // as build caches are
	for tag, a := range map[string]artifact{"bare": bare, "docker": docker, "list": list, "cache": cache} {
		s.put("app", a, tag)
	}
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, open(t, s.folder(t), ""), h))
	for tag, want := range map[string]string{"bare": ocispec.MediaTypeImageManifest, "cache": ocispec.MediaTypeImageIndex,
		"docker": "application/vnd.docker.distribution.manifest.v2+json", "list": "application/vnd.docker.distribution.manifest.list.v2+json"} {
		if got := h.get("/v2/app/manifests/" + tag).Header().Get("Content-Type"); got != want {
			t.Errorf("%s has the type %q, want %q", tag, got, want)
		}
	}
}
