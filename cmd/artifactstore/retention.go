package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"artifactstore/internal/config"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// policiesRetry is how soon a node looks again whether it may put the policies of
// its configuration in force.
const policiesRetry = 5 * time.Second

// putPolicies puts the retention policies of the configuration in force, if they
// are not. Where other nodes run with other rules it does nothing: this one is not
// ready until they are gone, and done is false.
func putPolicies(ctx context.Context, c *config.Config, store *store) (done bool, err error) {
	d, err := c.Retention.Document()
	if err != nil {
		return false, fmt.Errorf("retention policies of the configuration: %w", err)
	}
	if store.ledger.Fit() != nil {
		return false, nil
	}
	_, err = store.registry.SetPolicies(ctx, registry.System, fact.SourceConfiguration, d, "")
	var refusal *registry.Error
	if errors.As(err, &refusal) {
		return false, fmt.Errorf("put the retention policies of the configuration in force: %s", refusal.Message)
	}
	return err == nil, err
}

// putPoliciesLater does so once the other nodes are gone.
func putPoliciesLater(ctx context.Context, c *config.Config, store *store, log *slog.Logger) {
	tick := time.NewTicker(policiesRetry)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		done, err := putPolicies(ctx, c, store)
		if done {
			log.Info("the retention policies of the configuration are in force")
			return
		}
		if err != nil && ctx.Err() == nil && err.Error() != said {
			said = err.Error()
			log.Error("the retention policies of the configuration are not in force", "error", err)
		}
	}
}

// applyRetention does what retention decides, if it is to be done without being
// asked, and drops old plans.
func applyRetention(ctx context.Context, c *config.Config, store *store, log *slog.Logger) {
	if store.ledger.Fit() != nil {
		return // the rules that another node has are in force
	}
	if c.Retention.Enforce {
		report, err := store.registry.Enforce(ctx, registry.EnforceOptions{})
		switch {
		case err != nil && ctx.Err() == nil:
			log.Error("retention could not be applied", "error", err)
		case report.InDoubt:
			log.Warn("nothing expires, because the clock went ahead further than it should have; confirm that it is right, or set it")
		}
		if report.Marked+report.Renewed+report.Collected > 0 {
			log.Info("retention applied", "expired", report.Marked, "renewed", report.Renewed, "collected", report.Collected, "tags", report.Tags)
		}
	}
	if _, err := store.registry.DropPlans(ctx); err != nil && ctx.Err() == nil {
		log.Error("old retention plans could not be dropped", "error", err)
	}
}
