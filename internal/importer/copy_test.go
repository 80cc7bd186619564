package importer_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
	"artifactstore/registry"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares a text with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		must(t, os.WriteFile(path, []byte(got), 0o600))
	}
	want, err := os.ReadFile(path)
	must(t, err)
	if got != string(want) {
		t.Errorf("%s is not what it should be; got\n%s", path, got)
	}
}

// text is a report as people read it, without what differs from run to run.
func text(t *testing.T, r *importer.Report) string {
	t.Helper()
	var b bytes.Buffer
	must(t, r.Write(&b))
	out := regexp.MustCompile(`\(/[^)]*\)`).ReplaceAllString(b.String(), "(DIR)")
	return regexp.MustCompile(`in [0-9.]+m?s\.`).ReplaceAllString(out, "in TIME.")
}

// badStore has one of everything that cannot be brought, and something good.
func badStore(t *testing.T) string {
	s := distributionStore{files{}}
	path := func(d digest.Digest) string {
		return distributionRoot + "blobs/sha256/" + d.Encoded()[:2] + "/" + d.Encoded() + "/data"
	}
	good, corrupt, truncated, missing, changed := image(1, nil), image(2, nil), image(3, nil), image(4, nil), image(5, nil)
	s.put("team/app", good, "good")
	s.put("team/app", corrupt, "corrupt", "also-corrupt")
	s.files[path(digest.FromBytes(corrupt.blobs[1]))] = random(7, 3000)
	s.put("team/app", truncated, "truncated")
	s.files[path(digest.FromBytes(truncated.blobs[1]))] = truncated.blobs[1][:10]
	s.put("team/app", missing, "missing")
	delete(s.files, path(digest.FromBytes(missing.blobs[1])))
	s.put("team/app", changed, "changed")
	s.files[path(changed.Digest)] = good.raw
	schema1 := artifact{raw: []byte(`{"schemaVersion":1,"name":"app","tag":"v1","fsLayers":[]}`)}
	schema1.Digest = digest.FromBytes(schema1.raw)
	s.put("team/app", schema1, "schema1")
	nobody := describe(ocispec.MediaTypeImageManifest, []byte("nobody has this"))
	s.put("team/app", index(good.Descriptor, nobody), "sparse")
	s.put("team/app", image(6, func(m *ocispec.Manifest) { m.MediaType = "application/vnd.example.manifest+json" }), "unknown-type")
	s.put("team/app", image(8, func(m *ocispec.Manifest) { m.Config.MediaType = "" }), "invalid")
	home := distributionRoot + "repositories/team/app/_manifests/tags/"
	s.files[home+"broken/current/link"] = []byte("sha256:no digest")
	s.files[home+".hidden/current/link"] = []byte(good.Digest)
	foreign := ocispec.Descriptor{MediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Digest: nobody.Digest, Size: 15,
		URLs: []string{"https://example.com/layer"}}
	s.put("team/app", image(9, func(m *ocispec.Manifest) { m.Layers = append(m.Layers, foreign) }), "foreign-is-fine")
	return s.folder(t)
}

// TestWhatCannotBeBroughtIsReported, each with its name and the reason, and
// the rest comes.
func TestWhatCannotBeBroughtIsReported(t *testing.T) {
	dir := badStore(t)
	h := newHome(t, registry.Options{})
	r := bring(t, open(t, dir, ""), h)
	golden(t, "refused.txt", text(t, r))
	h.has("team/app", "good", image(1, nil).Digest)
	if w := h.get("/v2/team/app/manifests/foreign-is-fine"); w.Code != 200 {
		t.Errorf("an image with a layer that is elsewhere: status %d", w.Code)
	}
	again := bring(t, open(t, dir, ""), h)
	if again.Failures() != r.Failures() || again.Tags.Copied+again.Manifests.Copied+again.Blobs.Copied != 0 {
		t.Errorf("a second run: %+v", again)
	}
}

