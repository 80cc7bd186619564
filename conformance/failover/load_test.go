package failover_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// load is writers that push images, each into a repository of its own, and all
// of them move one tag.
type load struct {
	writers []*writer
	ctx     context.Context // ended when the writers have ended
	stop    chan struct{}   // closed: no further image is begun
	running sync.WaitGroup

	mu       sync.Mutex
	wrong    []string       // answers that no client should get
	answered map[string]int // how often each status and code came that is no success
	acked    int            // requests that were acknowledged
}

// repository in which all writers move one tag.
const common = "failover/common"

// patience is how long a writer tries one request again. What takes longer has
// not recovered.
const patience = 90 * time.Second

// startLoad starts writers against a registry; change may change them before.
func startLoad(t *testing.T, url string, change ...func(*writer)) *load {
	t.Helper()
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedVariable, seed)
	l := &load{stop: make(chan struct{}), ctx: t.Context(), answered: map[string]int{}}
	client := harness.NewClient(url)
	t.Cleanup(client.Close)
	harness.Must(t, client.PushBlob(t.Context(), common, harness.SHA256(emptyConfig), emptyConfig))
	for i := range writers {
		w := &writer{load: l, client: client, number: i, repository: fmt.Sprintf("failover/writer%d", i),
			seed: (seed%1_000_000*100 + uint64(i)) * 1_000_000, large: i%4 == 0,
			own: casTag{repository: fmt.Sprintf("failover/writer%d", i), name: "own"}, shared: casTag{repository: common, name: "shared"}}
		for _, f := range change {
			f(w)
		}
		l.writers = append(l.writers, w)
		l.running.Go(w.run)
	}
	t.Cleanup(func() { l.end(); l.running.Wait() })
	return l
}

func (l *load) end() {
	select {
	case <-l.stop:
	default:
		close(l.stop)
	}
}

// finish lets every writer come to the end of its image, and reports what was
// answered wrongly.
func (l *load) finish(t *testing.T) {
	t.Helper()
	l.end()
	l.running.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, text := range l.wrong {
		if i == 10 {
			t.Errorf("and %d more", len(l.wrong)-i)
			break
		}
		t.Error(text)
	}
	images := 0
	for _, w := range l.writers {
		images += len(w.images)
		if len(w.images) == 0 {
			t.Errorf("writer %d has pushed nothing at all", w.number)
		}
	}
	t.Logf("%d images, %d requests acknowledged; other answers: %v", images, l.acked, l.answered)
}

// images is how many were acknowledged so far.
func (l *load) requests() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acked
}

// await waits until so many more requests were acknowledged.
func (l *load) await(t *testing.T, more int) {
	t.Helper()
	want := l.requests() + more
	for deadline := time.Now().Add(patience); l.requests() < want; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %d requests were acknowledged within %v", more, patience)
		}
	}
}

func (l *load) complain(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.wrong = append(l.wrong, fmt.Sprintf(format, args...))
}

// noted counts an answer and complains of one that no client should get: what
// is away for a while is 503 in the form of the specification, with the time
// after which to come again. 502 is the balancer's word for a node that died.
func (l *load) noted(r harness.Request, reply harness.Reply, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil:
		l.answered["connection lost"]++
		return
	case reply.Status/100 == 2:
		l.acked++
		return
	}
	l.answered[fmt.Sprintf("%d %s", reply.Status, reply.Code())]++
	switch reply.Status {
	case http.StatusBadGateway, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable:
	case http.StatusNotFound:
		if reply.Code() != "BLOB_UPLOAD_UNKNOWN" {
			l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %d %.300s", r.Method, r.Path, reply.Status, reply.Body))
		}
	case http.StatusServiceUnavailable:
		if reply.Code() != "UNAVAILABLE" || reply.Header.Get("Retry-After") == "" {
			l.wrong = append(l.wrong, fmt.Sprintf("%s %s: 503 without code or Retry-After (%q): %.300s",
				r.Method, r.Path, reply.Header.Get("Retry-After"), reply.Body))
		}
	default:
		l.wrong = append(l.wrong, fmt.Sprintf("%s %s: %d %.300s", r.Method, r.Path, reply.Status, reply.Body))
	}
}

// writer pushes one image after the other and remembers what was acknowledged.
// As a client does, it tries again what was answered with 5xx or not at all.
type writer struct {
	load       *load
	client     *harness.Client
	number     int
	repository string
	seed       uint64
	large      bool // some of its layers have several parts
	larger     bool // and many

	images []*image // acknowledged, with all blobs and the tag
	own    casTag
	shared casTag
}

// image is blobs and a manifest, all of them unique.
type image struct {
	tag      string
	blobs    [][]byte
	manifest []byte
}

var emptyConfig = []byte("{}")

// Sizes of layers: kept in the database, written to the bucket in one request,
// and in several parts of 5 MiB.
const (
	inlineSize  = 3 << 10
	objectSize  = 150 << 10
	severalSize = 11 << 20
)

