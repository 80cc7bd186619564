package drivertest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"artifactstore/storagedriver"
)

// trial is one case running against one store.
type trial struct {
	*testing.T
	d     storagedriver.Driver
	again func(*testing.T, storagedriver.Driver) storagedriver.Driver
}

// reopen goes on as another process would.
func (t *trial) reopen() { t.d = t.again(t.T, t.d) }

func (t *trial) must(err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (t *trial) wants(err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want one that wraps %q", err, want)
	}
}

// digest stands for the BLAKE3 digest of a content: 64 hex digits. Drivers
// cannot tell, and must not care.
func digest(n int) string { return fmt.Sprintf("%064x", 0xab54a98ceb1f0ad2+uint64(n)) }

// random returns n bytes that are the same for the same seed.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data) // never fails
	return data
}

// begin opens a new staged object.
func (t *trial) begin(id string) storagedriver.Stage {
	t.Helper()
	s, err := t.d.Stage(t.Context(), id)
	t.must(err)
	return s
}

// write appends, and expects all to be taken.
func (t *trial) write(s storagedriver.Stage, data []byte) {
	t.Helper()
	n, err := s.Write(data)
	t.must(err)
	if n != len(data) {
		t.Fatalf("Write took %d of %d bytes without an error", n, len(data))
	}
}

// save saves and closes.
func (t *trial) save(s storagedriver.Stage) []byte {
	t.Helper()
	state, err := s.Save(t.Context())
	t.must(err)
	t.must(s.Close())
	return state
}

// stage makes a staged object of data.
func (t *trial) stage(id string, data []byte) []byte {
	t.Helper()
	s := t.begin(id)
	t.write(s, data)
	return t.save(s)
}

// resume goes on with a staged object, appends data and saves.
func (t *trial) resume(id string, state []byte, offset int, data []byte) []byte {
	t.Helper()
	s, err := t.d.Resume(t.Context(), id, state, int64(offset))
	t.must(err)
	t.write(s, data)
	return t.save(s)
}

// publish publishes a staged object of size bytes.
func (t *trial) publish(id string, state []byte, size int) string {
	t.Helper()
	locator := t.d.Locate(id, digest(size))
	t.must(t.d.Publish(t.Context(), id, state, int64(size), locator))
	return locator
}

// put makes an object.
func (t *trial) put(id string, data []byte) string {
	t.Helper()
	return t.publish(id, t.stage(id, data), len(data))
}

// read reads a range, which must be there.
func (t *trial) read(locator string, offset, length int64) []byte {
	t.Helper()
	r, err := t.d.Open(t.Context(), locator, offset, length)
	t.must(err)
	defer t.closes(r)
	return t.drain(r, length)
}

// drain reads length bytes (-1: all) of a reader that may go on.
func (t *trial) drain(r io.Reader, length int64) []byte {
	t.Helper()
	if length >= 0 {
		r = io.LimitReader(r, length)
	}
	data, err := io.ReadAll(r)
	t.must(err)
	return data
}

func (t *trial) closes(c io.Closer) {
	t.Helper()
	t.must(c.Close())
}

// holds expects an object of exactly these bytes.
func (t *trial) holds(locator string, want []byte) {
	t.Helper()
	size, err := t.d.Size(t.Context(), locator)
	t.must(err)
	if size != int64(len(want)) {
		t.Errorf("object has %d bytes, want %d", size, len(want))
	}
	if got := t.read(locator, 0, -1); !bytes.Equal(got, want) {
		t.Errorf("object differs: got %d bytes, want %d", len(got), len(want))
	}
}

// lacks expects no object.
func (t *trial) lacks(locator string) {
	t.Helper()
	_, err := t.d.Size(t.Context(), locator)
	t.wants(err, storagedriver.ErrNotExist)
	r, err := t.d.Open(t.Context(), locator, 0, -1)
	t.wants(err, storagedriver.ErrNotExist)
	if err == nil {
		t.closes(r)
	}
}

// staged lists the staged objects, if the driver can.
func (t *trial) staged(want ...string) {
	t.Helper()
	lister, ok := storagedriver.Find[storagedriver.Lister](t.d)
	if !ok {
		return
	}
	ids, err := lister.Staged(t.Context())
	t.must(err)
	if fmt.Sprint(ids) != fmt.Sprint(want) {
		t.Errorf("staged objects are %v, want %v", ids, want)
	}
}

// gone expects that a staged object cannot be resumed.
func (t *trial) gone(id string, state []byte, offset int64) {
	t.Helper()
	s, err := t.d.Resume(t.Context(), id, state, offset)
	t.wants(err, storagedriver.ErrNotExist)
	if err == nil {
		t.closes(s)
	}
}

// cancelled is a context that was given up.
func (t *trial) cancelled() context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
