package main

import (
	"context"
	"log/slog"
	"runtime"

	"artifactstore/internal/metastore"
	"artifactstore/internal/metrics"
	"artifactstore/internal/tracing"
	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/observe"
)

// watch is what measures a server: its metrics, and its traces if the
// environment asks for them. A nil *watch measures nothing.
type watch struct {
	metrics *metrics.Metrics
	tracing *tracing.Tracing // nil if it is off
}

// newWatch starts to watch. The caller stops it after all that is watched.
func newWatch(ctx context.Context, log *slog.Logger) (*watch, error) {
	v, commit := buildVersion()
	traces, err := tracing.Start(ctx, v, log)
	if err != nil {
		return nil, err
	}
	return &watch{metrics.New(metrics.Build{Version: v, Commit: commit, Go: runtime.Version()}), traces}, nil
}

func (w *watch) stop(ctx context.Context) { w.tracing.Stop(ctx) }

// requests observes what web serves.
func (w *watch) requests() web.Observer {
	return web.Observers(w.metrics.Request, w.tracing.Request())
}

// batches adds the observer of batches to the options of a ledger.
func (w *watch) batches(o metastore.Options) metastore.Options {
	if w != nil {
		o.Observe = w.metrics.Batch
	}
	return o
}

// ledger observes the use of a ledger.
func (w *watch) ledger(l registry.Ledger) registry.Ledger {
	if w == nil {
		return l
	}
	return w.tracing.Ledger(l)
}

// driver observes the driver of a store.
func (w *watch) driver(name string, d storagedriver.Driver) storagedriver.Driver {
	if w == nil {
		return d
	}
	return observe.Wrap(d, w.metrics.Store(name), w.tracing.Store(name))
}

// state has the metrics ask the store for its state.
func (w *watch) state(ctx context.Context, s *store) {
	w.metrics.Watch(ctx, metrics.State{
		Ready:   s.ready,
		Queue:   s.ledger.Queued,
		Head:    func() uint64 { return uint64(s.ledger.Sequence()) },
		Uploads: s.ledger.OpenUploads,
		Stores:  s.plane.Health,

		Quarantined: s.ledger.Quarantined,
	})
}
