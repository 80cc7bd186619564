package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

const mebi = 1 << 20

// small are options with the smallest parts that S3 takes.
func small(t testing.TB, server *harness.S3) s3.Options {
	o := options(t, server)
	o.PartSize = 5 * mebi
	return o
}

func TestAnUploadGoesFromProcessToProcess(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	o.Endpoint = proxy.URL()
	data := random(33*mebi+17, 1)
	state, err := stage(t.Context(), open(t, o), "a", data[:3*mebi])
	harness.Must(t, err)
	at := 3 * mebi
	for _, to := range []int{9 * mebi, 9*mebi + 1, 15 * mebi, 15 * mebi, 31*mebi + 5, len(data)} {
		s, err := open(t, o).Resume(t.Context(), "a", state, int64(at))
		harness.Must(t, err)
		harness.Must(t, write(s, data[at:to]))
		state, err = s.Save(t.Context())
		harness.Must(t, errors.Join(err, s.Close()))
		at = to
	}
	d := open(t, o)
	locator, err := publish(t.Context(), d, "a", state, len(data))
	harness.Must(t, err)
	holds(t, d, locator, data)
	only(t, server, server.Bucket, locator)
	if n := proxy.Counts()["CopyObject"]; n != 0 {
		t.Errorf("bytes were copied %d times", n)
	}
}

func TestWhatADeadProcessSendsChangesNothing(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	data := random(22*mebi, 2)
	dead, err := open(t, o).Stage(t.Context(), "a")
	harness.Must(t, err)
	harness.Must(t, write(dead, data[:7*mebi]))
	state, err := dead.Save(t.Context())
	harness.Must(t, err)

	alive := open(t, o)
	s, err := alive.Resume(t.Context(), "a", state, 7*mebi)
	harness.Must(t, err)
	harness.Must(t, write(s, data[7*mebi:14*mebi]))
	harness.Must(t, write(dead, random(14*mebi, 3))) // it was only paused
	_, err = dead.Save(t.Context())
	harness.Must(t, err)
	harness.Must(t, write(s, data[14*mebi:]))
	state, err = s.Save(t.Context())
	harness.Must(t, errors.Join(err, s.Close()))
	locator, err := publish(t.Context(), alive, "a", state, len(data))
	harness.Must(t, err)
	if err := write(dead, random(14*mebi, 4)); err == nil {
		_, err = dead.Save(t.Context())
		if err == nil {
			t.Error("the dead process goes on with an upload that was published")
		}
	}
	harness.Must(t, dead.Close())
	holds(t, alive, locator, data)
	sweep(t, alive)
	holds(t, alive, locator, data)
	only(t, server, server.Bucket, locator)
}

// sweep discards all that is staged, as a purge does that knows no session.
func sweep(t testing.TB, d *s3.Driver) {
	t.Helper()
	ids, err := d.Staged(t.Context())
	harness.Must(t, err)
	for _, id := range ids {
		harness.Must(t, d.Discard(t.Context(), id, nil))
	}
}

func TestStagedPartsAreRead(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	data := random(12*mebi, 5)
	for _, tt := range []struct {
		name string
		size int
	}{{"parts and an end", 12 * mebi}, {"nothing behind a part", 10*mebi + 1}, {"an end alone", mebi}} {
		t.Run(tt.name, func(t *testing.T) {
			o.Bucket = server.NewBucket(t)
			d, data := open(t, o), data[:tt.size]
			state, err := stage(t.Context(), d, "a", data)
			harness.Must(t, err)
			for range 2 {
				got, err := readStaged(t.Context(), d, "a", state, len(data))
				harness.Must(t, err)
				if !bytes.Equal(got, data) {
					t.Errorf("staged bytes differ: got %d, want %d", len(got), len(data))
				}
			}
			ids, err := d.Staged(t.Context())
			harness.Must(t, err)
			if !slices.Equal(ids, []string{"a"}) {
				t.Errorf("staged objects that were read are %v", ids)
			}
			other := open(t, o)
			locator, err := publish(t.Context(), other, "a", state, len(data))
			harness.Must(t, err)
			holds(t, d, locator, data)
			if _, err := readStaged(t.Context(), other, "a", state, len(data)); !errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("reading staged bytes after publish: %v", err)
			}
			harness.Must(t, d.Discard(t.Context(), "a", state))
			harness.Must(t, open(t, o).Discard(t.Context(), "a", nil))
			holds(t, d, locator, data)
			only(t, server, o.Bucket, locator)
		})
	}
}

