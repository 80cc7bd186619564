package importer_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
	"artifactstore/registry"
)

// TestAnOCILayoutComes as a folder and as an archive, by the names that tools
// put into it.
func TestAnOCILayoutComes(t *testing.T) {
	a := image(1, nil)
	cases := []struct {
		name        string
		annotations []string
		as          string
		repository  string
		tag         string
	}{
		{"a tag, and the name is given", []string{refName, "v1"}, "team/app", "team/app", "v1"},
		{"no name at all", nil, "app", "app", ""},
		{"a whole name", []string{refName, "registry.example.com:5000/team/app:v2"}, "", "team/app", "v2"},
		{"the name of containerd", []string{refName, "3.19", containerdName, "docker.io/library/alpine:3.19"}, "", "alpine", "3.19"},
		{"the name of containerd without a tag", []string{refName, "v1", containerdName, "localhost/app"}, "", "app", "v1"},
	}
	for _, c := range cases {
		f := files{}
		layout(f, "", []ocispec.Descriptor{named(a, c.annotations...)}, a)
		for kind, path := range map[string]string{"folder": f.folder(t), "archive": f.archive(t)} {
			t.Run(c.name+" in a "+kind, func(t *testing.T) {
				h := newHome(t, registry.Options{})
				allCame(t, bring(t, open(t, path, c.as), h))
				h.has(c.repository, a.Digest.String(), a.Digest)
				h.hasBlob(c.repository, a.blobs[1])
				if c.tag != "" {
					h.has(c.repository, c.tag, a.Digest)
				}
			})
		}
	}
}

// TestTheNameGivenIsForWhatHasNone: a whole name goes before it.
func TestTheNameGivenIsForWhatHasNone(t *testing.T) {
	a, b := image(1, nil), image(2, nil)
	f := files{}
	layout(f, "", []ocispec.Descriptor{named(a, refName, "team/app:v2"), named(b, refName, "v1")}, a, b)
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, open(t, f.folder(t), "other"), h))
	h.has("team/app", "v2", a.Digest)
	h.has("other", "v1", b.Digest)
	h.lacks("other", "v2")
}

// TestAZotStoreComes: a tree of layouts, each named by its path.
func TestAZotStoreComes(t *testing.T) {
	a, b := image(1, nil), image(2, nil)
	signed := signature(3, a.Descriptor)
	f := files{"_trivy/db/metadata.json": []byte("{}"), "cache.db": []byte("x")}
	layout(f, "team/app/", []ocispec.Descriptor{named(a, refName, "v1"), named(signed)}, a, signed)
	layout(f, "team/app/deep/", []ocispec.Descriptor{named(b, refName, "v1")}, b)
	layout(f, "other/", []ocispec.Descriptor{named(a, refName, "v2")}, a)
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, open(t, f.folder(t), ""), h))
	h.has("team/app", "v1", a.Digest)
	h.has("team/app/deep", "v1", b.Digest)
	h.has("other", "v2", a.Digest)
	if got := h.referrers("team/app", a.Digest); !slices.Equal(got, []digest.Digest{signed.Digest}) {
		t.Errorf("referrers %v", got)
	}
}

// TestOneLayoutThatIsBrokenKeepsNoOthersOut of a folder of many.
func TestOneLayoutThatIsBrokenKeepsNoOthersOut(t *testing.T) {
	a, b := image(1, nil), image(2, nil)
	f := files{"cut/index.json": []byte(`{"mani`), "cut/oci-layout": []byte("{}")}
	layout(f, "good/", []ocispec.Descriptor{named(a, refName, "v1")}, a)
	layout(f, "twice/", []ocispec.Descriptor{named(a, refName, "v1"), named(b, refName, "v1")}, a, b)
	h := newHome(t, registry.Options{})
	r := bring(t, open(t, f.folder(t), ""), h)
	h.has("good", "v1", a.Digest)
	if len(r.Refused) != 2 || r.Refused[0].Repository != "cut" || !strings.Contains(r.Refused[0].Reason, "read cut/index.json") ||
		r.Refused[1].Repository != "twice" || !strings.Contains(r.Refused[1].Reason, "the tag v1 is that of both") {
		t.Errorf("refused %+v", r.Refused)
	}
}

