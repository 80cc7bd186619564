// Package fault makes a storage driver fail at a chosen operation, so that a
// test can show what its callers do about it.
//
// A test runs with FailAt 1, 2, 3, ... until a run is reached in which nothing
// failed (Plan.Fired is false): then every operation has failed once.
package fault

import (
	"context"
	"fmt"
	"io"
	"sync"

	"artifactstore/storagedriver"
)

// Op names an operation of a driver.
type Op string

// The operations, in the order of the interface. OpRead and OpReadStaged are
// reads of what Open and OpenStaged returned.
const (
	OpStage      Op = "stage"
	OpWrite      Op = "write"
	OpSave       Op = "save"
	OpHold       Op = "hold"
	OpClose      Op = "close"
	OpResume     Op = "resume"
	OpOpenStaged Op = "open staged"
	OpReadStaged Op = "read staged"
	OpDiscard    Op = "discard"
	OpPublish    Op = "publish"
	OpOpen       Op = "open"
	OpRead       Op = "read"
	OpSize       Op = "size"
	OpDelete     Op = "delete"
	OpHealth     Op = "health"
	OpStaged     Op = "staged"
	OpLink       Op = "link"
	OpPlace      Op = "place"
	OpObjects    Op = "objects"
)

// Mode says how an operation fails.
type Mode int

const (
	// Before: the operation is not done. Of a write or a read, half is done.
	Before Mode = iota
	// After: the operation is done, and its answer lost.
	After
)

// Plan says which operation fails. The zero Plan lets everything pass. Its
// fields are not changed while it is in use; its methods may be called at any time.
type Plan struct {
	// FailAt is the number of the operation that fails; the first is 1.
	FailAt int
	// Only counts operations of these kinds alone; nil counts all.
	Only []Op
	// Err is the failure.
	Err error
	// Mode says how it fails.
	Mode Mode
	// Down makes every later operation fail too, like a process that died or
	// a store that went away.
	Down bool

	mu    sync.Mutex
	count int
	op    Op
}

// Fired tells which operation was the first to fail, if one did.
func (p *Plan) Fired() (Op, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.op, p.op != ""
}

// fails counts an operation and tells whether it is to fail.
func (p *Plan) fails(op Op) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.FailAt <= 0 || !p.counts(op) {
		return false
	}
	p.count++
	if p.count < p.FailAt || p.count > p.FailAt && !p.Down {
		return false
	}
	if p.op == "" {
		p.op = op
	}
	return true
}

func (p *Plan) counts(op Op) bool {
	for _, only := range p.Only {
		if only == op {
			return true
		}
	}
	return p.Only == nil
}

// run does an operation, or not, as the plan says.
func (p *Plan) run(op Op, do func() error) error {
	if !p.fails(op) {
		return do()
	}
	if p.Mode == After {
		_ = do() // its answer is what gets lost
	}
	return p.failure(op)
}

func (p *Plan) failure(op Op) error { return fmt.Errorf("%s: %w", op, p.Err) }

// Wrap returns a driver that does what d does, except where the plan says
// otherwise. storagedriver.Find finds the optional abilities of d in it. Its
// readers are never files.
func Wrap(d storagedriver.Driver, p *Plan) storagedriver.Driver {
	w := &driver{Driver: d, plan: p}
	w.below = w.abilities(d)
	return w
}

type driver struct {
	storagedriver.Driver // Locate
	plan                 *Plan
	// below has the abilities that can fail, and then those of Driver.
	below storagedriver.Driver
}

// Unwrap is for storagedriver.Find.
func (d *driver) Unwrap() storagedriver.Driver { return d.below }

func (d *driver) Stage(ctx context.Context, id string) (storagedriver.Stage, error) {
	return d.stage(OpStage, func() (storagedriver.Stage, error) { return d.Driver.Stage(ctx, id) })
}

func (d *driver) Resume(ctx context.Context, id string, state []byte, offset int64) (storagedriver.Stage, error) {
	return d.stage(OpResume, func() (storagedriver.Stage, error) { return d.Driver.Resume(ctx, id, state, offset) })
}

func (d *driver) stage(op Op, open func() (storagedriver.Stage, error)) (storagedriver.Stage, error) {
	var s storagedriver.Stage
	err := d.plan.run(op, func() (err error) { s, err = open(); return err })
	if err == nil {
		faulty := &stage{Stage: s, plan: d.plan}
		if holder, ok := s.(storagedriver.Holder); ok {
			return &holds{faulty, holder}, nil
		}
		return faulty, nil
	}
	if s != nil { // opened, but nobody will know of it
		_ = s.Close()
	}
	return nil, err
}

func (d *driver) OpenStaged(ctx context.Context, id string, state []byte, size int64) (io.ReadCloser, error) {
	return d.reader(OpOpenStaged, OpReadStaged, func() (io.ReadCloser, error) {
		return d.Driver.OpenStaged(ctx, id, state, size)
	})
}

func (d *driver) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	return d.reader(OpOpen, OpRead, func() (io.ReadCloser, error) {
		return d.Driver.Open(ctx, locator, offset, length)
	})
}

func (d *driver) reader(op, read Op, open func() (io.ReadCloser, error)) (io.ReadCloser, error) {
	var r io.ReadCloser
	err := d.plan.run(op, func() (err error) { r, err = open(); return err })
	if err == nil {
		faulty := &reader{r, d.plan, read}
		if sized, ok := r.(storagedriver.Sized); ok {
			return &sizedReader{faulty, sized}, nil
		}
		return faulty, nil
	}
	if r != nil { // opened, but nobody will know of it
		_ = r.Close()
	}
	return nil, err
}

func (d *driver) Discard(ctx context.Context, id string, state []byte) error {
	return d.plan.run(OpDiscard, func() error { return d.Driver.Discard(ctx, id, state) })
}

func (d *driver) Publish(ctx context.Context, id string, state []byte, size int64, locator string) error {
	return d.plan.run(OpPublish, func() error { return d.Driver.Publish(ctx, id, state, size, locator) })
}

func (d *driver) Size(ctx context.Context, locator string) (size int64, err error) {
	err = d.plan.run(OpSize, func() error { size, err = d.Driver.Size(ctx, locator); return err })
	return size, err
}

func (d *driver) Delete(ctx context.Context, locator string) error {
	return d.plan.run(OpDelete, func() error { return d.Driver.Delete(ctx, locator) })
}

func (d *driver) Health(ctx context.Context) (h storagedriver.Health, err error) {
	err = d.plan.run(OpHealth, func() error { h, err = d.Driver.Health(ctx); return err })
	return h, err
}
