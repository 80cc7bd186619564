package eventlog

import (
	"context"
	"fmt"
)

// Cursors keeps how far each follower has come, by name.
type Cursors interface {
	// Cursor returns the last sequence that the follower is done with, 0 at first.
	Cursor(ctx context.Context, name string) (Sequence, error)
	// SetCursor remembers it. A crash may forget the latest call.
	SetCursor(ctx context.Context, name string, done Sequence) error
}

// Follower hands every event of a log to a handler, in order and at least
// once: after a crash or a failure some come again, none is left out.
type Follower struct {
	// Name is that of the cursor; one follower runs under a name at a time.
	Name    string
	Log     Reader
	Cursors Cursors
	// Page is how many events are read at once and how often the cursor is
	// remembered; 100 if it is 0.
	Page int
}

// Run goes on from the cursor and follows the log until ctx ends or something
// fails; then it returns the cause. When handle fails its event is not done:
// Run returns the error, and the next Run begins with that event.
func (f *Follower) Run(ctx context.Context, handle func(context.Context, Event) error) error {
	done, err := f.Cursors.Cursor(ctx, f.Name)
	if err != nil {
		return fmt.Errorf("read cursor %s: %w", f.Name, err)
	}
	limit := f.Page
	if limit <= 0 {
		limit = 100
	}
	for {
		if err := f.Log.Wait(ctx, done); err != nil {
			return err
		}
		page, err := f.Log.Read(ctx, done, limit)
		if err != nil {
			return fmt.Errorf("read events after %d: %w", done, err)
		}
		if done, err = f.handle(ctx, done, page, handle); err != nil {
			return err
		}
	}
}

// handle hands on one page and remembers the last event that was handled, also
// when a later one fails.
func (f *Follower) handle(ctx context.Context, done Sequence, page []Event, handle func(context.Context, Event) error) (Sequence, error) {
	start := done
	var failed error
	for i := range page {
		if failed = ctx.Err(); failed != nil {
			break
		}
		if failed = handle(ctx, page[i]); failed != nil {
			failed = fmt.Errorf("%s: event %d: %w", f.Name, page[i].Sequence, failed)
			break
		}
		done = page[i].Sequence
	}
	if done > start {
		// The handler's work is done even if ctx ended meanwhile; only a
		// cursor that lags behind would make it come again.
		if err := f.Cursors.SetCursor(context.WithoutCancel(ctx), f.Name, done); err != nil && failed == nil {
			failed = fmt.Errorf("remember cursor %s: %w", f.Name, err)
		}
	}
	return done, failed
}
