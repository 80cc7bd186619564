package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/dataplane"
	"artifactstore/internal/durable"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/s3"
)

// damages are done to stored bytes, of which there are two at least.
var damages = []struct {
	name string
	do   func(data []byte) []byte
	// sized tells that only Verify finds it.
	sized bool
}{
	{"a bit is flipped at the start", func(b []byte) []byte { b[0] ^= 1; return b }, true},
	{"a bit is flipped in the middle", func(b []byte) []byte { b[len(b)/2] ^= 16; return b }, true},
	{"a bit is flipped at the end", func(b []byte) []byte { b[len(b)-1] ^= 128; return b }, true},
	{"two halves are exchanged", func(b []byte) []byte { return append(b[len(b)/2:], b[:len(b)/2]...) }, true},
	{"all bytes are zeros", func(b []byte) []byte { return make([]byte, len(b)) }, true},
	{"the last byte is missing", func(b []byte) []byte { return b[:len(b)-1] }, false},
	{"all but one is missing", func(b []byte) []byte { return b[:1] }, false},
	{"everything is missing", func(b []byte) []byte { return b[:0] }, false},
	{"there is one too many", func(b []byte) []byte { return append(b, 0) }, false},
	{"there is twice as much", func(b []byte) []byte { return append(b, b...) }, false},
	{"there is nothing at all", func([]byte) []byte { return nil }, false},
}

// place is where bytes are stored, and can be changed behind the plane's back;
// nil is to remove them.
type place struct {
	plane *dataplane.Plane
	rows  *rows
	large int // bytes of a large one
	set   func(t *testing.T, sealed fact.Sealed, sequence eventlog.Sequence, data []byte)
}

// places are all kinds of stored things with bytes.
var places = map[string]func(t *testing.T) place{
	"a content row": func(t *testing.T) place {
		r := &rows{m: map[eventlog.Sequence][]byte{}}
		p, err := dataplane.New(map[string]storagedriver.Driver{"main": memory.New(memory.Options{})}, "main", r,
			dataplane.Options{InlineLimit: dataplane.DefaultInlineLimit})
		must(t, err)
		return place{p, r, dataplane.DefaultInlineLimit, func(_ *testing.T, _ fact.Sealed, sequence eventlog.Sequence, data []byte) {
			// What lies behind in memory must not be taken for more of it.
			if r.m[sequence] = data[:len(data):len(data)]; data == nil {
				delete(r.m, sequence)
			}
		}}
	},
	"an object in memory": func(t *testing.T) place {
		d := memory.New(memory.Options{})
		p, r := newPlane(t, d, dataplane.Options{})
		return place{p, r, 700_000, replaced(d)}
	},
	"a file": func(t *testing.T) place {
		p, r, dir := files(t)
		return place{p, r, 700_000, func(t *testing.T, sealed fact.Sealed, _ eventlog.Sequence, data []byte) {
			name := filepath.Join(dir, "objects", sealed.Receipt.Locator)
			if must(t, os.RemoveAll(name)); data != nil {
				must(t, os.WriteFile(name, data, 0o600))
			}
		}}
	},
	"a file of another driver's": func(t *testing.T) place {
		dir := t.TempDir()
		d, err := filesystem.Open(dir, filesystem.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, d.Close()) })
		p, r := newPlane(t, locating{d}, dataplane.Options{})
		return place{p, r, 700_000, func(t *testing.T, sealed fact.Sealed, _ eventlog.Sequence, data []byte) {
			name := filepath.Join(dir, filesystem.Name(sealed.Receipt.Locator))
			if must(t, os.RemoveAll(name)); data != nil {
				must(t, os.WriteFile(name, data, 0o600))
			}
		}}
	},
	"an object in S3": func(t *testing.T) place {
		d := bucket(t, harness.StartS3(t), nil)
		p, r := newPlane(t, d, dataplane.Options{})
		return place{p, r, 700_000, replaced(d)}
	},
}

// replaced puts another object at a locator.
func replaced(d storagedriver.Driver) func(*testing.T, fact.Sealed, eventlog.Sequence, []byte) {
	return func(t *testing.T, sealed fact.Sealed, _ eventlog.Sequence, data []byte) {
		must(t, d.Delete(t.Context(), sealed.Receipt.Locator))
		if data != nil {
			placer, _ := storagedriver.Find[storagedriver.Placer](d)
			must(t, placer.Place(t.Context(), sealed.Receipt.Locator, int64(len(data)), bytes.NewReader(data)))
		}
	}
}

// locating publishes where another driver would have.
type locating struct{ *filesystem.Driver }

func (locating) Locate(id, _ string) string { return "objects/" + id }

func (d locating) Publish(ctx context.Context, id string, state []byte, size int64, locator string) error {
	r, err := d.OpenStaged(ctx, id, state, size)
	if err != nil {
		return err
	}
	return errors.Join(d.Place(ctx, locator, size, r), r.Close(), d.Discard(ctx, id, state))
}

