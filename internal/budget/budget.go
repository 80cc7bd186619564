// Package budget bounds the memory that requests use, whatever their number and
// size.
//
// One Budget covers transfer buffers, the parsing of documents, and whatever
// else is proportional to what clients send. Three eighths of it are for the
// first buffers of streams (Transfer), so that neither a large document nor fast
// senders keep a stream from starting. The rest is for what work cannot do
// without (Acquire, which waits) and, up to the half of it and while nobody
// waits, for what makes work faster (TryAcquire, which does not wait).
package budget

import (
	"context"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// Minimum is the smallest budget.
const Minimum = 1 << 20

// Budget is a number of bytes to be shared. It is safe for concurrent use.
type Budget struct {
	// first is for first buffers; rest for all else, of which spare is lent.
	first, rest, spare *semaphore.Weighted
	size, restSize     int64
	waiting            atomic.Int64
	used, peak         atomic.Int64
	pools              [len(bufferSizes)]sync.Pool
}

// New returns a budget of size bytes, or of Minimum if that is more.
func New(size int64) *Budget {
	size = max(size, Minimum)
	first := size / 8 * 3
	return &Budget{
		size:     size,
		restSize: size - first,
		first:    semaphore.NewWeighted(first),
		rest:     semaphore.NewWeighted(size - first),
		spare:    semaphore.NewWeighted((size - first) / 2),
	}
}

// Acquire waits until n bytes are free and takes them. More than there ever
// will be counts as all. release gives them back; calling it again does
// nothing. The error is the context's.
//
// Who holds bytes must not wait for more: all holders could.
func (b *Budget) Acquire(ctx context.Context, n int64) (release func(), err error) {
	n = min(max(n, 0), b.restSize)
	b.waiting.Add(1)
	err = b.rest.Acquire(ctx, n)
	b.waiting.Add(-1)
	if err != nil {
		return nil, err
	}
	b.took(n)
	return sync.OnceFunc(func() {
		b.used.Add(-n)
		b.rest.Release(n)
	}), nil
}

// TryAcquire takes n bytes if there is room to spare. release gives them back;
// calling it again does nothing.
func (b *Budget) TryAcquire(n int64) (release func(), ok bool) {
	if !b.borrow(n) {
		return nil, false
	}
	return sync.OnceFunc(func() { b.giveBack(n) }), true
}

func (b *Budget) borrow(n int64) bool {
	if !b.spare.TryAcquire(n) {
		return false
	}
	if !b.rest.TryAcquire(n) {
		b.spare.Release(n)
		return false
	}
	b.took(n)
	return true
}

func (b *Budget) giveBack(n int64) {
	b.used.Add(-n)
	b.spare.Release(n)
	b.rest.Release(n)
}

// took counts what is out.
func (b *Budget) took(n int64) {
	used := b.used.Add(n)
	for {
		peak := b.peak.Load()
		if used <= peak || b.peak.CompareAndSwap(peak, used) {
			return
		}
	}
}

// Size is the number of bytes there are, Used those that are out, and Peak the
// most that ever were out at a time.
func (b *Budget) Size() int64 { return b.size }

// Used is described at Size.
func (b *Budget) Used() int64 { return b.used.Load() }

// Peak is described at Size.
func (b *Budget) Peak() int64 { return b.peak.Load() }
