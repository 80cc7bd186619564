package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// explain returns the refusal for something that is not there any more. It looks for
// the event that took it away, which fate recognises: behind the event itself, and
// where the grace had passed.
func (u *undo) explain(ctx context.Context, what string, fate func(fact.Fact) string) error {
	var grace time.Duration
	from := u.event.Sequence
	err := u.r.ledger.Read(ctx, func(v View) error {
		rules, err := u.r.book.rules(v)
		grace = rules.Grace()
		return err
	})
	for range 2 {
		if err != nil {
			return err
		}
		var why error
		if why, err = u.scan(ctx, what, from, fate); why != nil || err != nil {
			return errors.Join(why, err)
		}
		from, err = u.firstSince(ctx, time.UnixMicro(u.event.Time).Add(grace))
	}
	return errors.Join(err, u.conflict("%s, which it needs, was forgotten: the grace of %s has passed", what, grace))
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
