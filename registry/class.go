package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// Extend puts off the end of a manifest. One that has expired is current again.
// It returns the new end, which is until, rounded up to a microsecond. Refusals:
// RetentionInvalid (not later than the present end, or not in the future),
// ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) Extend(ctx context.Context, ref Reference, until time.Time, reason string) (time.Time, error) {
	return time.Time{}, errors.ErrUnsupported
}

// ChangeClass gives a manifest another retention class, whose term begins now.
// Refusals: RetentionInvalid (no such class, or it has it already), Denied (it was
// made a permanent record), ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) ChangeClass(ctx context.Context, ref Reference, class, reason string) (retention.Assigned, error) {
	return retention.Assigned{}, errors.ErrUnsupported
}

// EraseManifest erases a manifest, live or deleted, for a legal cause, at once and
// for ever, whatever its class and the policies say. Its blobs go with the next
// sweeps, if nothing else uses them. Refusals: Unsupported (not enabled), Denied (a
// hold freezes it), ReasonInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) EraseManifest(ctx context.Context, d identity.Digest, reason string) error {
	return errors.ErrUnsupported
}
