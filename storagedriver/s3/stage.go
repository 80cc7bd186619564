package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"artifactstore/storagedriver"
)

var (
	errClosed = errors.New("stage is closed")
	errHeld   = errors.New("stage holds what is complete")
)

// Stage begins a staged object. The bucket is told with the first bytes that
// fill a part, or that are saved.
func (d *Driver) Stage(ctx context.Context, id string) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	unlock, err := d.memory.lock(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", id, err)
	}
	defer unlock()
	if local, known := d.memory.local(id); known && !local {
		if err := d.discard(ctx, id); err != nil {
			return nil, fmt.Errorf("stage %s: %w", id, err)
		}
	}
	d.memory.forget(id)
	current, err := d.pool.buffer(false)
	if err != nil {
		return nil, fmt.Errorf("stage %s: %w", id, err)
	}
	d.memory.opened(id, false)
	return d.newStage(ctx, id, new(state), current), nil
}

// Resume fetches the end, and asks S3 for the parts of an upload.
func (d *Driver) Resume(ctx context.Context, id string, saved []byte, offset int64) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	unlock, err := d.memory.lock(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", id, err)
	}
	defer unlock()
	st, err := d.stateAt(id, saved, offset)
	if err != nil {
		return nil, fmt.Errorf("resume %s at %d: %w", id, offset, err)
	}
	next := 1
	if st.upload != "" {
		if next, err = d.recount(ctx, id, st); err != nil {
			return nil, fmt.Errorf("resume %s: %w", id, err)
		}
	}
	current, err := d.fetchEnd(ctx, id, st, offset-st.stored)
	if err != nil {
		return nil, fmt.Errorf("resume %s: %w", id, err)
	}
	d.memory.release(id)
	d.memory.opened(id, st.held == "" || st.upload != "")
	s := d.newStage(ctx, id, st, current)
	s.next = next
	if offset == st.total() && st.held == "" {
		s.last, s.lastSize = slices.Clone(saved), offset
	}
	return s, nil
}

// stateAt reads a state that was saved at a size, or beyond it within the end.
func (d *Driver) stateAt(id string, saved []byte, size int64) (*state, error) {
	if size < 0 {
		return nil, storagedriver.ErrInvalid
	}
	if len(saved) == 0 {
		return nil, fmt.Errorf("nothing of %s was saved: %w", id, storagedriver.ErrNotExist)
	}
	st, err := decodeState(saved)
	if err != nil {
		return nil, err
	}
	if st.total() < size {
		return nil, fmt.Errorf("%d of %d bytes were saved: %w", st.total(), size, storagedriver.ErrNotExist)
	}
	if size < st.stored {
		return nil, fmt.Errorf("%d bytes end within what was saved in parts: %w", size, storagedriver.ErrInvalid)
	}
	return st, nil
}

// recount asks S3 for the parts of an upload, fills in those that the state
// does not list, and returns the first number that nobody has used.
func (d *Driver) recount(ctx context.Context, id string, st *state) (int, error) {
	all, err := d.parts(ctx, d.objectKey(locate(id)), st.upload)
	if err != nil {
		return 0, err
	}
	if st.listed {
		if st.parts, err = st.choose(all); err != nil {
			return 0, err
		}
	}
	next, sizes := 1, make(map[int]int64, len(all))
	for _, p := range all {
		next = max(next, p.number+1)
		sizes[p.number] = p.size
	}
	for _, p := range st.parts {
		if size, ok := sizes[p.number]; !ok || size != p.size {
			return 0, fmt.Errorf("part %d is gone: %w", p.number, storagedriver.ErrNotExist)
		}
	}
	return next + gap(next, d.options.Concurrency), nil
}

