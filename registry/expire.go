package registry

import (
	"context"
	"errors"
)

// EnforceOptions say how retention is applied.
type EnforceOptions struct {
	// Progress is told of each batch, if it is not nil.
	Progress func(EnforceReport)
}

// EnforceReport says what retention has done.
type EnforceReport struct {
	// Repositories and Manifests are how many were looked at.
	Repositories, Manifests int64
	// Marked manifests have expired and stay for the grace, Renewed ones are
	// current again, Collected ones are gone, with Tags tags.
	Marked, Renewed, Collected, Tags int64
	// InDoubt: nothing more was done, because the clock went ahead and nobody
	// has confirmed it.
	InDoubt bool
}

// Enforce applies the retention policies to all repositories: it marks what has
// expired, takes the mark from what is kept again, and lets go what has been
// marked for the grace. Nothing happens while the clock is in doubt. It goes in
// small batches beside other traffic, can be stopped at any point and run again,
// and several nodes may run it at once. The report is of what was done, also if
// there is an error.
func (r *Registry) Enforce(ctx context.Context, o EnforceOptions) (EnforceReport, error) {
	return EnforceReport{}, errors.ErrUnsupported
}
