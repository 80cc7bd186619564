// Package inproc lets an HTTP client speak to a handler of the same process,
// without a network: what can be done to a running server can then be done to a
// stopped store by the same code.
package inproc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"sync"
)

// Transport returns a transport for an http.Client that hands every request to
// h, whatever its scheme and host. Bodies are streamed both ways and never held
// whole. h runs on a goroutine of its own, which ends when h returns: a client
// that closes a response's body early makes the writes of h fail, as a broken
// connection does, and the end of a request's context reaches h.
//
// A handler that panics breaks its response off. It is safe for concurrent use.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

type transport struct{ handler http.Handler }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(req.Context())
	body := req.Body
	if body == nil {
		body = http.NoBody
	}
	r := req.Clone(ctx)
	r.Body, r.RequestURI, r.RemoteAddr = body, req.URL.RequestURI(), "127.0.0.1:0"
	if r.Host == "" {
		r.Host = req.URL.Host
	}
	reader, writer := io.Pipe()
	w := &response{head: r.Method == http.MethodHead, header: make(http.Header), pipe: writer, begun: make(chan struct{})}
	stop := context.AfterFunc(req.Context(), func() { writer.CloseWithError(context.Cause(req.Context())) })
	go func() {
		defer cancel()
		defer stop()
		err := t.serve(w, r)
		if err == nil {
			// What the handler left unfinished because of it is no end.
			err = context.Cause(req.Context())
		}
		// As a server would, the rest of the request is not waited for.
		writer.CloseWithError(errors.Join(err, body.Close()))
		w.end(err)
	}()
	select {
	case <-w.begun:
	case <-req.Context().Done():
	}
	if err := req.Context().Err(); err != nil {
		return nil, err // whatever the handler made of it
	}
	if w.failed != nil {
		return nil, w.failed
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", w.status, http.StatusText(w.status)), StatusCode: w.status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: w.sent, ContentLength: length(w.sent), Body: received{reader, cancel}, Request: req,
	}, nil
}

// errBroken is what a client sees of a handler that panicked.
var errBroken = errors.New("the response was broken off")

func (t transport) serve(w *response, r *http.Request) (err error) {
	defer func() {
		if recover() != nil {
			err = errBroken
		}
	}()
	t.handler.ServeHTTP(w, r)
	return nil
}

// length is the Content-Length of a response, -1 if it has none.
func length(h http.Header) int64 {
	n, err := strconv.ParseInt(h.Get("Content-Length"), 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// received is the body of a response. Closing it ends the request.
type received struct {
	*io.PipeReader
	cancel func()
}

func (b received) Close() error {
	err := b.PipeReader.Close()
	b.cancel()
	return err
}

// response is what the handler writes to.
type response struct {
	head   bool
	header http.Header
	pipe   *io.PipeWriter

	once   sync.Once
	begun  chan struct{} // closed once the fields below are set
	status int
	sent   http.Header
	failed error // the handler broke off before it wrote anything
}

// Header implements http.ResponseWriter.
func (w *response) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if status < http.StatusOK { // a 1xx is followed by the answer
		return
	}
	w.once.Do(func() {
		w.status, w.sent = status, w.header.Clone()
		close(w.begun)
	})
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (int, error) {
	w.WriteHeader(http.StatusOK)
	if w.head {
		return len(p), nil
	}
	return w.pipe.Write(p)
}

// Flush implements http.Flusher: what was written has been read already.
func (w *response) Flush() { w.WriteHeader(http.StatusOK) }

// end answers for a handler that wrote nothing.
func (w *response) end(err error) {
	w.once.Do(func() {
		w.status, w.sent, w.failed = http.StatusOK, w.header.Clone(), err
		close(w.begun)
	})
}