// bucket is a driver of S3, which it may reach through a proxy.
func bucket(t *testing.T, server *harness.S3, proxy *harness.FaultProxy) *s3.Driver {
	t.Helper()
	access, secret := server.CredentialFiles(t)
	o := s3.Options{Bucket: server.NewBucket(t), Endpoint: server.Endpoint, PathStyle: true,
		AccessKeyIDFile: access, SecretAccessKeyFile: secret, Spool: t.TempDir()}
	if proxy != nil {
		o.Endpoint = proxy.URL()
	}
	d, err := s3.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

func TestDamageIsFoundInEveryKindOfStoredThing(t *testing.T) {
	for kind, open := range places {
		t.Run(kind, func(t *testing.T) {
			at := open(t)
			for i, size := range []int{2, 1000, at.large} {
				data := random(size, byte(i))
				sealed, sequence := put(t, at.plane, at.rows, fmt.Sprintf("id%d", i), bytes.Clone(data))
				if (sealed.Receipt.Store == fact.Content) != (kind == "a content row") {
					t.Fatalf("%d bytes are in %q", size, sealed.Receipt.Store)
				}
				for _, c := range damages {
					damaged := c.do(bytes.Clone(data))
					if bytes.Equal(damaged, data) {
						t.Fatalf("%s: %d bytes are the same", c.name, size)
					}
					at.set(t, sealed, sequence, damaged)
					t.Run(fmt.Sprintf("%s of %d", c.name, size), func(t *testing.T) {
						isDamaged(t, at.plane, sealed, sequence, c.sized)
					})
					at.set(t, sealed, sequence, bytes.Clone(data))
					holds(t, at.plane, sealed, sequence, data) // it was that
				}
			}
		})
	}
}

// isDamaged expects bytes that Verify finds damaged, and nothing that is served
// of them unless their size is right.
func isDamaged(t *testing.T, p *dataplane.Plane, sealed fact.Sealed, sequence eventlog.Sequence, sized bool) {
	t.Helper()
	wants(t, p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil), fact.ErrGone)
	present, err := p.Present(t.Context(), sealed.Receipt, sequence, sealed.Size)
	if must(t, err); present != sized {
		t.Errorf("present is %v", present)
	}
	for _, rg := range [][2]int64{{0, -1}, {0, 1}, {sealed.Size - 1, 1}} {
		rc, err := p.Open(t.Context(), sealed.Receipt, sequence, sealed.Size, rg[0], rg[1])
		if err == nil {
			_ = rc.Close()
		}
		if sized != (err == nil) || err != nil && !errors.Is(err, fact.ErrGone) {
			t.Errorf("Open of range %v: %v", rg, err)
		}
	}
}

// An object without bytes can be missing, or grow.
func TestDamageOfNothingIsFound(t *testing.T) {
	for kind, open := range places {
		t.Run(kind, func(t *testing.T) {
			at := open(t)
			sealed, sequence := put(t, at.plane, at.rows, "a", nil)
			for _, damaged := range [][]byte{nil, {0}} {
				holds(t, at.plane, sealed, sequence, []byte{})
				at.set(t, sealed, sequence, damaged)
				wants(t, at.plane.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, 0, nil), fact.ErrGone)
				at.set(t, sealed, sequence, []byte{})
			}
		})
	}
}

// What stands in the place of a file is damage, whatever it leads to.
func TestWhatIsNoFileIsDamage(t *testing.T) {
	for name, replace := range map[string]func(file, copied string) error{
		"a folder":                   func(file, _ string) error { return os.Mkdir(file, 0o700) },
		"a folder with the file":     func(file, _ string) error { return os.MkdirAll(filepath.Join(file, filepath.Base(file)), 0o700) },
		"a link to the right bytes":  func(file, copied string) error { return os.Symlink(filepath.Base(copied), file) },
		"a link to nothing":          func(file, _ string) error { return os.Symlink("none", file) },
		"a link out of the store":    func(file, _ string) error { return os.Symlink(os.DevNull, file) },
		"a pipe":                     func(file, _ string) error { return syscall.Mkfifo(file, 0o600) },
		"a file instead of a folder": func(file, _ string) error { return instead(filepath.Dir(file)) },
		"no folder":                  func(file, _ string) error { return os.RemoveAll(filepath.Dir(filepath.Dir(file))) },
	} {
		t.Run(name, func(t *testing.T) {
			p, r, dir := files(t)
			data := random(5000, 30)
			sealed, sequence := put(t, p, r, "a", data)
			file := filepath.Join(dir, "objects", sealed.Receipt.Locator)
			must(t, os.WriteFile(file+"-copy", data, 0o600), os.Remove(file), replace(file, file+"-copy"))
			isDamaged(t, p, sealed, sequence, false)
		})
	}
}

func instead(folder string) error {
	return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
}

