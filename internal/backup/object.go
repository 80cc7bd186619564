package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"artifactstore/eventlog"
	"artifactstore/internal/canon"
	"artifactstore/internal/metastore"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// workers copy objects at the same time: while one waits for a flush, others
// hash.
const workers = 4

// want is an object that the copy should have.
type want struct {
	sequence eventlog.Sequence // of the event that stored it
	digests  identity.DigestSet
	size     int64 // unknown: not told by the event
	receipt  fact.Receipt
	// problem is why it cannot be had from the source, nil if it could.
	problem error
}

const unknown = -1

// errDamaged is wrapped by errors that say that the source does not have an
// object, or has other bytes.
var errDamaged = errors.New("damaged at the source")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %w", errDamaged, fmt.Errorf(format, args...))
}

// batch is the beginning of a page that is copied at once.
type batch struct {
	events  []metastore.Recorded
	objects []want
}

// The objects of a batch: it ends with the event that reaches one of these, so
// that the copy's head is never far behind its objects.
const (
	batchObjects = 100
	batchBytes   = 256 << 20
)

// cut takes the next batch off a page. It drops content rows that are not what
// their events say: a copy had better miss them than pass them on.
func cut(page []metastore.Recorded) (b batch, rest []metastore.Recorded, err error) {
	size, n := int64(0), 0
	for n < len(page) && len(b.objects) < batchObjects && size < batchBytes {
		r := &page[n]
		w, err := named(&r.Event)
		if err != nil && n == 0 {
			return b, nil, err
		}
		if err != nil {
			break // what is before it comes first
		}
		n++
		switch {
		case w != nil && w.receipt.Store != fact.Content:
			b.objects = append(b.objects, *w)
			size += max(w.size, 0)
		case w != nil && r.Content != nil && !w.has(r.Content):
			r.Content = nil
		}
	}
	b.events = page[:n]
	return b, page[n:], nil
}

// named returns the byte sequence that an event put somewhere, nil for none.
func named(e *eventlog.Event) (*want, error) {
	f := fact.New(string(e.Kind))
	switch f.(type) {
	case *fact.BlobStored, *fact.BlobMoved:
	default:
		return nil, nil
	}
	if err := canon.Unmarshal(e.Payload, f); err != nil {
		return nil, &eventlog.Fault{Sequence: e.Sequence, Problem: fmt.Sprintf("its payload cannot be read: %v", err)}
	}
	if moved, ok := f.(*fact.BlobMoved); ok {
		return &want{sequence: e.Sequence, digests: identity.DigestSet{moved.Blob}, size: unknown, receipt: moved.To}, nil
	}
	stored := f.(*fact.BlobStored) // the only other kind
	return &want{sequence: e.Sequence, digests: stored.Digests, size: stored.Size, receipt: stored.Receipt}, nil
}

// has tells whether bytes are the wanted ones.
func (w *want) has(data []byte) bool {
	return (w.size == unknown || w.size == int64(len(data))) && w.agrees(identity.Of(data, identity.SHA512))
}

func (w *want) agrees(digests identity.DigestSet) bool {
	for _, d := range w.digests {
		if !digests.Has(d) {
			return false
		}
	}
	return true
}

// copyAll copies objects, several at a time, and sets the problem of those that
// cannot be had from the source. Its error is any other failure.
func (c *copier) copyAll(ctx context.Context, wants []want) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan *want)
	var wait sync.WaitGroup
	for range min(workers, len(wants)) {
		wait.Go(func() {
			for w := range next {
				if ctx.Err() != nil {
					continue // only to empty the channel
				}
				err := c.copyObject(ctx, w)
				if errors.Is(err, errDamaged) {
					w.problem = err
				} else if err != nil {
					cancel(fmt.Errorf("copy object %s: %w", w.receipt.Locator, err))
				}
			}
		})
	}
	for i := range wants {
		next <- &wants[i]
	}
	close(next)
	wait.Wait()
	return context.Cause(ctx)
}