// TestADryRunSaysTheSame, as far as it can without a target that judges.
func TestADryRunSaysTheSame(t *testing.T) {
	h := newHome(t, registry.Options{})
	var listed bytes.Buffer
	r := bring(t, open(t, badStore(t), ""), h, func(o *importer.Options) { o.DryRun, o.Listed = true, &listed })
	golden(t, "dryrun.txt", text(t, r))
	if !strings.Contains(listed.String(), "team/app:good "+image(1, nil).Digest.String()+"\n") {
		t.Errorf("listed:\n%s", &listed)
	}
	h.lacks("team/app", "good")
}

// TestASparseIndexIsForTheTargetToTake: what is missing is reported either way.
func TestASparseIndexIsForTheTargetToTake(t *testing.T) {
	s := distributionStore{files{}}
	a, layerless := image(1, nil), image(2, nil)
	nobody := describe(ocispec.MediaTypeImageManifest, []byte("nobody has this"))
	both := index(a.Descriptor, nobody)
	s.put("app", a)
	s.put("app", both, "v1")
	s.put("app", layerless, "layerless")
	delete(s.files, distributionRoot+"repositories/app/_layers/sha256/"+layerless.hex(1)+"/link")
	h := newHome(t, registry.Options{AllowSparse: true})
	r := bring(t, open(t, s.folder(t), ""), h)
	h.has("app", "v1", both.Digest)
	h.has("app", "layerless", layerless.Digest)
	if r.Failures() != 2 || r.Tags.Refused != 0 {
		t.Errorf("report %+v", r)
	}
}

// TestATagIsMovedOnlyWhenAsked: the target's may be newer.
func TestATagIsMovedOnlyWhenAsked(t *testing.T) {
	s := distributionStore{files{}}
	old, newer := image(1, nil), image(2, nil)
	h := newHome(t, registry.Options{})
	s.put("app", newer, "v1")
	allCame(t, bring(t, open(t, s.folder(t), ""), h))
	s.put("app", old, "v1")
	dir := s.folder(t)
	r := bring(t, open(t, dir, ""), h)
	h.has("app", "v1", newer.Digest)
	h.has("app", old.Digest.String(), old.Digest)
	if len(r.Refused) != 1 || r.Refused[0].Tags[0] != "v1" || !strings.Contains(r.Refused[0].Reason, "--overwrite") {
		t.Errorf("refused %+v", r.Refused)
	}
	allCame(t, bring(t, open(t, dir, ""), h, func(o *importer.Options) { o.Overwrite = true }))
	h.has("app", "v1", old.Digest)
}

// stopping is a source that calls stop at the n-th blob.
type stopping struct {
	importer.Source
	nth  int64
	stop func()
	met  atomic.Int64
}

func (s *stopping) Repository(name string) (importer.Repository, error) {
	r, err := s.Source.Repository(name)
	return stoppingRepository{r, s}, err
}

type stoppingRepository struct {
	importer.Repository
	source *stopping
}

func (r stoppingRepository) Blob(ctx context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	if r.source.met.Add(1) == r.source.nth {
		r.source.stop()
	}
	return r.Repository.Blob(ctx, desc)
}

