package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/eventlog"
)

// MaxClockJump is how far the clock may go ahead without an event or a heartbeat.
// If it is further ahead, it is not believed until an operator confirms it.
const MaxClockJump = 24 * time.Hour

// ClockStatus says whether the clock is believed.
type ClockStatus struct {
	// Now is what the clock says, Trusted the time by which things expire and
	// holds end, Watched that of the last event or heartbeat.
	Now, Trusted, Watched time.Time
	// Jumped: the clock went ahead from Since to Until, and nobody has confirmed it.
	Jumped       bool
	Since, Until time.Time
	// Sequence is that of the event that says so, 0 while there is none.
	Sequence eventlog.Sequence
}

// Heartbeat notes that the clock is being watched, if nothing did for an hour. It
// is to be called every few minutes; mostly it reads one row. If the clock has gone
// ahead too far, which includes that no server ran for longer than MaxClockJump, it
// appends the event that says so, and logs it.
func (r *Registry) Heartbeat(ctx context.Context) error { return errors.ErrUnsupported }

// ClockStatus tells whether the clock is believed.
func (r *Registry) ClockStatus(ctx context.Context) (ClockStatus, error) {
	return ClockStatus{}, errors.ErrUnsupported
}

// ConfirmClock says that the clock is right: things expire and holds end by it
// again. It returns the status before. Refusals: Conflict if there is nothing to
// confirm, ReasonInvalid.
func (r *Registry) ConfirmClock(ctx context.Context, caller Caller, reason string) (ClockStatus, error) {
	return ClockStatus{}, errors.ErrUnsupported
}
