package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"runtime"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/internal/budget"
	"artifactstore/internal/config"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
)

// adminDoor is the operators' API over a store. ready is nil if no server serves
// it: then nobody has to be spared, and work that is asked for goes at full speed.
func adminDoor(c *config.Config, store *store, closing <-chan struct{}, ready func(context.Context) error, log *slog.Logger) http.Handler {
	v, commit := buildVersion()
	var scrapes http.Handler
	if store.watch != nil {
		scrapes = store.watch.metrics.Handler(log)
	}
	var sweep registry.SweepOptions
	var scrub registry.ScrubOptions
	if ready != nil {
		sweep.Pace, scrub.Pace = budget.NewPace(0, int64(c.Sweep.Rate)), budget.NewPace(int64(store.scrub.Rate), 0)
	}
	return admin.New(admin.Options{
		Fit:     store.ledger.Fit,
		Metrics: scrapes, Registry: store.registry, Log: store.ledger.Events(), Ready: ready, Health: store.health, Nodes: store.nodes,
		Held: store.held, Hosts: c.Admin.HostNames(), Closing: closing, Errors: log, ReadOnly: store.readOnly, Check: store.check,
		Sweep: sweep, Scrub: scrub,
		Program: admin.Program{Version: v, Commit: commit, Go: runtime.Version(), Started: time.Now().UTC()},
	})
}

// check verifies the log and the views, and says what is wrong with them.
func (s *store) check(ctx context.Context) (problem string, err error) {
	_, err = s.ledger.Check(ctx, nil)
	_, differs := errors.AsType[*metastore.Difference](err)
	_, damaged := errors.AsType[*eventlog.Fault](err)
	if differs || damaged {
		return explainCheck(err).Error(), nil
	}
	return "", err
}

// nodes are the processes that serve the store, in the operators' words.
func (s *store) nodes() []admin.Node {
	var all []admin.Node
	for _, n := range s.ledger.Nodes() {
		all = append(all, admin.Node{Name: n.Name, Version: n.Version, Started: n.Started, Seen: n.Seen, Self: n.Self, Problem: n.Problem})
	}
	return all
}

// health says how the stores of the data plane are, in the operators' words.
func (s *store) health(ctx context.Context) []admin.StoreHealth {
	var all []admin.StoreHealth
	for _, h := range s.plane.Health(ctx) {
		all = append(all, admin.StoreHealth{Name: h.Store, FreeBytes: h.Free, TotalBytes: h.Total,
			FreeFiles: h.FreeFiles, TotalFiles: h.TotalFiles, KeptBytes: h.Kept, Err: h.Err})
	}
	return all
}
