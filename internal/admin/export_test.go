package admin

import (
	"context"
	"net/http"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
)

// Heartbeat is the longest that a stream is silent.
const Heartbeat time.Duration = heartbeat

// Description is openapi.json as it is in the program.
var Description = openAPI

// Routes are the paths of the router, /metrics apart, and the methods of each.
func Routes() map[string][]string {
	routes := make(map[string][]string)
	for _, e := range endpoints {
		routes[Prefix+e.path] = e.methods()
	}
	return routes
}

// StatusOf is the row of a code.
func StatusOf(code registry.Code) (status int, ok bool) {
	status, ok = statuses[code]
	return status, ok
}

// Fail answers err as a handler's.
func Fail(w http.ResponseWriter, r *http.Request, err error) { fail(w, r, err) }

// CutOff is what a handler returns that began a response and cannot end it.
func CutOff(err error) error { return errCutOff{err} }

// ParseQuery reads the query of a list, whose after is a sequence and a place of
// four numbers at once.
func ParseQuery(r *http.Request) (n int, sequence uint64, place []int64, err error) {
	q, err := parseQuery(r, "kind")
	if err != nil {
		return 0, 0, nil, err
	}
	at, sequenceErr := q.sequence()
	place, placeErr := q.place(4)
	if sequenceErr != nil && placeErr != nil {
		return 0, 0, nil, placeErr
	}
	return q.n, uint64(at), place, nil
}

// Tail is the end of a log for all who follow it.
type Tail struct{ tail tail }

// NewTail returns one of a log.
func NewTail(log eventlog.Reader) *Tail { return &Tail{tail{log: log}} }

// After returns the places behind the events that the tail gives.
func (t *Tail) After(ctx context.Context, at eventlog.Head) ([]eventlog.Head, error) {
	entries, _, err := t.tail.after(ctx, at)
	var places []eventlog.Head
	for _, e := range entries {
		places = append(places, e.at)
	}
	return places, err
}

// Work answers requests with work of one kind.
func Work[P, R any](o Options, do func(ctx context.Context, tell func(P)) (R, error)) http.Handler {
	d := &door{Options: o}
	return d.handler(func(w http.ResponseWriter, r *http.Request) error { return work(d, w, r, "the work", do) })
}

// Stride is how often a stream of work tells of progress, at most.
const Stride time.Duration = stride
