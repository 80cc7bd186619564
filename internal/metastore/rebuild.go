package metastore

import (
	"context"
	"errors"
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
)

// replayPage is how many events a replay reads, and a rebuild commits, at once.
const replayPage = 5000

// Progress is told how far a long operation has come, in events.
type Progress func(done, total eventlog.Sequence)

func (p Progress) tell(done, total eventlog.Sequence) {
	if p != nil {
		p(done, total)
	}
}

// Rebuild empties the views and fills them again from the log, which it
// verifies on the way; its error is an *eventlog.Fault if the log is not what
// was written. While it runs, and after it was interrupted, the store answers
// nothing from the views (ErrRebuild); the next Rebuild goes on where it was.
func (s *Store) Rebuild(ctx context.Context, progress Progress) error {
	if err := s.usable(); err != nil && !errors.Is(err, ErrRebuild) {
		return err
	}
	if s.queue == nil {
		return ErrReadOnly
	}
	if err := s.Alone(ctx); err != nil {
		return err
	}
	return s.fill(ctx, progress)
}

// fill empties and fills the views, or goes on with that.
func (s *Store) fill(ctx context.Context, progress Progress) error {
	s.rebuilding.Lock()
	defer s.rebuilding.Unlock()
	from, end, err := s.beginRebuild(ctx)
	if err != nil {
		return err
	}
	if err := s.refill(ctx, from, end, progress); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	// A crash before this commit leaves the flag: the next Rebuild finds
	// nothing left to replay, and removes it.
	err = s.transact(true, func(w database.Writer) error {
		if err := standsAt(w, end.Sequence); err != nil {
			return err
		}
		return errors.Join(clearFlag(w, flagRebuild), clearFlag(w, flagRefill))
	})
	if err != nil {
		return err
	}
	s.rebuilds = false
	s.block(nil)
	return nil
}

// beginRebuild empties the views and says so in a flag, in one transaction;
// if a rebuild was interrupted before, it returns how far that had come. From
// then on no event is added until the flag has gone, by whatever process.
func (s *Store) beginRebuild(ctx context.Context) (from, end eventlog.Head, err error) {
	s.writing.Lock()
	defer s.writing.Unlock()
	s.rebuilds = true
	if s.usable() == nil {
		s.block(ErrRebuild)
	}
	if err := ctx.Err(); err != nil {
		return from, end, err
	}
	return from, end, s.transact(true, func(w database.Writer) error {
		flags, err := readFlags(w)
		if err != nil {
			return err
		}
		done, interrupted := flags[flagRebuild]
		if end, err = readHead(w); err != nil {
			return err
		}
		if from, err = headAt(w, end.Log, eventlog.Sequence(done)); err != nil || interrupted {
			return err
		}
		for _, view := range views {
			// As a script, it may take as long as it takes.
			if err := w.Script(view.clearSQL); err != nil {
				return fmt.Errorf("empty view %s: %w", view.name, err)
			}
		}
		return setFlag(w, flagRebuild, 0)
	})
}

// headAt returns the head of the log as it was after an event.
func headAt(c database.Conn, log string, at eventlog.Sequence) (eventlog.Head, error) {
	if at == 0 {
		return eventlog.Origin(log), nil
	}
	page, err := readEvents(c, at-1, 1)
	if err != nil {
		return eventlog.Head{}, err
	}
	if len(page) == 0 || page[0].Sequence != at {
		return eventlog.Head{}, &eventlog.Fault{Sequence: at, Problem: "missing"}
	}
	return eventlog.Head{Log: log, Sequence: at, Time: page[0].Time, Chain: page[0].Chain}, nil
}

// refill replays the log into the store's own views. Each page is one
// transaction with the mark of how far it came, so a crash loses only time;
// none but the last needs a flush.
func (s *Store) refill(ctx context.Context, from, end eventlog.Head, progress Progress) error {
	own := newWorking(s.db.Writer(), from.Sequence)
	at := from.Sequence
	read := func(ctx context.Context, after eventlog.Sequence) ([]eventlog.Event, error) {
		return s.page(ctx, after, replayPage)
	}
	return replay(ctx, read, from, end, func(page []replayed) error {
		last := page[len(page)-1].event.Sequence
		err := s.write(false, func(w database.Writer) error {
			if err := standsAt(w, at); err != nil {
				return err
			}
			for i := range page {
				if _, err := apply(own, &page[i].event, page[i].fact); err != nil {
					return err
				}
			}
			if err := own.turn(last); err != nil {
				return err
			}
			return setFlag(w, flagRebuild, int64(last))
		})
		at = last
		progress.tell(last, end.Sequence)
		return err
	})
}

// page reads a page of the log in a transaction of its own: one for all would
// keep the WAL from being moved into the database until the end.
func (s *Store) page(ctx context.Context, after eventlog.Sequence, limit int) (page []eventlog.Event, err error) {
	err = s.db.Read(ctx, func(c database.Conn) error {
		page, err = readEvents(c, after, limit)
		return err
	})
	return page, err
}

// standsAt refuses to go on with a rebuild that another process has taken over,
// as one does that takes us for dead because we stood still: there may be new
// events already, and their rows would be overwritten by older ones.
func standsAt(c database.Conn, at eventlog.Sequence) error {
	flags, err := readFlags(c)
	if done, ok := flags[flagRebuild]; err == nil && (!ok || done != int64(at)) {
		err = fmt.Errorf("%w: another process has gone on with the rebuild", ErrInUse)
	}
	return err
}

// replayed is an event that was verified and decoded.
type replayed struct {
	event eventlog.Event
	fact  fact.Fact
}

// pager reads the page of the log after a sequence.
type pager func(ctx context.Context, after eventlog.Sequence) ([]eventlog.Event, error)

// replay reads the log from one head to another, verifies and decodes it, and
// hands it on by the page. Reading is a goroutine of its own, so that it and
// apply share the work; replay returns when both have ended.
func replay(ctx context.Context, read pager, from, end eventlog.Head, apply func([]replayed) error) error {
	ctx, cancel := context.WithCancel(ctx)
	pages := make(chan []replayed, 1)
	ended := make(chan error, 1)
	go func() {
		defer close(pages)
		ended <- readPages(ctx, read, from, end, pages)
	}()
	var failed error
	for page := range pages {
		if failed == nil {
			if failed = apply(page); failed != nil {
				cancel()
			}
		}
	}
	err := <-ended
	cancel()
	if failed != nil {
		return failed
	}
	return err
}

// readPages sends the verified pages of the log. When it meets a fault it
// first sends the events before it.
func readPages(ctx context.Context, read pager, at, end eventlog.Head, pages chan<- []replayed) error {
	for {
		events, err := read(ctx, at.Sequence)
		if err != nil {
			return err
		}
		if len(events) == 0 {
			return at.Ends(end)
		}
		var page []replayed
		for i := range events {
			next, fault := at.Follows(&events[i])
			var f fact.Fact
			if err = fault; err == nil {
				f, err = decode(&events[i])
			}
			if err != nil {
				break
			}
			at = next
			page = append(page, replayed{events[i], f})
		}
		if len(page) > 0 {
			select {
			case pages <- page:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if err != nil {
			return err
		}
	}
}
