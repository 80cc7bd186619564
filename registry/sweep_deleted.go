package registry

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// graves is the phase about deleted manifests, other than those of deleted
// repositories.
func (s *sweep) graves(ctx context.Context) error {
	return walk(ctx, s, func(v View, c *Change, after eventlog.Sequence, limit int) (turn[eventlog.Sequence], error) {
		t := turn[eventlog.Sequence]{place: after}
		items, err := v.Graves(after, limit)
		if err != nil {
			return t, fmt.Errorf("list deleted manifests: %w", err)
		}
		trusted, grace, err := s.grace(v)
		if err != nil {
			return t, err
		}
		f := forgetStep{s: s, v: v, c: c, counts: &t.SweepCounts, keys: &t.keys}
		for i := range items {
			g := &items[i].Grave
			if trusted.Sub(g.Deleted) < grace || !items[i].Repository.Deleted.IsZero() {
				t.Visited++
			} else if rest, err := f.forget(items[i].Repository.Name, &g.Manifest, true); rest || err != nil {
				t.more = rest
				return t, err
			}
			t.place = g.Sequence
		}
		t.more = len(items) == limit
		return t, nil
	})
}

// forgetStep forgets manifests.
type forgetStep struct {
	s                 *sweep
	v                 View
	c                 *Change
	counts            *SweepCounts
	keys              *Keys
	asked, references int
}

// bytesOfReference is less than a reference takes in a manifest.
const bytesOfReference = 70

// forget adds the events of a manifest whose grace has passed, unless a hold
// freezes it. rest tells that it has to be done again: the change can take no
// more, or the manifest has tags that go first.
func (f *forgetStep) forget(repository string, m *Manifest, deleted bool) (rest bool, err error) {
	references := int(m.Blob.Size / bytesOfReference)
	if f.s.full(f.c, f.keys, f.asked, f.references+references) {
		return true, nil
	}
	f.asked, f.references = f.asked+1, f.references+references
	f.counts.Visited++
	switch {
	case f.c.probe:
		f.c.Add(&fact.ManifestForgotten{})
	case deleted || f.s.o.DryRun: // it has no tags, or they do not go before
		if err = spared(f.v, repository, m); err == nil {
			err = forgetUntagged(f.v, f.c, repository, m, fact.CauseDeleted)
		}
	default:
		rest, err = forgetManifest(f.v, f.c, repository, m, fact.CauseDeleted)
	}
	var e *Error
	if errors.As(err, &e) && e.Code == Denied {
		f.counts.Held++
		return false, nil
	}
	primary := m.Blob.Digests.Primary()
	f.keys.want(repository, primary, m.Native)
	f.keys.Manifests = append(f.keys.Manifests, primary)
	return rest, err
}

