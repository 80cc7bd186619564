package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/budget"
	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
)

// files is a plane over a folder, without content rows.
func files(t testing.TB) (*dataplane.Plane, *rows, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := filesystem.Open(dir, filesystem.Options{})
	must(t, err)
	t.Cleanup(func() { _ = d.Close() })
	p, r := newPlane(t, d, dataplane.Options{BootID: "boot"})
	return p, r, dir
}

func TestEveryRangeIsServedFromRowsObjectsAndFiles(t *testing.T) {
	inMemory, _, r := plane(t)
	inFiles, fr, _ := files(t)
	for _, c := range []struct {
		name string
		p    *dataplane.Plane
		r    *rows
		data []byte
	}{
		{"a content row", inMemory, r, random(limit, 1)},
		{"an object", inMemory, r, random(50_000, 2)},
		{"a file", inFiles, fr, random(50_000, 3)},
	} {
		t.Run(c.name, func(t *testing.T) {
			sealed, sequence := put(t, c.p, c.r, "a", c.data)
			size := sealed.Size
			for _, rg := range [][2]int64{{0, -1}, {0, 0}, {0, size}, {1, 1}, {size - 1, 1}, {size, 0}, {size, -1}, {size / 2, -1}, {7, size / 3}} {
				want := c.data[rg[0]:]
				if rg[1] >= 0 {
					want = want[:rg[1]]
				}
				if got := read(t, c.p, sealed, sequence, rg[0], rg[1]); !bytes.Equal(got, want) {
					t.Errorf("range %v: got %d bytes, want %d", rg, len(got), len(want))
				}
			}
			for _, rg := range [][2]int64{{-1, 1}, {0, size + 1}, {size + 1, 0}, {1, size}, {0, -2}} {
				_, err := c.p.Open(t.Context(), sealed.Receipt, sequence, size, rg[0], rg[1])
				if err == nil || errors.Is(err, fact.ErrGone) {
					t.Errorf("range %v: %v", rg, err)
				}
			}
		})
	}
}

func TestMissingBytesAreGone(t *testing.T) {
	for _, size := range []int{10, 5000} {
		p, _, r := plane(t)
		sealed, sequence := put(t, p, r, "a", random(size, 4))
		check := func(want bool) {
			t.Helper()
			present, err := p.Present(t.Context(), sealed.Receipt, sequence, sealed.Size)
			if must(t, err); present != want {
				t.Errorf("%d bytes: present %v, want %v", size, present, want)
			}
		}
		check(true)
		must(t, p.Delete(t.Context(), sealed.Receipt, sequence))
		must(t, p.Delete(t.Context(), sealed.Receipt, sequence))
		check(false)
		_, err := p.Open(t.Context(), sealed.Receipt, sequence, sealed.Size, 0, -1)
		wants(t, err, fact.ErrGone)
		wants(t, p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil), fact.ErrGone)
	}
}

func TestVerifyChecksEveryDigest(t *testing.T) {
	p, _, r := plane(t)
	sealed, sequence := put(t, p, r, "a", random(5000, 7))
	wrong := sealed.Digests.With(identity.FromBytes(identity.SHA512, []byte("other")))
	wants(t, p.Verify(t.Context(), sealed.Receipt, sequence, wrong, sealed.Size, nil), fact.ErrGone)
	right := sealed.Digests.With(identity.FromBytes(identity.SHA512, random(5000, 7)))
	must(t, p.Verify(t.Context(), sealed.Receipt, sequence, right, sealed.Size, nil))
}

func TestAFailureToReadIsNotDamage(t *testing.T) {
	d := memory.New(memory.Options{})
	plain, r := newPlane(t, d, dataplane.Options{})
	sealed, sequence := put(t, plain, r, "a", random(100_000, 8))
	for n := 1; n <= 3; n++ {
		plan := &fault.Plan{FailAt: n, Err: errInjected}
		p, _ := newPlane(t, fault.Wrap(unsized{d}, plan), dataplane.Options{})
		err := p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil)
		if !errors.Is(err, errInjected) || errors.Is(err, fact.ErrGone) {
			t.Errorf("operation %d: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	wants(t, plain.Verify(ctx, sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil), context.Canceled)
}

// unsized is a driver whose readers do not know the size of the object.
type unsized struct{ storagedriver.Driver }

func (d unsized) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	rc, err := d.Driver.Open(ctx, locator, offset, length)
	return struct{ io.ReadCloser }{rc}, err
}

// An object that ends early while it is read does not end well.
func TestAReaderOfTooFewBytesFails(t *testing.T) {
	p, r := newPlane(t, ending{memory.New(memory.Options{})}, dataplane.Options{})
	sealed, sequence := put(t, p, r, "a", random(5000, 9))
	rc, err := p.Open(t.Context(), sealed.Receipt, sequence, sealed.Size, 0, -1)
	must(t, err)
	if _, err := io.ReadAll(rc); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the error is %v", err)
	}
	must(t, rc.Close())
	wants(t, p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil), fact.ErrGone)
}

// ending is a driver whose readers end after 100 bytes.
type ending struct{ *memory.Driver }

func (d ending) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	rc, err := d.Driver.Open(ctx, locator, offset, length)
	if err != nil {
		return nil, err
	}
	return io.NopCloser(io.LimitReader(rc, 100)), nil
}

