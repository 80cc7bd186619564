package registry

import (
	"context"
	"time"

	"artifactstore/internal/budget"
)

// ScrubOptions say how a scrub goes about it.
type ScrubOptions struct {
	// Pace bounds how fast bytes are read; nil means as fast as it can.
	Pace *budget.Pace
	// Interval is how long after its beginning a pass that has ended is begun
	// anew. 0 begins one now.
	Interval time.Duration
	// Progress, if it is not nil, is told after every batch.
	Progress func(ScrubReport)
}

// ScrubReport is how far a pass has come, and what it has found since it began.
type ScrubReport struct {
	Began time.Time
	// Ended is when all had been read; zero: it goes on.
	Ended time.Time
	// Verified byte sequences are what they should be; Bytes is their size.
	Verified int64
	Bytes    int64
	// Damaged were found missing or wrong by this pass and put under
	// quarantine. Healed were under quarantine and are right again.
	Damaged, Healed int64
	// Unread could not be read this time, and stay as they were.
	Unread int64
	// Descriptors of referrers were compared with their manifests; Mended of
	// them were wrong or missing, and were made anew.
	Descriptors, Mended int64
}

// Scrub reads all that is stored, at a pace, and compares it with its digests.
// What is missing or wrong is not served any more, until the same content is
// pushed again. A pass goes on where the last call stopped, whatever ended that.
// One that ended less than an interval ago is reported as it is.
func (r *Registry) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	return ScrubReport{}, ctx.Err()
}
