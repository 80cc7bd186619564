// Package admin is the operators' door: a read-only HTTP API under /admin/v1 on
// a listener of its own. It translates; what things are is for package registry
// to say. openapi.json in this folder is its description, served as it is.
//
// There are no accounts yet, so the door trusts who reaches its port. What a
// browser could be made to send is refused: a request with an Origin header, or
// with a Host that is neither loopback nor one of Options.Hosts, gets 403. Every
// error is a problem document (RFC 9457), every list is in pages.
package admin

import (
	"context"
	"log/slog"
	"net/http"

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
	// Ready returns why pushes would be refused now, or nil; nil means that
	// the store was opened to be looked at and takes none.
	Ready func(context.Context) error
	// Health asks the stores of the data plane how they are; nil means that
	// there are none.
	Health func(context.Context) []StoreHealth
	// Nodes are the processes that serve the store; nil means that there is one.
	Nodes func() []Node
	// Held bounds the memory of answers that are made whole; nil means no bound.
	Held registry.Share
	// Hosts are the names and addresses, beside loopback, that a Host header
	// may have.
	Hosts []string
	// Closing ends event streams when it is closed; nil means never.
	Closing <-chan struct{}
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
		router.Path(Prefix + e.path).Handler(d.endpoint(Prefix+e.path, e.serve))
	}
	if o.Metrics != nil {
		router.Path("/metrics").Handler(d.endpoint("/metrics", (*door).metrics))
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
	tail    tail
}

// handle serves an endpoint. What it returns is answered by fail.
type handle func(d *door, w http.ResponseWriter, r *http.Request) error

// endpoint is a path of the API. All of them are for GET and HEAD.
type endpoint struct {
	path  string
	serve handle
}

// The names in braces are one component each: the slashes in the name of a
// repository are sent as %2F, so that no path can be read in two ways.
var endpoints = []endpoint{
	{"/openapi.json", (*door).openAPI},
	{"/status", (*door).status},
	{"/repositories", (*door).repositories},
	{"/repositories/{repository}", (*door).repository},
	{"/repositories/{repository}/usage", (*door).repositoryUsage},
	{"/repositories/{repository}/tags", (*door).tags},
	{"/repositories/{repository}/tags/{tag}", (*door).tag},
	{"/repositories/{repository}/tags/{tag}/history", (*door).tagHistory},
	{"/repositories/{repository}/manifests", (*door).manifests},
	{"/repositories/{repository}/manifests/{reference}", (*door).native},
	{"/repositories/{repository}/manifests/{reference}/info", (*door).manifest},
	{"/repositories/{repository}/manifests/{reference}/pushed", (*door).pushed},
	{"/repositories/{repository}/manifests/{reference}/references", (*door).references},
	{"/repositories/{repository}/manifests/{reference}/referrers", (*door).referrers},
	{"/digests/{digest}", (*door).digest},
	{"/digests/{digest}/repositories", (*door).holders},
	{"/digests/{digest}/references", (*door).users},
	{"/events", (*door).events},
	{"/usage", (*door).usage},
	{"/storage", (*door).storage},
	{"/uploads", (*door).uploads},
}

// endpoint returns the handler of a path, which is its route for those who
// observe requests.
func (d *door) endpoint(path string, serve handle) http.Handler {
	return d.handler(func(w http.ResponseWriter, r *http.Request) error {
		web.SetRoute(r.Context(), path)
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			return errMethod
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
func caller() registry.Caller { return registry.Caller{Actor: "admin"} }
