package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// UndoResult says what an undo has done.
type UndoResult struct {
	// Sequence, Kind and Subject are those of the event that was undone.
	Sequence eventlog.Sequence
	Kind     string
	Subject  string
	// Repository is the repository, by the name that it has now.
	Repository string
	// Restored are the manifests that are back, by the digest that each was
	// pushed by; children come before what lists them.
	Restored []identity.Digest
	// Moved are tags that name another manifest now or exist again, Removed those
	// that the event had made, and that are gone again.
	Moved, Removed []string
	// Left are tags that went with the manifest and were not put back, since
	// they were moved or deleted again later.
	Left []LeftTag
	// Notes are sentences about what the operator may have to do next.
	Notes []string
}

// LeftTag is a tag that an undo has left alone.
type LeftTag struct {
	Tag string
	// Event is the last one that moved or deleted the tag.
	Event eventlog.Sequence
}

// Undo takes back what an event has done: a tag or a manifest that was deleted, with
// the tags that went with it, a repository that was deleted, a tag that was moved.
// A manifest is put back with its children, if they were deleted too. It
// appends ordinary events, which can be undone themselves. When there is very much
// to put back it takes several commits, children first; if it is cut off, the
// same call again goes on. Refusals: EventUnknown, ReasonInvalid, Conflict (the
// event is of another kind, something has happened since, or what it needs was
// forgotten; the message names the event and says what to do), Denied (a hold or
// a policy forbids the move of the tag).
func (r *Registry) Undo(ctx context.Context, caller Caller, sequence eventlog.Sequence, reason string) (UndoResult, error) {
	if err := checkReason(reason); err != nil {
		return UndoResult{}, err
	}
	var e *eventlog.Event
	err := r.ledger.Read(ctx, func(v View) (err error) {
		e, err = v.Event(sequence)
		return err
	})
	if err != nil {
		return UndoResult{}, fmt.Errorf("read event %d: %w", sequence, err)
	}
	if e == nil {
		return UndoResult{}, Errorf(EventUnknown, "the log has no event %d", sequence)
	}
	f, err := factOf(e)
	if err != nil {
		return UndoResult{}, err
	}
	u := &undo{r: r, caller: caller, reason: reason, event: e,
		result: UndoResult{Sequence: sequence, Kind: string(e.Kind), Subject: e.Subject}}
	switch f := f.(type) {
	case *fact.TagDeleted:
		err = u.tagDeleted(ctx, f)
	case *fact.TagMoved:
		err = u.tagMoved(ctx, f)
	case *fact.ManifestDeleted:
		err = u.manifestDeleted(ctx, f)
	case *fact.RepositoryDeleted:
		err = u.repositoryDeleted(ctx, f)
	default:
		err = Errorf(Conflict, "event %d is %s, which cannot be undone%s", sequence, e.Kind, instead[string(e.Kind)])
	}
	if err != nil {
		return UndoResult{}, err
	}
	return u.result, nil
}

// instead is what can be done about events that cannot be undone.
var instead = map[string]string{
	fact.KindExpired:            ": push the manifest again, or extend its retention, to renew it",
	fact.KindManifestRestored:   ": delete the manifest again",
	fact.KindRepositoryRestored: ": delete the repository again",
	fact.KindHoldPlaced:         ": release the hold",
	fact.KindHoldReleased:       ": place the hold again",
	fact.KindClassChanged:       ": change the class again",
	fact.KindPoliciesSet:        ": set the policies that were in force before",
	fact.KindManifestForgotten:  ": it is final",
	fact.KindBlobForgotten:      ": it is final",
	fact.KindBlobUnlinked:       ": push the blob again",
}

// undo is one undo.
type undo struct {
	r      *Registry
	caller Caller
	reason string
	event  *eventlog.Event
	result UndoResult
}

// conflict is a refusal because of the state.
func (u *undo) conflict(format string, args ...any) error {
	return Errorf(Conflict, "event %d cannot be undone: "+format, append([]any{u.event.Sequence}, args...)...)
}

// repository is the repository of the event on behalf of the caller.
func (u *undo) repository(name string) *Repository {
	u.result.Repository = name
	return &Repository{Registry: u.r, name: name, caller: u.caller}
}

// update commits a change, every event of which has the reason.
func (u *undo) update(ctx context.Context, keys Keys, decide func(View, *Change) error) error {
	return u.r.ledger.Update(ctx, u.caller, keys, func(v View) (*Change, error) {
		c := new(Change)
		if err := decide(v, c); err != nil {
			return nil, err
		}
		for i := range c.Entries {
			c.Entries[i].Reason = u.reason
		}
		return c, nil
	})
}