// copyObject copies one object unless the copy has it. When it returns nil the
// object is durable. It has the locator that it has at the source, whichever
// driver chose it: the events name it so.
func (c *copier) copyObject(ctx context.Context, w *want) error {
	from, to := c.from.Objects[w.receipt.Store], c.to.Objects[w.receipt.Store]
	if from == nil || to == nil {
		return fmt.Errorf("store %q is not configured", w.receipt.Store)
	}
	placer, ok := storagedriver.Find[storagedriver.Placer](to)
	if !ok {
		return fmt.Errorf("store %q of the copy cannot take objects of another store", w.receipt.Store)
	}
	o := &object{want: w, ctx: ctx, from: from, tell: c.tell}
	if w.size == unknown {
		size, err := from.Size(ctx, w.receipt.Locator)
		if err != nil {
			return unreadable(ctx, err)
		}
		o.size = size
	} else {
		o.size = w.size
	}
	err := o.place(ctx, to, placer)
	switch {
	case err == nil && o.opened:
		c.tell(func(*Progress) {
			c.result.Objects++
			c.result.Bytes += o.size
		})
	case o.opened:
		c.tell(func(p *Progress) { p.Objects-- })
	}
	return err
}

// object reads an object of the source, and checks it on the way: its last
// bytes come only if all of them are those that are wanted. It is opened when
// the first ones are.
type object struct {
	*want
	ctx    context.Context
	from   Objects
	size   int64
	tell   func(func(*Progress))
	opened bool
	reader io.ReadCloser
	hash   *identity.Hasher
	failed error
}

// place places the object. Nothing is read of an empty one, so that is looked at
// before.
func (o *object) place(ctx context.Context, to storagedriver.Driver, placer storagedriver.Placer) error {
	defer o.close()
	if o.size == 0 {
		if _, err := to.Size(ctx, o.receipt.Locator); errors.Is(err, storagedriver.ErrNotExist) {
			o.failed = o.open()
		}
		if o.failed == nil && o.opened {
			o.failed = o.end()
		}
	}
	var err error
	if o.failed == nil {
		err = placer.Place(ctx, o.receipt.Locator, o.size, o)
	}
	if o.failed != nil {
		return o.failed // which Place may have put in other words
	}
	return err
}

func (o *object) Read(p []byte) (n int, err error) {
	if o.failed == nil && !o.opened {
		o.failed = o.open()
	}
	if o.failed == nil {
		n, o.failed = o.read(p)
	}
	if o.failed != nil {
		return 0, o.failed
	}
	return n, nil
}

func (o *object) open() (err error) {
	if o.reader, err = o.from.Open(o.ctx, o.receipt.Locator, 0, -1); err != nil {
		return unreadable(o.ctx, err)
	}
	also := make([]identity.Algorithm, len(o.digests))
	for i, d := range o.digests {
		also[i] = d.Algorithm()
	}
	o.opened, o.hash = true, identity.NewHasher(also...)
	o.tell(func(p *Progress) { p.Objects++ })
	return nil
}

func (o *object) read(p []byte) (int, error) {
	if err := o.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := o.reader.Read(p[:min(int64(len(p)), o.size-o.hash.Size())])
	_, _ = o.hash.Write(p[:n]) // never fails
	o.tell(func(p *Progress) { p.Bytes += int64(n) })
	if o.hash.Size() == o.size {
		return n, o.end()
	}
	if errors.Is(err, io.EOF) {
		return n, damaged("it has %d of %d bytes", o.hash.Size(), o.size)
	}
	if err != nil {
		return n, unreadable(o.ctx, err)
	}
	return n, nil
}

// end looks at an object of which all bytes have been read.
func (o *object) end() error {
	switch n, err := io.ReadFull(o.reader, make([]byte, 1)); {
	case n > 0:
		return damaged("it has more than %d bytes", o.size)
	case !errors.Is(err, io.EOF):
		return unreadable(o.ctx, err)
	case !o.agrees(o.hash.Sum()):
		return damaged("its bytes are %s", o.hash.Sum().Primary())
	}
	return nil
}

func (o *object) close() {
	if o.reader != nil {
		_ = o.reader.Close() // nothing was written
	}
}

// unreadable is what an error of the source means: a bad place on its disk is
// no reason not to save the rest.
func unreadable(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, storagedriver.ErrNotExist) {
		return damaged("it is missing")
	}
	return damaged("%w", err)
}
