package admin

import (
	"context"
	"sync"

	"artifactstore/registry"
)

// freeAnswer is how many bytes of an answer are sent without asking for room.
const freeAnswer = 16 << 10

// hold takes room for n bytes that stay in memory at the pace of a client, until
// release is called.
func (d *door) hold(n int64) (release func(), err error) {
	if d.Held == nil || n <= freeAnswer {
		return func() {}, nil
	}
	release, ok := d.Held.TryAcquire(n)
	if !ok {
		return nil, registry.Errorf(registry.TooManyRequests, "too much is being sent at once; try again, or ask for a shorter page")
	}
	return release, nil
}

// reserve waits for room to take n bytes of a document apart. One request of this
// door has it at a time, and one waits for it: pushes wait in the same line, and
// must not stand behind all who follow the log.
func (d *door) reserve(ctx context.Context, n int64) (release func(), err error) {
	select {
	case d.parsing <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	done := func() { <-d.parsing }
	back, err := d.Registry.Reserve(ctx, n)
	if err != nil {
		done()
		return nil, err
	}
	return sync.OnceFunc(func() { back(); done() }), nil
}
