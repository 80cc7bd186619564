package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

const limit = 1000

var errInjected = errors.New("injected")

// rows are content rows in memory.
type rows struct {
	mu sync.Mutex
	m  map[eventlog.Sequence][]byte
}

func (r *rows) Object(_ context.Context, sequence eventlog.Sequence) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	row, ok := r.m[sequence]
	if !ok {
		return nil, fmt.Errorf("row %d: %w", sequence, fact.ErrGone)
	}
	return row, nil
}

func (r *rows) DeleteObject(_ context.Context, sequence eventlog.Sequence) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, sequence)
	return nil
}

// newPlane is a plane over one store named "main".
func newPlane(t testing.TB, d storagedriver.Driver, o dataplane.Options) (*dataplane.Plane, *rows) {
	t.Helper()
	r := &rows{m: map[eventlog.Sequence][]byte{}}
	p, err := dataplane.New(map[string]storagedriver.Driver{"main": d}, "main", r, o)
	must(t, err)
	return p, r
}

// plane is one over memory with content rows up to limit bytes.
func plane(t testing.TB) (*dataplane.Plane, *memory.Driver, *rows) {
	t.Helper()
	d := memory.New(memory.Options{})
	p, r := newPlane(t, d, dataplane.Options{InlineLimit: limit, BootID: "boot"})
	return p, d, r
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func wants(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("error is %v, want one that wraps %q", err, want)
	}
}

// random returns n bytes that are the same for the same seed.
func random(n int, seed byte) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(data) // never fails
	return data
}

// spilled accepts every spill.
func spilled(fact.Staged) error { return nil }

// ingest appends data, and expects it to be accepted.
func ingest(t testing.TB, p *dataplane.Plane, s *fact.Staged, data []byte, also ...identity.Algorithm) {
	t.Helper()
	before := s.Offset
	must(t, p.Ingest(t.Context(), s, bytes.NewReader(data), spilled, also...))
	if s.Offset != before+int64(len(data)) {
		t.Fatalf("offset is %d after %d bytes at %d", s.Offset, len(data), before)
	}
}

// seal ends a sequence and publishes it; content rows get a sequence.
func seal(t testing.TB, p *dataplane.Plane, r *rows, s *fact.Staged, also identity.Algorithm) (fact.Sealed, eventlog.Sequence) {
	t.Helper()
	sealed, err := p.Seal(t.Context(), s, also)
	must(t, err)
	must(t, p.Publish(t.Context(), *s))
	if sealed.Receipt.Store != fact.Content {
		return sealed, 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	sequence := eventlog.Sequence(len(r.m) + 1)
	r.m[sequence] = sealed.Inline
	return sealed, sequence
}

// put makes a stored sequence of data.
func put(t testing.TB, p *dataplane.Plane, r *rows, id string, data []byte) (fact.Sealed, eventlog.Sequence) {
	t.Helper()
	s := fact.Staged{ID: id}
	ingest(t, p, &s, data)
	return seal(t, p, r, &s, "")
}

// read reads a range of a stored sequence.
func read(t testing.TB, p *dataplane.Plane, sealed fact.Sealed, sequence eventlog.Sequence, offset, length int64) []byte {
	t.Helper()
	rc, err := p.Open(t.Context(), sealed.Receipt, sequence, sealed.Size, offset, length)
	must(t, err)
	if length < 0 {
		length = sealed.Size - offset
	}
	var got bytes.Buffer
	_, err = io.CopyN(&got, rc, length)
	must(t, err, rc.Close())
	return got.Bytes()
}

// holds expects a stored sequence of data.
func holds(t testing.TB, p *dataplane.Plane, sealed fact.Sealed, sequence eventlog.Sequence, data []byte) {
	t.Helper()
	if !sealed.Digests.Agrees(identity.Of(data)) || sealed.Size != int64(len(data)) {
		t.Errorf("sealed %d bytes as %v, want %d as %v", sealed.Size, sealed.Digests, len(data), identity.Of(data))
	}
	if got := read(t, p, sealed, sequence, 0, -1); !bytes.Equal(got, data) {
		t.Errorf("read %d other bytes, want %d", len(got), len(data))
	}
	must(t, p.Verify(t.Context(), sealed.Receipt, sequence, sealed.Digests, sealed.Size, nil))
}

// staged expects what the plane lists.
func staged(t *testing.T, p *dataplane.Plane, want ...string) {
	t.Helper()
	all, err := p.Staged(t.Context())
	must(t, err)
	ids := map[string]bool{}
	for _, s := range all {
		ids[s.ID] = true
		if s.Store != "main" {
			t.Errorf("%s is staged in %q", s.ID, s.Store)
		}
	}
	if got := slices.Sorted(maps.Keys(ids)); !slices.Equal(got, want) {
		t.Errorf("staged are %q, want %q", got, want)
	}
}

// cut is a reader that fails with err after data.
type cut struct {
	data []byte
	err  error
}

func (c *cut) Read(p []byte) (int, error) {
	n := copy(p, c.data)
	c.data = c.data[n:]
	if n == 0 {
		return 0, c.err
	}
	return n, nil
}
