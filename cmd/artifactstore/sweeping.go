package main

import (
	"context"
	"log/slog"

	"artifactstore/internal/budget"
	"artifactstore/internal/config"
	"artifactstore/registry"
)

// sweep takes away what nothing uses.
func sweep(ctx context.Context, c *config.Config, store *store, log *slog.Logger) {
	if store.ledger.Fit() != nil {
		return // another node has other rules of what may go
	}
	report, err := store.registry.Sweep(ctx, registry.SweepOptions{Pace: budget.NewPace(0, int64(c.Sweep.Rate))})
	if err != nil && ctx.Err() == nil {
		log.Error("the sweep stopped; it goes on later", "error", err)
	}
	t := report.Total()
	if t.Failed > 0 {
		log.Warn("objects could not be deleted; they are tried again", "objects", t.Failed)
	}
	if t.Condemned.Number+t.Released.Number+t.Forgotten.Number+t.Erased.Number+t.Manifests+t.Repositories > 0 {
		log.Info("swept", "condemned", t.Condemned.Number, "released", t.Released.Number, "forgotten", t.Forgotten.Number,
			"erased", t.Erased.Number, "bytes", t.Erased.Bytes, "manifests", t.Manifests, "repositories", t.Repositories)
	}
}
