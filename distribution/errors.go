package distribution

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// answer is how a kind of refusal looks on the wire.
type answer struct {
	status int
	// code replaces the registry's, where the specification has none of
	// its own for the case.
	code registry.Code
	// retry is the Retry-After in seconds, 0 for none.
	retry int
}

// answers has a row for every registry.Code.
var answers = map[registry.Code]answer{
	registry.BlobUnknown:         {status: http.StatusNotFound},
	registry.BlobUploadInvalid:   {status: http.StatusBadRequest},
	registry.BlobUploadUnknown:   {status: http.StatusNotFound},
	registry.DigestInvalid:       {status: http.StatusBadRequest},
	registry.ManifestBlobUnknown: {status: http.StatusBadRequest},
	registry.ManifestInvalid:     {status: http.StatusBadRequest},
	registry.ManifestUnknown:     {status: http.StatusNotFound},
	registry.NameInvalid:         {status: http.StatusBadRequest},
	registry.NameUnknown:         {status: http.StatusNotFound},
	registry.SizeInvalid:         {status: http.StatusBadRequest},
	registry.TagInvalid:          {status: http.StatusBadRequest},
	registry.Unauthorized:        {status: http.StatusUnauthorized},
	registry.Denied:              {status: http.StatusForbidden},
	registry.Unsupported:         {status: http.StatusMethodNotAllowed},
	registry.TooManyRequests:     {status: http.StatusTooManyRequests, retry: 1},
	registry.BlobInUse:           {status: http.StatusMethodNotAllowed, code: registry.Denied},
	registry.RangeInvalid:        {status: http.StatusRequestedRangeNotSatisfiable},
	registry.ManifestTooLarge:    {status: http.StatusRequestEntityTooLarge},
	registry.PreconditionFailed:  {status: http.StatusPreconditionFailed},
	registry.PaginationInvalid:   {status: http.StatusBadRequest},
	registry.ReasonInvalid:       {status: http.StatusBadRequest},
	registry.HoldInvalid:         {status: http.StatusBadRequest},
	registry.HoldUnknown:         {status: http.StatusNotFound},
	registry.RetentionInvalid:    {status: http.StatusBadRequest},
	registry.PlanUnknown:         {status: http.StatusNotFound},
	registry.EventUnknown:        {status: http.StatusNotFound},
	registry.Conflict:            {status: http.StatusConflict},
	registry.StorageFull:         {status: http.StatusInsufficientStorage},
	registry.Unavailable:         {status: http.StatusServiceUnavailable, retry: 5},
}

// unknownCode is the code of the server's own failures: the specification's
// clients treat every code that they do not know like it.
const unknownCode registry.Code = "UNKNOWN"

// withStatus is a refusal that is answered with another status than its code's.
type withStatus struct {
	error
	status int
}

func (e withStatus) Unwrap() error { return e.error }

// errCutOff is the end of a response that was begun and cannot be completed.
type errCutOff struct{ error }

func (e errCutOff) Unwrap() error { return e.error }

// fail answers a request whose handler returned err. It is the only place that
// writes errors.
func fail(w http.ResponseWriter, r *http.Request, t target, err error) {
	ctx := r.Context()
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		// The client has gone or its upload was taken over by a newer
		// request: most likely nobody reads this.
		web.SetGone(ctx, err)
	}
	var cut errCutOff
	if errors.As(err, &cut) {
		if ctx.Err() == nil {
			web.SetError(ctx, string(unknownCode), err)
		}
		panic(http.ErrAbortHandler)
	}
	refusal, how := classify(ctx, err)
	if how.status == http.StatusMethodNotAllowed && w.Header().Get("Allow") == "" {
		w.Header().Set("Allow", allowed(t.endpoint, r.Method))
	}
	if ctx.Err() == nil {
		web.SetError(ctx, string(refusal.Code), cause(err, refusal))
	}
	if errors.Is(err, fact.ErrGone) && how.status == http.StatusNotFound && refusal.Code != registry.BlobUploadUnknown {
		web.SetAlarm(ctx) // what was acknowledged is lost
	}
	if how.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(how.retry))
	}
	if how.code != "" {
		refusal.Code = how.code
	}
	write(w, r, how.status, refusal)
}

// classify finds what a client is told of an error, and how.
func classify(ctx context.Context, err error) (registry.Error, answer) {
	var refusal *registry.Error
	if errors.As(err, &refusal) {
		how, ok := answers[refusal.Code]
		if !ok {
			return internal(ctx), answer{status: http.StatusInternalServerError}
		}
		var other withStatus
		if errors.As(err, &other) {
			how.status = other.status
		}
		if errors.Is(err, web.ErrSlow) {
			how.status = http.StatusRequestTimeout
		}
		return *refusal, how
	}
	var body *web.BodyError
	if errors.As(err, &body) || ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return registry.Error{Code: registry.BlobUploadInvalid, Message: "the request ended before it was complete"},
			answers[registry.BlobUploadInvalid]
	}
	return internal(ctx), answer{status: http.StatusInternalServerError}
}

// internal is what a client is told of a failure of the server's own.
func internal(ctx context.Context) registry.Error {
	message := "internal error"
	if id := web.RequestID(ctx); id != "" {
		message += "; the server's log has more under request " + id
	}
	return registry.Error{Code: unknownCode, Message: message}
}

// cause is what the log needs to know beyond the code.
func cause(err error, refusal registry.Error) error {
	if refusal.Code == unknownCode {
		return err
	}
	return refusal.Err
}

// Failure answers a request whose handler has panicked.
func Failure(w http.ResponseWriter, r *http.Request) {
	write(w, r, http.StatusInternalServerError, internal(r.Context()))
}

// wireError is the specification's form of an error ("Error Codes").
type wireError struct {
	Code    registry.Code   `json:"code"`
	Message string          `json:"message"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// write sends one error. A response to HEAD has no body.
func write(w http.ResponseWriter, r *http.Request, status int, e registry.Error) {
	header := w.Header()
	for _, name := range []string{"Content-Length", "Content-Type", "Etag", "Accept-Ranges", "Docker-Content-Digest"} {
		header.Del(name) // of what was about to be served
	}
	if status != http.StatusRequestedRangeNotSatisfiable {
		header.Del("Content-Range")
	}
	if r.Method == http.MethodHead {
		w.WriteHeader(status)
		return
	}
	wire := wireError{Code: e.Code, Message: e.Message}
	if e.Detail != nil {
		// A detail that cannot be encoded is left out.
		wire.Detail, _ = json.Marshal(e.Detail)
	}
	body, err := json.Marshal(map[string][]wireError{"errors": {wire}})
	if err != nil {
		body = []byte(`{"errors":[{"code":"UNKNOWN","message":"internal error"}]}`)
	}
	send(w, r, status, "application/json", body)
}

// allowed lists the methods of an endpoint for Allow, without one that was
// refused although the endpoint has it.
func allowed(e endpoint, without string) string {
	var methods []string
	for _, m := range endpoints[e] {
		if m.method != without {
			methods = append(methods, m.method)
		}
	}
	return strings.Join(methods, ", ")
}
