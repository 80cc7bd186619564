package worker

import (
	"context"
	"time"
)

// Lease lets one of several processes do something at a time. A process has one
// Lease for all names. It is safe for concurrent use, and reports its own errors.
//
// A lease is for economy: a holder that stood still may not know yet that
// another one has taken over. Where that matters, work compares fences.
type Lease interface {
	// Acquire takes the lease of a name for ttl from now on, by the lease's
	// own clock, or prolongs it if this process holds it. held is false while
	// another one does. fence is the same as long as no other process takes the
	// lease in between, and higher each time that one does.
	Acquire(ctx context.Context, name string, ttl time.Duration) (held bool, fence int64, err error)
	// Release gives the lease back if this process holds it, so that another
	// one need not wait for its end.
	Release(ctx context.Context, name string) error
}

const (
	// LeaseTime is how long a lease is taken for, and so how long work stands
	// still, at most and with LeaseRetry, when the process that did it dies.
	LeaseTime = 15 * time.Second
	// LeaseRetry is how often a lease is prolonged or asked for.
	LeaseRetry = LeaseTime / 3
	// leaseMargin is how long before the end of a lease that could not be
	// prolonged its work is told to stop.
	leaseMargin = LeaseTime / 6
)

// Exclusive does what Every does, in one process at a time of all that share
// the lease of this name: it calls work at once when it gets the lease, and then
// at intervals while it keeps it. The context that work gets ends when the
// lease is lost, early enough for work that returns soon to be over when
// another process begins. When ctx is done and work has returned, the lease is
// released and Exclusive returns.
func Exclusive(ctx context.Context, lease Lease, name string, interval time.Duration, work func(context.Context)) {
	h := &holder{lease: lease, name: name}
	Every(ctx, LeaseRetry, func(ctx context.Context) {
		if h.acquire(ctx) {
			h.term(ctx, interval, work)
		}
	})
}

type fenceKey struct{}

// Fence returns the fence of the lease under which Exclusive called work with
// ctx, 0 elsewhere. What a process with a lower fence still does can be told by it.
func Fence(ctx context.Context) int64 {
	fence, _ := ctx.Value(fenceKey{}).(int64)
	return fence
}

// holder is one process that wants a lease.
type holder struct {
	lease Lease
	name  string
	// fence and until are of the lease that it got last. until is by our
	// clock, counted from before the lease was asked for: never too late.
	fence int64
	until time.Time
}

// ask takes the lease, or prolongs it.
func (h *holder) ask(ctx context.Context) (held bool, fence int64, until time.Time, err error) {
	until = time.Now().Add(LeaseTime)
	ctx, cancel := context.WithTimeout(ctx, LeaseRetry)
	defer cancel()
	held, fence, err = h.lease.Acquire(ctx, h.name, LeaseTime)
	return held, fence, until, err
}

// acquire takes the lease. One that was answered too late is as good as none.
func (h *holder) acquire(ctx context.Context) bool {
	held, fence, until, err := h.ask(ctx)
	if err != nil || !held || h.rest(until) <= 0 {
		return false
	}
	h.fence, h.until = fence, until
	return true
}

// rest is how long work may go on under a lease.
func (h *holder) rest(until time.Time) time.Duration { return time.Until(until) - leaseMargin }

// term works for as long as the lease is held, and returns when work has.
func (h *holder) term(ctx context.Context, interval time.Duration, work func(context.Context)) {
	working, stop := context.WithCancel(context.WithValue(ctx, fenceKey{}, h.fence))
	done := make(chan struct{})
	go func() {
		defer close(done)
		Every(working, interval, work)
	}()
	// What is going on when ctx is done must not meet another process either:
	// the lease is kept until work has returned.
	kept := context.WithoutCancel(ctx)
	lost := make(chan struct{})
	// An answer of the lease may take any time; this does not wait for it.
	end := time.AfterFunc(h.rest(h.until), func() { stop(); close(lost) })
	defer func() {
		end.Stop()
		stop()
		<-done
	}()
	renewal := time.NewTicker(LeaseRetry)
	defer renewal.Stop()
	for {
		select {
		case <-done:
			h.release(kept)
			return
		case <-lost:
			return
		case <-renewal.C:
			if !h.prolong(kept, end) {
				return
			}
		}
	}
}

// prolong asks for more time, and tells whether the lease was not lost. Without
// an answer the lease goes on until its end.
func (h *holder) prolong(ctx context.Context, end *time.Timer) bool {
	held, fence, until, err := h.ask(ctx)
	if err != nil {
		return true
	}
	if !held || fence != h.fence || !end.Stop() {
		return false
	}
	h.until = until
	end.Reset(h.rest(until))
	return true
}

// release gives the lease back. If it fails others wait for its end.
func (h *holder) release(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, LeaseRetry)
	defer cancel()
	_ = h.lease.Release(ctx, h.name) // the lease reports its own errors
}
