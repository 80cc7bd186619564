package importer

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"sync"
	"sync/atomic"

	"oras.land/oras-go/v2/registry/remote/errcode"
)

// content is the bytes of a blob on their way. It makes sure that they are as
// many as they should be, and keeps the error of the source apart from those of
// the request that they are the body of. A client may close it more than once,
// and while its transport still reads.
type content struct {
	count *atomic.Int64 // of the bytes of all
	read  atomic.Int64  // of this one
	wrong atomic.Pointer[error]

	mu     sync.Mutex
	body   io.ReadCloser
	left   int64
	closed bool
}

// Read implements io.Reader.
func (c *content) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return 0, fs.ErrClosed
	}
	n, err := c.body.Read(p)
	c.left -= int64(n)
	c.count.Add(int64(n))
	c.read.Add(int64(n))
	switch {
	case c.left < 0, err == io.EOF && c.left > 0:
		err = errLength
	case err == nil || err == io.EOF:
		return n, err
	}
	c.wrong.Store(&err)
	return n, err
}

// Close implements io.Closer.
func (c *content) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil
	}
	c.closed = true
	return c.body.Close()
}

// failed returns why the source did not give the bytes, or nil.
func (c *content) failed() error {
	if wrong := c.wrong.Load(); wrong != nil {
		return *wrong
	}
	return nil
}

// readAnswer reads an answer that is an error, in the form of the OCI
// distribution specification if it has that.
func readAnswer(resp *http.Response) error {
	const limit = 64 << 10
	answer := &errcode.ErrorResponse{Method: resp.Request.Method, URL: resp.Request.URL, StatusCode: resp.StatusCode}
	var body struct {
		Errors errcode.Errors `json:"errors"`
	}
	if json.NewDecoder(io.LimitReader(resp.Body, limit)).Decode(&body) == nil {
		answer.Errors = body.Errors
	}
	return answer
}
