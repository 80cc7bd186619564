// Package worker runs background work at intervals.
package worker

import (
	"context"
	"time"
)

// Pause waits, and tells whether ctx is still there afterwards.
func Pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// Every calls work at once and then again each time the interval has passed
// since its last return, until ctx is done. It blocks; calls never overlap,
// and Every returns only after a running call has. work gets ctx, and reports
// its own errors: the next call comes in any case. interval must be positive.
func Every(ctx context.Context, interval time.Duration, work func(context.Context)) {
	timer := time.NewTimer(interval)
	defer timer.Stop()
	for ctx.Err() == nil {
		work(ctx)
		timer.Reset(interval)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
	}
}
