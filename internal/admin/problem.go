package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// Problem is the body of every error: a problem document (RFC 9457, section 3)
// with the code of the refusal and the id of the request as extension members,
// and further ones by code.
type Problem struct {
	Type    string        `json:"type"`
	Title   string        `json:"title"`
	Status  int           `json:"status"`
	Detail  string        `json:"detail"`
	Code    registry.Code `json:"code"`
	Request string        `json:"request,omitempty"`

	// Holds are the names of the first of those that forbid it, Policy is that of the policy.
	Holds  []string `json:"holds,omitempty"`
	Policy string   `json:"policy,omitempty"`
	// Of a plan that is out of date: the events since then that touch what it
	// names, whether there are more, what else is decided otherwise now, and
	// what had been done before.
	Events     []LaterEvent `json:"events,omitempty"`
	MoreEvents bool         `json:"moreEvents,omitempty"`
	Changed    []string     `json:"changed,omitempty"`
	Done       *PlanDone    `json:"done,omitempty"`
}

// refusal is a refusal of this door's own.
type refusal struct {
	status  int
	code    registry.Code
	message string
}

func (e *refusal) Error() string { return string(e.code) + ": " + e.message }

var (
	errNoEndpoint = &refusal{http.StatusNotFound, "ENDPOINT_UNKNOWN", "there is no such endpoint; the list is in " + Prefix + "/openapi.json"}
	errDamaged    = &refusal{http.StatusInternalServerError, "CONTENT_DAMAGED", "the stored bytes do not have this digest any more; restore them from a backup"}
	errOrigin     = &refusal{http.StatusForbidden, "ORIGIN_REFUSED", "requests of web pages are refused: the Origin header must not be set"}
	errHost       = &refusal{http.StatusForbidden, "HOST_REFUSED", "the Host header is neither loopback nor one of admin.hosts"}
)

// badRequest is a refusal of a malformed parameter.
func badRequest(message string) error {
	return &refusal{http.StatusBadRequest, "PARAMETER_INVALID", message}
}

// statuses has a row for every registry.Code.
var statuses = map[registry.Code]int{
	registry.BlobUnknown:         http.StatusNotFound,
	registry.BlobUploadInvalid:   http.StatusBadRequest,
	registry.BlobUploadUnknown:   http.StatusNotFound,
	registry.DigestInvalid:       http.StatusBadRequest,
	registry.ManifestBlobUnknown: http.StatusBadRequest,
	registry.ManifestInvalid:     http.StatusBadRequest,
	registry.ManifestUnknown:     http.StatusNotFound,
	registry.NameInvalid:         http.StatusBadRequest,
	registry.NameUnknown:         http.StatusNotFound,
	registry.SizeInvalid:         http.StatusBadRequest,
	registry.TagInvalid:          http.StatusBadRequest,
	registry.Unauthorized:        http.StatusUnauthorized,
	registry.Denied:              http.StatusForbidden,
	registry.Unsupported:         http.StatusForbidden, // what the operator has not enabled
	registry.TooManyRequests:     http.StatusTooManyRequests,
	registry.BlobInUse:           http.StatusConflict,
	registry.RangeInvalid:        http.StatusRequestedRangeNotSatisfiable,
	registry.ManifestTooLarge:    http.StatusRequestEntityTooLarge,
	registry.PreconditionFailed:  http.StatusPreconditionFailed,
	registry.PaginationInvalid:   http.StatusBadRequest,
	registry.ReasonInvalid:       http.StatusBadRequest,
	registry.HoldInvalid:         http.StatusBadRequest,
	registry.HoldUnknown:         http.StatusNotFound,
	registry.RetentionInvalid:    http.StatusBadRequest,
	registry.PlanUnknown:         http.StatusNotFound,
	registry.EventUnknown:        http.StatusNotFound,
	registry.Conflict:            http.StatusConflict,
	registry.StorageFull:         http.StatusInsufficientStorage,
	registry.Unavailable:         http.StatusServiceUnavailable,
}

// errCutOff is the end of a response that was begun and cannot be completed.
type errCutOff struct{ error }

func (e errCutOff) Unwrap() error { return e.error }

