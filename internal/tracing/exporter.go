package tracing

import (
	"context"
	"log/slog"
	"sync"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/trace"
)

// complainEvery is how often the log says that traces cannot be sent.
const complainEvery = time.Minute

// exporter sends spans and logs failures, now and then. Its caller sends the
// spans once and does not wait for them to arrive.
type exporter struct {
	sdk.SpanExporter
	log *slog.Logger
	now func() time.Time

	mu   sync.Mutex
	said time.Time
	lost int // spans since then
}

// ExportSpans implements sdk.SpanExporter. Its failures are logged here.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	if err := e.SpanExporter.ExportSpans(ctx, spans); err != nil {
		e.complain(err, len(spans))
	}
	return nil
}

func (e *exporter) complain(err error, lost int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += lost
	if now := e.now(); e.said.IsZero() || now.Sub(e.said) >= complainEvery {
		e.log.Warn("traces could not be sent and are lost", "spans", e.lost, "error", cut(err.Error()))
		e.said, e.lost = now, 0
	}
}
