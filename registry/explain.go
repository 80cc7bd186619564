package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// explain returns the refusal for something that is not there any more. It looks for
// the event that took it away, which fate recognises: behind the event itself, where
// the grace had passed, and before it.
func (u *undo) explain(ctx context.Context, what string, fate func(fact.Fact) string) error {
	var grace time.Duration
	err := u.r.ledger.Read(ctx, func(v View) error {
		rules, err := u.r.book.rules(v)
		grace = rules.Grace()
		return err
	})
	if err != nil {
		return fmt.Errorf("read the grace: %w", err)
	}
	passed, err := u.firstSince(ctx, time.UnixMicro(u.event.Time).Add(grace))
	if err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	behind := u.event.Sequence
	for _, from := range []eventlog.Sequence{behind, passed, max(behind, explained) - explained} {
		why, err := u.scan(ctx, what, from, fate)
		if err != nil {
			return fmt.Errorf("read the log: %w", err)
		}
		if why != nil {
			return why
		}
	}
	return u.conflict("%s, which it needs, was deleted, and forgotten when the grace had passed", what)
}

// explained is how many events are read to find one.
const explained = 20_000

// scan looks through the log behind a sequence.
func (u *undo) scan(ctx context.Context, what string, after eventlog.Sequence, fate func(fact.Fact) string) (why, err error) {
	for range explained / tagBatch {
		var page []eventlog.Event
		err := u.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = v.EventsAfter(after, tagBatch)
			return err
		})
		if err != nil || len(page) == 0 {
			return nil, err
		}
		for i := range page {
			e := &page[i]
			after = e.Sequence
			if e.Kind != fact.KindManifestForgotten && e.Kind != fact.KindRepositoryForgotten && e.Kind != fact.KindRepositoryRestored {
				continue
			}
			f, err := factOf(e)
			if err != nil {
				return nil, err
			}
			if done := fate(f); done != "" {
				return u.conflict("%s %s by event %d on %s", what, done, after, date(time.UnixMicro(e.Time))), nil
			}
		}
	}
	return nil, nil
}

// firstSince returns the sequence before the first event that is not older than a time.
func (u *undo) firstSince(ctx context.Context, t time.Time) (before eventlog.Sequence, err error) {
	err = u.r.ledger.Read(ctx, func(v View) error {
		head, err := v.Head()
		if err != nil {
			return err
		}
		low := u.event.Sequence
		for high := head + 1; low+1 < high; {
			middle := low + (high-low)/2
			e, err := v.Event(middle)
			if err != nil || e == nil {
				return err
			}
			if e.Time < t.UnixMicro() {
				low = middle
			} else {
				high = middle
			}
		}
		before = low
		return nil
	})
	return before, err
}
