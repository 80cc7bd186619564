package tracing

import (
	"context"
	"net/http"
	"strconv"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"artifactstore/internal/web"
)

// Request returns an observer that makes a span of every request, as a part of
// the client's trace if that sent one (traceparent). It is nil if tracing is off.
//
// Health checks and scrapes are left out: they come every few seconds, and
// nobody asks why.
func (t *Tracing) Request() web.Observer {
	if t == nil {
		return nil
	}
	return t.request
}

func (t *Tracing) request(r *http.Request) (context.Context, func(web.Observation)) {
	ctx := r.Context()
	switch r.URL.Path {
	case "/livez", "/readyz", "/metrics":
		return ctx, nil
	}
	ctx = t.propagate.Extract(ctx, propagation.HeaderCarrier(r.Header))
	verb := method(r.Method)
	ctx, span := t.tracer.Start(ctx, verb, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(attribute.String("http.request.method", verb)))
	if !span.IsRecording() {
		return ctx, nil
	}
	web.SetTrace(ctx, span.SpanContext().TraceID().String())
	agent := r.UserAgent()
	return ctx, func(o web.Observation) {
		span.SetName(verb + " " + o.Route)
		span.SetAttributes(
			attribute.String("http.route", o.Route),
			attribute.String("url.path", o.Path),
			attribute.Int("http.response.status_code", o.Status),
			attribute.Int64("http.request.body.size", o.Received),
			attribute.Int64("http.response.body.size", o.Sent),
			attribute.String("user_agent.original", cut(agent)),
			attribute.String("artifactstore.request", web.RequestID(ctx)),
		)
		switch {
		case o.Status >= http.StatusInternalServerError:
			span.SetAttributes(attribute.String("error.type", strconv.Itoa(o.Status)))
			span.SetStatus(codes.Error, "")
		case o.Aborted:
			span.SetAttributes(attribute.String("error.type", "aborted"))
			span.SetStatus(codes.Error, "the response could not be completed")
		}
		span.End()
	}
}

// method is a method that HTTP knows, or "_OTHER": the semantic conventions
// want few names.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "_OTHER"
}
