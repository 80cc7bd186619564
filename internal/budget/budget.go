// Package budget bounds the memory that requests use together: transfer
// buffers and what is being parsed come out of one budget of bytes.
package budget

import (
	"context"

	"golang.org/x/sync/semaphore"
)

// Budget is a number of bytes. It is safe for concurrent use.
type Budget struct {
	total int64
	free  *semaphore.Weighted
}

// New returns a budget of total bytes; one of less than 1 byte has 1.
func New(total int64) *Budget {
	total = max(total, 1)
	return &Budget{total: total, free: semaphore.NewWeighted(total)}
}

// Acquire waits until n bytes are free, and returns the function that gives
// them back, to be called once. More than the whole budget counts as all of
// it. The error is the context's.
func (b *Budget) Acquire(ctx context.Context, n int64) (release func(), err error) {
	n = b.clamp(n)
	if err := b.free.Acquire(ctx, n); err != nil {
		return nil, err
	}
	return func() { b.free.Release(n) }, nil
}

// TryAcquire is Acquire without waiting; ok tells whether it succeeded.
func (b *Budget) TryAcquire(n int64) (release func(), ok bool) {
	n = b.clamp(n)
	if !b.free.TryAcquire(n) {
		return nil, false
	}
	return func() { b.free.Release(n) }, true
}

func (b *Budget) clamp(n int64) int64 { return min(max(n, 0), b.total) }
