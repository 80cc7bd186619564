// Package observe tells observers of every operation of a storage driver: of
// its name, its duration, the bytes it moved and how it ended. Metrics and
// traces stand on it.
package observe

import (
	"context"
	"io"
	"time"

	"artifactstore/storagedriver"
)

// Op names an operation of a driver.
type Op string

// The operations, in the order of the interface. Stage, Resume, Write, Save, Hold
// and Close are steps of one staged object.
const (
	Stage      Op = "stage"
	Write      Op = "write"
	Save       Op = "save"
	Hold       Op = "hold"
	Close      Op = "close"
	Resume     Op = "resume"
	OpenStaged Op = "open_staged"
	Discard    Op = "discard"
	Publish    Op = "publish"
	Open       Op = "open"
	Size       Op = "size"
	Delete     Op = "delete"
	Health     Op = "health"
	Staged     Op = "list_staged"
	Link       Op = "link"
	Place      Op = "place"
	Objects    Op = "list_objects"
)

// Ops are all operations.
var Ops = [...]Op{
	Stage, Write, Save, Hold, Close, Resume, OpenStaged, Discard, Publish, Open, Size, Delete, Health, Staged, Link, Place,
	Objects,
}

// Outcome is how an operation ended.
type Outcome struct {
	Duration time.Duration
	// Bytes were written by Write, made an object by Publish or Place, or
	// opened by Open, as far as its caller said how many it wants. Otherwise
	// it is 0.
	Bytes int64
	Err   error
}

// An Observer is called when an operation begins. It returns the context that
// the operation goes on with, and what is to be called with its outcome; nil
// for nothing. It may be called concurrently.
type Observer func(context.Context, Op) (context.Context, func(Outcome))

// Wrap returns a driver that does what d does and tells the observers that are
// not nil. storagedriver.Find finds the optional abilities of d in it, and its
// readers are those of d, so that a file stays one. Without observers it is d
// itself.
func Wrap(d storagedriver.Driver, observers ...Observer) storagedriver.Driver {
	for _, o := range observers {
		if o != nil {
			d = wrap(d, o)
		}
	}
	return d
}

func wrap(d storagedriver.Driver, o Observer) storagedriver.Driver {
	w := &driver{Driver: d, observe: o}
	w.below = w.abilities(d)
	return w
}

type driver struct {
	storagedriver.Driver // Locate
	observe              Observer
	// below has the abilities that are observed, and then those of Driver.
	below storagedriver.Driver
}

// Unwrap is for storagedriver.Find.
func (d *driver) Unwrap() storagedriver.Driver { return d.below }

// run does an operation and tells the observer.
func (d *driver) run(ctx context.Context, op Op, bytes int64, do func(context.Context) error) error {
	ctx, ended := d.observe(ctx, op)
	if ended == nil {
		return do(ctx)
	}
	begun := time.Now()
	err := do(ctx)
	if err != nil {
		bytes = 0
	}
	ended(Outcome{Duration: time.Since(begun), Bytes: bytes, Err: err})
	return err
}

func (d *driver) Stage(ctx context.Context, id string) (s storagedriver.Stage, err error) {
	err = d.run(ctx, Stage, 0, func(ctx context.Context) error { s, err = d.Driver.Stage(ctx, id); return err })
	return d.stage(ctx, s, err)
}

func (d *driver) Resume(ctx context.Context, id string, state []byte, offset int64) (s storagedriver.Stage, err error) {
	err = d.run(ctx, Resume, 0, func(ctx context.Context) error {
		s, err = d.Driver.Resume(ctx, id, state, offset)
		return err
	})
	return d.stage(ctx, s, err)
}

func (d *driver) stage(ctx context.Context, s storagedriver.Stage, err error) (storagedriver.Stage, error) {
	if err != nil {
		return nil, err
	}
	observed := &stage{Stage: s, driver: d, ctx: ctx}
	if holder, ok := s.(storagedriver.Holder); ok {
		return &holds{observed, holder}, nil
	}
	return observed, nil
}

func (d *driver) OpenStaged(ctx context.Context, id string, state []byte, size int64) (r io.ReadCloser, err error) {
	err = d.run(ctx, OpenStaged, 0, func(ctx context.Context) error {
		r, err = d.Driver.OpenStaged(ctx, id, state, size)
		return err
	})
	return r, err
}

func (d *driver) Discard(ctx context.Context, id string, state []byte) error {
	return d.run(ctx, Discard, 0, func(ctx context.Context) error { return d.Driver.Discard(ctx, id, state) })
}

func (d *driver) Publish(ctx context.Context, id string, state []byte, size int64, locator string) error {
	return d.run(ctx, Publish, size, func(ctx context.Context) error {
		return d.Driver.Publish(ctx, id, state, size, locator)
	})
}

func (d *driver) Open(ctx context.Context, locator string, offset, length int64) (r io.ReadCloser, err error) {
	err = d.run(ctx, Open, max(0, length), func(ctx context.Context) error {
		r, err = d.Driver.Open(ctx, locator, offset, length)
		return err
	})
	return r, err
}

func (d *driver) Size(ctx context.Context, locator string) (size int64, err error) {
	err = d.run(ctx, Size, 0, func(ctx context.Context) error { size, err = d.Driver.Size(ctx, locator); return err })
	return size, err
}

func (d *driver) Delete(ctx context.Context, locator string) error {
	return d.run(ctx, Delete, 0, func(ctx context.Context) error { return d.Driver.Delete(ctx, locator) })
}

func (d *driver) Health(ctx context.Context) (h storagedriver.Health, err error) {
	err = d.run(ctx, Health, 0, func(ctx context.Context) error { h, err = d.Driver.Health(ctx); return err })
	return h, err
}
