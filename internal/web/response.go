package web

import (
	"io"
	"net/http"
	"time"
)

// piece is how many bytes of a response are written under one deadline.
const piece = 1 << 20

// response counts what a handler writes, and gives each piece of it a deadline:
// a client that stops reading is let go, one that reads slowly but steadily is
// not, however long the whole takes.
type response struct {
	http.ResponseWriter
	control *http.ResponseController
	allow   time.Duration // for one piece

	status int       // 0 until the header is written
	sent   int64     // bytes of body
	armed  time.Time // when the deadline was last set
	failed error     // the first failed write
}

func newResponse(w http.ResponseWriter, o Options) *response {
	res := &response{
		ResponseWriter: w,
		control:        http.NewResponseController(w),
		allow:          o.Grace + time.Duration(float64(piece)/float64(o.MinRate)*float64(time.Second)),
	}
	// The deadline of the connection's previous response is still set, and
	// this one may be long in coming.
	res.control.SetWriteDeadline(time.Time{})
	return res
}

// arm gives the next piece its time. Deadlines cost a little, so that of many
// small writes only some set one. Not every ResponseWriter has deadlines (those
// of tests do not), which is no reason to fail.
func (w *response) arm() {
	now := time.Now()
	if now.Sub(w.armed) < w.allow/16 {
		return
	}
	w.armed = now
	w.control.SetWriteDeadline(now.Add(w.allow))
}

// WriteHeader implements http.ResponseWriter.
func (w *response) WriteHeader(status int) {
	if w.status == 0 && status >= 200 { // a 1xx is followed by the answer
		w.status = status
	}
	w.arm()
	w.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (w *response) Write(p []byte) (n int, err error) {
	w.begin()
	for {
		w.arm()
		wrote, err := w.ResponseWriter.Write(p[n:min(n+piece, len(p))])
		n += wrote
		w.count(int64(wrote), err)
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// ReadFrom implements io.ReaderFrom. The source reaches the server's own
// ReaderFrom as it is, in limited readers, which is the form in which the
// kernel can send a file by itself.
func (w *response) ReadFrom(src io.Reader) (n int64, err error) {
	inner, ok := w.ResponseWriter.(io.ReaderFrom)
	if !ok {
		return io.Copy(struct{ io.Writer }{w}, src)
	}
	w.begin()
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: 1<<63 - 1}
	}
	for limited.N > 0 {
		part := io.LimitedReader{R: limited.R, N: min(piece, limited.N)}
		w.arm()
		wrote, err := inner.ReadFrom(&part)
		n += wrote
		limited.N -= wrote
		w.count(wrote, err)
		if err != nil || part.N > 0 {
			return n, err
		}
	}
	return n, nil
}

// Unwrap is for http.ResponseController.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *response) begin() {
	if w.status == 0 {
		w.status = http.StatusOK
	}
}

func (w *response) count(n int64, err error) {
	w.sent += n
	if err != nil && w.failed == nil {
		w.failed = err
	}
}
