package registry_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

// inline is the inline limit of the registries under test: small, so that both
// ways of keeping bytes are taken.
const inline = 64

// world is a registry over a real ledger and objects in memory.
type world struct {
	*registry.Registry
	ledger *metastore.Store
	driver *memory.Driver
	clock  *clock
}

type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(time.Microsecond)
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

var caller = registry.Caller{Actor: "anonymous", Request: "r-1"}

// open makes a registry whose store must be what its log says when the test ends.
func open(t *testing.T, o registry.Options) *world {
	t.Helper()
	ctx := context.Background()
	w := &world{driver: memory.New(memory.Options{}), clock: &clock{now: time.Unix(1_700_000_000, 0)}}
	var err error
	w.ledger, err = metastore.Open(ctx, filepath.Join(t.TempDir(), "db"), metastore.Options{Now: w.clock.Now})
	must(t, err)
	must(t, w.ledger.Migrate(ctx, nil))
	t.Cleanup(func() {
		_, err := w.ledger.Check(ctx, nil)
		if err := errors.Join(err, w.ledger.Close()); err != nil {
			t.Error(err)
		}
	})
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": w.driver}, "m", w.ledger,
		dataplane.Options{InlineLimit: inline, BootID: "b", Now: w.clock.Now})
	must(t, err)
	w.Registry, err = registry.New(ctx, w.ledger, plane, o)
	must(t, err)
	return w
}

func (w *world) repo(t *testing.T, name string) *registry.Repository {
	t.Helper()
	r, err := w.Repository(name, caller)
	must(t, err)
	return r
}

func (w *world) staged(t *testing.T) []string {
	t.Helper()
	ids, err := w.driver.Staged(context.Background())
	must(t, err)
	return ids
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// refused fails the test unless err is a refusal with this code.
func refused(t *testing.T, err error, code registry.Code) *registry.Error {
	t.Helper()
	var e *registry.Error
	if !errors.As(err, &e) || e.Code != code {
		t.Fatalf("got %v, want a refusal %s", err, code)
	}
	return e
}

func whole(data string) registry.Chunk {
	return registry.Chunk{Length: int64(len(data)), Body: strings.NewReader(data)}
}

func digest(data string) identity.Digest {
	return identity.FromBytes(identity.SHA256, []byte(data))
}

func push(t *testing.T, r *registry.Repository, data string) identity.Digest {
	t.Helper()
	d, err := r.PushBlob(context.Background(), digest(data), whole(data))
	must(t, err)
	return d
}

func read(t *testing.T, r *registry.Repository, d identity.Digest) string {
	t.Helper()
	c, err := r.Blob(context.Background(), d)
	must(t, err)
	rc, err := c.Open(context.Background(), 0, -1)
	must(t, err)
	defer rc.Close()
	data, err := io.ReadAll(io.LimitReader(rc, c.Size))
	must(t, err)
	return string(data)
}

func head(t *testing.T, w *world) uint64 {
	t.Helper()
	h, err := w.ledger.Events().Head(context.Background())
	must(t, err)
	return uint64(h.Sequence)
}

const small = "few bytes"

var large = strings.Repeat("many bytes ", 1000)

func TestPushedBlobIsServedByEveryDigest(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for _, data := range []string{"", small, large, strings.Repeat("x", inline), strings.Repeat("y", inline+1)} {
		push(t, r, data)
		for _, d := range identity.Of([]byte(data)) {
			if got := read(t, r, d); got != data {
				t.Fatalf("%s: served %d bytes, want %d", d, len(got), len(data))
			}
		}
	}
	if ids := w.staged(t); len(ids) != 0 {
		t.Fatalf("left staged: %v", ids)
	}
}

func TestPushingTheSameContentAgainStoresNothing(t *testing.T) {
	for name, data := range map[string]string{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			push(t, w.repo(t, "a"), data)
			before := head(t, w)
			push(t, w.repo(t, "a"), data)
			if after := head(t, w); after != before {
				t.Fatalf("%d events were added", after-before)
			}
			push(t, w.repo(t, "b"), data)
			if after := head(t, w); after != before+2 { // repository created, blob linked
				t.Fatalf("%d events were added, want 2", after-before)
			}
			if ids := w.staged(t); len(ids) != 0 {
				t.Fatalf("left staged: %v", ids)
			}
		})
	}
}

