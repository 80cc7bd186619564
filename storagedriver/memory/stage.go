package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"artifactstore/storagedriver"
)

var errClosed = errors.New("stage is closed")

// Stage begins an empty staged object.
func (d *Driver) Stage(ctx context.Context, id string) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.drop(d.store.staged, id)
	delete(d.held, id)
	c := new(content)
	d.store.staged[id] = c
	return &stage{driver: d, store: d.store, id: id, content: c}, nil
}

// Resume goes on with a staged object.
func (d *Driver) Resume(ctx context.Context, id string, state []byte, offset int64) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	c, err := d.store.saved(id, state, offset)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", id, err)
	}
	d.store.used -= c.cut(offset)
	delete(d.held, id)
	return &stage{driver: d, store: d.store, id: id, content: c}, nil
}

// OpenStaged reads the beginning of a staged object.
func (d *Driver) OpenStaged(ctx context.Context, id string, state []byte, size int64) (io.ReadCloser, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("open staged object: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if c := d.held[id]; held(state) && c != nil && c.size >= size {
		return io.NopCloser(io.NewSectionReader(c, 0, size)), nil
	}
	c, err := d.store.saved(id, state, size)
	if err != nil {
		return nil, fmt.Errorf("open staged object %s: %w", id, err)
	}
	return io.NopCloser(io.NewSectionReader(c.snapshot(), 0, size)), nil
}

// Discard forgets a staged object.
func (d *Driver) Discard(ctx context.Context, id string, _ []byte) error {
	if err := check(ctx, id); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.drop(d.store.staged, id)
	delete(d.held, id)
	return nil
}

// Release forgets what is held.
func (d *Driver) Release(id string) {
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	delete(d.held, id)
}

// check is what every method on a staged object begins with.
func check(ctx context.Context, id string) error {
	if err := storagedriver.CheckID(id); err != nil {
		return err
	}
	return ctx.Err()
}

// saved finds a staged object that was saved at a size. mu is held.
func (s *store) saved(id string, state []byte, size int64) (*content, error) {
	c := s.staged[id]
	if held(state) || c == nil || c.size < size {
		return nil, fmt.Errorf("staged object %s: %w", id, storagedriver.ErrNotExist)
	}
	if string(state) != string(stateAt(size)) {
		return nil, fmt.Errorf("state %.32q is not of %d bytes: %w", state, size, storagedriver.ErrInvalid)
	}
	return c, nil
}

// stateAt is the driver's state. It is not needed, but callers must bring it.
func stateAt(size int64) []byte { return strconv.AppendInt([]byte("saved at "), size, 10) }

// stateHeld is the state of bytes that one driver holds.
const stateHeld = "held"

func held(state []byte) bool { return string(state) == stateHeld }

// stage is an open staged object.
type stage struct {
	driver  *Driver
	store   *store
	id      string
	content *content
	err     error
}

func (s *stage) Write(p []byte) (int, error) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.err != nil {
		return 0, s.err
	}
	before := s.content.size
	s.store.used += s.content.append(p)
	if s.store.limit > 0 && s.store.used > s.store.limit {
		s.store.used -= s.content.cut(before)
		s.err = fmt.Errorf("stage %s: %w", s.id, storagedriver.ErrFull)
		return 0, s.err
	}
	return len(p), nil
}

func (s *stage) Save(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("save %s: %w", s.id, err)
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	if s.err != nil {
		return nil, s.err
	}
	return stateAt(s.content.size), nil
}

// Hold copies the bytes to where other drivers of the store cannot find them.
// What was saved before stays for those, the rest is cut off by Resume.
func (s *stage) Hold(ctx context.Context) ([]byte, error) {
	if _, err := s.Save(ctx); err != nil {
		return nil, err
	}
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.driver.held[s.id] = s.content.snapshot()
	return []byte(stateHeld), nil
}

func (s *stage) Close() error {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	s.err = fmt.Errorf("stage %s: %w", s.id, errClosed)
	return nil
}
