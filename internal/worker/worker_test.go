package worker_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/worker"
)

func TestEveryCallsAtOnceAndThenAnIntervalAfterEachReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		var at []time.Duration
		worker.Every(ctx, time.Hour, func(context.Context) {
			at = append(at, time.Since(start))
			time.Sleep(10 * time.Minute)
		})
		want := []time.Duration{0, 70 * time.Minute, 140 * time.Minute}
		if !slices.Equal(at, want) {
			t.Errorf("calls at %v, want %v", at, want)
		}
	})
}

func TestEveryDoesNothingWhenItsContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	worker.Every(ctx, time.Hour, func(context.Context) { t.Error("work was called") })
}

func TestEveryWaitsForRunningWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		finished := false
		worker.Every(ctx, time.Hour, func(context.Context) {
			cancel()
			time.Sleep(time.Minute)
			finished = true
		})
		if !finished {
			t.Error("Every returned before its work")
		}
	})
}
