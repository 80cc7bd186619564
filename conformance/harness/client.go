package harness

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// requestTimeout bounds one request of a Client.
const requestTimeout = 60 * time.Second

// Client speaks HTTP to one server. It follows no redirects, tries nothing
// twice, and sends what it is told to, right or wrong. It is safe for
// concurrent use.
type Client struct {
	base string
	http *http.Client
}

// NewClient returns a client of the server at a URL.
func NewClient(base string) *Client {
	return &Client{base: base, http: &http.Client{
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, DisableCompression: true},
		Timeout:   requestTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		},
	}}
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Request is one request.
type Request struct {
	Method string
	// Path is sent as it is, with its query; it may be a Location.
	Path   string
	Header map[string]string
	// Body is sent with its length, unless Stream is set: then it is sent
	// in HTTP chunks, without a length.
	Body   []byte
	Stream bool
}

// Reply is a response that was read to its end.
type Reply struct {
	Status int
	Header http.Header
	Body   []byte
}

// Do sends a request.
func (c *Client) Do(ctx context.Context, r Request) (Reply, error) {
	req, err := c.build(ctx, r)
	if err != nil {
		return Reply{}, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return Reply{}, err
	}
	body, err := io.ReadAll(resp.Body)
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return Reply{}, fmt.Errorf("%s %s: %w", r.Method, r.Path, err)
	}
	return Reply{Status: resp.StatusCode, Header: resp.Header, Body: body}, nil
}

// build makes a request whose path reaches the server byte for byte.
func (c *Client) build(ctx context.Context, r Request) (*http.Request, error) {
	var body io.Reader = http.NoBody
	if len(r.Body) > 0 {
		body = bytes.NewReader(r.Body)
	}
	if r.Stream {
		body = struct{ io.Reader }{bytes.NewReader(r.Body)}
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, c.base, body)
	if err != nil {
		return nil, err
	}
	path := strings.TrimPrefix(r.Path, c.base)
	if !strings.HasPrefix(path, "/") {
		return nil, fmt.Errorf("%q is not on this server", r.Path)
	}
	path, query, _ := strings.Cut(path, "?")
	req.URL.Opaque, req.URL.RawQuery = path, query
	for name, value := range r.Header {
		req.Header.Set(name, value)
	}
	return req, nil
}

// Get sends a GET without further headers.
func (c *Client) Get(ctx context.Context, path string) (Reply, error) {
	return c.Do(ctx, Request{Method: http.MethodGet, Path: path})
}

// Expect returns an error that describes the reply unless it has one of the statuses.
func (r Reply) Expect(statuses ...int) error {
	for _, status := range statuses {
		if r.Status == status {
			return nil
		}
	}
	return fmt.Errorf("status %d, not %v: %.500s", r.Status, statuses, r.Body)
}

// Code returns the first error code of a reply in the OCI form, or "".
func (r Reply) Code() string {
	var body struct {
		Errors []struct {
			Code string `json:"code"`
		} `json:"errors"`
	}
	if json.Unmarshal(r.Body, &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Code
}

// Next returns the path of the next page, from the Link header, or "".
func (r Reply) Next() string {
	link := r.Header.Get("Link")
	if !strings.Contains(link, `rel="next"`) {
		return ""
	}
	_, link, _ = strings.Cut(link, "<")
	link, _, _ = strings.Cut(link, ">")
	return link
}

// AddQuery adds a parameter to a path that may have a query already.
func AddQuery(path, name, value string) string {
	separator := "?"
	if strings.Contains(path, "?") {
		separator = "&"
	}
	return path + separator + name + "=" + url.QueryEscape(value)
}

// PushBlob pushes a blob in one request.
func (c *Client) PushBlob(ctx context.Context, repository, digest string, data []byte) error {
	reply, err := c.Do(ctx, Request{
		Method: http.MethodPost,
		Path:   AddQuery("/v2/"+repository+"/blobs/uploads/", "digest", digest),
		Header: map[string]string{"Content-Type": "application/octet-stream"},
		Body:   data,
	})
	if err != nil {
		return err
	}
	return reply.Expect(http.StatusCreated)
}

// PutManifest pushes a manifest by tag or digest.
func (c *Client) PutManifest(ctx context.Context, repository, reference, mediaType string, data []byte) error {
	reply, err := c.Do(ctx, Request{
		Method: http.MethodPut,
		Path:   "/v2/" + repository + "/manifests/" + reference,
		Header: map[string]string{"Content-Type": mediaType},
		Body:   data,
	})
	if err != nil {
		return err
	}
	return reply.Expect(http.StatusCreated)
}

// StartUpload opens an upload session and returns its location.
func (c *Client) StartUpload(ctx context.Context, repository string) (string, error) {
	reply, err := c.Do(ctx, Request{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/"})
	if err != nil {
		return "", err
	}
	return reply.Header.Get("Location"), reply.Expect(http.StatusAccepted)
}

// SendChunk appends a chunk that starts at an offset to an upload session.
func (c *Client) SendChunk(ctx context.Context, location string, offset int64, chunk []byte) (Reply, error) {
	return c.Do(ctx, Request{
		Method: http.MethodPatch,
		Path:   location,
		Header: ChunkHeader(offset, len(chunk)),
		Body:   chunk,
	})
}

// ChunkHeader is the header of a chunk that starts at an offset.
func ChunkHeader(offset int64, length int) map[string]string {
	return map[string]string{
		"Content-Type":  "application/octet-stream",
		"Content-Range": fmt.Sprintf("%d-%d", offset, offset+int64(length)-1),
	}
}

// UploadOffset returns how many bytes an upload session has, from the Range
// header of its status. The specification cannot tell no byte from one byte
// ("0-0"), so this counts "0-0" as one and a missing header as none.
func (r Reply) UploadOffset() (int64, error) {
	value := r.Header.Get("Range")
	if value == "" {
		return 0, nil
	}
	_, last, ok := strings.Cut(value, "-")
	end, err := strconv.ParseInt(last, 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("header Range %q is not first-last", value)
	}
	return end + 1, nil
}
