package importer_test

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/distribution"
	"artifactstore/internal/budget"
	"artifactstore/internal/dataplane"
	"artifactstore/internal/importer"
	"artifactstore/internal/inproc"
	"artifactstore/internal/metastore"
	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// home is a registry of ours, and what a test asks it.
type home struct {
	t       *testing.T
	handler http.Handler
}

func newHome(t *testing.T, o registry.Options) *home {
	t.Helper()
	dir, ctx := t.TempDir(), t.Context()
	ledger, err := metastore.Open(ctx, filepath.Join(dir, "artifactstore.db"), metastore.Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, ledger.Migrate(ctx, func(metastore.Migration) {}))
	driver, err := filesystem.Open(filepath.Join(dir, "store"), filesystem.Options{})
	must(t, err)
	plane, err := dataplane.New(map[string]storagedriver.Driver{"files": driver}, "files", ledger, dataplane.Options{Budget: budget.New(64 << 20)})
	must(t, err)
	reg, err := registry.New(ctx, ledger, plane, o)
	must(t, err)
	t.Cleanup(func() {
		if _, err := ledger.Check(context.WithoutCancel(ctx), nil); err != nil {
			t.Errorf("check of the store: %v", err)
		}
		must(t, ledger.Close())
		must(t, driver.Close())
	})
	return &home{t, web.Wrap(distribution.New(reg, distribution.Options{}), web.Options{Failure: distribution.Failure})}
}

// target is the registry as an import sees it.
func (h *home) target() *importer.Target {
	h.t.Helper()
	target, err := importer.NewTarget(importer.Endpoint{Host: "home", Name: "home", PlainHTTP: true, Transport: inproc.Transport(h.handler)})
	must(h.t, err)
	return target
}

// get returns what the registry answers.
func (h *home) get(path string) *httptest.ResponseRecorder {
	h.t.Helper()
	w := httptest.NewRecorder()
	h.handler.ServeHTTP(w, httptest.NewRequestWithContext(h.t.Context(), http.MethodGet, path, nil))
	return w
}

// has fails the test unless a tag or digest of a repository names a manifest.
func (h *home) has(repository, reference string, want digest.Digest) {
	h.t.Helper()
	w := h.get("/v2/" + repository + "/manifests/" + reference)
	if got := digest.Digest(w.Header().Get("Docker-Content-Digest")); w.Code != http.StatusOK || got != want {
		h.t.Errorf("%s %s: status %d, digest %q, want %s", repository, reference, w.Code, got, want)
	}
}

// lacks fails the test if there is such a manifest.
func (h *home) lacks(repository, reference string) {
	h.t.Helper()
	if w := h.get("/v2/" + repository + "/manifests/" + reference); w.Code != http.StatusNotFound {
		h.t.Errorf("%s %s: status %d, want 404", repository, reference, w.Code)
	}
}

// hasBlob fails the test unless a blob comes back as it is.
func (h *home) hasBlob(repository string, data []byte) {
	h.t.Helper()
	w := h.get("/v2/" + repository + "/blobs/" + digest.FromBytes(data).String())
	if w.Code != http.StatusOK || !bytes.Equal(w.Body.Bytes(), data) {
		h.t.Errorf("blob %s of %s: status %d, %d bytes", digest.FromBytes(data), repository, w.Code, w.Body.Len())
	}
}

// referrers returns the digests that refer to a manifest.
func (h *home) referrers(repository string, subject digest.Digest) []digest.Digest {
	h.t.Helper()
	var index ocispec.Index
	must(h.t, json.Unmarshal(h.get("/v2/"+repository+"/referrers/"+subject.String()).Body.Bytes(), &index))
	var found []digest.Digest
	for _, d := range index.Manifests {
		found = append(found, d.Digest)
	}
	return found
}

// bring imports everything, and returns the report.
func bring(t *testing.T, src importer.Source, h *home, change ...func(*importer.Options)) *importer.Report {
	t.Helper()
	o := importer.Options{Jobs: 4}
	for _, f := range change {
		f(&o)
	}
	r, err := importer.Run(t.Context(), src, h.target(), o)
	must(t, err)
	if !r.Complete {
		t.Error("the import is not complete")
	}
	return r
}

// allCame fails the test if something was refused.
func allCame(t *testing.T, r *importer.Report) {
	t.Helper()
	for _, refusal := range r.Refused {
		t.Errorf("refused: %+v", refusal)
	}
}

// open opens a folder or an archive.
func open(t *testing.T, path, as string) importer.Source {
	t.Helper()
	src, err := importer.Open(path, as)
	must(t, err)
	t.Cleanup(func() { must(t, src.Close()) })
	return src
}

// artifact is a manifest and the blobs that it names.
type artifact struct {
	ocispec.Descriptor
	raw   []byte
	blobs [][]byte
}

func random(seed uint64, n int) []byte {
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	data := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(data) // never fails
	return data
}

