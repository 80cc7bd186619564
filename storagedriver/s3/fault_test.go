package s3_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

// faulty is a driver behind a proxy, with small parts.
func faulty(t testing.TB) (*harness.S3, *harness.FaultProxy, *s3.Driver) {
	t.Helper()
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	o.Endpoint = proxy.URL()
	return server, proxy, open(t, o)
}

// TestNothingIsLostWhileS3Fails lets many writers stage, resume, publish and
// discard while requests fail. What was published is read afterwards; what was
// not is swept.
func TestNothingIsLostWhileS3Fails(t *testing.T) {
	const seed = 20_261_124
	t.Logf("seed %d", seed)
	server, proxy, d := faulty(t)
	for i, tt := range []struct {
		name string
		rule harness.Rule
	}{
		{"30 % of requests are answered with 503", harness.Share(seed, 0.3, harness.SlowDown)},
		{"20 % of connections are reset", harness.Share(seed, 0.2, harness.Fault{Reset: true})},
		{"20 % of answers are lost", harness.Share(seed, 0.2, harness.Fault{Lose: true})},
		{"20 % of answers break off", harness.Share(seed, 0.2, harness.Fault{Cut: 20})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			proxy.Set(tt.rule)
			var mu sync.Mutex
			published := map[string][]byte{}
			var failed atomic.Int32
			var writers sync.WaitGroup
			for w := range 8 {
				writers.Go(func() {
					for n := range 2 {
						id := fmt.Sprintf("t%dw%dn%d", i, w, n)
						data := random([]int{1000, 3 * mebi, 11 * mebi, 16*mebi + 1}[(w+2*n)%4], uint64(w))
						locator, err := ingest(t, d, id, data, w%3)
						if err != nil {
							failed.Add(1)
							t.Logf("ingest %s: %v", id, err)
							continue
						}
						mu.Lock()
						published[locator] = data
						mu.Unlock()
					}
				})
			}
			writers.Wait()
			if len(published) < 8 {
				t.Errorf("only %d ingests succeed, %d fail", len(published), failed.Load())
			}
			for locator, data := range published {
				holds(t, d, locator, data) // while it still fails
			}
			proxy.Set(nil)
			sweep(t, d)
			for locator, data := range published {
				holds(t, d, locator, data)
				harness.Must(t, d.Delete(t.Context(), locator))
			}
			if failed.Load() > 0 { // they may have been published for all that
				for w := range 8 {
					for n := range 2 {
						harness.Must(t, d.Delete(t.Context(), d.Locate(fmt.Sprintf("t%dw%dn%d", i, w, n), blake3)))
					}
				}
			}
			only(t, server, server.Bucket)
			if left := d.Left(); left != 32*mebi {
				t.Errorf("after all %d bytes of the memory are left", left)
			}
		})
	}
}

// ingest stages half, resumes and publishes, in one of three ways.
func ingest(t *testing.T, d *s3.Driver, id string, data []byte, way int) (string, error) {
	ctx := t.Context()
	half := len(data) / 2
	state, err := stage(ctx, d, id, data[:half])
	if err != nil {
		return "", err
	}
	s, err := d.Resume(ctx, id, state, int64(half))
	if err != nil {
		return "", err
	}
	err = write(s, data[half:])
	if err == nil && way == 0 {
		state, err = s.(storagedriver.Holder).Hold(ctx)
	} else if err == nil {
		state, err = s.Save(ctx)
	}
	if err = errors.Join(err, s.Close()); err != nil {
		return "", err
	}
	if way == 2 {
		if _, err := readStaged(ctx, d, id, state, len(data)); err != nil {
			return "", err
		}
	}
	locator, err := publish(ctx, d, id, state, len(data))
	if err != nil { // as a client would
		return publish(ctx, d, id, state, len(data))
	}
	return locator, nil
}

