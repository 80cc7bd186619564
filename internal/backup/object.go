package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"artifactstore/eventlog"
	"artifactstore/internal/canon"
	"artifactstore/internal/metastore"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

const (
	// workers copy objects at the same time: while one waits for a flush,
	// others hash.
	workers = 4
	// bufferSize is the piece in which objects are read. Two hashes of that
	// much are worth two cores.
	bufferSize = 1 << 20
)

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
	for worker := range min(workers, len(wants)) {
		wait.Go(func() {
			for w := range next {
				if ctx.Err() != nil {
					continue // only to empty the channel
				}
				err := c.copyObject(ctx, w, worker)
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
// object is durable.
func (c *copier) copyObject(ctx context.Context, w *want, worker int) error {
	from, to := c.from.Objects[w.receipt.Store], c.to.Objects[w.receipt.Store]
	if from == nil || to == nil {
		return fmt.Errorf("store %q is not configured", w.receipt.Store)
	}
	locator := w.receipt.Locator
	id := locator[strings.LastIndexAny(locator, "/-")+1:]
	if blake3, ok := w.digests.Get(identity.BLAKE3); !ok || to.Locate(id, blake3.Hex()) != locator {
		return fmt.Errorf("the copy's store cannot have an object at %q", locator)
	}
	size := w.size
	if size == unknown {
		var err error
		if size, err = from.Size(ctx, locator); err != nil {
			return unreadable(ctx, err)
		}
	}
	have, err := to.Size(ctx, locator)
	if err == nil && have == size {
		// A Run before this one published it; its name may not be flushed.
		return to.Publish(ctx, id, nil, size, locator)
	}
	if err != nil && !errors.Is(err, storagedriver.ErrNotExist) {
		return err
	}
	return c.transfer(ctx, transfer{want: w, from: from, to: to, id: id, size: size, worker: worker})
}

// transfer is an object on its way.
type transfer struct {
	*want
	from   Objects
	to     storagedriver.Driver
	id     string // of the staged object
	size   int64
	worker int
}

// transfer copies the object and publishes it if it is the one that is wanted.
func (c *copier) transfer(ctx context.Context, t transfer) error {
	r, err := t.from.Open(ctx, t.receipt.Locator, 0, -1)
	if err != nil {
		return unreadable(ctx, err)
	}
	defer func() { _ = r.Close() }() // nothing was written
	stage, err := t.to.Stage(ctx, t.id)
	if err != nil {
		return err
	}
	c.tell(func(p *Progress) { p.Objects++ })
	err = c.pump(ctx, t, stage, r)
	if err = errors.Join(err, stage.Close()); err != nil {
		// What is staged is of no use; the first error matters more.
		_ = t.to.Discard(context.WithoutCancel(ctx), t.id, nil)
		c.tell(func(p *Progress) { p.Objects-- })
		return err
	}
	if err := t.to.Publish(ctx, t.id, nil, t.size, t.receipt.Locator); err != nil {
		return err
	}
	c.tell(func(*Progress) {
		c.result.Objects++
		c.result.Bytes += t.size
	})
	return nil
}

// pump moves the bytes of an object, hashing them on the way, and compares.
func (c *copier) pump(ctx context.Context, t transfer, stage storagedriver.Stage, r io.Reader) error {
	also := make([]identity.Algorithm, len(t.digests))
	for i, d := range t.digests {
		also[i] = d.Algorithm()
	}
	hash := identity.NewHasher(also...)
	for buf := c.buffer(t.worker); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, read := io.ReadFull(r, buf)
		if hash.Size()+int64(n) > t.size {
			return damaged("it has more than %d bytes", t.size)
		}
		if _, err := stage.Write(buf[:n]); err != nil {
			return err
		}
		_, _ = hash.Write(buf[:n]) // never fails
		c.tell(func(p *Progress) { p.Bytes += int64(n) })
		switch {
		case read == nil:
		case !errors.Is(read, io.EOF) && !errors.Is(read, io.ErrUnexpectedEOF):
			return unreadable(ctx, read)
		case hash.Size() < t.size:
			return damaged("it has %d of %d bytes", hash.Size(), t.size)
		case !t.agrees(hash.Sum()):
			return damaged("its bytes are %s", hash.Sum().Primary())
		default:
			return nil
		}
	}
}

func (c *copier) buffer(worker int) []byte {
	if c.buffers[worker] == nil {
		c.buffers[worker] = make([]byte, bufferSize)
	}
	return c.buffers[worker]
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