func TestLargerDigestIsAddedToStoredContent(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	push(t, r, large)
	d := identity.FromBytes(identity.SHA512, []byte(large))
	_, err := r.PushBlob(context.Background(), d, whole(large))
	must(t, err)
	if read(t, r, d) != large {
		t.Fatal("wrong bytes")
	}
}

func TestWrongDigestStoresNothing(t *testing.T) {
	for name, data := range map[string]string{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			_, err := w.repo(t, "a").PushBlob(context.Background(), digest("other"), whole(data))
			refused(t, err, registry.DigestInvalid)
			if n := head(t, w); n != 0 {
				t.Fatalf("%d events", n)
			}
			if ids := w.staged(t); len(ids) != 0 {
				t.Fatalf("left staged: %v", ids)
			}
		})
	}
}

func TestPushingAgainHealsMissingObject(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	d := push(t, r, large)
	must(t, w.driver.Delete(context.Background(), locator(t, w, d)))
	c, err := r.Blob(context.Background(), d)
	must(t, err)
	_, err = c.Open(context.Background(), 0, -1)
	refused(t, err, registry.BlobUnknown)
	push(t, w.repo(t, "b"), large)
	if read(t, r, d) != large {
		t.Fatal("wrong bytes")
	}
}

func locator(t *testing.T, w *world, d identity.Digest) (name string) {
	t.Helper()
	must(t, w.ledger.Read(context.Background(), func(v registry.View) error {
		b, err := v.Blob(d)
		name = b.Receipt.Locator
		return err
	}))
	return name
}

func TestSessionIsGoodForItsRepositoryAndCallerOnly(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	token, err := w.repo(t, "a").StartUpload(ctx, "")
	must(t, err)
	if n := head(t, w); n != 0 {
		t.Fatal("starting an upload stored something")
	}
	_, err = w.repo(t, "b").UploadStatus(ctx, token)
	refused(t, err, registry.BlobUploadUnknown)
	other, err := w.Repository("a", registry.Caller{Actor: "someone-else"})
	must(t, err)
	_, err = other.UploadStatus(ctx, token)
	refused(t, err, registry.BlobUploadUnknown)
	for i := range token {
		forged := token[:i] + string(token[i]^1) + token[i+1:]
		if _, err := w.repo(t, "a").UploadStatus(ctx, forged); err == nil && i < len(token)-1 {
			t.Fatalf("a token forged at %d is accepted", i)
		}
	}
	w.clock.advance(25 * time.Hour)
	_, err = w.repo(t, "a").UploadStatus(ctx, token)
	refused(t, err, registry.BlobUploadUnknown)
}

func TestChunksOutOfOrderAreToldWhereTheUploadStands(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	token, err := r.StartUpload(ctx, "")
	must(t, err)
	status, err := r.AppendUpload(ctx, token, whole(large[:500]))
	must(t, err)
	if status.Offset != 500 {
		t.Fatalf("offset %d", status.Offset)
	}
	late := registry.Chunk{Ranged: true, Start: 600, End: 699, Length: 100, Body: strings.NewReader(large[600:700])}
	_, err = r.AppendUpload(ctx, token, late)
	e := refused(t, err, registry.RangeInvalid)
	if got, ok := e.Detail.(registry.UploadStatus); !ok || got.Offset != 500 || got.Session != token {
		t.Fatalf("detail %#v", e.Detail)
	}
	rest := registry.Chunk{Ranged: true, Start: 500, End: int64(len(large)) - 1, Length: -1, Body: strings.NewReader(large[500:])}
	_, err = r.FinishUpload(ctx, token, rest, digest(large))
	must(t, err)
	// A client that lost the answer asks again.
	before := head(t, w)
	_, err = r.FinishUpload(ctx, token, whole(""), digest(large))
	must(t, err)
	if head(t, w) != before {
		t.Fatal("finishing again added events")
	}
	_, err = r.FinishUpload(ctx, token, whole(""), digest("other"))
	refused(t, err, registry.BlobUploadUnknown)
	if read(t, r, digest(large)) != large {
		t.Fatal("wrong bytes")
	}
}

