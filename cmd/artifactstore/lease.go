package main

import (
	"context"
	"log/slog"
	"time"

	"artifactstore/internal/metastore"
	"artifactstore/internal/worker"
)

// loggedLease is the lease of a store that says when it cannot be asked.
type loggedLease struct {
	*metastore.Store
	log *slog.Logger
}

var _ worker.Lease = loggedLease{}

// Acquire implements worker.Lease.
func (l loggedLease) Acquire(ctx context.Context, name string, ttl time.Duration) (bool, int64, error) {
	held, fence, err := l.Store.Acquire(ctx, name, ttl)
	if err != nil && ctx.Err() == nil {
		l.log.Warn("background work could not ask whose turn it is; it is tried again", "work", name, "error", err)
	}
	return held, fence, err
}

// Release implements worker.Lease.
func (l loggedLease) Release(ctx context.Context, name string) error {
	err := l.Store.Release(ctx, name)
	if err != nil {
		l.log.Warn("background work could not be given back; another node takes it over later", "work", name, "error", err)
	}
	return err
}
