package adminclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"

	"artifactstore/internal/admin"
)

// Refused is a request that the API refused.
type Refused struct{ admin.Problem }

func (e *Refused) Error() string { return e.Detail }

// Unreachable is a server that takes no connections.
type Unreachable struct {
	Server string
	Err    error
}

func (e *Unreachable) Error() string { return fmt.Sprintf("no admin API at %s: %v", e.Server, e.Err) }

func (e *Unreachable) Unwrap() error { return e.Err }

// Foreign is an answer that the API does not give: something else listens there.
type Foreign struct {
	Server string
	Status int // of HTTP, 0 if there was none
	What   string
}

func (e *Foreign) Error() string { return fmt.Sprintf("%s answers with %s", e.Server, e.What) }

// failure gives an error of the HTTP client its meaning.
func (c *Client) failure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if op, ok := errors.AsType[*net.OpError](err); ok && op.Op == "dial" {
		return &Unreachable{c.server, op.Err}
	}
	return fmt.Errorf("ask %s: %w", c.server, err)
}

// passing tells whether an error may be gone when the request is made again.
func passing(err error) bool {
	if refused, ok := errors.AsType[*Refused](err); ok {
		return refused.Status >= http.StatusInternalServerError || refused.Status == http.StatusTooManyRequests
	}
	if foreign, ok := errors.AsType[*Foreign](err); ok { // something between us and the server
		return foreign.Status >= http.StatusInternalServerError
	}
	return true
}