// TestNoLateSealEndangersAnObject pauses a node that reads staged parts just
// before it seals them, while another one publishes.
func TestNoLateSealEndangersAnObject(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	alive := open(t, o)
	o.Endpoint = proxy.URL()
	paused := open(t, o)
	data := random(12*mebi, 7)
	state, err := stage(t.Context(), alive, "a", data)
	harness.Must(t, err)
	sealed := false
	proxy.Set(func(r *http.Request) harness.Fault {
		if r.Header.Get("If-Match") != "" && !sealed {
			sealed = true
			_, err = publish(t.Context(), alive, "a", state, len(data))
		}
		return harness.Fault{}
	})
	_, late := readStaged(t.Context(), paused, "a", state, len(data))
	harness.Must(t, err)
	if !sealed || !errors.Is(late, storagedriver.ErrNotExist) {
		t.Errorf("sealing what was published: %v", late)
	}
	sweep(t, alive)
	sweep(t, paused)
	harness.Must(t, alive.Discard(t.Context(), "a", nil))
	holds(t, alive, alive.Locate("a", blake3), data)
	only(t, server, server.Bucket, alive.Locate("a", blake3))
}

func TestDiscardRemovesWhatWasReadAndNeverPublished(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	state, err := stage(t.Context(), open(t, o), "a", random(12*mebi, 6))
	harness.Must(t, err)
	_, err = readStaged(t.Context(), open(t, o), "a", state, 12*mebi)
	harness.Must(t, err)
	sweep(t, open(t, o))
	only(t, server, server.Bucket)
}

// hold stages data and holds it.
func hold(t testing.TB, d storagedriver.Driver, id string, data []byte) []byte {
	t.Helper()
	s, err := d.Stage(t.Context(), id)
	harness.Must(t, err)
	harness.Must(t, write(s, data))
	state, err := s.(storagedriver.Holder).Hold(t.Context())
	harness.Must(t, errors.Join(err, s.Close()))
	return state
}

func TestAHeldObjectIsOneRequest(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := options(t, server)
	o.Endpoint = proxy.URL()
	d := open(t, o)
	for i, size := range []int{0, 1, 100_000, 8 * mebi} { // a part, and no byte more
		id, data := fmt.Sprintf("id%d", i), random(size, uint64(i))
		proxy.Reset()
		locator, err := publish(t.Context(), d, id, hold(t, d, id, data), size)
		harness.Must(t, err)
		if counts := fmt.Sprint(proxy.Counts()); counts != "map[PutObject:1]" {
			t.Errorf("%d bytes took %s", size, counts)
		}
		holds(t, d, locator, data)
	}
	proxy.Reset()
	harness.Must(t, d.Discard(t.Context(), "b", hold(t, d, "b", random(1000, 7))))
	if counts := proxy.Counts(); len(counts) > 0 {
		t.Errorf("what was only held took %v to discard", counts)
	}
	if free := d.Left(); free != 32*mebi {
		t.Errorf("%d bytes of memory are free after all", free)
	}
}

func TestWhatIsHeldIsOfNoUseToOthers(t *testing.T) {
	server := harness.StartS3(t)
	d, other := open(t, small(t, server)), open(t, small(t, server))
	for _, size := range []int{1000, 12 * mebi} {
		data := random(size, 8)
		state := hold(t, d, "a", data)
		if _, err := other.Resume(t.Context(), "a", state, int64(size)); !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("another process resumes %d bytes that are held: %v", size, err)
		}
		if _, err := publish(t.Context(), other, "a", state, size); !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("another process publishes %d bytes that are held: %v", size, err)
		}
		got, err := readStaged(t.Context(), d, "a", hold(t, d, "b", data), size)
		if !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("the state of another id reads %d bytes: %v", len(got), err)
		}
		harness.Must(t, d.Discard(t.Context(), "b", nil))
		s, err := d.Resume(t.Context(), "a", state, int64(size))
		harness.Must(t, err)
		harness.Must(t, write(s, []byte("more")))
		again, err := s.Save(t.Context())
		harness.Must(t, errors.Join(err, s.Close()))
		locator, err := publish(t.Context(), other, "a", again, size+4)
		harness.Must(t, err)
		holds(t, d, locator, append(data, "more"...))
		harness.Must(t, d.Delete(t.Context(), locator))
	}
	sweep(t, d)
	only(t, server, server.Bucket)
}

func TestSavingNothingNewAsksNothing(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	o.Endpoint = proxy.URL()
	d := open(t, o)
	s, err := d.Stage(t.Context(), "a")
	harness.Must(t, err)
	harness.Must(t, write(s, random(6*mebi, 9)))
	first, err := s.Save(t.Context())
	harness.Must(t, err)
	proxy.Reset()
	second, err := s.Save(t.Context())
	harness.Must(t, err)
	if counts := proxy.Counts(); len(counts) > 0 || !bytes.Equal(first, second) {
		t.Errorf("saving again took %v", counts)
	}
	for i := range 5 { // of the ends only that of the last state and the one before stay
		harness.Must(t, write(s, random(1000, uint64(i))))
		_, err = s.Save(t.Context())
		harness.Must(t, err)
	}
	if keys := server.Keys(t, server.Bucket); len(keys) != 3 { // and the guard
		t.Errorf("after many saves there are %v", keys)
	}
	harness.Must(t, s.Close())
	harness.Must(t, d.Discard(t.Context(), "a", nil))
	only(t, server, server.Bucket)
}

