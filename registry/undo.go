package registry

import (
	"context"
	"errors"

	"artifactstore/eventlog"
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
	return UndoResult{}, errors.ErrUnsupported
}
