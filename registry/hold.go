package registry

import (
	"context"
	"errors"
	"time"
)

// MaxHolds is how many holds can be on a repository and in it together.
const MaxHolds = 1000

// HoldRequest asks that nothing which a target is or keeps goes.
type HoldRequest struct {
	// Name tells holds on one target apart; its grammar is
	// [a-z0-9][a-z0-9._-]{0,62}. People who are refused see it.
	Name string
	// Repository and Reference are the target: a tag, a manifest by any of its
	// digests, or without a reference the whole repository. The repository may
	// be a deleted one, by the name that it has since then.
	Repository string
	Reference  Reference
	// Until is the end, zero for a hold that ends when it is released.
	Until  time.Time
	Reason string
}

// HoldInfo is a hold as operators see it.
type HoldInfo struct {
	Hold
	// Reason is why it was placed, "" if that was erased.
	Reason string
	// Ended: its end has come. It holds nothing any more, and stays in lists
	// until it is released.
	Ended bool
}

// PlaceHold places a hold, or changes the end and the reason of the one that has
// this name on this target. A manifest that was deleted and can still be put back
// can be held: it then stays where it is. Refusals: HoldInvalid (the name, an end
// that is past, too many), ReasonInvalid, NameInvalid, NameUnknown, TagInvalid,
// ManifestUnknown (no such tag or manifest).
func (r *Registry) PlaceHold(ctx context.Context, caller Caller, request HoldRequest) (HoldInfo, error) {
	return HoldInfo{}, errors.ErrUnsupported
}

// ReleaseHold takes a hold away; a digest may be any of the manifest's. Refusals:
// HoldUnknown, ReasonInvalid, NameInvalid, NameUnknown.
func (r *Registry) ReleaseHold(ctx context.Context, caller Caller, name, repository string, ref Reference, reason string) error {
	return errors.ErrUnsupported
}

// HoldPage lists the n holds of all repositories that follow a place, by name; next
// is the place of the last one, more tells that further ones follow.
func (r *Registry) HoldPage(ctx context.Context, after HoldPlace, n int) (page []HoldInfo, next HoldPlace, more bool, err error) {
	return nil, HoldPlace{}, false, errors.ErrUnsupported
}

// HoldsOn returns all holds on a repository and in it, by target and name;
// NameUnknown. There are at most MaxHolds.
func (r *Registry) HoldsOn(ctx context.Context, repository string) ([]HoldInfo, error) {
	return nil, errors.ErrUnsupported
}