// TestWhatIsNoSourceIsRefused, with words that say what to do.
func TestWhatIsNoSourceIsRefused(t *testing.T) {
	a := image(1, nil)
	nameless, twice, archive := files{}, files{}, files{"README": []byte("x")}
	layout(nameless, "", []ocispec.Descriptor{named(a, refName, "v1")}, a)
	fullName := files{}
	layout(fullName, "", []ocispec.Descriptor{named(a, refName, "team/app:v1")}, a)
	layout(twice, "", []ocispec.Descriptor{named(a, refName, "app:v1"), named(image(2, nil), refName, "app:v1")}, a)
	stuffed := files{"oci-layout": []byte("{}"), "index.json": []byte(`{"manifests": [{}` + strings.Repeat(",{}", 1<<20) + `]}`)}
	s := distributionStore{files{}}
	s.put("app", a, "v1")
	zipped := filepath.Join(t.TempDir(), "image.tar.gz")
	var compressed bytes.Buffer
	w := gzip.NewWriter(&compressed)
	_, err := w.Write([]byte("x"))
	must(t, err)
	must(t, w.Close())
	must(t, os.WriteFile(zipped, compressed.Bytes(), 0o600))
	text := filepath.Join(t.TempDir(), "notes.txt")
	must(t, os.WriteFile(text, []byte(strings.Repeat("no tar ", 200)), 0o600))
	cases := []struct{ name, path, as, want string }{
		{"a folder of something else", archive.folder(t), "", "What is understood"},
		{"an archive of something else", archive.archive(t), "", "neither the index.json"},
		{"an image without a name", nameless.folder(t), "", "name one with --as"},
		{"a tag of two manifests", twice.folder(t), "", "the tag v1 is that of both"},
		{"an index that is larger in memory", stuffed.folder(t), "app", "more than can have digests"},
		{"a name for what has names", s.folder(t), "app", "leave --as out"},
		{"a name for a layout that has one", fullName.folder(t), "app", "leave --as out"},
		{"a name for an archive that has one", fullName.archive(t), "app", "leave --as out"},
		{"a name that is none", nameless.folder(t), "No/Name", "no name of a repository"},
		{"a compressed archive", zipped, "", "gunzip --keep"},
		{"a file that is no archive", text, "", "no tar archive"},
		{"nothing", filepath.Join(t.TempDir(), "nothing"), "", "no such file"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			src, err := importer.Open(c.path, c.as)
			if err == nil {
				t.Fatalf("opened as %s", src)
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want %q in it", err, c.want)
			}
		})
	}
}

// TestAnArchiveOfDockerSaveComes: without a manifest, one is made, and always
// the same.
func TestAnArchiveOfDockerSaveComes(t *testing.T) {
	a := image(1, nil)
	config := describe("", a.blobs[0]).Digest.Encoded() + ".json"
	f := files{config: a.blobs[0], "1234/layer.tar": a.blobs[1],
		"manifest.json": encode([]map[string]any{{"Config": config, "RepoTags": []string{"team/app:v1", "localhost:5000/other:v2"}, "Layers": []string{"5678/layer.tar"}}})}
	// An engine writes a layer that it has written before as a link.
	path := f.archive(t, tar.Header{Name: "5678/layer.tar", Linkname: "../1234/layer.tar", Typeflag: tar.TypeSymlink})
	h := newHome(t, registry.Options{})
	allCame(t, bring(t, open(t, path, ""), h))
	allCame(t, bring(t, open(t, f.archive(t, tar.Header{Name: "5678/layer.tar", Linkname: "1234/layer.tar", Typeflag: tar.TypeLink}), ""), h))
	want := a.Digest // the image of the tests has the same form
	h.has("team/app", "v1", want)
	h.has("other", "v2", want)
	h.hasBlob("other", a.blobs[1])
}

// TestALayerIsWhatTheConfigurationSays: one that is not is refused.
func TestALayerIsWhatTheConfigurationSays(t *testing.T) {
	a := image(1, nil)
	f := files{"c.json": a.blobs[0], "l.tar": random(7, 3000),
		"manifest.json": encode([]map[string]any{{"Config": "c.json", "RepoTags": []string{"app:v1"}, "Layers": []string{"l.tar"}}})}
	h := newHome(t, registry.Options{})
	r := bring(t, open(t, f.archive(t), ""), h)
	h.lacks("app", "v1")
	if len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Reason, "other bytes under this digest") {
		t.Errorf("refused %+v", r.Refused)
	}
}

// TestNothingOutsideOfAnArchiveIsRead: names and links that climb out lead
// nowhere.
func TestNothingOutsideOfAnArchiveIsRead(t *testing.T) {
	a := image(1, nil)
	for _, link := range []string{"../../../../../../etc/passwd", "/etc/passwd", "l.tar"} {
		f := files{"c.json": a.blobs[0],
			"manifest.json": encode([]map[string]any{{"Config": "c.json", "RepoTags": []string{"app:v1"}, "Layers": []string{"l.tar"}}})}
		_, err := importer.Open(f.archive(t, tar.Header{Name: "l.tar", Linkname: link, Typeflag: tar.TypeSymlink}), "")
		if err == nil {
			t.Errorf("a link to %s was followed", link)
		}
	}
}
