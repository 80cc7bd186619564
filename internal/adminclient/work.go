package adminclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"

	"artifactstore/internal/admin"
)

// Change sends a request with a body, one of package admin, and returns the JSON
// document of the answer, on one line.
func (c *Client) Change(ctx context.Context, method, path string, body any) (json.RawMessage, error) {
	res, err := c.send(ctx, method, path, "application/json", body)
	if err != nil {
		return nil, err
	}
	return c.document(res)
}

// Work asks for something that takes its time (POST /sweep, /scrub, /fsck, /plans
// and /plans/{plan}/execute). Progress is told of each line on the way and may be
// nil; what it is given is valid until it returns. It returns the result. If the
// server could not go on it is a *Refused. The work ends with ctx; what it has
// done by then is done, and the same request again goes on.
func (c *Client) Work(ctx context.Context, path string, body any, progress func(json.RawMessage) error) (json.RawMessage, error) {
	res, err := c.send(ctx, http.MethodPost, path, "application/x-ndjson", body)
	if err != nil {
		return nil, err
	}
	result, err := c.work(res, progress)
	if err = errors.Join(err, res.Body.Close()); err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return result, err
}

func (c *Client) work(res *http.Response, progress func(json.RawMessage) error) (json.RawMessage, error) {
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for {
		text, err := readLine(lines)
		if err == io.EOF {
			return nil, fmt.Errorf("%s broke off before it was done", c.server)
		}
		if err != nil {
			return nil, fmt.Errorf("read the answer of %s: %w", c.server, err)
		}
		var line admin.Line[json.RawMessage, json.RawMessage]
		switch err := json.Unmarshal(text, &line); {
		case err == nil && line.Problem != nil:
			return nil, &Refused{*line.Problem}
		case err == nil && line.Result != nil:
			return bytes.Clone(*line.Result), nil
		case err != nil || line.Progress == nil:
			return nil, &Foreign{Server: c.server, Status: res.StatusCode, What: fmt.Sprintf("the line %.100q", text)}
		}
		if progress == nil {
			continue
		}
		if err := progress(*line.Progress); err != nil {
			return nil, err
		}
	}
}

func (c *Client) send(ctx context.Context, method, path, accept string, body any) (*http.Response, error) {
	text, err := json.Marshal(body)
	if err != nil {
		return nil, fmt.Errorf("encode the request: %w", err)
	}
	return c.do(ctx, method, path, accept, http.Header{"Content-Type": {"application/json"}}, text)
}