// fetchEnd returns the first size bytes of the end that a state names. The
// caller has the id's lock, and frees the buffer.
func (d *Driver) fetchEnd(ctx context.Context, id string, st *state, size int64) (*buffer, error) {
	var from io.Reader
	key := d.stagedFolder(id) + st.tail
	switch {
	case st.held != "":
		held, done := d.memory.heldOf(id, st.held)
		if held == nil {
			return nil, fmt.Errorf("what was held is gone: %w", storagedriver.ErrNotExist)
		}
		defer done()
		from = held.reader(size)
	case st.tail == "":
		return d.pool.buffer(false)
	default:
		if b := d.memory.recall(key); b != nil {
			if _, err := d.size(ctx, key); err != nil {
				b.free()
				return nil, err
			}
			b.cut(size)
			return b, nil
		}
		r, err := d.open(ctx, key, 0, size)
		if err != nil {
			return nil, err
		}
		defer func() { _ = r.Close() }() // it was only read
		from = r
	}
	b, err := d.pool.buffer(d.spools(size))
	if err != nil {
		return nil, err
	}
	if _, err := io.Copy(b, from); err != nil {
		b.free()
		return nil, fmt.Errorf("fetch staged bytes: %w", err)
	}
	return b, nil
}

// spools tells whether so many bytes would take more than their share of memory.
func (d *Driver) spools(size int64) bool { return size > d.options.Memory/int64(d.options.Concurrency) }

// stage is an open staged object.
type stage struct {
	d      *Driver
	id     string
	ctx    context.Context // of parts that are sent between calls; Close ends it
	cancel context.CancelFunc

	current  *buffer // what comes after the parts
	offset   int64   // where it begins
	upload   string  // id of the multipart upload
	guard    string
	next     int // number of the next part
	tail     string
	last     []byte // state at lastSize, nil if none
	lastSize int64
	garbage  []string // ends of states before the last
	held     bool

	flights chan struct{} // parts that are being sent

	mu    sync.Mutex
	parts []part // that were sent, in any order
	err   error
}

// newStage goes on where a state stands, with the end in a buffer.
func (d *Driver) newStage(ctx context.Context, id string, st *state, current *buffer) *stage {
	s := &stage{
		d: d, id: id, current: current, offset: st.stored, upload: st.upload, guard: st.guard, parts: st.parts,
		next: 1, tail: st.tail, garbage: st.garbage, flights: make(chan struct{}, d.options.Concurrency),
	}
	s.ctx, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	return s
}

// failed returns what went wrong.
func (s *stage) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

func (s *stage) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = fmt.Errorf("stage %s: %w", s.id, err)
	}
	return s.err
}

// Write fills parts. One that is full is sent when the next byte comes.
func (s *stage) Write(p []byte) (int, error) {
	done := 0
	for {
		if err := s.failed(); err != nil {
			return done, err
		}
		if len(p) == done {
			return done, nil
		}
		if s.held {
			return done, s.fail(errHeld)
		}
		room := partSize(s.d.options.PartSize, s.offset) - s.current.size
		if room <= 0 {
			if err := s.sendCurrent(); err != nil {
				return done, s.fail(err)
			}
			continue
		}
		n, err := s.current.Write(p[done:min(int64(len(p)), int64(done)+room)])
		done += n
		if err != nil {
			return done, s.fail(err)
		}
	}
}