// TestLostAnswers loses the answer to one kind of request, each time the SDK
// sends it, after S3 has done what was asked.
func TestLostAnswers(t *testing.T) {
	for _, tt := range []struct {
		operation string
		fault     harness.Fault
		times     int
	}{
		{"CompleteMultipartUpload", harness.Fault{Lose: true}, 1},
		{"CompleteMultipartUpload", harness.Fault{Lose: true}, 1000}, // every attempt
		{"CompleteMultipartUpload", harness.Fault{Err: "InternalError"}, 1},
		{"CompleteMultipartUpload", harness.Fault{Err: "InternalError"}, 1000},
		{"CompleteMultipartUpload", harness.Fault{Err: "NoSuchUpload"}, 1},
		{"CreateMultipartUpload", harness.Fault{Lose: true}, 3},
		{"UploadPart", harness.Fault{Lose: true}, 3},
		{"PutObject", harness.Fault{Lose: true}, 3},
		{"DeleteObject", harness.Fault{Lose: true}, 3},
		{"AbortMultipartUpload", harness.Fault{Lose: true}, 3},
	} {
		t.Run(fmt.Sprintf("%s %+v %d times", tt.operation, tt.fault, tt.times), func(t *testing.T) {
			server, proxy, d := faulty(t)
			proxy.Set(harness.Once(tt.operation, tt.times, tt.fault))
			var locators []string
			for _, size := range []int{1000, 11 * mebi} {
				id, data := fmt.Sprintf("id%d", size), random(size, 1)
				state, err := stage(t.Context(), d, id, data)
				harness.Must(t, err)
				locator, err := publish(t.Context(), d, id, state, size)
				harness.Must(t, err)
				holds(t, d, locator, data)
				locators = append(locators, locator)
			}
			only(t, server, server.Bucket, locators...)
			proxy.Set(harness.Once(tt.operation, tt.times, tt.fault))
			_, err := stage(t.Context(), d, "b", random(11*mebi, 2))
			harness.Must(t, err)
			harness.Must(t, d.Discard(t.Context(), "b", nil))
			only(t, server, server.Bucket, locators...)
		})
	}
}

// TestFailuresOfS3AreNoMissingObjects: what passes must not look like what stays.
func TestFailuresOfS3AreNoMissingObjects(t *testing.T) {
	server, proxy, d := faulty(t)
	data := random(11*mebi, 1)
	state, err := stage(t.Context(), d, "a", data)
	harness.Must(t, err)
	for _, fault := range []harness.Fault{
		{Status: http.StatusForbidden, Code: "AccessDenied"},
		{Status: http.StatusNotFound, Code: "NoSuchBucket"},
		{Status: http.StatusBadRequest, Code: "Odd"},
		{Status: http.StatusNotImplemented, Code: "NotImplemented"},
		{Status: http.StatusInsufficientStorage, Code: "XMinioStorageFull"},
	} {
		proxy.Set(func(*http.Request) harness.Fault { return fault })
		_, size := d.Size(t.Context(), d.Locate("a", blake3))
		_, resumed := d.Resume(t.Context(), "a", state, int64(len(data)))
		_, opened := d.Open(t.Context(), d.Locate("a", blake3), 0, -1)
		_, published := publish(t.Context(), d, "a", state, len(data))
		_, staged := stage(t.Context(), d, "b", []byte("abc"))
		_, listed := d.Objects(t.Context(), "", 1)
		for what, err := range map[string]error{
			"Size": size, "Resume": resumed, "Open": opened, "Publish": published, "Save": staged,
			"Objects": listed, "Delete": d.Delete(t.Context(), d.Locate("a", blake3)),
		} {
			full := errors.Is(err, storagedriver.ErrFull)
			if err == nil || errors.Is(err, storagedriver.ErrBroken) || errors.Is(err, storagedriver.ErrNotExist) ||
				full != (fault.Status == http.StatusInsufficientStorage) {
				t.Errorf("%s while S3 answers %d %s: %v", what, fault.Status, fault.Code, err)
			}
		}
	}
	proxy.Set(nil)
	locator, err := publish(t.Context(), d, "a", state, len(data))
	harness.Must(t, err)
	holds(t, d, locator, data)
	sweep(t, d)
	only(t, server, server.Bucket, locator)
}

