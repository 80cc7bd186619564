// Package adminclient is a client of the operators' API. What it is given it
// hands on as it came, so that what a program prints is what the API said.
//
// Memory is bounded: lists are read page by page, the log event by event.
package adminclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"artifactstore/internal/admin"
)

// The limits of what is read at once.
const (
	pageSize    = 500      // entries asked for
	maxDocument = 16 << 20 // bytes of a JSON document; a page of the API has less
	maxProblem  = 64 << 10 // bytes of a problem document
)

// Client asks one server. It is safe for concurrent use.
type Client struct {
	server string
	http   http.Client
	agent  string
}

// ParseServer reads the address of a server as a person writes it: a URL, or
// only a host and a port, which means plain HTTP.
func ParseServer(text string) (string, error) {
	if !strings.Contains(text, "://") {
		text = "http://" + text
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" {
		return "", errors.New("the address of a server is http://HOST:PORT, https://HOST:PORT or HOST:PORT")
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Trim(u.Path, "/") != "" {
		return "", errors.New("the address of a server is a host and a port, and no more")
	}
	return u.Scheme + "://" + u.Host, nil
}

// New returns a client of the server at an address that ParseServer returned.
// Requests go through transport, or the network if that is nil, and name agent.
func New(server string, transport http.RoundTripper, agent string) *Client {
	if transport == nil {
		transport = &http.Transport{
			Proxy:                 http.ProxyFromEnvironment,
			DialContext:           (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:   10 * time.Second,
			ExpectContinueTimeout: time.Second,
			IdleConnTimeout:       time.Minute,
		}
	}
	return &Client{server: server, agent: agent, http: http.Client{
		Transport: transport,
		// The API never redirects: who does is something else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// Path joins the components of the path of an endpoint, each of which may hold
// any character.
func Path(components ...string) string {
	var b strings.Builder
	for _, c := range components {
		b.WriteByte('/')
		b.WriteString(url.PathEscape(c))
	}
	return b.String()
}

// Object returns the JSON document of an endpoint, on one line.
func (c *Client) Object(ctx context.Context, path string) (json.RawMessage, error) {
	res, err := c.get(ctx, path, "application/json")
	if err != nil {
		return nil, err
	}
	return c.document(res)
}

// List returns the entries of a list as pages come in, limit of them at most, 0
// for all. After an error there are no more.
func (c *Client) List(ctx context.Context, path string, limit uint64) iter.Seq2[[]json.RawMessage, error] {
	return c.ListFrom(ctx, path, "", limit)
}

// ListFrom is List from behind a place on.
func (c *Client) ListFrom(ctx context.Context, path, after string, limit uint64) iter.Seq2[[]json.RawMessage, error] {
	return func(yield func([]json.RawMessage, error) bool) {
		left := limit
		for {
			n := uint64(pageSize)
			if limit > 0 {
				n = min(n, left)
			}
			page, err := c.page(ctx, path, after, n)
			if err != nil {
				yield(nil, err)
				return
			}
			left -= min(left, uint64(len(page.Items)))
			if !yield(page.Items, nil) || page.Next == "" || limit > 0 && left == 0 {
				return
			}
			if page.Next == after { // a list has an end
				yield(nil, &Foreign{Server: c.server, What: "a list that goes round in circles"})
				return
			}
			after = page.Next
		}
	}
}

func (c *Client) page(ctx context.Context, path, after string, n uint64) (page admin.Page[json.RawMessage], err error) {
	query := url.Values{"n": {strconv.FormatUint(n, 10)}}
	if after != "" {
		query.Set("after", after)
	}
	separator := "?"
	if strings.Contains(path, "?") { // a filter
		separator = "&"
	}
	text, err := c.Object(ctx, path+separator+query.Encode())
	if err != nil {
		return page, err
	}
	if err := json.Unmarshal(text, &page); err != nil {
		return page, &Foreign{Server: c.server, What: "something that is no list"}
	}
	page.Items = page.Items[:min(n, uint64(len(page.Items)))]
	return page, nil
}

// Content returns the bytes of an endpoint; the caller closes them. accept is a
// media type, or empty for what the endpoint gives by itself.
func (c *Client) Content(ctx context.Context, path, accept string) (io.ReadCloser, error) {
	res, err := c.get(ctx, path, accept)
	if err != nil {
		return nil, err
	}
	return res.Body, nil
}

// get asks an endpoint and returns its answer if that is a success. Where
// accept is a media type, the answer has it.
func (c *Client) get(ctx context.Context, path, accept string) (*http.Response, error) {
	return c.do(ctx, http.MethodGet, path, accept, nil, nil)
}

func (c *Client) do(ctx context.Context, method, path, accept string, header http.Header, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.server+admin.Prefix+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("ask %s: %w", c.server, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	if accept != "" {
		req.Header.Set("Accept", accept)
	}
	req.Header.Set("User-Agent", c.agent)
	res, err := c.http.Do(req)
	if err != nil {
		return nil, c.failure(ctx, err)
	}
	if err := c.refusal(res, accept); err != nil {
		return nil, errors.Join(err, res.Body.Close())
	}
	return res, nil
}

// refusal is the error that an answer tells of, or is.
func (c *Client) refusal(res *http.Response, accept string) error {
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	switch {
	case res.StatusCode == http.StatusOK && (accept == "" || err == nil && mediaType == accept):
		return nil
	case res.StatusCode == http.StatusOK:
		return &Foreign{Server: c.server, Status: res.StatusCode, What: fmt.Sprintf("content of type %.100q", res.Header.Get("Content-Type"))}
	case err != nil || mediaType != "application/problem+json":
		return &Foreign{Server: c.server, Status: res.StatusCode, What: res.Status}
	}
	var p admin.Problem
	text, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	if err != nil || json.Unmarshal(text, &p) != nil || p.Detail == "" {
		return &Foreign{Server: c.server, Status: res.StatusCode, What: res.Status}
	}
	p.Status = res.StatusCode // the body's is only a copy
	return &Refused{p}
}

// document reads a JSON document and closes the response.
func (c *Client) document(res *http.Response) (json.RawMessage, error) {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxDocument+1))
	if err = errors.Join(err, res.Body.Close()); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", c.server, err)
	}
	var compact bytes.Buffer
	if len(text) > maxDocument || json.Compact(&compact, text) != nil {
		return nil, &Foreign{Server: c.server, Status: res.StatusCode, What: "no JSON, or more of it than the API sends"}
	}
	return slices.Clip(compact.Bytes()), nil
}
