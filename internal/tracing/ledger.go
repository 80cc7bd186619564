package tracing

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"artifactstore/internal/metastore"
	"artifactstore/registry"
)

// Ledger returns a ledger that does what l does, and makes a span of what is
// part of a trace. If tracing is off it is l itself.
func (t *Tracing) Ledger(l registry.Ledger) registry.Ledger {
	if t == nil {
		return l
	}
	return &ledger{l, t}
}

type ledger struct {
	registry.Ledger
	tracing *Tracing
}

// Update implements registry.Ledger. The span says how long the change waited
// for the committer, and with how many others it was committed.
func (l *ledger) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if !recording(ctx) {
		return l.Ledger.Update(ctx, caller, keys, decide)
	}
	ctx, span := l.tracing.tracer.Start(ctx, "ledger update")
	defer span.End()
	var batch metastore.Batch
	begun := time.Now()
	err := l.Ledger.Update(metastore.WithBatch(ctx, &batch), caller, keys, decide)
	if !batch.Began.IsZero() {
		span.SetAttributes(
			attribute.Int("artifactstore.batch.changes", batch.Changes),
			attribute.Int("artifactstore.batch.events", batch.Events),
			attribute.Bool("artifactstore.batch.flushed", batch.Flushed),
			attribute.Float64("artifactstore.batch.wait", max(0, batch.Began.Sub(begun)).Seconds()),
			attribute.Float64("artifactstore.batch.duration", batch.Duration.Seconds()),
		)
	}
	outcome(span, err)
	return err
}

// Read implements registry.Ledger.
func (l *ledger) Read(ctx context.Context, query func(registry.View) error) error {
	if !recording(ctx) {
		return l.Ledger.Read(ctx, query)
	}
	ctx, span := l.tracing.tracer.Start(ctx, "ledger read")
	defer span.End()
	err := l.Ledger.Read(ctx, query)
	outcome(span, err)
	return err
}

// outcome tells refusals, which are answers, from failures.
func outcome(span trace.Span, err error) {
	var refusal *registry.Error
	switch {
	case err == nil, errors.Is(err, context.Canceled):
	case errors.As(err, &refusal):
		span.SetAttributes(attribute.String("artifactstore.refused", string(refusal.Code)))
	default:
		fail(span, err)
	}
}