func (w *writer) image(i int) *image {
	seed := w.seed + uint64(i)*10
	sizes := []int{inlineSize}
	switch {
	case w.large && i%6 == 1, w.larger && i%3 == 0:
		sizes = append(sizes, severalSize)
	case i%2 == 0:
		sizes = append(sizes, objectSize+i)
	}
	im := &image{tag: fmt.Sprintf("v%d", i), blobs: [][]byte{harness.Encode(map[string]uint64{"seed": seed})}}
	m := harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
		Config: harness.Describe(harness.ImageConfig, im.blobs[0]), Layers: []harness.Descriptor{}}
	for n, size := range sizes {
		layer := harness.Random(seed+uint64(n)+1, size)
		im.blobs = append(im.blobs, layer)
		m.Layers = append(m.Layers, harness.Describe(harness.ImageLayer, layer))
	}
	im.manifest = harness.Encode(m)
	return im
}

func (w *writer) run() {
	for i := 0; ; i++ {
		select {
		case <-w.load.stop:
			return
		default:
		}
		im := w.image(i)
		if err := w.push(i, im); err != nil {
			if w.load.ctx.Err() == nil {
				w.load.complain("writer %d, image %d: %v", w.number, i, err)
			}
			return
		}
		w.images = append(w.images, im)
		for _, tag := range []*casTag{&w.own, &w.shared} {
			if err := w.move(tag, i); err != nil {
				if w.load.ctx.Err() == nil {
					w.load.complain("writer %d, tag %s: %v", w.number, tag.name, err)
				}
				return
			}
		}
	}
}

func (w *writer) push(i int, im *image) error {
	for n, blob := range im.blobs {
		if err := w.persist(func(ctx context.Context) error { return w.pushBlob(ctx, blob, (i+n)%3) }); err != nil {
			return err
		}
	}
	return w.persist(func(ctx context.Context) error {
		_, err := w.do(ctx, manifestRequest(w.repository, im.tag, im.manifest, nil), http.StatusCreated)
		return err
	})
}

// persist tries again until it works, with the pauses of an impatient client.
func (w *writer) persist(attempt func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(w.load.ctx, patience)
	defer cancel()
	for {
		err := attempt(ctx)
		if err == nil || errors.Is(err, errWrong) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("not recovered within %v: %w", patience, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// errWrong: there is no use in trying again.
var errWrong = errors.New("refused")

// requestTimeout is when a client gives a request up: a paused node never answers.
const requestTimeout = 25 * time.Second

// do sends a request and returns an error unless the answer has a status.
func (w *writer) do(ctx context.Context, r harness.Request, status int) (harness.Reply, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	reply, err := w.client.Do(ctx, r)
	w.load.noted(r, reply, err)
	if err != nil {
		return reply, err
	}
	err = reply.Expect(status)
	if err != nil && reply.Status/100 == 4 && reply.Status != http.StatusPreconditionFailed &&
		reply.Status != http.StatusRequestedRangeNotSatisfiable && reply.Code() != "BLOB_UPLOAD_UNKNOWN" {
		err = fmt.Errorf("%w: %w", errWrong, err)
	}
	return reply, err
}

// The ways to push a blob.
const (
	atOnce   = iota
	inTwo    // POST, PUT
	inChunks // POST, two PATCH, PUT
)

// pushBlob pushes a blob from its beginning.
func (w *writer) pushBlob(ctx context.Context, blob []byte, way int) error {
	begin := harness.Request{Method: http.MethodPost, Path: "/v2/" + w.repository + "/blobs/uploads/"}
	digest := harness.SHA256(blob)
	if way == atOnce {
		begin.Path = harness.AddQuery(begin.Path, "digest", digest)
		begin.Header = map[string]string{"Content-Type": "application/octet-stream"}
		begin.Body = blob
		_, err := w.do(ctx, begin, http.StatusCreated)
		return err
	}
	reply, err := w.do(ctx, begin, http.StatusAccepted)
	if err != nil {
		return err
	}
	location, sent := reply.Header.Get("Location"), 0
	if way == inChunks {
		for _, end := range []int{len(blob) / 3, len(blob) * 3 / 4} {
			reply, err := w.do(ctx, harness.Request{Method: http.MethodPatch, Path: location,
				Header: harness.ChunkHeader(int64(sent), end-sent), Body: blob[sent:end]}, http.StatusAccepted)
			if err != nil {
				return err
			}
			location, sent = reply.Header.Get("Location"), end
		}
	}
	_, err = w.do(ctx, harness.Request{Method: http.MethodPut, Path: harness.AddQuery(location, "digest", digest),
		Header: map[string]string{"Content-Type": "application/octet-stream"}, Body: blob[sent:]}, http.StatusCreated)
	return err
}

func manifestRequest(repository, reference string, manifest []byte, condition map[string]string) harness.Request {
	r := harness.Request{Method: http.MethodPut, Path: "/v2/" + repository + "/manifests/" + reference,
		Header: map[string]string{"Content-Type": harness.ImageManifest}, Body: manifest}
	for name, value := range condition {
		r.Header[name] = value
	}
	return r
}
