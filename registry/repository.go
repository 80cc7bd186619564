package registry

import (
	"context"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// DeletedRepository is a repository that was deleted and not forgotten yet.
type DeletedRepository struct {
	ID int64 // sequence of the event that made it; the order of pages
	// Name is what it was called, DeletedName what it goes by now: Name, '#' and a
	// number. No client can say it; operators can, where a method says so.
	Name, DeletedName string
	Deleted           time.Time
	// Sequence is that of the event that deleted it, for Undo.
	Sequence eventlog.Sequence
}

// numberGrammar is what follows the name of a deleted repository.
var numberGrammar = regexp.MustCompile(`^[1-9][0-9]{0,18}$`)

// checkAnyName accepts the names of repositories, and those of deleted ones.
func checkAnyName(name string) error {
	old, number, deleted := strings.Cut(name, "#")
	if deleted && !numberGrammar.MatchString(number) {
		return Errorf(NameInvalid, "the name of a deleted repository ends with '#' and a number")
	}
	return checkName(old)
}

// DeleteRepository deletes a repository with all that it holds. It can be put back
// by Undo until the grace has passed; its name is free at once. Refusals: Denied
// (a hold, a policy that is write-once or makes one of its tags immutable, a
// manifest that was made a permanent record), NameInvalid, NameUnknown, ReasonInvalid.
func (r *Registry) DeleteRepository(ctx context.Context, caller Caller, name, reason string) (DeletedRepository, error) {
	if err := checkName(name); err != nil {
		return DeletedRepository{}, err
	}
	if err := checkReason(reason); err != nil {
		return DeletedRepository{}, err
	}
	policies, err := r.checkImmutable(ctx, name)
	if err != nil {
		return DeletedRepository{}, err
	}
	var deleted DeletedRepository
	err = r.ledger.Update(ctx, caller, Keys{Repositories: []string{name}}, func(v View) (*Change, error) {
		state, err := r.existing(v, name)
		if err != nil {
			return nil, err
		}
		if err := r.mayDeleteRepository(v, name); err != nil {
			return nil, err
		}
		now, err := policyEvents(v)
		if err != nil {
			return nil, err
		}
		if now != policies {
			return nil, Errorf(Unavailable, "the retention policies were changed at this very moment; try again")
		}
		head, err := v.Head()
		if err != nil {
			return nil, fmt.Errorf("read the head: %w", err)
		}
		// The head only goes up, so no other repository ever gets this name.
		f := &fact.RepositoryDeleted{Repository: name, Name: name + "#" + strconv.FormatUint(uint64(head)+1, 10)}
		deleted = DeletedRepository{ID: state.ID, Name: name, DeletedName: f.Name, Deleted: v.Now()}
		return &Change{Entries: []Entry{{Fact: f, Reason: reason}}}, nil
	})
	if err != nil {
		return DeletedRepository{}, err
	}
	err = r.ledger.Read(ctx, func(v View) (err error) {
		deleted.Sequence, err = deletionOf(v, deleted.DeletedName)
		return err
	})
	if err != nil {
		r.opts.Log.Warn("a repository was deleted and the event could not be read back", "repository", name, "error", err)
	}
	return deleted, nil
}

// mayDeleteRepository refuses to delete what a policy, a hold or the class of a
// manifest keeps.
func (r *Registry) mayDeleteRepository(v View, name string) error {
	holds, err := binding(v, name)
	if err != nil {
		return err
	}
	if err := held("the repository, or something in it,", holds); err != nil {
		return err
	}
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	if p := rules.For(name); p != nil && p.WriteOnce {
		return &Error{Code: Denied, Message: "policy " + p.Name + " makes the repository write-once",
			Detail: map[string]string{"policy": p.Name}}
	}
	permanent, err := v.PermanentManifest(name)
	if err != nil {
		return fmt.Errorf("look for permanent records: %w", err)
	}
	if !permanent.IsZero() {
		return &Error{Code: Denied, Message: "manifest " + permanent.String() + " of the repository was made a permanent record",
			Detail: map[string]string{"manifest": permanent.String()}}
	}
	return nil
}

// checkImmutable refuses to delete a repository that has an immutable tag. It looks at
// one page of tags after the other: what is pushed meanwhile goes with the repository.
// It returns the events that set the policies by which it looked.
func (r *Registry) checkImmutable(ctx context.Context, name string) (policies [2]eventlog.Sequence, err error) {
	for last, more := "", true; more; {
		err := r.ledger.Read(ctx, func(v View) error {
			more = false
			now, err := policyEvents(v)
			if err != nil {
				return err
			}
			if now != policies {
				policies, last = now, "" // look at all again
			}
			return r.pageImmutable(v, name, &last, &more)
		})
		if err != nil {
			return policies, err
		}
	}
	return policies, nil
}

// pageImmutable looks at the page of tags after last.
func (r *Registry) pageImmutable(v View, name string, last *string, more *bool) error {
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	if p := rules.For(name); p == nil || len(p.ImmutableTags) == 0 {
		return nil
	}
	now, err := v.Trusted()
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	tags, err := v.TagPage(name, *last, tagBatch)
	if err != nil {
		return fmt.Errorf("list tags: %w", err)
	}
	for _, t := range tags {
		if err := refused(rules.MayDeleteTag(name, t, now)); err != nil {
			return err
		}
		*last = t
	}
	*more = len(tags) == tagBatch
	return nil
}

// deletionOf returns the event that gave a repository the name of a deleted one, 0
// if it is not there. It is the one of the number, or the next if the clock had
// jumped before it.
func deletionOf(v View, deletedName string) (eventlog.Sequence, error) {
	_, number, _ := strings.Cut(deletedName, "#")
	n, err := strconv.ParseUint(number, 10, 63)
	if err != nil {
		return 0, nil
	}
	events, err := v.EventsAfter(eventlog.Sequence(n)-1, 2)
	if err != nil {
		return 0, fmt.Errorf("read events: %w", err)
	}
	for i := range events {
		if events[i].Kind != fact.KindRepositoryDeleted {
			continue
		}
		f := new(fact.RepositoryDeleted)
		if err := events[i].Decode(f); err != nil {
			return 0, err
		}
		if f.Name == deletedName {
			return events[i].Sequence, nil
		}
	}
	return 0, nil
}

// DeletedRepositories lists n deleted repositories after an id, in the order in
// which they were made.
func (r *Registry) DeletedRepositories(ctx context.Context, after int64, n int) ([]DeletedRepository, bool, error) {
	return list(ctx, r, "deleted repositories", n, func(v View, limit int) ([]DeletedRepository, error) {
		states, err := v.DeletedRepositories(after, limit)
		if err != nil {
			return nil, err
		}
		all := make([]DeletedRepository, len(states))
		for i, s := range states {
			all[i] = DeletedRepository{ID: s.ID, DeletedName: s.Name, Deleted: s.Deleted}
			all[i].Name, _, _ = strings.Cut(s.Name, "#")
			if all[i].Sequence, err = deletionOf(v, s.Name); err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}