// TestAnImportGoesOnWhereItWas: stopped at every blob in turn, it reports
// nothing as refused, and in the end everything is there, each blob sent once.
func TestAnImportGoesOnWhereItWas(t *testing.T) {
	s := distributionStore{files{}}
	a, b := image(1, nil), image(2, nil)
	both := index(a.Descriptor, b.Descriptor)
	s.put("app", a)
	s.put("app", b)
	s.put("app", both, "v1", "v2")
	s.put("app", signature(3, both.Descriptor))
	dir := s.folder(t)
	h := newHome(t, registry.Options{})
	var blobs int64
	for complete := false; !complete; {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := importer.Run(ctx, &stopping{Source: open(t, dir, ""), nth: 2, stop: cancel}, h.target(), importer.Options{Jobs: 1})
		cancel()
		if complete = r.Complete; !complete && !errors.Is(err, context.Canceled) {
			t.Fatalf("stopped with %v", err)
		}
		allCame(t, r)
		if !complete && r.Blobs.Copied == 0 {
			t.Fatalf("it does not go on: %+v", r)
		}
		blobs += r.Blobs.Copied
	}
	h.has("app", "v1", both.Digest)
	h.has("app", "v2", both.Digest)
	if got := h.referrers("app", both.Digest); len(got) != 1 {
		t.Errorf("referrers %v", got)
	}
	if blobs != 6 {
		t.Errorf("%d blobs were sent, not 6", blobs)
	}
	again := bring(t, open(t, dir, ""), h)
	if again.Tags != (importer.Count{There: 2}) || again.Manifests != (importer.Count{There: 4}) || again.Blobs != (importer.Count{}) || again.Bytes != 0 {
		t.Errorf("the last run: %+v", again)
	}
}

// many is a source of one image with very many tags.
type many struct {
	image artifact
	tags  int
}

func (m many) String() string                                         { return "many tags" }
func (m many) Close() error                                           { return nil }
func (m many) Repositories(context.Context) ([]string, error)         { return []string{"app"}, nil }
func (m many) Repository(string) (importer.Repository, error)         { return m, nil }
func (m many) Resolve(context.Context, string) (digest.Digest, error) { return m.image.Digest, nil }

func (m many) Tags(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for i := range m.tags {
			if !yield(fmt.Sprintf("v%d", i), nil) {
				return
			}
		}
	}
}

func (m many) Manifests(context.Context) iter.Seq2[digest.Digest, error] {
	return func(func(digest.Digest, error) bool) {}
}

func (m many) Manifest(context.Context, digest.Digest) (importer.Manifest, error) {
	return importer.Manifest{Raw: m.image.raw}, nil
}

func (m many) HasBlob(context.Context, ocispec.Descriptor) error { return nil }

func (m many) Blob(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	for _, blob := range m.image.blobs {
		if digest.FromBytes(blob) == desc.Digest {
			return io.NopCloser(bytes.NewReader(blob)), nil
		}
	}
	return nil, errors.New("no such blob")
}

// TestManyTagsTakeNoMemory: the import holds none of those that it has seen.
func TestManyTagsTakeNoMemory(t *testing.T) {
	const few, very = 100, 10_000
	h := newHome(t, registry.Options{})
	a := image(1, nil)
	allCame(t, bring(t, many{image: a, tags: few}, h))
	h.has("app", fmt.Sprintf("v%d", few-1), a.Digest)
	before := heap()
	r := bring(t, many{image: a, tags: very}, h, func(o *importer.Options) { o.DryRun = true })
	allCame(t, r)
	if grown := heap() - before; grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if r.Tags != (importer.Count{Copied: very - few, There: few}) {
		t.Errorf("tags %+v", r.Tags)
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestProgressIsShown while an import runs.
func TestProgressIsShown(t *testing.T) {
	h := newHome(t, registry.Options{})
	seen := &waiter{want: []byte("repository 1 of 1, app: "), found: make(chan struct{})}
	src := stoppingSource(t, func() { <-seen.found })
	allCame(t, bring(t, src, h, func(o *importer.Options) { o.Progress, o.Interval = seen, time.Millisecond }))
}

// stoppingSource has one image, and waits in the middle of it.
func stoppingSource(t *testing.T, wait func()) importer.Source {
	s := distributionStore{files{}}
	s.put("app", image(1, nil), "v1")
	return &stopping{Source: open(t, s.folder(t), ""), nth: 1, stop: wait}
}

// waiter closes found when it is written what is wanted.
type waiter struct {
	want  []byte
	found chan struct{}
	done  bool
}

func (w *waiter) Write(p []byte) (int, error) {
	if !w.done && bytes.Contains(p, w.want) {
		w.done = true
		close(w.found)
	}
	return len(p), nil
}