func describe(mediaType string, data []byte) ocispec.Descriptor {
	return ocispec.Descriptor{MediaType: mediaType, Digest: digest.FromBytes(data), Size: int64(len(data))}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// image is an image with a layer that follows from the seed, and more layers.
func image(seed uint64, change func(*ocispec.Manifest), more ...[]byte) artifact {
	layers := append([][]byte{random(seed, 3000)}, more...)
	config := encode(ocispec.Image{Author: strings.Repeat("x", int(seed%50)), RootFS: ocispec.RootFS{Type: "layers", DiffIDs: []digest.Digest{digest.FromBytes(layers[0])}}})
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: describe(ocispec.MediaTypeImageConfig, config)}
	for _, layer := range layers {
		m.Layers = append(m.Layers, describe(ocispec.MediaTypeImageLayer, layer))
	}
	if change != nil {
		change(&m)
	}
	raw := encode(m)
	return artifact{describe(m.MediaType, raw), raw, append([][]byte{config}, layers...)}
}

// signature is an artifact that refers to another.
func signature(seed uint64, subject ocispec.Descriptor) artifact {
	return image(seed, func(m *ocispec.Manifest) { m.Subject, m.ArtifactType = &subject, "application/vnd.example.signature" })
}

func index(children ...ocispec.Descriptor) artifact {
	raw := encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageIndex, Manifests: children})
	return artifact{Descriptor: describe(ocispec.MediaTypeImageIndex, raw), raw: raw}
}

// files are files to be put into a folder or an archive, by their names.
type files map[string][]byte

func (f files) folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range f {
		path := filepath.Join(dir, filepath.FromSlash(name))
		must(t, os.MkdirAll(filepath.Dir(path), 0o700))
		must(t, os.WriteFile(path, data, 0o600))
	}
	return dir
}

func (f files) archive(t testing.TB, links ...tar.Header) string {
	t.Helper()
	file, err := os.Create(filepath.Join(t.TempDir(), "archive.tar"))
	must(t, err)
	w := tar.NewWriter(file)
	for name, data := range f {
		must(t, w.WriteHeader(&tar.Header{Name: name, Mode: 0o600, Size: int64(len(data)), Typeflag: tar.TypeReg}))
		_, err := w.Write(data)
		must(t, err)
	}
	for _, link := range links {
		must(t, w.WriteHeader(&link))
	}
	must(t, w.Close())
	must(t, file.Close())
	return file.Name()
}

// distributionStore writes what CNCF Distribution writes.
type distributionStore struct{ files }

const distributionRoot = "docker/registry/v2/"

func (s distributionStore) blob(repository string, data []byte) {
	d := digest.FromBytes(data)
	s.files[distributionRoot+"blobs/sha256/"+d.Encoded()[:2]+"/"+d.Encoded()+"/data"] = data
	s.files[distributionRoot+"repositories/"+repository+"/_layers/sha256/"+d.Encoded()+"/link"] = []byte(d)
}

// put writes a manifest with its blobs and sets tags to it.
func (s distributionStore) put(repository string, a artifact, tags ...string) {
	for _, blob := range a.blobs {
		s.blob(repository, blob)
	}
	d, home := a.Digest, distributionRoot+"repositories/"+repository+"/_manifests/"
	algorithm := d.Algorithm().String()
	s.files[distributionRoot+"blobs/"+algorithm+"/"+d.Encoded()[:2]+"/"+d.Encoded()+"/data"] = a.raw
	s.files[home+"revisions/"+algorithm+"/"+d.Encoded()+"/link"] = []byte(d)
	for _, tag := range tags {
		s.files[home+"tags/"+tag+"/current/link"] = []byte(d)
		s.files[home+"tags/"+tag+"/index/"+algorithm+"/"+d.Encoded()+"/link"] = []byte(d)
	}
}

// layout writes an OCI layout into files, below a folder that may be "".
func layout(f files, dir string, entries []ocispec.Descriptor, artifacts ...artifact) {
	for _, a := range artifacts {
		for _, data := range append([][]byte{a.raw}, a.blobs...) {
			f[dir+"blobs/sha256/"+digest.FromBytes(data).Encoded()] = data
		}
	}
	f[dir+"index.json"] = encode(ocispec.Index{Versioned: specs.Versioned{SchemaVersion: 2}, Manifests: entries})
	f[dir+"oci-layout"] = []byte(`{"imageLayoutVersion":"1.0.0"}`)
}

// named is the entry of an artifact in the index of a layout.
func named(a artifact, annotations ...string) ocispec.Descriptor {
	desc := a.Descriptor
	desc.Annotations = make(map[string]string)
	for i := 0; i < len(annotations); i += 2 {
		desc.Annotations[annotations[i]] = annotations[i+1]
	}
	return desc
}

const (
	refName        = ocispec.AnnotationRefName
	containerdName = "io.containerd.image.name"
)
