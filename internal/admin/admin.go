// Package admin is the operators' door: an HTTP API under /admin/v1 on a listener
// of its own, to look inside a store and to say what is kept. It translates; what
// things are is for package registry to say. openapi.json in this folder is its
// description, served as it is.
//
// There are no accounts yet, so the door trusts who reaches its port. What a
// browser could be made to send is refused: a request with an Origin header, or
// with a Host that is neither loopback nor one of Options.Hosts, gets 403, and a
// body that does not say to be JSON 415. Every error is a problem document (RFC
// 9457), every list is in pages, what takes its time answers with lines of
// progress and ends when its client leaves.
package admin

import (
	"context"
	"log/slog"
	"net/http"
	"strings"

	"github.com/gorilla/mux"

	"artifactstore/eventlog"
	"artifactstore/internal/web"
	"artifactstore/registry"
)

// Prefix begins the path of every endpoint of the API.
const Prefix = "/admin/v1"

// Options are what the door shows and its limits. Registry and Log must be set;
// Log alone is enough where nothing but /events and /status is asked for.
type Options struct {
	Registry *registry.Registry
	Log      eventlog.Reader
	// ReadOnly refuses whatever would change the store: it was opened to be
	// looked at.
	ReadOnly bool
	// Fit returns why this node must not decide anything, or nil: its clock or
	// its configuration is not that of the others. nil means that it always may.
	Fit func() error
	// Ready returns why pushes would be refused now, or nil; nil means that
	// the store was opened to be looked at and takes none.
	Ready func(context.Context) error
	// Health asks the stores of the data plane how they are; nil means that
	// there are none.
	Health func(context.Context) []StoreHealth
	// Check returns what is wrong with the log, or with the views that follow
	// from it, for operators to read; empty if all is well. fsck begins with it;
	// nil means that it is not looked at.
	Check func(context.Context) (problem string, err error)
	// Nodes are the processes that serve the store; nil means that there is one.
	Nodes func() []Node
	// Held bounds the memory of answers that are made whole; nil means no bound.
	Held registry.Share
	// Hosts are the names and addresses, beside loopback, that a Host header
	// may have.
	Hosts []string
	// Closing ends streams of events, and work that was asked for, when it is
	// closed; nil means never.
	Closing <-chan struct{}
	// Sweep and Scrub say at what pace they go when they are asked for; fsck
	// reads bytes at that of Scrub.
	Sweep registry.SweepOptions
	Scrub registry.ScrubOptions
	// Metrics is served under /metrics, if it is not nil.
	Metrics http.Handler
	// Program says what serves: for the status.
	Program Program
	// Errors gets what clients are not told; default: discarded.
	Errors *slog.Logger
}

// StoreHealth is the state of a store of the data plane. Numbers are -1 where
// the store knows no limit. Err is not sent.
type StoreHealth struct {
	Name                             string
	FreeBytes, TotalBytes            int64
	FreeFiles, TotalFiles, KeptBytes int64
	Err                              error
}

// The limits of pages, in entries.
const (
	pageSize    = 100 // if the client does not say
	maxPageSize = 1000
)

// New returns the handler of the API, and of /metrics. It is meant to run behind
// web.Wrap, with Failure as its Options.Failure. It is safe for concurrent use.
func New(o Options) http.Handler {
	if o.Errors == nil {
		o.Errors = slog.New(slog.DiscardHandler)
	}
	if o.Health == nil {
		o.Health = func(context.Context) []StoreHealth { return nil }
	}
	d := &door{Options: o, counting: make(chan struct{}, 1), parsing: make(chan struct{}, 1), tail: tail{log: o.Log}}
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	for _, e := range endpoints {
		e.path = Prefix + e.path
		router.Path(e.path).Handler(d.endpoint(e))
	}
	if o.Metrics != nil {
		router.Path("/metrics").Handler(d.endpoint(endpoint{path: "/metrics", get: (*door).metrics}))
	}
	router.NotFoundHandler = d.handler(func(http.ResponseWriter, *http.Request) error { return errNoEndpoint })
	return d.guard(router)
}

// door serves the API.
type door struct {
	Options
	// counting has room for one request that reads whole tables, so that such
	// requests leave the connections of the database to others.
	counting chan struct{}
	// parsing has room for one request that has asked for memory to take a
	// document apart.
	parsing chan struct{}
	working shift
	tail    tail
}

// handle serves an endpoint. What it returns is answered by fail.
type handle func(d *door, w http.ResponseWriter, r *http.Request) error

// endpoint is a path of the API and what its methods do; those that it does not
// have are nil. What is there for GET is there for HEAD.
type endpoint struct {
	path                   string
	get, post, put, delete handle
}