// sendCurrent sends the current part while the next one is filled. It waits
// while as many are being sent as may be.
func (s *stage) sendCurrent() error {
	if s.upload == "" {
		if err := s.begin(); err != nil {
			return err
		}
	}
	if s.next >= maxParts { // the end needs one, too
		return fmt.Errorf("a multipart upload has no more than %d part numbers; begin it again with larger parts", maxParts)
	}
	select {
	case s.flights <- struct{}{}:
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
	full, number := s.current, s.next
	s.offset, s.next = s.offset+full.size, number+1
	next, err := s.d.pool.buffer(s.d.spools(partSize(s.d.options.PartSize, s.offset)))
	if err != nil {
		next = &buffer{pool: s.d.pool}
	}
	s.current = next
	go func() {
		defer func() { full.free(); <-s.flights }()
		s.sendPart(full, number)
	}()
	return err
}

// begin makes the guard and then the upload, so that no upload is ever without
// a guard by which it is found.
func (s *stage) begin() error {
	s.d.memory.touched(s.id)
	name := random()
	guard, err := s.d.putGuard(s.ctx, s.id, guardOpen+name, "")
	if err != nil {
		return err
	}
	upload, err := s.d.create(s.ctx, s.d.objectKey(locate(s.id)), name)
	if err != nil {
		return err
	}
	s.guard, s.upload = guard, upload
	return nil
}

func (s *stage) sendPart(full *buffer, number int) {
	select {
	case s.d.flights <- struct{}{}:
	case <-s.ctx.Done():
		_ = s.fail(s.ctx.Err())
		return
	}
	p, err := s.d.send(s.ctx, s.d.objectKey(locate(s.id)), s.upload, number, full.reader(full.size))
	<-s.d.flights
	if err != nil {
		_ = s.fail(err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.parts = append(s.parts, p)
}

// land waits for the parts that are being sent.
func (s *stage) land(ctx context.Context) error {
	n := 0
	defer func() {
		for range n {
			<-s.flights
		}
	}()
	for range cap(s.flights) {
		select {
		case s.flights <- struct{}{}:
			n++
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.failed()
}

// state is what stands after all parts have landed.
func (s *stage) state() *state {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.parts, func(a, b part) int { return a.number - b.number })
	return &state{upload: s.upload, guard: s.guard, parts: s.parts, stored: s.offset, rest: s.current.size}
}

// Save writes the end as an object of its own, and then removes the end that
// was saved before the last one.
func (s *stage) Save(ctx context.Context) ([]byte, error) {
	st, err := s.settle(ctx)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return slices.Clone(s.last), nil
	}
	garbage := s.garbage
	if s.tail != "" {
		garbage = append(slices.Clone(garbage), s.tail)
	}
	if st.rest > 0 || st.upload == "" {
		st.tail = random()
		s.d.memory.touched(s.id)
		if err := s.d.putStaged(ctx, s.d.stagedFolder(s.id)+st.tail, s.current.reader(st.rest)); err != nil {
			return nil, fmt.Errorf("save %s: %w", s.id, err)
		}
	}
	st.garbage = s.collect(ctx, garbage, len(s.garbage))
	s.tail, s.garbage = st.tail, st.garbage
	s.last, s.lastSize = st.encode(), st.total()
	return slices.Clone(s.last), nil
}

// settle waits for what was written, and returns nil if all of it is saved.
func (s *stage) settle(ctx context.Context) (*state, error) {
	err := ctx.Err()
	if err == nil {
		err = s.land(ctx)
	}
	if err == nil && s.held {
		err = errHeld
	}
	if err != nil {
		return nil, fmt.Errorf("save %s: %w", s.id, err)
	}
	st := s.state()
	if s.last != nil && s.lastSize == st.total() {
		return nil, nil
	}
	return st, nil
}

// collect removes the first n names, and returns those that are left. What
// cannot be removed now is removed later, at the latest by Publish or Discard.
func (s *stage) collect(ctx context.Context, garbage []string, n int) []string {
	var left []string
	for i, name := range garbage {
		if i < n {
			err := s.d.remove(ctx, s.d.stagedFolder(s.id)+name)
			if err == nil {
				continue
			}
			s.d.log.Warn("staged bytes that are not needed any more stay for now", "id", s.id, "error", err)
		}
		left = append(left, name)
	}
	return left[max(0, len(left)-maxGarbage):]
}

// Hold keeps the end in this process.
func (s *stage) Hold(ctx context.Context) ([]byte, error) {
	st, err := s.settle(ctx)
	if err != nil {
		return nil, err
	}
	if st == nil {
		return slices.Clone(s.last), nil
	}
	st.garbage = s.garbage
	if st.rest > 0 || st.upload == "" {
		st.held = random()
		s.d.memory.hold(s.id, st.held, s.current)
		s.held = true
	}
	s.last, s.lastSize = st.encode(), st.total()
	return slices.Clone(s.last), nil
}

// Release drops what is held, if anything.
func (d *Driver) Release(id string) { d.memory.release(id) }

// Close gives up what was not saved.
func (s *stage) Close() error {
	if s.cancel == nil {
		return nil
	}
	s.cancel()
	_ = s.land(context.WithoutCancel(s.ctx)) // they end soon, by cancel
	_ = s.fail(errClosed)
	s.cancel = nil
	s.d.memory.closed(s.id)
	switch {
	case s.held:
	case s.tail != "" && s.last != nil && s.lastSize == s.offset+s.current.size:
		s.d.memory.remember(s.d.stagedFolder(s.id)+s.tail, s.current)
	default:
		s.current.free()
	}
	s.current = &buffer{pool: s.d.pool}
	return nil
}
