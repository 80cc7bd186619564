package s3

import (
	"context"
	"net/http"
	"time"
)

// What tests from outside look at.

const (
	MaxParts   = maxParts
	MaxPart    = maxPartSize
	StateLimit = maxListed
)

// PartSize is partSize.
func PartSize(first, offset int64) int64 { return partSize(first, offset) }

// Gap is gap.
func Gap(next, flights int) int { return gap(next, flights) }

// Left is how much of the memory for parts nobody has.
func (d *Driver) Left() int64 {
	d.pool.mu.Lock()
	defer d.pool.mu.Unlock()
	return d.pool.left
}

// Reencode decodes a state and encodes it again.
func Reencode(b []byte) ([]byte, error) {
	st, err := decodeState(b)
	if err != nil {
		return nil, err
	}
	if st.listed {
		return b, nil // the parts are to be asked for
	}
	return st.encode(), nil
}

// Saved encodes the state of an upload of n parts.
func Saved(n int, etag string) []byte {
	st := state{upload: "an upload", guard: `"a guard"`, tail: "tail", rest: 17, garbage: []string{"old"}}
	for i := range n {
		st.parts = append(st.parts, part{i + 1, 5 << 20, etag})
		st.stored += 5 << 20
	}
	return st.encode()
}

// Ask asks the bucket as Health does after some time, and waits for the answer.
func (d *Driver) Ask(ctx context.Context) error {
	d.health.mu.Lock()
	d.health.at = time.Time{}
	d.health.mu.Unlock()
	_, _ = d.Health(ctx) // the last answer
	d.health.wait()
	_, err := d.Health(ctx)
	return err
}

// Do sends a request with so much patience for a server that makes no progress.
func Do(over http.RoundTripper, patience time.Duration, req *http.Request) (*http.Response, error) {
	t := &transport{&http.Client{Transport: over}}
	return t.Do(req.WithContext(patiently(req.Context(), patience)))
}

// Patiently is patiently, also for less patience.
func Patiently(ctx context.Context, patience time.Duration) context.Context {
	return patiently(ctx, patience)
}