func TestBrokenOffChunkIsKeptAsFarAsItCame(t *testing.T) {
	ctx := context.Background()
	for name, n := range map[string]int{"inline": 10, "in a store": 5000} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			r := w.repo(t, "a")
			token, err := r.StartUpload(ctx, "")
			must(t, err)
			broken := io.MultiReader(strings.NewReader(large[:n]), failing{})
			_, err = r.AppendUpload(ctx, token, registry.Chunk{Length: -1, Body: broken})
			refused(t, err, registry.BlobUploadInvalid)
			status, err := r.UploadStatus(ctx, token)
			must(t, err)
			if status.Offset != int64(n) {
				t.Fatalf("offset %d, want %d", status.Offset, n)
			}
			_, err = r.FinishUpload(ctx, token, whole(large[n:]), digest(large))
			must(t, err)
			if read(t, r, digest(large)) != large {
				t.Fatal("wrong bytes")
			}
		})
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errors.New("connection reset") }

// TestNewerRequestTakesTheSessionOver: a client whose connection broke comes
// back while the server still waits for the old connection.
func TestNewerRequestTakesTheSessionOver(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	token, err := r.StartUpload(ctx, "")
	must(t, err)
	body, feed := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := r.AppendUpload(ctx, token, registry.Chunk{Length: -1, Body: body,
			Abort: func() { body.CloseWithError(errors.New("aborted")) }})
		done <- err
	}()
	if _, err := feed.Write([]byte(large[:1000])); err != nil {
		t.Fatal(err)
	}
	_, err = r.AppendUpload(ctx, token, registry.Chunk{Ranged: true, Start: 0, End: 999, Length: 1000, Body: strings.NewReader(large[:1000])})
	e := refused(t, err, registry.RangeInvalid)
	stands := e.Detail.(registry.UploadStatus).Offset
	e = refused(t, <-done, registry.RangeInvalid)
	if got := e.Detail.(registry.UploadStatus).Offset; got != stands {
		t.Fatalf("the older request was told %d, the newer %d", got, stands)
	}
	_, err = r.FinishUpload(ctx, token, whole(large[stands:]), digest(large))
	must(t, err)
	if read(t, r, digest(large)) != large {
		t.Fatal("wrong bytes")
	}
}

// TestFinishingTwiceAtOnceSucceedsTwice: a client that retries too early must
// not spoil its own first request.
func TestFinishingTwiceAtOnceSucceedsTwice(t *testing.T) {
	ctx := context.Background()
	for name, data := range map[string]string{"small": small, "large": large} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			r := w.repo(t, "a")
			token, err := r.StartUpload(ctx, "")
			must(t, err)
			_, err = r.AppendUpload(ctx, token, whole(data))
			must(t, err)
			var wg sync.WaitGroup
			results := make([]error, 6)
			for i := range results {
				wg.Go(func() { _, results[i] = r.FinishUpload(ctx, token, whole(""), digest(data)) })
			}
			wg.Wait()
			must(t, errors.Join(results...))
			if read(t, r, digest(data)) != data {
				t.Fatal("wrong bytes")
			}
		})
	}
}

func TestSinglePostBeginsAtTheBeginning(t *testing.T) {
	w := open(t, registry.Options{})
	_, err := w.repo(t, "a").PushBlob(context.Background(), digest(small),
		registry.Chunk{Ranged: true, Start: 5, End: 4 + int64(len(small)), Length: int64(len(small)), Body: strings.NewReader(small)})
	refused(t, err, registry.RangeInvalid)
}