// date is a time as messages have it.
func date(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// last makes sure that nothing has happened to the tag of the event since.
func (u *undo) last(v View, repository, tag string) error {
	moves, err := v.TagMoves(repository, tag, 0, 1)
	if err != nil {
		return fmt.Errorf("read the history of the tag: %w", err)
	}
	if len(moves) > 0 && moves[0].Sequence == u.event.Sequence {
		return nil
	}
	at, err := v.TagMoves(repository, tag, u.event.Sequence+1, 1)
	if err != nil {
		return fmt.Errorf("read the history of the tag: %w", err)
	}
	if len(at) == 0 || at[0].Sequence != u.event.Sequence {
		return u.lostRepository(v, repository)
	}
	did := "moved"
	if moves[0].To.IsZero() {
		did = "deleted"
	}
	return u.conflict("event %d has %s tag %s since, on %s; undo that one first", moves[0].Sequence, did, tag, date(moves[0].Time))
}

// lostRepository says why the event is of no repository that has its name now.
func (u *undo) lostRepository(v View, name string) error {
	var after int64
	for range maxRestore / tagBatch {
		states, err := v.DeletedRepositories(after, tagBatch)
		if err != nil {
			return fmt.Errorf("list deleted repositories: %w", err)
		}
		for _, s := range states {
			after = s.ID
			if isDeleted(s.Name, name) && s.ID < int64(u.event.Sequence) && s.Deleted.UnixMicro() >= u.event.Time {
				by, err := deletionOf(v, s.Name)
				if err != nil {
					return err
				}
				return u.conflict("repository %s was deleted by event %d since, on %s; undo that one first", name, by, date(s.Deleted))
			}
		}
		if len(states) < tagBatch {
			break
		}
	}
	return u.conflict("its repository %s was deleted since, and nothing is left of it", name)
}

// answeredWith returns the digest that a tag answered with before an event.
func answeredWith(v View, repository, tag string, before eventlog.Sequence) (identity.Digest, error) {
	moves, err := v.TagMoves(repository, tag, before, 1)
	if err != nil || len(moves) == 0 {
		return identity.Digest{}, err
	}
	e, err := v.Event(moves[0].Sequence)
	if err != nil || e == nil {
		return identity.Digest{}, err
	}
	f := new(fact.TagMoved)
	if e.Kind == fact.KindTagMoved {
		err = e.Decode(f)
	}
	return f.Digest, err
}

// put is the event that makes a tag name again what it named before the event.
func (u *undo) put(v View, repository, tag string, from, to identity.Digest) (*fact.TagMoved, error) {
	f := &fact.TagMoved{Repository: repository, Tag: tag, From: from, To: to}
	var err error
	if f.Digest, err = answeredWith(v, repository, tag, u.event.Sequence); err != nil {
		return nil, fmt.Errorf("read the history of the tag: %w", err)
	}
	if f.Digest.IsZero() {
		f.Digest = to // the log does not say more
	}
	return f, nil
}

func (u *undo) tagDeleted(ctx context.Context, f *fact.TagDeleted) error {
	u.repository(f.Repository)
	keys := Keys{Repositories: []string{f.Repository}, Tags: []string{f.Tag}, Manifests: []identity.Digest{f.Manifest}}
	u.result.Moved = []string{f.Tag}
	return u.restore(ctx, f.Repository, f.Manifest, keys, func(v View, c *Change) error {
		if err := u.last(v, f.Repository, f.Tag); err != nil {
			return err
		}
		move, err := u.put(v, f.Repository, f.Tag, identity.Digest{}, f.Manifest)
		if err == nil {
			c.Add(move)
		}
		return err
	})
}

func (u *undo) tagMoved(ctx context.Context, f *fact.TagMoved) error {
	repo := u.repository(f.Repository)
	keys := Keys{Repositories: []string{f.Repository}, Tags: []string{f.Tag}, Manifests: []identity.Digest{f.From, f.To}}
	if f.From.IsZero() {
		keys.Manifests = keys.Manifests[1:]
		u.result.Removed = []string{f.Tag}
		return u.update(ctx, keys, func(v View, c *Change) error {
			if err := u.last(v, f.Repository, f.Tag); err != nil {
				return err
			}
			if err := repo.mayDeleteTag(v, f.Tag); err != nil {
				return err
			}
			c.Add(&fact.TagDeleted{Repository: f.Repository, Tag: f.Tag, Manifest: f.To})
			return nil
		})
	}
	u.result.Moved = []string{f.Tag}
	return u.restore(ctx, f.Repository, f.From, keys, func(v View, c *Change) error {
		if err := u.last(v, f.Repository, f.Tag); err != nil {
			return err
		}
		if f.From != f.To {
			if err := repo.mayMoveTag(v, f.Tag); err != nil {
				return err
			}
		}
		move, err := u.put(v, f.Repository, f.Tag, f.To, f.From)
		if err == nil {
			c.Add(move)
		}
		return err
	})
}

func (u *undo) repositoryDeleted(ctx context.Context, f *fact.RepositoryDeleted) error {
	u.repository(f.Repository)
	absent := false
	err := u.update(ctx, Keys{Repositories: []string{f.Repository, f.Name}}, func(v View, c *Change) error {
		deleted, err := v.RepositoryState(f.Name)
		if err != nil {
			return fmt.Errorf("look up deleted repository: %w", err)
		}
		if absent = deleted == nil; absent {
			return nil
		}
		begun, err := v.Pass(takenAway(deleted.ID))
		if err != nil {
			return fmt.Errorf("look up the sweep of the repository: %w", err)
		}
		if begun != nil {
			return u.conflict("the grace had passed, and a sweep has begun to take it away")
		}
		taken, err := v.RepositoryState(f.Repository)
		if err != nil {
			return fmt.Errorf("look up repository: %w", err)
		}
		if taken != nil {
			return u.conflict("a repository of the name %s was made since, by event %d; delete that one first, its content can then be put back later",
				f.Repository, taken.ID)
		}
		c.Add(&fact.RepositoryRestored{Repository: f.Repository, Name: f.Name})
		return nil
	})
	if err != nil || !absent {
		return err
	}
	return u.explain(ctx, "repository "+f.Repository, func(later fact.Fact) string {
		switch later := later.(type) {
		case *fact.RepositoryRestored:
			if later.Name == f.Name {
				return "was restored"
			}
		case *fact.RepositoryForgotten:
			if later.Name == f.Name {
				return "was forgotten"
			}
		}
		return ""
	})
}
