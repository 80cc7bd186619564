package web

import (
	"context"
	"net/http"
	"time"
)

// RouteNone is the route of requests that no door has named one for.
const RouteNone = "none"

// An Observer is called when a request begins. It returns the context that the
// request goes on with, and what is to be called once the request has ended,
// with what came of it; nil for nothing. It may be called concurrently, and
// does not keep the request.
type Observer func(*http.Request) (context.Context, func(Observation))

// Observation is what came of a request. It says the same as the log line.
type Observation struct {
	// Method is the client's own word, of any length and content.
	Method string
	// Route is the door's name for the kind of URL: one of a few.
	Route string
	// Path is fit for the log: without secrets, and not longer than it may be there.
	Path string
	// Status is 499 if the client went away before it was answered.
	Status int
	// Received and Sent are bytes of body.
	Received, Sent int64
	Duration       time.Duration
	// Aborted: the response was begun and could not be completed.
	Aborted bool
}

// Observers returns an observer that calls all that are not nil, in this
// order, and after a request in the opposite one. It is nil if all are.
func Observers(all ...Observer) Observer {
	var both Observer
	for _, next := range all {
		switch {
		case next == nil:
		case both == nil:
			both = next
		default:
			both = pair(both, next)
		}
	}
	return both
}

func pair(outer, inner Observer) Observer {
	return func(r *http.Request) (context.Context, func(Observation)) {
		ctx, outerEnd := outer(r)
		if ctx != r.Context() {
			r = r.WithContext(ctx)
		}
		ctx, innerEnd := inner(r)
		switch {
		case innerEnd == nil:
			return ctx, outerEnd
		case outerEnd == nil:
			return ctx, innerEnd
		}
		return ctx, func(o Observation) {
			innerEnd(o)
			outerEnd(o)
		}
	}
}

// SetRoute names the kind of URL that a request is for, for those who observe.
// Routes are few: nothing that clients choose is part of one.
func SetRoute(ctx context.Context, route string) {
	if entry := recordOf(ctx); entry != nil {
		entry.route = route
	}
}

// SetTrace adds the id of a trace to the log line of the request.
func SetTrace(ctx context.Context, id string) {
	if entry := recordOf(ctx); entry != nil {
		entry.trace = id
	}
}
