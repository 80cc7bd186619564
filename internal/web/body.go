package web

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

var (
	// ErrSlow: a request's body came more slowly than the minimum rate.
	ErrSlow = errors.New("the request's body comes too slowly")
	// ErrAborted: reading the request's body was given up by Abort.
	ErrAborted = errors.New("the request's body was given up")
)

// BodyError is any failure to read a request's body. It tells a client's
// failure from one of the server's own reads.
type BodyError struct{ Err error }

func (e *BodyError) Error() string { return "read request body: " + e.Err.Error() }

func (e *BodyError) Unwrap() error { return e.Err }

// Abort makes reading the body of r fail soon, also a Read that is under way,
// and for good. It may be called from any goroutine. It does nothing once the
// request's handler has returned, and nothing outside Wrap.
func Abort(r *http.Request) {
	if b, ok := r.Body.(*body); ok {
		b.abort()
	}
}

// body is a request's body with a minimum rate. It is a leaky bucket: waiting
// for the client uses the credit up, each byte that comes gives 1/rate of a
// second back, and there is never more credit than the grace time. Time that
// the server spends elsewhere between two reads costs the client nothing.
type body struct {
	io.ReadCloser
	control  *http.ResponseController
	grace    time.Duration
	perByte  float64 // credit, in nanoseconds
	received int64

	credit time.Duration

	mu      sync.Mutex
	until   time.Time // the deadline that is set
	aborted bool
	ended   bool // the connection may be serving another request
}

func newBody(inner io.ReadCloser, control *http.ResponseController, o Options) *body {
	b := &body{
		ReadCloser: inner,
		control:    control,
		grace:      o.Grace,
		perByte:    float64(time.Second) / float64(o.MinRate),
		credit:     o.Grace,
	}
	if inner != nil && inner != http.NoBody {
		// Also for a body that nobody reads: the server itself reads some
		// of what is left of it.
		b.arm(time.Now())
	}
	return b
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	start := time.Now()
	if !b.arm(start) {
		return 0, &BodyError{ErrAborted}
	}
	n, err := b.ReadCloser.Read(p)
	b.received += int64(n)
	b.credit = min(b.grace, b.credit-time.Since(start)+time.Duration(float64(n)*b.perByte))
	if err == nil {
		return n, nil
	}
	if err == io.EOF {
		b.disarm()
		return n, err
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = ErrSlow
		if b.isAborted() {
			err = ErrAborted
		}
	}
	return n, &BodyError{err}
}

// arm sets the deadline to the end of the credit, if the one that is set is not
// near it: it can only ever be earlier. It returns false after abort.
func (b *body) arm(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.aborted {
		return false
	}
	if until := now.Add(b.credit); until.Sub(b.until) > b.grace/16 {
		b.until = until
		b.control.SetReadDeadline(until)
	}
	return true
}

// disarm clears the deadline when the body is complete: from then on the server
// watches the connection for the client's going away, and a deadline would look
// like that.
func (b *body) disarm() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.aborted {
		b.control.SetReadDeadline(time.Time{})
	}
}

func (b *body) abort() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended {
		return
	}
	b.aborted = true
	b.control.SetReadDeadline(time.Unix(1, 0))
}

// end makes abort do nothing.
func (b *body) end() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = true
}

func (b *body) isAborted() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.aborted
}
