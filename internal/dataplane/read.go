package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"io"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// openRow reads a range of a content row.
func (p *Plane) openRow(ctx context.Context, content eventlog.Sequence, size, offset, length int64) (io.ReadCloser, error) {
	row, err := p.rows.Object(ctx, content)
	if err != nil {
		return nil, err
	}
	if int64(len(row)) != size {
		return nil, fmt.Errorf("content row %d has %d of %d bytes: %w", content, len(row), size, fact.ErrGone)
	}
	return io.NopCloser(bytes.NewReader(row[offset : offset+length])), nil
}

// extra are the algorithms of a set beside those that are always computed.
func extra(digests identity.DigestSet) []identity.Algorithm {
	var also []identity.Algorithm
	for _, d := range digests {
		also = append(also, d.Algorithm())
	}
	return also
}

// hash reads exactly size bytes and hashes them; an error that wraps
// fact.ErrGone if there are fewer.
func hash(ctx context.Context, r io.Reader, size int64, also ...identity.Algorithm) (identity.DigestSet, error) {
	h := identity.NewHasher(also...)
	if err := feed(ctx, h, r, size); err != nil {
		return nil, err
	}
	return h.Sum(), nil
}

func feed(ctx context.Context, h *identity.Hasher, r io.Reader, size int64) error {
	buffer, release := budget.SmallBuffer()
	defer release()
	n, err := io.CopyBuffer(h, struct{ io.Reader }{io.LimitReader(reading{ctx, r}, size)}, buffer)
	if err != nil {
		return fmt.Errorf("read stored bytes: %w", err)
	}
	if n != size {
		return fmt.Errorf("read %d of %d stored bytes: %w", n, size, fact.ErrGone)
	}
	return nil
}

// reading ends with the context's error once that is cancelled.
type reading struct {
	ctx context.Context
	io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}