// A store that cannot be read says nothing of what is in it.
func TestAStoreThatFailsHasNoDamage(t *testing.T) {
	d := memory.New(memory.Options{})
	plain, r := newPlane(t, d, dataplane.Options{})
	sealed, sequence := put(t, plain, r, "a", random(100_000, 31))
	away := fmt.Errorf("ask: %w", storagedriver.ErrUnavailable)
	for _, cause := range []error{
		syscall.EIO, os.ErrPermission, away, context.DeadlineExceeded, io.ErrUnexpectedEOF,
		fmt.Errorf("connection: %w", io.EOF), fmt.Errorf("read: %w: %w", io.ErrUnexpectedEOF, away),
	} {
		for _, op := range []fault.Op{fault.OpOpen, fault.OpSize, fault.OpRead} {
			for n := 1; n <= 2; n++ { // the second read is behind half of the bytes
				plan := &fault.Plan{FailAt: n, Only: []fault.Op{op}, Err: cause}
				p, _ := newPlane(t, fault.Wrap(unsized{d}, plan), dataplane.Options{})
				err := p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil)
				if _, fired := plan.Fired(); !fired {
					continue
				}
				if !errors.Is(err, cause) || errors.Is(err, fact.ErrGone) {
					t.Errorf("%s fails with %q: %v", op, cause, err)
				}
				if errors.Is(cause, storagedriver.ErrUnavailable) != errors.Is(err, fact.ErrUnavailable) {
					t.Errorf("%s fails with %q, which is no state of the store: %v", op, cause, err)
				}
			}
		}
	}
}

// A reader that fails just behind the last byte has not been read to its end.
func TestAFailureBehindTheLastByteIsNoSuccess(t *testing.T) {
	d := memory.New(memory.Options{})
	plain, r := newPlane(t, d, dataplane.Options{})
	sealed, sequence := put(t, plain, r, "a", random(1000, 32))
	for _, cause := range []error{errInjected, fmt.Errorf("connection: %w", io.EOF)} {
		p, _ := newPlane(t, failing{d, cause}, dataplane.Options{})
		err := p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil)
		if !errors.Is(err, cause) || errors.Is(err, fact.ErrGone) {
			t.Errorf("Verify: %v", err)
		}
	}
}

// failing is a driver whose readers fail after 600 bytes, having given them.
type failing struct {
	*memory.Driver
	err error
}

func (d failing) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	rc, err := d.Driver.Open(ctx, locator, offset, length)
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(rc, 600))
	return io.NopCloser(&cut{data, d.err}), errors.Join(err, rc.Close())
}

func TestS3ThatFailsHasNoDamage(t *testing.T) {
	t.Parallel() // it is waiting between attempts
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	p, r := newPlane(t, bucket(t, server, proxy), dataplane.Options{})
	sealed, sequence := put(t, p, r, "a", random(700_000, 33))
	verify := func(ctx context.Context) error {
		return p.Verify(ctx, sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil)
	}
	for _, f := range []harness.Fault{
		harness.SlowDown, {Reset: true}, {Lose: true}, {Status: http.StatusInternalServerError, Code: "InternalError"},
		{Status: http.StatusForbidden, Code: "AccessDenied"}, {Status: http.StatusNotFound, Code: "NoSuchBucket"},
		{Status: http.StatusNotFound, Code: "Odd"}, {Status: http.StatusPreconditionFailed, Code: "PreconditionFailed"},
	} {
		for _, first := range []int{0, 1} { // the first request, or the one that goes on after the connection broke
			requests := 0
			proxy.Set(func(*http.Request) harness.Fault {
				if requests++; requests <= first {
					return harness.Fault{Cut: 100_000}
				}
				return f
			})
			ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			if err := verify(ctx); err == nil || errors.Is(err, fact.ErrGone) {
				t.Errorf("request %d is answered with %+v: %v", first+1, f, err)
			}
			cancel()
		}
	}
	proxy.Set(harness.Once("GetObject", 3, harness.Fault{Cut: 100_000}))
	must(t, verify(t.Context()))
	proxy.Set(func(r *http.Request) harness.Fault {
		return harness.Fault{Status: http.StatusNotFound, Code: "NoSuchKey"}
	})
	wants(t, verify(t.Context()), fact.ErrGone)
}

// An object stays whole until its deletion is durable, and can be deleted again.
func TestNothingIsDamagedByAFailedDelete(t *testing.T) {
	armed := false
	d, err := filesystem.Open(t.TempDir(), filesystem.Options{Fault: func(op durable.Op, _ string) error {
		if armed && (op == durable.OpRemove || op == durable.OpSyncDir) {
			return syscall.EIO
		}
		return nil
	}})
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	p, r := newPlane(t, d, dataplane.Options{})
	data := random(5000, 34)
	sealed, sequence := put(t, p, r, "a", data)
	armed = true
	if err := p.Delete(t.Context(), sealed.Receipt, sequence); !errors.Is(err, syscall.EIO) || errors.Is(err, fact.ErrGone) {
		t.Errorf("Delete: %v", err)
	}
	holds(t, p, sealed, sequence, data)
	armed = false
	must(t, p.Delete(t.Context(), sealed.Receipt, sequence), p.Delete(t.Context(), sealed.Receipt, sequence))
	page, err := p.Objects(t.Context(), "main", "", 10)
	if must(t, err); slices.ContainsFunc(page, func(o fact.Object) bool { return o.Locator != "" }) {
		t.Errorf("after Delete there is %v", page)
	}
}