// TestStoreThatIsAwaySaysSo: after all attempts the error is one that tells the
// caller to come again.
func TestStoreThatIsAwaySaysSo(t *testing.T) {
	t.Parallel() // it is waiting between attempts
	var wait sync.WaitGroup
	for _, fault := range []harness.Fault{{Reset: true}, {Lose: true}, harness.SlowDown,
		{Status: http.StatusInternalServerError, Code: "InternalError"}, {Status: http.StatusBadGateway}} {
		_, proxy, d := faulty(t)
		proxy.Set(func(*http.Request) harness.Fault { return fault })
		for what, ask := range map[string]func() error{
			"Size":    func() error { _, err := d.Size(t.Context(), d.Locate("a", blake3)); return err },
			"Open":    func() error { _, err := d.Open(t.Context(), d.Locate("a", blake3), 0, -1); return err },
			"Publish": func() error { _, err := publish(t.Context(), d, "b", hold(t, d, "b", []byte("abc")), 3); return err },
			"Discard": func() error { return d.Discard(t.Context(), "c", nil) },
			"Delete":  func() error { return d.Delete(t.Context(), d.Locate("a", blake3)) },
			"Objects": func() error { _, err := d.Objects(t.Context(), "", 1); return err },
		} {
			wait.Go(func() {
				if err := ask(); !errors.Is(err, storagedriver.ErrUnavailable) || errors.Is(err, storagedriver.ErrNotExist) {
					t.Errorf("%s, with %+v: %v", what, fault, err)
				}
			})
		}
	}
	wait.Wait()
}

// TestDeletingTellsTheEnd: what is gone is deleted, also where S3 says so, and a
// store that is busy for a while is asked until it has done it.
func TestDeletingTellsTheEnd(t *testing.T) {
	server, proxy, d := faulty(t)
	for name, fault := range map[string]harness.Fault{
		"gone":      {Status: http.StatusNotFound, Code: "NoSuchKey"},
		"slow down": harness.SlowDown,
		"internal":  {Status: http.StatusInternalServerError, Code: "InternalError"},
		"reset":     {Reset: true},
		"lost":      {Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			locator, err := publish(t.Context(), d, "a", hold(t, d, "a", []byte("abc")), 3)
			harness.Must(t, err)
			proxy.Set(harness.Once("DeleteObject", 2, fault))
			proxy.Reset()
			harness.Must(t, d.Delete(t.Context(), locator))
			asked := proxy.Counts()["DeleteObject"]
			proxy.Set(nil)
			if name == "gone" {
				if asked != 1 {
					t.Errorf("it took %d requests", asked)
				}
				harness.Must(t, d.Delete(t.Context(), locator))
			}
			only(t, server, server.Bucket)
		})
	}
}

func TestReadingGoesOnWhereAConnectionBroke(t *testing.T) {
	_, proxy, d := faulty(t)
	data := random(3*mebi, 1)
	locator, err := publish(t.Context(), d, "a", hold(t, d, "a", data), len(data))
	harness.Must(t, err)
	proxy.Set(harness.Once("GetObject", 5, harness.Fault{Cut: 100_000}))
	proxy.Reset()
	holds(t, d, locator, data)
	if n := proxy.Counts()["GetObject"]; n != 6 {
		t.Errorf("reading took %d requests, want 6", n)
	}
}

func TestReadingEndsWhereAnotherObjectBegins(t *testing.T) {
	_, proxy, d := faulty(t)
	locator, err := publish(t.Context(), d, "a", hold(t, d, "a", random(9*mebi, 1)), 9*mebi)
	harness.Must(t, err)
	proxy.Set(harness.Once("GetObject", 1, harness.Fault{Cut: 100_000}))
	r, err := d.Open(t.Context(), locator, 0, -1)
	harness.Must(t, err)
	defer func() { harness.Must(t, r.Close()) }()
	if size := r.(storagedriver.Sized).ObjectSize(); size != 9*mebi {
		t.Errorf("the reader says that the object has %d bytes", size)
	}
	harness.Must(t, d.Delete(t.Context(), locator))
	if _, err := publish(t.Context(), d, "a", hold(t, d, "a", random(9*mebi, 2)), 9*mebi); err != nil {
		t.Fatal(err)
	}
	if n, err := io.Copy(io.Discard, r); err == nil || n != 100_000 {
		t.Errorf("read %d bytes of two objects: %v", n, err)
	}
}

// TestRequestsThatHangEnd: ten attempts of a minute each would be too much.
func TestRequestsThatHangEnd(t *testing.T) {
	_, proxy, d := faulty(t)
	proxy.Set(func(*http.Request) harness.Fault { return harness.Fault{Delay: time.Hour} })
	ctx := s3.Patiently(t.Context(), 200*time.Millisecond)
	proxy.Reset()
	if _, err := d.Size(ctx, d.Locate("a", blake3)); !errors.Is(err, storagedriver.ErrUnavailable) {
		t.Errorf("a server that does not answer: %v", err)
	}
	if n := proxy.Counts()["HeadObject"]; n != 2 {
		t.Errorf("it was asked %d times", n)
	}
}
