// Package budget bounds the memory that requests use, whatever their number and
// size.
//
// One Budget covers transfer buffers, the parsing of documents, and whatever
// else is proportional to what clients send. Half of it is kept for what work
// cannot do without (Acquire, which waits); the other half may be borrowed on
// top of that (TryAcquire, which does not wait), so that fast connections get
// large buffers while there is room and slow ones cannot keep others out.
package budget

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"
)

// ErrTooLarge: more was asked for than the budget will ever have.
var ErrTooLarge = errors.New("larger than the budget")

// Minimum is the smallest budget: two transfers at the same time can start.
const Minimum = 4 * smallBuffer

// Budget is a number of bytes to be shared. It is safe for concurrent use.
type Budget struct {
	size  int64
	all   *semaphore.Weighted
	spare *semaphore.Weighted
	used  atomic.Int64
	peak  atomic.Int64
	pools [len(bufferSizes)]sync.Pool
}

// New returns a budget of size bytes, or of Minimum if that is more.
func New(size int64) *Budget {
	size = max(size, Minimum)
	return &Budget{
		size:  size,
		all:   semaphore.NewWeighted(size),
		spare: semaphore.NewWeighted(size / 2),
	}
}

// Acquire waits until n bytes are free and takes them. release gives them back;
// calling it again does nothing. The error is ErrTooLarge, or the context's.
//
// Who holds bytes must not wait for more: all holders could.
func (b *Budget) Acquire(ctx context.Context, n int64) (release func(), err error) {
	if err := b.acquire(ctx, n); err != nil {
		return nil, err
	}
	return sync.OnceFunc(func() { b.release(n) }), nil
}

func (b *Budget) acquire(ctx context.Context, n int64) error {
	if n > b.size {
		return fmt.Errorf("%d bytes: %w of %d", n, ErrTooLarge, b.size)
	}
	if err := b.all.Acquire(ctx, n); err != nil {
		return err
	}
	b.took(n)
	return nil
}

func (b *Budget) release(n int64) {
	b.used.Add(-n)
	b.all.Release(n)
}

// TryAcquire takes n bytes if there is room to spare: of all that it gave, no
// more than half of the budget is out at a time, and nobody waits for room.
// release gives them back; calling it again does nothing.
func (b *Budget) TryAcquire(n int64) (release func(), ok bool) {
	if !b.tryAcquire(n) {
		return nil, false
	}
	return sync.OnceFunc(func() { b.releaseSpare(n) }), true
}

func (b *Budget) tryAcquire(n int64) bool {
	if !b.spare.TryAcquire(n) {
		return false
	}
	if !b.all.TryAcquire(n) {
		b.spare.Release(n)
		return false
	}
	b.took(n)
	return true
}

func (b *Budget) releaseSpare(n int64) {
	b.spare.Release(n)
	b.release(n)
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
