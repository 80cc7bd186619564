package budget

import (
	"context"
	"math"
	"sync"
	"time"
)

// Pace bounds how fast work behind the scenes goes: how many bytes and how many
// objects a second, all its users together. What was not used in one moment is
// not made up for in the next, so it never goes faster for a while. A nil Pace
// is no limit. It is safe for concurrent use.
type Pace struct{ bytes, objects lane }

// NewPace returns a pace of so many bytes and objects a second. 0, or less, is
// no limit of that kind.
func NewPace(bytes, objects int64) *Pace {
	return &Pace{bytes: lane{rate: float64(bytes)}, objects: lane{rate: float64(objects)}}
}

// Object waits until another object may be begun. The error is the context's.
func (p *Pace) Object(ctx context.Context) error {
	if p == nil {
		return ctx.Err()
	}
	return p.objects.take(ctx, 1)
}

// Bounded tells whether there is a bound of objects.
func (p *Pace) Bounded() bool { return p != nil && p.objects.rate > 0 }

// Objects is Object, so often.
func (p *Pace) Objects(ctx context.Context, n int64) error {
	if p == nil || n <= 0 {
		return ctx.Err()
	}
	// All but the last, which waits for them.
	if err := p.objects.take(ctx, n-1); err != nil {
		return err
	}
	return p.objects.take(ctx, 1)
}

// Bytes waits until n more bytes may be moved. The first are free to go at
// once, and those that follow wait for them: a caller that asks for each buffer
// is ahead of the pace by no more than one of them. The error is the context's.
func (p *Pace) Bytes(ctx context.Context, n int64) error {
	if p == nil {
		return ctx.Err()
	}
	return p.bytes.take(ctx, n)
}

// lane is one limit. Whoever takes something moves the moment at which the next
// one may, and waits for the moment that it found.
type lane struct {
	rate float64 // a second

	mu   sync.Mutex
	next time.Time
}

func (l *lane) take(ctx context.Context, n int64) error {
	if err := ctx.Err(); err != nil || l.rate <= 0 || n <= 0 {
		return err
	}
	cost := time.Duration(min(float64(n)/l.rate*float64(time.Second), math.MaxInt64/4))
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now
	}
	wait := l.next.Sub(now)
	l.next = l.next.Add(cost)
	l.mu.Unlock()
	if wait <= 0 {
		return nil
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		l.mu.Lock()
		l.next = l.next.Add(-cost) // it goes to those who come later
		l.mu.Unlock()
		return ctx.Err()
	}
}
