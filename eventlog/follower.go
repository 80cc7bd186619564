package eventlog

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Cursors keeps how far each follower has come, by name.
type Cursors interface {
	// Cursor returns the last place that SetCursor was given, the zero
	// Cursor at first.
	Cursor(ctx context.Context, name string) (Cursor, error)
	// SetCursor remembers it. A crash may forget the latest call.
	SetCursor(ctx context.Context, name string, done Cursor) error
}

// Follower hands every event of a log to a handler, in order and at least
// once: after a crash or a failure some come again, none is left out.
//
// It cannot be fooled: an event that does not go on with what was handled
// before is not handed on, and ends it.
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
//
// The error wraps ErrDiverged if the log does not have the cursor, at the start
// or later: it was restored from an older state, or is another log. Until an
// operator sets the cursor back every Run ends so. It is a *Fault if the log is
// the same and the event behind the cursor is not what was written.
func (f *Follower) Run(ctx context.Context, handle func(context.Context, Event) error) error {
	cursor, err := f.Cursors.Cursor(ctx, f.Name)
	if err != nil {
		return fmt.Errorf("read cursor %s: %w", f.Name, err)
	}
	at, err := cursor.Find(ctx, f.Log)
	if err != nil {
		return fmt.Errorf("%s: %w", f.Name, err)
	}
	limit := f.Page
	if limit <= 0 {
		limit = 100
	}
	for {
		if err := f.Log.Wait(ctx, at.Sequence); err != nil {
			return err
		}
		page, err := f.Log.Read(ctx, at.Sequence, limit)
		if err != nil {
			return fmt.Errorf("read events after %d: %w", at.Sequence, err)
		}
		if len(page) == 0 {
			if err := f.miss(ctx, at); err != nil {
				return err
			}
			continue
		}
		if at, err = f.handle(ctx, at, page, handle); err != nil {
			return err
		}
	}
}

// handle hands on one page and remembers the last event that was handled, also
// when a later one fails.
func (f *Follower) handle(ctx context.Context, at Head, page []Event, handle func(context.Context, Event) error) (Head, error) {
	start := at.Sequence
	var failed error
	for i := range page {
		if failed = ctx.Err(); failed != nil {
			break
		}
		next, fault := at.Follows(&page[i])
		if fault != nil {
			failed = f.blame(ctx, at, fault)
			break
		}
		if failed = handle(ctx, page[i]); failed != nil {
			failed = fmt.Errorf("%s: event %d: %w", f.Name, page[i].Sequence, failed)
			break
		}
		at = next
	}
	if at.Sequence > start {
		// The handler's work is done even if ctx ended meanwhile; only a
		// cursor that lags behind would make it come again.
		if err := f.Cursors.SetCursor(context.WithoutCancel(ctx), f.Name, at.Cursor()); err != nil && failed == nil {
			failed = fmt.Errorf("remember cursor %s: %w", f.Name, err)
		}
	}
	return at, failed
}

// blame finds out why the log does not go on at a place: it was replaced, or it
// is damaged.
func (f *Follower) blame(ctx context.Context, at Head, fault error) error {
	if _, err := at.Cursor().Find(ctx, f.Log); errors.Is(err, ErrDiverged) {
		fault = err
	}
	return fmt.Errorf("%s: %w", f.Name, fault)
}

// missPause is the time between two looks at a log that has less than Wait says.
const missPause = 250 * time.Millisecond

// miss is what to do when Wait has told of an event that cannot be read: the log
// was put back meanwhile, or the event is missing.
func (f *Follower) miss(ctx context.Context, at Head) error {
	end, err := f.Log.Head(ctx)
	if err != nil {
		return fmt.Errorf("read events after %d: %w", at.Sequence, err)
	}
	page, err := f.Log.Read(ctx, at.Sequence, 1)
	switch {
	case err != nil:
		return fmt.Errorf("read events after %d: %w", at.Sequence, err)
	case len(page) > 0:
		return nil
	case end.Cursor() != at.Cursor():
		return f.blame(ctx, at, at.Ends(end))
	}
	// It was put back to where we are, of which Wait knows nothing.
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(missPause):
		return nil
	}
}