func TestStagesShareTheirMemory(t *testing.T) {
	server := harness.StartS3(t)
	o := options(t, server)
	o.Memory = 16 * mebi
	d := open(t, o)
	before := heap()
	stages := make([]storagedriver.Stage, 1000)
	for i := range stages {
		s, err := d.Stage(t.Context(), fmt.Sprintf("id%d", i))
		harness.Must(t, err)
		harness.Must(t, write(s, random(200_000, 1)))
		stages[i] = s
	}
	if used, limit := heap()-before, int64(16*mebi+1000*(4<<10)); used > limit {
		t.Errorf("1000 stages take %d bytes, want at most %d", used, limit)
	}
	if left := d.Left(); left < 0 || left > 1*mebi {
		t.Errorf("of the memory %d bytes are left", left)
	}
	state, err := stages[999].Save(t.Context())
	harness.Must(t, err)
	for _, s := range stages {
		harness.Must(t, s.Close())
	}
	locator, err := publish(t.Context(), d, "id999", state, 200_000)
	harness.Must(t, err)
	holds(t, d, locator, random(200_000, 1))
	if left := d.Left(); left != 16*mebi {
		t.Errorf("after all %d bytes of the memory are left", left)
	}
}

func TestPartsWithoutRoomAreSpooled(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	o.Memory = mebi // less than a part
	d := open(t, o)
	data := random(23*mebi, 1)
	state, err := stage(t.Context(), d, "a", data)
	harness.Must(t, err)
	s, err := d.Resume(t.Context(), "a", state, 23*mebi)
	harness.Must(t, err)
	harness.Must(t, write(s, data))
	state, err = s.(storagedriver.Holder).Hold(t.Context())
	harness.Must(t, errors.Join(err, s.Close()))
	locator, err := publish(t.Context(), d, "a", state, 46*mebi)
	harness.Must(t, err)
	holds(t, d, locator, slices.Concat(data, data))
	if left := d.Left(); left != mebi {
		t.Errorf("after all %d bytes of the memory are left", left)
	}
	files, err := os.ReadDir(o.Spool)
	harness.Must(t, err)
	if len(files) > 0 {
		t.Errorf("temporary files are left: %v", files)
	}
}

// heap is how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestObjectsArePlacedWhereAnotherDriverHadThem(t *testing.T) {
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	o := small(t, server)
	o.Endpoint = proxy.URL()
	d := open(t, o)
	var locators []string
	for i, size := range []int{0, 1, 5 * mebi, 5*mebi + 1, 23 * mebi} {
		locator := fmt.Sprintf("ab/c%d/%s-a", i, blake3)
		locators = append(locators, locator)
		data := random(size, uint64(i))
		broken := io.MultiReader(bytes.NewReader(data[:size/2]), iotest.ErrReader(errors.New("broken")))
		if size > 0 {
			if err := d.Place(t.Context(), locator, int64(size), bytes.NewReader(data[:size-1])); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("placing %d bytes of %d: %v", size-1, size, err)
			}
			if err := d.Place(t.Context(), locator, int64(size), broken); err == nil || !strings.Contains(err.Error(), "broken") {
				t.Errorf("placing what breaks: %v", err)
			}
		}
		if _, err := d.Size(t.Context(), locator); !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("after an error there is an object: %v", err)
		}
		harness.Must(t, d.Place(t.Context(), locator, int64(size), bytes.NewReader(data)))
		holds(t, d, locator, data)
		harness.Must(t, d.Place(t.Context(), locator, int64(size), iotest.ErrReader(errors.New("read"))))
	}
	only(t, server, server.Bucket, locators...)
	if n := proxy.Counts()["CopyObject"]; n != 0 {
		t.Errorf("bytes were copied %d times", n)
	}
}

func TestPlacingEndsWithItsContext(t *testing.T) {
	server := harness.StartS3(t)
	d := open(t, small(t, server))
	ctx, cancel := context.WithCancel(t.Context())
	data := io.MultiReader(bytes.NewReader(random(11*mebi, 1)), readerFunc(func([]byte) (int, error) {
		cancel()
		return 0, ctx.Err()
	}))
	if err := d.Place(ctx, "a/b", 30*mebi, data); err == nil {
		t.Error("placing succeeds without its bytes")
	}
	only(t, server, server.Bucket)
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
