// Package web is what all front doors need of HTTP and none of them should
// write again: request ids, one log line per request, recovery from panics, the
// end of connections that do not move, and a server that stops gracefully. It
// knows nothing of what the doors serve.
package web

import (
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"time"
)

// Options are the limits and the surroundings of Wrap and Serve. The zero value
// of a field means its default.
type Options struct {
	// Log gets one line per request, and what the HTTP server has to say;
	// default: discarded.
	Log *slog.Logger
	// Observe is told of every request; default: nobody is.
	Observe Observer
	// Failure answers a request whose handler has panicked before it wrote
	// anything, in the form of the door; default: 500 with a line of text.
	Failure http.HandlerFunc

	// MinRate is the least average speed of a request's body and of a
	// client that reads a response, in bytes per second; default 16 KiB.
	MinRate int64
	// Grace is how long a body or a reader may make no progress at all, and
	// over which the average is taken; default 30 s.
	Grace time.Duration

	// TLS has the server's certificate, nil for plain HTTP. Versions before
	// 1.2 are never accepted.
	TLS *tls.Config
	// HeaderTimeout is how long a client may take to send a request's
	// header or the TLS handshake; default 10 s.
	HeaderTimeout time.Duration
	// HeaderBytes is the size limit of a request's header; default 64 KiB.
	HeaderBytes int
	// IdleTimeout ends connections without a request; default 2 min.
	IdleTimeout time.Duration
	// DrainTimeout is how long Serve waits for requests in flight when it
	// is told to stop; default 30 s.
	DrainTimeout time.Duration
}

func (o Options) withDefaults() Options {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Failure == nil {
		o.Failure = func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, "internal error", http.StatusInternalServerError)
		}
	}
	setDefault(&o.MinRate, 16<<10)
	setDefault(&o.Grace, 30*time.Second)
	setDefault(&o.HeaderTimeout, 10*time.Second)
	setDefault(&o.HeaderBytes, 64<<10)
	setDefault(&o.IdleTimeout, 2*time.Minute)
	setDefault(&o.DrainTimeout, 30*time.Second)
	return o
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Validate reports limits that make no sense.
func (o Options) Validate() error {
	for name, bad := range map[string]bool{
		"MinRate": o.MinRate < 0, "Grace": o.Grace < 0, "HeaderTimeout": o.HeaderTimeout < 0,
		"HeaderBytes": o.HeaderBytes < 0, "IdleTimeout": o.IdleTimeout < 0, "DrainTimeout": o.DrainTimeout < 0,
	} {
		if bad {
			return fmt.Errorf("web: %s is negative", name)
		}
	}
	return nil
}

// Wrap puts next behind everything that this package does for a request: it
// gets an id (see RequestID), a record for the log (SetPath, SetError) and for
// those who observe (SetRoute), a body
// that must arrive and a response that must be taken at a minimum speed, and
// its panics are answered by Options.Failure.
//
// The ResponseWriter that next sees implements io.ReaderFrom, and passes what
// it gets on to that of the server, so that files reach plain connections by
// sendfile; it also implements Unwrap for http.ResponseController.
func Wrap(next http.Handler, o Options) http.Handler {
	return &wrapper{next: next, o: o.withDefaults()}
}

type wrapper struct {
	next http.Handler
	o    Options
}

func (h *wrapper) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	entry := newRecord(r)
	res := newResponse(w, h.o)
	res.Header().Set("X-Request-ID", entry.id)
	body := newBody(r.Body, http.NewResponseController(w), h.o)
	r = r.WithContext(withRecord(r.Context(), entry))
	r, ended := h.begin(r)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = body
	}
	defer h.finish(res, r, body, entry, ended)
	h.next.ServeHTTP(res, r)
}

// begin tells the observer of a request, and returns it as it goes on.
func (h *wrapper) begin(r *http.Request) (*http.Request, func(Observation)) {
	if h.o.Observe == nil {
		return r, nil
	}
	ctx, ended := h.o.Observe(r)
	if ctx != r.Context() {
		r = r.WithContext(ctx)
	}
	return r, ended
}

// finish answers a panic, logs the request and tells the observer. It runs
// deferred.
func (h *wrapper) finish(res *response, r *http.Request, body *body, entry *record, ended func(Observation)) {
	cause := recover()
	body.end()
	if cause != nil && cause != http.ErrAbortHandler {
		entry.panicked(cause)
		if res.status == 0 {
			h.o.Failure(res, r)
			cause = nil
		}
	}
	res.arm() // for what the server still holds in its buffer
	o := entry.observe(r, res, body.received, cause != nil)
	entry.log(h.o.Log, r, o, res.failed)
	if ended != nil {
		ended(o)
	}
	if cause != nil {
		// The response is incomplete: the connection must not look as if
		// it were not.
		panic(http.ErrAbortHandler)
	}
}