// methods are those that the endpoint has, in the order in which they are told.
func (e *endpoint) methods() []string {
	var all []string
	if e.get != nil {
		all = append(all, http.MethodGet, http.MethodHead)
	}
	if e.post != nil {
		all = append(all, http.MethodPost)
	}
	if e.put != nil {
		all = append(all, http.MethodPut)
	}
	if e.delete != nil {
		all = append(all, http.MethodDelete)
	}
	return all
}

// handle is what a method does, or nil.
func (e *endpoint) handle(method string) handle {
	switch method {
	case http.MethodGet, http.MethodHead:
		return e.get
	case http.MethodPost:
		return e.post
	case http.MethodPut:
		return e.put
	case http.MethodDelete:
		return e.delete
	}
	return nil
}

// The names in braces are one component each: the slashes in the name of a
// repository are sent as %2F, so that no path can be read in two ways.
var endpoints = []endpoint{
	{path: "/openapi.json", get: (*door).openAPI},
	{path: "/status", get: (*door).status},
	{path: "/clock", get: (*door).clock},
	{path: "/clock/confirm", post: (*door).confirmClock},
	{path: "/repositories", get: (*door).repositories},
	{path: "/repositories/{repository}", get: (*door).repository, delete: (*door).deleteRepository},
	{path: "/repositories/{repository}/usage", get: (*door).repositoryUsage},
	{path: "/repositories/{repository}/holds", get: (*door).holdsOn},
	{path: "/repositories/{repository}/deleted", get: (*door).deletedManifests},
	{path: "/repositories/{repository}/tags", get: (*door).tags},
	{path: "/repositories/{repository}/tags/{tag}", get: (*door).tag},
	{path: "/repositories/{repository}/tags/{tag}/history", get: (*door).tagHistory},
	{path: "/repositories/{repository}/manifests", get: (*door).manifests},
	{path: "/repositories/{repository}/manifests/{reference}", get: (*door).native},
	{path: "/repositories/{repository}/manifests/{reference}/info", get: (*door).manifest},
	{path: "/repositories/{repository}/manifests/{reference}/pushed", get: (*door).pushed},
	{path: "/repositories/{repository}/manifests/{reference}/references", get: (*door).references},
	{path: "/repositories/{repository}/manifests/{reference}/referrers", get: (*door).referrers},
	{path: "/repositories/{repository}/manifests/{reference}/retention", get: (*door).retention},
	{path: "/repositories/{repository}/manifests/{reference}/extend", post: (*door).extend},
	{path: "/repositories/{repository}/manifests/{reference}/class", post: (*door).changeClass},
	{path: "/repositories/{repository}/manifests/{reference}/erase", post: (*door).erase},
	{path: "/deleted", get: (*door).deletedRepositories},
	{path: "/undo", post: (*door).undo},
	{path: "/digests/{digest}", get: (*door).digest},
	{path: "/digests/{digest}/repositories", get: (*door).holders},
	{path: "/digests/{digest}/references", get: (*door).users},
	{path: "/digests/{digest}/why", get: (*door).why},
	{path: "/policies", get: (*door).policies, put: (*door).setPolicies},
	{path: "/plans", get: (*door).plans, post: (*door).makePlan},
	{path: "/plans/{plan}", get: (*door).plan},
	{path: "/plans/{plan}/items", get: (*door).planItems},
	{path: "/plans/{plan}/execute", post: (*door).executePlan},
	{path: "/holds", get: (*door).holds, post: (*door).placeHold},
	{path: "/holds/release", post: (*door).releaseHold},
	{path: "/events", get: (*door).events},
	{path: "/usage", get: (*door).usage},
	{path: "/storage", get: (*door).storage},
	{path: "/storage/damaged", get: (*door).damaged},
	{path: "/uploads", get: (*door).uploads},
	{path: "/sweep", post: (*door).sweep},
	{path: "/scrub", post: (*door).scrub},
	{path: "/fsck", post: (*door).fsck},
}

// endpoint returns the handler of a path, which is its route for those who
// observe requests.
func (d *door) endpoint(e endpoint) http.Handler {
	allowed := strings.Join(e.methods(), ", ")
	return d.handler(func(w http.ResponseWriter, r *http.Request) error {
		web.SetRoute(r.Context(), e.path)
		serve := e.handle(r.Method)
		if serve == nil {
			w.Header().Set("Allow", allowed)
			return &refusal{http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "the methods of this endpoint are " + allowed}
		}
		return serve(d, w, r)
	})
}

// metrics answers scrapes.
func (d *door) metrics(w http.ResponseWriter, r *http.Request) error {
	web.SetRoutine(r.Context())
	d.Metrics.ServeHTTP(w, r)
	return nil
}

func (d *door) handler(serve func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := serve(w, r); err != nil {
			fail(w, r, err)
		}
	})
}

// caller is the operator who asks.
func caller(r *http.Request) registry.Caller {
	return registry.Caller{Actor: "admin", Request: web.RequestID(r.Context())}
}