// fail answers a request whose handler returned err. It is the only place that
// writes errors, but for those that end a stream of work.
func fail(w http.ResponseWriter, r *http.Request, err error) {
	ctx := r.Context()
	if ctx.Err() != nil {
		web.SetGone(ctx, err)
	}
	var cut errCutOff
	if errors.As(err, &cut) {
		if ctx.Err() == nil {
			web.SetError(ctx, string(classify(ctx, err).Code), err)
		}
		panic(http.ErrAbortHandler)
	}
	p := report(r, err)
	if p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	if p.Status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5") // as for clients
	}
	write(w, r, p)
}

// report logs what a request failed of, and returns what its client is told.
func report(r *http.Request, err error) Problem {
	ctx := r.Context()
	p := complete(r, classify(ctx, err))
	if ctx.Err() == nil {
		web.SetError(ctx, string(p.Code), cause(err, p))
	}
	if errors.Is(err, fact.ErrGone) {
		web.SetAlarm(ctx) // what was acknowledged is lost
	}
	return p
}

// complete fills in what every problem document has.
func complete(r *http.Request, p Problem) Problem {
	p.Type, p.Title, p.Request = "about:blank", http.StatusText(p.Status), web.RequestID(r.Context())
	return p
}

// classify finds what a client is told of an error.
func classify(ctx context.Context, err error) Problem {
	if own, ok := errors.AsType[*refusal](err); ok {
		return Problem{Status: own.status, Code: own.code, Detail: own.message}
	}
	if refused, ok := errors.AsType[*registry.Error](err); ok {
		if status, ok := statuses[refused.Code]; ok {
			p := Problem{Status: status, Code: refused.Code, Detail: refused.Message}
			p.extend(refused, err)
			return p
		}
	}
	if errors.Is(err, fact.ErrUnavailable) {
		return Problem{Status: http.StatusServiceUnavailable, Code: registry.Unavailable, Detail: "the registry cannot reach its storage now; try again. The server's log says more"}
	}
	p := Problem{Status: http.StatusInternalServerError, Code: "UNKNOWN", Detail: "internal error"}
	if id := web.RequestID(ctx); id != "" {
		p.Detail += "; the server's log has more under request " + id
	}
	return p
}

// extend adds what programs can use of a refusal.
func (p *Problem) extend(refused *registry.Error, err error) {
	switch detail := refused.Detail.(type) {
	case map[string]string:
		p.Policy = detail["policy"]
	case map[string]any:
		p.Holds, _ = detail["holds"].([]string)
	}
	if stale, ok := errors.AsType[*registry.PlanStale](err); ok {
		p.Events, p.MoreEvents, p.Changed = each(stale.Events, laterJSON), stale.More, stale.Changed
		done := doneJSON(stale.Done)
		p.Done = &done
	}
}

// cause is what the log needs to know beyond the code.
func cause(err error, p Problem) error {
	if refused, ok := errors.AsType[*registry.Error](err); ok {
		return refused.Err
	}
	if p.Status >= http.StatusInternalServerError {
		return err
	}
	return nil
}

// Failure answers a request whose handler has panicked.
func Failure(w http.ResponseWriter, r *http.Request) {
	write(w, r, complete(r, classify(r.Context(), errors.New("panic"))))
}

func write(w http.ResponseWriter, r *http.Request, p Problem) {
	body, err := json.Marshal(p)
	if err != nil {
		body = []byte(`{}`) // texts and numbers always encode
	}
	for _, name := range []string{"Link", "Etag", "Vary"} { // they are of the answer that could not be given
		w.Header().Del(name)
	}
	send(w, r, p.Status, "application/problem+json", body)
}

// send writes a whole response. A failure to write it is the client's loss.
func send(w http.ResponseWriter, r *http.Request, status int, contentType string, body []byte) {
	header := w.Header()
	header.Set("Content-Type", contentType)
	header.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(body)
	}
}

// sendJSON writes a value as a whole response.
func (d *door) sendJSON(w http.ResponseWriter, r *http.Request, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	release, err := d.hold(int64(len(body)))
	if err != nil {
		return err
	}
	defer release()
	send(w, r, http.StatusOK, "application/json", append(body, '\n'))
	return nil
}