// counting is a listener whose connections count what reaches their ReadFrom
// as a file: that is what net.TCPConn hands to sendfile(2).
type counting struct {
	net.Listener
	sent *atomic.Int64
}

func (l counting) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return &countingConn{c.(*net.TCPConn), l.sent}, nil
}

type countingConn struct {
	*net.TCPConn
	sent *atomic.Int64
}

func (c *countingConn) ReadFrom(r io.Reader) (int64, error) {
	n, err := c.TCPConn.ReadFrom(r)
	if limited, ok := r.(*io.LimitedReader); ok {
		if _, ok := limited.R.(*os.File); ok {
			c.sent.Add(n)
		}
	}
	return n, err
}

func TestFilesReachSendfileThroughNetHTTP(t *testing.T) {
	p, r, _ := files(t)
	data := random(300_000, 10)
	sealed, sequence := put(t, p, r, "a", data)
	const offset, length = 1000, 250_000
	var sent atomic.Int64
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		rc, err := p.Open(req.Context(), sealed.Receipt, sequence, sealed.Size, offset, length)
		if err != nil {
			t.Error(err)
			return
		}
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Content-Length", "250000")
		if _, err := io.CopyN(w, rc, length); err != nil {
			t.Error(err)
		}
		if err := rc.Close(); err != nil {
			t.Error(err)
		}
	}))
	server.Listener = counting{server.Listener, &sent}
	server.Start()
	defer server.Close()
	res, err := server.Client().Get(server.URL)
	must(t, err)
	got, err := io.ReadAll(res.Body)
	must(t, err, res.Body.Close())
	if !bytes.Equal(got, data[offset:offset+length]) {
		t.Errorf("got %d other bytes", len(got))
	}
	server.Close()                // the handler may still be counting what the client has read
	if sent.Load() < length-512 { // net/http looks at the first 512 bytes itself
		t.Errorf("%d of %d bytes went by ReadFrom of a file", sent.Load(), length)
	}
}

func TestDiscardRemovesWhatIsStagedAndWhatIsPublished(t *testing.T) {
	p, d, _ := plane(t)
	ctx := t.Context()
	s := fact.Staged{ID: "a"}
	must(t, p.Discard(ctx, s)) // nothing is anywhere
	ingest(t, p, &s, random(5000, 11))
	staged(t, p, "a")
	must(t, p.Discard(ctx, s), p.Discard(ctx, s))
	staged(t, p)

	s = fact.Staged{ID: "b"}
	ingest(t, p, &s, random(5000, 11))
	sealed, err := p.Seal(ctx, &s, "")
	must(t, err, p.Publish(ctx, s), p.Publish(ctx, s))
	must(t, p.Discard(ctx, s), p.Discard(ctx, s))
	_, err = d.Size(ctx, sealed.Receipt.Locator)
	wants(t, err, storagedriver.ErrNotExist)
}

func TestNothingIsSeenBeforePublish(t *testing.T) {
	p, _, _ := plane(t)
	s := fact.Staged{ID: "a"}
	ingest(t, p, &s, random(5000, 12))
	sealed, err := p.Seal(t.Context(), &s, "")
	must(t, err)
	present, err := p.Present(t.Context(), sealed.Receipt, 0, sealed.Size)
	if must(t, err); present {
		t.Error("present before Publish")
	}
	must(t, p.Publish(t.Context(), s))
	if present, _ = p.Present(t.Context(), sealed.Receipt, 0, sealed.Size); !present {
		t.Error("missing after Publish")
	}
}

// A large object is read as slowly as a pace says, not in one go after a wait.
func TestVerifyKeepsToAPace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, d, r := plane(t)
		data := random(5<<20, 13)
		sealed, sequence := put(t, p, r, "a", data)
		slow := &reading{Driver: d}
		p, _ = newPlane(t, slow, dataplane.Options{})
		began, pace := time.Now(), budget.NewPace(1<<20, 2)
		must(t, p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, pace))
		if took := time.Since(began); took < 4500*time.Millisecond || took > 5*time.Second {
			t.Errorf("5 MiB at 1 MiB/s took %v", took)
		}
		for _, at := range slow.reads {
			if late := at.bytes - int64(at.when.Sub(began).Seconds()*(1<<20)); late > 1<<20 {
				t.Fatalf("%d bytes are read after %v", at.bytes, at.when.Sub(began))
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := p.Verify(ctx, sealed.Receipt, sequence, sealed.Digests, sealed.Size, pace)
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fact.ErrGone) {
			t.Errorf("Verify that was given up: %v", err)
		}
	})
}

// reading is a driver that notes when how many bytes were read.
type reading struct {
	storagedriver.Driver
	reads []struct {
		when  time.Time
		bytes int64
	}
	total int64
}

func (d *reading) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	rc, err := d.Driver.Open(ctx, locator, offset, length)
	return struct {
		io.Reader
		io.Closer
	}{readerFunc(func(p []byte) (int, error) {
		n, err := rc.Read(p)
		d.total += int64(n)
		d.reads = append(d.reads, struct {
			when  time.Time
			bytes int64
		}{time.Now(), d.total})
		return n, err
	}), rc}, err
}
