// Package tracing sends OpenTelemetry traces of what the server does: a span
// for every request, and below it one for each use of the ledger and of a
// storage driver. It is the only room with the OpenTelemetry libraries.
//
// It is told what to do by the OTEL_* environment variables, as every program
// with OpenTelemetry is, and is off unless they turn it on. A collector that
// does not answer costs spans and a line in the log now and then, and nothing
// else: requests never wait for it.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// stopTimeout bounds how long Stop waits for the collector.
const stopTimeout = 3 * time.Second

// Tracing is what makes spans. A nil *Tracing is one that is off: its methods
// may be called and change nothing. It is safe for concurrent use.
type Tracing struct {
	tracer    trace.Tracer
	propagate propagation.TextMapPropagator
	provider  *sdk.TracerProvider
	log       *slog.Logger
}

// Start reads the OTEL_* variables. It returns nil if they do not ask for
// traces, and an error that names the variable if one makes no sense or asks
// for what is not supported. It does not wait for the collector; goroutines
// that it starts end with Stop.
func Start(ctx context.Context, version string, log *slog.Logger) (*Tracing, error) {
	on, err := wanted()
	if err != nil || !on {
		return nil, err
	}
	if err := checkVariables(); err != nil {
		return nil, err
	}
	sampler, err := chooseSampler()
	if err != nil {
		return nil, err
	}
	propagator, err := choosePropagators()
	if err != nil {
		return nil, err
	}
	about, err := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "artifactstore"), attribute.String("service.version", version),
	), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	to, err := newCollector()
	if err != nil {
		return nil, err
	}
	sender, err := otlptrace.New(ctx, to)
	if err != nil {
		return nil, fmt.Errorf("start the exporter of traces: %w", err)
	}
	provider := sdk.NewTracerProvider(sdk.WithResource(about), sdk.WithSampler(sampler),
		sdk.WithBatcher(&exporter{SpanExporter: sender, log: log, now: time.Now}))
	log.Info("traces are sent", "sampler", sampler.Description())
	return &Tracing{tracer: provider.Tracer("artifactstore"), propagate: propagator, provider: provider, log: log}, nil
}

// Stop sends the spans that have ended, as far as the collector takes them
// within some seconds, whether ctx is done or not. No span is made after it.
func (t *Tracing) Stop(ctx context.Context) {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces could not be sent", "error", err)
	}
}

// recording tells whether what is done on behalf of ctx is part of a trace.
func recording(ctx context.Context) bool { return trace.SpanFromContext(ctx).IsRecording() }

// maxText is the longest text of an error or an agent in a span, in bytes.
const maxText = 256

func cut(s string) string {
	if len(s) <= maxText {
		return s
	}
	return s[:maxText] + "..."
}

// fail marks a span as failed.
func fail(span trace.Span, err error) { span.SetStatus(codes.Error, cut(err.Error())) }
