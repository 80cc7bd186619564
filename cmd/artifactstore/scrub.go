package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"artifactstore/internal/budget"
	"artifactstore/registry"
)

// scrubInterval is how often it is asked whether it is time for a scrub, and how
// soon one goes on that has stopped because a store was away.
const scrubInterval = time.Hour

// scrub reads what is stored, if it is time for it.
func scrub(ctx context.Context, store *store, log *slog.Logger) {
	var before registry.ScrubReport
	report, err := store.registry.Scrub(ctx, registry.ScrubOptions{
		Pace:     budget.NewPace(int64(store.scrub.Rate), 0),
		Interval: time.Duration(store.scrub.Interval),
		Progress: func(r registry.ScrubReport) { before = r },
	})
	attributes := []any{"verified", report.Verified, "bytes", report.Bytes, "damaged", report.Damaged, "healed", report.Healed,
		"unread", report.Unread, "descriptors", report.Descriptors, "mended", report.Mended}
	refused, busy := errors.AsType[*registry.Error](err)
	switch {
	case busy && refused.Code == registry.Unavailable:
		log.Debug("scrub put off", "error", err)
	case err != nil && ctx.Err() == nil:
		log.Error("scrub stopped; it goes on later", append(attributes, "error", err)...)
	case err == nil && !before.Began.IsZero():
		log.Info("scrub ended", attributes...)
	}
}
