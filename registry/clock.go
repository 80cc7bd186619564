package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// MaxClockJump is how far the clock may go ahead without an event or a heartbeat.
// If it is further ahead, it is not believed until an operator confirms it.
const MaxClockJump = 24 * time.Hour

// heartbeatInterval is how long nothing may have been noted before a heartbeat is.
const heartbeatInterval = time.Hour

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

func clockStatus(v View) (s ClockStatus, err error) {
	s.Now = v.Now()
	if s.Trusted, err = v.Trusted(); err != nil {
		return s, err
	}
	if s.Watched, err = v.Watched(); err != nil {
		return s, err
	}
	jump, err := v.ClockJump()
	if err != nil {
		return s, err
	}
	switch {
	case jump != nil:
		s.Jumped, s.Since, s.Until, s.Sequence = true, jump.Since, jump.Until, jump.Sequence
	case !s.Watched.IsZero() && s.Now.Sub(s.Watched) > MaxClockJump:
		s.Jumped, s.Since, s.Until = true, s.Watched, s.Now
	}
	return s, nil
}

// Heartbeat notes that the clock is being watched, if nothing did for an hour. It
// is to be called every few minutes; mostly it reads a few rows. If the clock has gone
// ahead too far, which includes that no server ran for longer than MaxClockJump, it
// appends the event that says so, and logs it.
func (r *Registry) Heartbeat(ctx context.Context) error {
	status, err := r.ClockStatus(ctx)
	if err != nil {
		return err
	}
	if !status.Watched.IsZero() && status.Now.Sub(status.Watched) > heartbeatInterval {
		err := r.ledger.Update(ctx, System, Keys{}, func(View) (*Change, error) {
			return &Change{Working: Working{Heartbeat: true}}, nil
		})
		if err != nil {
			return fmt.Errorf("note that the clock is watched: %w", err)
		}
		if status, err = r.ClockStatus(ctx); err != nil {
			return err
		}
	}
	if status.Jumped && r.jump.Swap(uint64(status.Sequence)) != uint64(status.Sequence) {
		r.opts.Log.Warn("the clock went ahead by more than it should; nothing expires and no hold ends until an operator confirms it",
			"since", status.Since, "until", status.Until, "event", status.Sequence)
	}
	return nil
}

// ClockStatus tells whether the clock is believed.
func (r *Registry) ClockStatus(ctx context.Context) (s ClockStatus, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		s, err = clockStatus(v)
		return err
	})
	if err != nil {
		return s, fmt.Errorf("read the clock: %w", err)
	}
	return s, nil
}

// ConfirmClock says that the clock is right: things expire and holds end by it
// again. It returns the status before. Refusals: Conflict if there is nothing to
// confirm, ReasonInvalid.
func (r *Registry) ConfirmClock(ctx context.Context, caller Caller, reason string) (before ClockStatus, err error) {
	if err := checkReason(reason); err != nil {
		return before, err
	}
	err = r.ledger.Update(ctx, caller, Keys{}, func(v View) (*Change, error) {
		if before, err = clockStatus(v); err != nil {
			return nil, fmt.Errorf("read the clock: %w", err)
		}
		if !before.Jumped {
			return nil, Errorf(Conflict, "the clock has not jumped: there is nothing to confirm")
		}
		return &Change{Entries: []Entry{{Fact: &fact.ClockConfirmed{At: v.Now().UnixMicro()}, Reason: reason}}}, nil
	})
	return before, err
}
