package metastore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
)

// This file has the views refilled after migrations that ask for it. The flag
// "refill" is set in the transaction of the migration; from then on nobody uses
// the views. A rebuild without the verb empties and fills them, with its own flag
// for how far it came, and removes both at its end. A crash at any point leaves a
// store that the next Migrate goes on with.

// Refilling is told how far a migration has come with the views, in events: it
// verifies the log, and then fills the views from it.
type Refilling func(verified bool, done, total eventlog.Sequence)

func (r Refilling) progress(verified bool) Progress {
	return func(done, total eventlog.Sequence) {
		if r != nil {
			r(verified, done, total)
		}
	}
}

// ErrRefill is an ErrRebuild: a migration has changed what views are, and has not
// refilled them yet. Migrate does, or goes on with it.
var ErrRefill error = refillError{}

type refillError struct{}

func (refillError) Error() string {
	return "a migration is not finished: the views are being refilled, or it was interrupted"
}

func (refillError) Unwrap() error { return ErrRebuild }

// incomplete returns why the views cannot be used, by the store's flags, or nil.
func incomplete(flags map[string]int64) error {
	if _, wanted := flags[flagRefill]; wanted {
		return ErrRefill
	}
	if _, begun := flags[flagRebuild]; begun {
		return ErrRebuild
	}
	return nil
}

// wantRefill says that all views have to be refilled, unless they are empty as the
// log is. How far an earlier rebuild came counts no more.
func wantRefill(c database.Conn, version int) error {
	head, err := readHead(c)
	if err != nil || head.Sequence == 0 {
		return err
	}
	return errors.Join(setFlag(c, flagRefill, int64(version)), clearFlag(c, flagRebuild))
}

// raise makes programs that do not know a format stop writing.
func raise(c database.Conn, format int) error {
	return c.Exec("UPDATE head SET format = $1 WHERE format < $2", int64(format), int64(format))
}

// provable verifies the log if one of the migrations needs to replay it: one that
// is damaged would leave no views at all, and this version nothing to go back to.
func (s *Store) provable(ctx context.Context, pending []Migration) error {
	refills := false
	for _, m := range pending {
		refills = refills || m.format > 0
	}
	if !refills || pending[0].Version == 1 {
		return nil
	}
	var end eventlog.Head
	err := s.db.Read(ctx, func(c database.Conn) (err error) { end, err = readHead(c); return err })
	if err != nil || end.Sequence == 0 {
		return err
	}
	progress := s.refilling.progress(false)
	read := func(ctx context.Context, after eventlog.Sequence) ([]eventlog.Event, error) {
		return s.page(ctx, after, int(min(end.Sequence-after, replayPage))) // nodes may be going on
	}
	err = replay(ctx, read, eventlog.Origin(end.Log), end, func(page []replayed) error {
		progress(page[len(page)-1].event.Sequence, end.Sequence)
		return nil
	})
	if err != nil {
		return fmt.Errorf("verify the log, before anything is changed: %w", err)
	}
	return nil
}

// exclude keeps nodes of older versions out before a migration changes what they
// read and write. They learn of it when they next say that they are there.
func (s *Store) exclude(ctx context.Context, m Migration) error {
	if s.shared == nil {
		return nil
	}
	var others []Node
	err := s.write(true, func(w database.Writer) error {
		if at, err := version(w); err != nil || at >= m.Version {
			return err
		}
		exists, err := w.HasTable("nodes")
		if err != nil || !exists {
			return err
		}
		if others, err = readNodes(w, s.clock().Add(-nodeTimeout-maxSkew)); err != nil {
			return err
		}
		return raise(w, m.format)
	})
	if err != nil || len(others) == 0 {
		return err
	}
	names := make([]string, len(others))
	for i, n := range others {
		names[i] = n.Name
	}
	s.log.Warn("nodes of an older version may be running; they take no more requests from now on", "nodes", names)
	pause(ctx, noticeTime)
	return ctx.Err()
}

// noticeTime is after how long every node that lives has noticed what is said in
// the head.
const noticeTime = 3 * beatInterval

// refillLease is held by the process that refills the views.
const refillLease = "refill"

// refillViews does what a migration has asked for, if it is not done yet. In a
// database that several processes have open the others wait.
func (s *Store) refillViews(ctx context.Context) error {
	for errors.Is(s.usable(), ErrRefill) {
		held, _, err := s.Acquire(ctx, refillLease, nodeTimeout)
		if err != nil {
			return err
		}
		if !held {
			// Each attempt to get the lease also looks whether it is done.
			if pause(ctx, beatInterval/4); ctx.Err() != nil {
				return ctx.Err()
			}
			continue
		}
		if errors.Is(s.usable(), ErrRefill) {
			err = s.fill(ctx, s.renewing(ctx, s.refilling.progress(true)))
		}
		if err = errors.Join(err, s.Release(context.WithoutCancel(ctx), refillLease)); err != nil {
			return fmt.Errorf("refill the views: %w", err)
		}
	}
	return nil
}

// renewing is a progress that keeps the lease. Losing it is no failure: fill
// notices if another process goes on with its work.
func (s *Store) renewing(ctx context.Context, progress Progress) Progress {
	last := time.Now()
	return func(done, total eventlog.Sequence) {
		if time.Since(last) > nodeTimeout/4 {
			last = time.Now()
			_, _, _ = s.Acquire(ctx, refillLease, nodeTimeout)
		}
		progress(done, total)
	}
}