func TestCancelledUploadIsGone(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for name, data := range map[string]string{"nothing": "", "small": small, "large": large} {
		token, err := r.StartUpload(ctx, "")
		must(t, err)
		if data != "" {
			_, err = r.AppendUpload(ctx, token, whole(data))
			must(t, err)
		}
		must(t, r.CancelUpload(ctx, token))
		refused(t, r.CancelUpload(ctx, token), registry.BlobUploadUnknown)
		_, err = r.UploadStatus(ctx, token)
		refused(t, err, registry.BlobUploadUnknown)
		_, err = r.FinishUpload(ctx, token, whole(data), digest(data))
		refused(t, err, registry.BlobUploadUnknown)
		if ids := w.staged(t); len(ids) != 0 {
			t.Fatalf("%s: left staged: %v", name, ids)
		}
	}
}

func TestPurgeRemovesExpiredUploadsAndOrphans(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	for range 3 {
		token, err := r.StartUpload(ctx, "")
		must(t, err)
		_, err = r.AppendUpload(ctx, token, whole(large))
		must(t, err)
	}
	stage, err := w.driver.Stage(ctx, "orphan")
	must(t, err)
	_, err = stage.Write([]byte("lost"))
	must(t, err)
	must(t, stage.Close())
	n, err := w.PurgeUploads(ctx)
	must(t, err)
	if n != 1 || len(w.staged(t)) != 3 {
		t.Fatalf("removed %d, left %v: want the orphan removed and the uploads kept", n, w.staged(t))
	}
	w.clock.advance(25 * time.Hour)
	n, err = w.PurgeUploads(ctx)
	must(t, err)
	if n != 3 || len(w.staged(t)) != 0 {
		t.Fatalf("removed %d, left %v", n, w.staged(t))
	}
}

func TestFullStoreRefusesPushesAndServes(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	d := push(t, r, large)
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": w.driver}, "m", w.ledger, dataplane.Options{InlineLimit: inline})
	must(t, err)
	full, err := registry.New(ctx, w.ledger, noRoom{plane}, registry.Options{})
	must(t, err)
	f, err := full.Repository("a", caller)
	must(t, err)
	_, err = f.PushBlob(ctx, digest(small), whole(small))
	refused(t, err, registry.StorageFull)
	_, err = f.StartUpload(ctx, "")
	refused(t, err, registry.StorageFull)
	_, err = f.PutManifest(ctx, image(registry.Reference{Tag: "v1"}, `{}`))
	if err == nil {
		t.Fatal("a full store took a manifest")
	}
	if read(t, f, d) != large {
		t.Fatal("wrong bytes")
	}
	must(t, f.DeleteBlob(ctx, d))
}

// noRoom is a data plane whose store is full.
type noRoom struct{ registry.Bytes }

func (noRoom) Room(context.Context) error { return fact.ErrFull }

func image(ref registry.Reference, body string) registry.ManifestPush {
	return registry.ManifestPush{Reference: ref, MediaType: "application/vnd.oci.image.manifest.v1+json",
		Length: int64(len(body)), Body: bytes.NewReader([]byte(body))}
}

// TestDamagedContentIsPushedAgain: what is missing in a store is not there for
// HEAD, mounts and manifests either, so that clients send it again.
func TestDamagedContentIsPushedAgain(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	d := push(t, r, large)
	must(t, w.driver.Delete(ctx, locator(t, w, d)))
	c, err := r.Blob(ctx, d)
	must(t, err)
	refused(t, c.Check(ctx), registry.BlobUnknown)
	if mounted, err := w.repo(t, "b").MountBlob(ctx, d, "a"); err != nil || mounted {
		t.Fatalf("mounted what is missing: %v, %v", mounted, err)
	}
	_, err = r.PutManifest(ctx, image(tagged("v1"), body(large, 0, "")))
	refused(t, err, registry.ManifestBlobUnknown)
	push(t, r, large)
	c, err = r.Blob(ctx, d)
	must(t, err)
	must(t, c.Check(ctx))
	_, err = r.PutManifest(ctx, image(tagged("v1"), body(large, 0, "")))
	must(t, err)
}
