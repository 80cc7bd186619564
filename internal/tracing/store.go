package tracing

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"artifactstore/storagedriver/observe"
)

// Store returns an observer of the driver of the store with this name, which
// makes a span of each operation that is part of a trace. Writes are left out:
// a large layer has thousands. It is nil if tracing is off.
func (t *Tracing) Store(name string) observe.Observer {
	if t == nil {
		return nil
	}
	about := trace.WithAttributes(attribute.String("artifactstore.store", name))
	return func(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
		if op == observe.Write || op == observe.Close || !recording(ctx) {
			return ctx, nil
		}
		ctx, span := t.tracer.Start(ctx, "storage "+string(op), about)
		return ctx, func(o observe.Outcome) {
			if o.Bytes > 0 {
				span.SetAttributes(attribute.Int64("artifactstore.bytes", o.Bytes))
			}
			if o.Err != nil && !errors.Is(o.Err, context.Canceled) {
				fail(span, o.Err)
			}
			span.End()
		}
	}
}
