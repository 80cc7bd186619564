package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// links is the phase about blobs that no manifest of their repository uses. What a
// deleted repository has stays as it is: it is put back or goes as a whole.
func (s *sweep) links(ctx context.Context) error {
	return walk(ctx, s, func(v View, c *Change, after LinkPlace, limit int) (turn[LinkPlace], error) {
		t := turn[LinkPlace]{place: after}
		items, err := v.Links(after, limit)
		if err != nil {
			return t, fmt.Errorf("list links: %w", err)
		}
		l := linkStep{s: s, v: v, c: c, counts: &t.SweepCounts, keys: &t.keys}
		if l.trusted, err = v.Trusted(); err != nil {
			return t, fmt.Errorf("read the clock: %w", err)
		}
		for i := range items {
			if s.full(c, &t.keys, l.asked, 0) {
				t.more = true
				return t, nil
			}
			t.place, t.Visited = items[i].Place(), t.Visited+1
			if err := l.decide(&items[i]); err != nil {
				return t, err
			}
		}
		t.more = len(items) == limit
		return t, nil
	})
}

// linkStep decides about links.
type linkStep struct {
	s       *sweep
	v       View
	c       *Change
	counts  *SweepCounts
	keys    *Keys
	trusted time.Time
	asked   int
	// held tells whether the repository that was asked for last is under a hold.
	of   int64
	held bool
}

// decide says what becomes of a link.
func (l *linkStep) decide(item *LinkItem) error {
	condemned := !item.Due.IsZero()
	switch {
	case item.Used && !condemned, !item.Repository.Deleted.IsZero():
		return nil
	case item.Used:
		// A manifest that was put back uses it.
		l.note(item, &l.counts.Revived)
		l.c.Add(&fact.BlobRevived{Repository: item.Repository.Name, Blob: item.Blob.Digests.Primary()})
		return nil
	case condemned && l.trusted.Before(item.Due), !condemned && l.trusted.Sub(item.Linked) < l.s.opts.SweepAfter:
		return nil
	}
	held, err := l.isHeld(&item.Repository)
	if err != nil {
		return err
	}
	switch {
	case held:
		l.counts.Held++
		return nil
	case !condemned:
		l.note(item, &l.counts.Condemned)
		l.c.Add(&fact.BlobCondemned{Repository: item.Repository.Name, Blob: item.Blob.Digests.Primary(),
			Due: l.v.Now().Add(l.s.opts.SweepGrace).UnixMicro()})
		return nil
	}
	l.note(item, &l.counts.Released)
	return l.release(item)
}

func (l *linkStep) note(item *LinkItem, n *SweepCount) {
	n.add(item.Blob.Size)
	l.keys.want(item.Repository.Name, item.Blob.Digests.Primary())
}

// release takes a link away, and the blob with it if that was the last.
func (l *linkStep) release(item *LinkItem) error {
	l.asked++
	l.c.Add(&fact.BlobReleased{Repository: item.Repository.Name, Blob: item.Blob.Digests.Primary()})
	return l.c.give(l.v, &item.Blob)
}

// isHeld tells whether a hold is on a repository as a whole.
func (l *linkStep) isHeld(r *RepositoryState) (bool, error) {
	if r.Holds == 0 {
		return false, nil
	}
	if l.of == r.ID {
		return l.held, nil
	}
	l.asked++
	holds, err := binding(l.v, r.Name)
	l.of, l.held = r.ID, len(repositoryHolds(holds)) > 0
	return l.held, err
}

// blobs is the phase about byte sequences that nothing keeps. What is unlinked by
// request becomes such a one.
func (s *sweep) blobs(ctx context.Context) error {
	return walk(ctx, s, func(v View, c *Change, after eventlog.Sequence, limit int) (turn[eventlog.Sequence], error) {
		t := turn[eventlog.Sequence]{place: after}
		items, err := v.BlobItems(after, limit)
		if err != nil {
			return t, fmt.Errorf("list blobs: %w", err)
		}
		trusted, grace, err := s.grace(v)
		if err != nil {
			return t, err
		}
		for i := range items {
			b := &items[i].Blob
			if s.full(c, &t.keys, 0, 0) {
				t.more = true
				return t, nil
			}
			t.place, t.Visited = b.Sequence, t.Visited+1
			switch {
			case items[i].Kept || trusted.Before(b.Due) || b.Due.IsZero() && trusted.Sub(b.Stored) < s.opts.SweepAfter:
				continue
			case b.Due.IsZero():
				t.Condemned.add(b.Size)
				c.Add(&fact.BlobCondemned{Blob: b.Digests.Primary(), Due: v.Now().Add(grace).UnixMicro()})
			default:
				c.forgetBlob(b)
			}
			t.keys.want("", b.Digests.Primary())
		}
		t.more = len(items) == limit
		return t, nil
	})
}

// grace returns the time by which things are due, and how long what was deleted
// can be put back.
func (s *sweep) grace(v View) (trusted time.Time, grace time.Duration, err error) {
	if trusted, err = v.Trusted(); err != nil {
		return trusted, 0, fmt.Errorf("read the clock: %w", err)
	}
	rules, err := s.book.rules(v)
	return trusted, rules.Grace(), err
}
