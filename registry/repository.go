package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/eventlog"
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

// DeleteRepository deletes a repository with all that it holds. It can be put back
// by Undo until the grace has passed; its name is free at once. Refusals: Denied
// (a hold, a policy that is write-once or makes one of its tags immutable, a
// manifest that was made a permanent record), NameInvalid, NameUnknown, ReasonInvalid.
func (r *Registry) DeleteRepository(ctx context.Context, caller Caller, name, reason string) (DeletedRepository, error) {
	return DeletedRepository{}, errors.ErrUnsupported
}

// DeletedRepositories lists n deleted repositories after an id, in the order in
// which they were made.
func (r *Registry) DeletedRepositories(ctx context.Context, after int64, n int) (page []DeletedRepository, more bool, err error) {
	return nil, false, errors.ErrUnsupported
}
