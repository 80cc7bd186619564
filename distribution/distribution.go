// Package distribution is the OCI distribution API (/v2) over HTTP, and nothing
// else: it translates requests into calls of the registry and what the registry
// says into responses. It implements distribution-spec v1.1.1 and what its main
// branch adds: the algorithm of an upload (end-4c), tag parameters (end-7b) and
// the cancelling of uploads (end-14).
//
// Additions of this registry's own: If-Match and If-None-Match "*" on the push
// of a manifest, n and after on the list of referrers, blake3 digests.
package distribution

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/gorilla/mux"

	"artifactstore/internal/web"
	"artifactstore/registry"
)

// anonymous is the actor of requests without credentials.
const anonymous = "anonymous"

// Options are the limits of the API. The zero value of a field means its default.
type Options struct {
	// PageSize is the number of entries that a page of a list has at most,
	// and that it has if the client does not say; default 1000.
	PageSize int
	// PageBytes bounds the descriptors in a page of referrers; default 4 MiB.
	PageBytes int
	// Held bounds the memory of lists that are being sent; nil means no
	// bound. Where it has no room pages get shorter, and then refused.
	Held registry.Share
	// NoRedirect serves every blob from here, also where clients could fetch
	// it from its store: for clients that reach only this process.
	NoRedirect bool
}

// New returns the handler of every path under /v2. It is meant to run behind
// web.Wrap, with Failure as its Options.Failure. It is safe for concurrent use.
func New(reg *registry.Registry, o Options) http.Handler {
	if o.PageSize <= 0 {
		o.PageSize = 1000
	}
	if o.PageBytes <= 0 {
		o.PageBytes = 4 << 20
	}
	d := &door{registry: reg, o: o}
	router := mux.NewRouter().UseEncodedPath().SkipClean(true)
	router.PathPrefix("/v2/").Handler(d)
	router.Path("/v2").Handler(d)
	router.NotFoundHandler = d
	return router
}

// door serves the API. It has no state of its own.
type door struct {
	registry *registry.Registry
	o        Options
}

// handler serves one method of an endpoint. What it returns is answered by fail.
type handler func(d *door, w http.ResponseWriter, r *http.Request, t target) error

// method is a handler and the method it is for.
type method struct {
	method string
	handle handler
}

// endpoints has the methods of each endpoint, in the order in which Allow
// lists them.
var endpoints = [...][]method{
	endpointNone:     nil,
	endpointBase:     {{"GET", (*door).base}, {"HEAD", (*door).base}},
	endpointCatalog:  {{"GET", (*door).catalog}, {"HEAD", (*door).catalog}},
	endpointTags:     {{"GET", (*door).tags}, {"HEAD", (*door).tags}},
	endpointManifest: {{"GET", (*door).getManifest}, {"HEAD", (*door).getManifest}, {"PUT", (*door).putManifest}, {"DELETE", (*door).deleteManifest}},
	endpointBlob:     {{"GET", (*door).getBlob}, {"HEAD", (*door).getBlob}, {"DELETE", (*door).deleteBlob}},
	endpointUploads:  {{"POST", (*door).startUpload}},
	endpointUpload:   {{"GET", (*door).uploadStatus}, {"HEAD", (*door).uploadStatus}, {"PATCH", (*door).appendUpload}, {"PUT", (*door).finishUpload}, {"DELETE", (*door).cancelUpload}},
	endpointReferrer: {{"GET", (*door).referrers}, {"HEAD", (*door).referrers}},
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Docker-Distribution-Api-Version", "registry/2.0")
	header.Set("X-Content-Type-Options", "nosniff")
	t := parsePath(r.URL.EscapedPath())
	web.SetRoute(r.Context(), t.endpoint.String())
	web.SetPath(r.Context(), redacted(r.URL.EscapedPath()))
	if err := d.serve(w, r, t); err != nil {
		fail(w, r, t, err)
	}
}

func (d *door) serve(w http.ResponseWriter, r *http.Request, t target) error {
	methods := endpoints[t.endpoint]
	if methods == nil {
		return withStatus{registry.Errorf(registry.Unsupported, "there is no such endpoint"), http.StatusNotFound}
	}
	for _, m := range methods {
		if m.method == r.Method {
			return m.handle(d, w, r, t)
		}
	}
	w.Header().Set("Allow", allowed(t.endpoint, ""))
	return registry.Errorf(registry.Unsupported, "the endpoint does not have this method")
}

// repository is the repository of the path on behalf of the caller.
func (d *door) repository(r *http.Request, t target) (*registry.Repository, error) {
	return d.registry.Repository(t.name, registry.Caller{Actor: anonymous, Request: web.RequestID(r.Context())})
}

// base answers that the API is here (end-1), and whose it is: an import asks.
func (d *door) base(w http.ResponseWriter, r *http.Request, t target) error {
	w.Header().Set("Artifactstore-Api", "distribution")
	send(w, r, http.StatusOK, "application/json", []byte("{}"))
	return nil
}

// token is what could be an upload session's in a path, wherever it stands.
var token = regexp.MustCompile(`[A-Za-z0-9_-]{40,}`)

// redacted is a path for the log, without the tokens of upload sessions: who
// has the whole of one can write to the session. Digests stay.
func redacted(path string) string {
	if !strings.Contains(strings.ToLower(path), "upload") {
		return path
	}
	return token.ReplaceAllStringFunc(path, func(s string) string { return s[:8] + "..." })
}

// send writes a whole response. A failure to write it is the client's loss and
// noted by the writer.
func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// done writes a response without a body.
func done(w http.ResponseWriter, status int) error {
	if status != http.StatusNoContent { // which has no Content-Length: RFC 9110, section 8.6
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(status)
	return nil
}