// repositories is the phase about deleted repositories. How far it has come need
// not be recorded: what is done is gone.
func (s *sweep) repositories(ctx context.Context) error {
	for after, more := int64(0), true; more; {
		var due []doomed
		var visited, held int64
		err := s.ledger.Read(ctx, func(v View) error {
			due, visited, held = nil, 0, 0
			page, err := v.DeletedRepositories(after, s.o.Batch)
			if err != nil {
				return fmt.Errorf("list deleted repositories: %w", err)
			}
			for _, state := range page {
				d := doomed{s, state.Name, state.ID}
				ok, frozen, err := d.check(v)
				if err != nil {
					return err
				}
				if ok {
					due = append(due, d)
				}
				if frozen {
					held++
				}
				after, visited = state.ID, visited+1
			}
			more = len(page) == s.o.Batch
			return nil
		})
		if err != nil {
			return err
		}
		s.count(&SweepCounts{Visited: visited, Held: held}, new(Change))
		for _, d := range due {
			if err := d.dismantle(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

// doomed is a deleted repository whose grace has passed.
type doomed struct {
	s    *sweep
	name string // that it has while it is deleted
	id   int64
}

// takenAway is the name of the record that a sweep has begun to take a repository
// away: part of it may be gone, so it is not put back any more.
func takenAway(id int64) string { return "taken away " + strconv.FormatInt(id, 10) }

// check tells whether the repository is to go, or would if no hold were in it.
func (d *doomed) check(v View) (ok, held bool, err error) {
	state, err := v.RepositoryState(d.name)
	if err != nil || state == nil || state.ID != d.id || state.Deleted.IsZero() {
		return false, false, err
	}
	trusted, grace, err := d.s.grace(v)
	if err != nil || trusted.Sub(state.Deleted) < grace {
		return false, false, err
	}
	holds, err := binding(v, d.name)
	return len(holds) == 0, len(holds) > 0, err
}

// dismantle takes everything out of the repository, in steps, and forgets it.
// What references others goes before them, so that whatever is left at any point
// is whole.
func (d *doomed) dismantle(ctx context.Context) error {
	if err := stage(ctx, d, d.tags); err != nil {
		return err
	}
	for _, look := range []page[eventlog.Sequence]{d.manifests, d.graves, d.links, d.end} {
		if err := stage(ctx, d, look); err != nil {
			return err
		}
	}
	return nil
}

// stage runs a part of it, for as long as the repository is to go.
func stage[P any](ctx context.Context, d *doomed, look page[P]) error {
	var place P
	for more := true; more; {
		var err error
		place, more, err = step(ctx, d.s, "", place, func(v View, c *Change, after P, limit int) (turn[P], error) {
			ok, _, err := d.check(v)
			if !ok || err != nil {
				return turn[P]{place: after}, err
			}
			t, err := look(v, c, after, limit)
			if len(c.Entries) > 0 && c.Working.Passes == nil {
				c.Working.Passes = map[string][]byte{takenAway(d.id): []byte("true")}
			}
			return t, err
		})
		if err != nil {
			return fmt.Errorf("repository %s: %w", d.name, err)
		}
	}
	return nil
}

func (d *doomed) tags(v View, c *Change, after string, limit int) (turn[string], error) {
	t := turn[string]{place: after}
	tags, err := v.TagInfos(d.name, after, limit)
	if err != nil {
		return t, fmt.Errorf("list tags: %w", err)
	}
	for _, tag := range tags {
		if d.s.full(c, &t.keys, 0, 0) {
			t.more = true
			return t, nil
		}
		c.Add(&fact.TagDeleted{Repository: d.name, Tag: tag.Name, Manifest: tag.Manifest})
		t.keys.want(d.name, tag.Manifest)
		t.place, t.Visited = tag.Name, t.Visited+1
	}
	t.more = len(tags) == limit
	return t, nil
}

func (d *doomed) manifests(v View, c *Change, before eventlog.Sequence, limit int) (turn[eventlog.Sequence], error) {
	page, err := v.Manifests(d.name, before, limit)
	if err != nil {
		return turn[eventlog.Sequence]{}, fmt.Errorf("list manifests: %w", err)
	}
	return d.forget(v, c, before, limit, page, false)
}

func (d *doomed) graves(v View, c *Change, before eventlog.Sequence, limit int) (turn[eventlog.Sequence], error) {
	graves, err := v.GravesBefore(d.name, before, limit)
	if err != nil {
		return turn[eventlog.Sequence]{}, fmt.Errorf("list deleted manifests: %w", err)
	}
	page := make([]Manifest, 0, len(graves))
	for _, g := range graves {
		page = append(page, g.Manifest)
	}
	return d.forget(v, c, before, limit, page, true)
}

func (d *doomed) forget(v View, c *Change, before eventlog.Sequence, limit int, page []Manifest, deleted bool) (turn[eventlog.Sequence], error) {
	t := turn[eventlog.Sequence]{place: before}
	f := forgetStep{s: d.s, v: v, c: c, counts: &t.SweepCounts, keys: &t.keys}
	for i := range page {
		if rest, err := f.forget(d.name, &page[i], deleted); rest || err != nil {
			t.more = rest
			return t, err
		}
		t.place = page[i].Sequence
	}
	t.more = len(page) == limit
	return t, nil
}

func (d *doomed) links(v View, c *Change, after eventlog.Sequence, limit int) (turn[eventlog.Sequence], error) {
	t := turn[eventlog.Sequence]{place: after}
	items, err := v.LinksIn(d.name, int64(after), limit)
	if err != nil {
		return t, fmt.Errorf("list links: %w", err)
	}
	l := linkStep{s: d.s, v: v, c: c, counts: &t.SweepCounts, keys: &t.keys}
	for i := range items {
		if d.s.full(c, &t.keys, l.asked, 0) {
			t.more = true
			return t, nil
		}
		l.note(&items[i], &t.Released)
		if err := l.release(&items[i]); err != nil {
			return t, err
		}
		t.place, t.Visited = items[i].Blob.Sequence, t.Visited+1
	}
	t.more = len(items) == limit
	return t, nil
}

// end forgets the repository, of which nothing is left but holds that have ended.
func (d *doomed) end(v View, c *Change, _ eventlog.Sequence, _ int) (t turn[eventlog.Sequence], err error) {
	if !d.s.o.DryRun {
		empty, err := d.empty(v)
		if !empty || err != nil {
			return t, err // another sweep, or the next, goes on
		}
	}
	holds, err := v.HoldsIn(d.name)
	if err != nil {
		return t, fmt.Errorf("list holds: %w", err)
	}
	t.keys.want(d.name)
	for _, h := range holds[:min(len(holds), d.s.o.Batch)] {
		c.Entries = append(c.Entries, Entry{Fact: &fact.HoldReleased{Name: h.Name, Target: h.Target}, Reason: "the repository is gone, and the hold had ended"})
	}
	if t.more = len(holds) > d.s.o.Batch; !t.more {
		c.Add(&fact.RepositoryForgotten{Name: d.name})
		c.Working.Passes = map[string][]byte{takenAway(d.id): nil}
	}
	return t, nil
}

func (d *doomed) empty(v View) (bool, error) {
	tags, err := v.TagPage(d.name, "", 1)
	if err != nil {
		return false, fmt.Errorf("list tags: %w", err)
	}
	manifests, err := v.Manifests(d.name, 0, 1)
	if err != nil {
		return false, fmt.Errorf("list manifests: %w", err)
	}
	graves, err := v.GravesBefore(d.name, 0, 1)
	if err != nil {
		return false, fmt.Errorf("list deleted manifests: %w", err)
	}
	links, err := v.LinksIn(d.name, 0, 1)
	if err != nil {
		return false, fmt.Errorf("list links: %w", err)
	}
	return len(tags)+len(manifests)+len(graves)+len(links) == 0, nil
}
