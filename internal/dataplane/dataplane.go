// Package dataplane moves bytes: it takes byte sequences in, serves, verifies
// and deletes them, and says how the places are that keep them. It knows
// digests, stores and receipts, and nothing of repositories.
//
// Few bytes stay in memory and become content rows of the ledger; everything
// else goes to a storage driver while it is being hashed, in one read.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// Rows keeps content rows: small byte sequences, by the sequence of the event
// that stored them. A row that is not there is an error that wraps fact.ErrGone.
type Rows interface {
	Object(ctx context.Context, sequence eventlog.Sequence) ([]byte, error)
	DeleteObject(ctx context.Context, sequence eventlog.Sequence) error
}

// Options configure a Plane.
type Options struct {
	// InlineLimit is the size in bytes up to which a sequence becomes a
	// content row; 0 or less turns content rows off.
	InlineLimit int64
	// Reserve is the free space in bytes below which nothing more is taken
	// in; 0 means the smaller of 64 MiB and a tenth of the store.
	Reserve int64
	// Budget bounds transfer buffers; nil means 64 MiB.
	Budget *budget.Budget
	// BootID names this run of the machine. Bytes that were staged in
	// another one are read again before they are trusted.
	BootID string
	// Now is the clock; time.Now if it is nil.
	Now func() time.Time
}

// Plane is the data plane. It is safe for concurrent use; a fact.Staged has
// one user at a time.
type Plane struct {
	stores map[string]storagedriver.Driver
	into   string
	rows   Rows
	opts   Options

	mu     sync.Mutex
	asked  time.Time // when the store was last asked for room
	health storagedriver.Health
	err    error
}

// New returns a data plane over stores, which stay the caller's. New objects
// go into the store named into.
func New(stores map[string]storagedriver.Driver, into string, rows Rows, o Options) (*Plane, error) {
	if stores[into] == nil {
		return nil, fmt.Errorf("there is no store %q to write to", into)
	}
	if o.Budget == nil {
		o.Budget = budget.New(64 << 20)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Plane{stores: stores, into: into, rows: rows, opts: o}, nil
}

// store returns the driver of a store.
func (p *Plane) store(name string) (storagedriver.Driver, error) {
	if d := p.stores[name]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("the configuration has no store %q", name)
}

// translate gives a driver's error the meaning that receipts' users know.
func translate(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storagedriver.ErrFull):
		return fmt.Errorf("%w: %w", fact.ErrFull, err)
	case errors.Is(err, storagedriver.ErrBroken):
		return fmt.Errorf("%w: %w", fact.ErrBroken, err)
	case errors.Is(err, storagedriver.ErrNotExist):
		return fmt.Errorf("%w: %w", fact.ErrGone, err)
	}
	return err
}

// healthAge is how long an answer about room is good for.
const healthAge = time.Second

// Health reports how the store that is written to is.
func (p *Plane) Health(ctx context.Context) (storagedriver.Health, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := p.opts.Now(); p.asked.IsZero() || now.Sub(p.asked) >= healthAge {
		p.health, p.err = p.stores[p.into].Health(ctx)
		p.asked = now
		if ctx.Err() != nil {
			p.asked = time.Time{}
		}
	}
	return p.health, translate(p.err)
}

// Room returns nil if byte sequences can be taken in, and otherwise why not.
// It is an error that wraps fact.ErrFull while less than the reserve is free.
func (p *Plane) Room(ctx context.Context) error {
	h, err := p.Health(ctx)
	if err != nil {
		return fmt.Errorf("ask the store for room: %w", err)
	}
	reserve := p.opts.Reserve
	if reserve == 0 {
		reserve = min(64<<20, h.Total/10)
	}
	if h.Free >= 0 && h.Free < reserve {
		return fmt.Errorf("%w: %d bytes are free, %d are kept in reserve", fact.ErrFull, h.Free, reserve)
	}
	return nil
}

// Present tells whether the bytes of a receipt are there with this size.
func (p *Plane) Present(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size int64) (bool, error) {
	got, err := p.size(ctx, r, content)
	if errors.Is(err, fact.ErrGone) {
		return false, nil
	}
	return err == nil && got == size, err
}

func (p *Plane) size(ctx context.Context, r fact.Receipt, content eventlog.Sequence) (int64, error) {
	if r.Store == fact.Content {
		row, err := p.rows.Object(ctx, content)
		return int64(len(row)), err
	}
	d, err := p.store(r.Store)
	if err != nil {
		return 0, err
	}
	size, err := d.Size(ctx, r.Locator)
	return size, translate(err)
}

// Open reads length bytes from offset (-1: to the end) of a sequence of size
// bytes; an error that wraps fact.ErrGone if it is missing or of another size.
// The reader is the caller's to close and may hold more than length bytes: an
// object that is a file is returned as the *os.File, so that it can be sent
// without copying.
func (p *Plane) Open(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = size - offset
	}
	if offset < 0 || length < 0 || offset > size-length {
		return nil, fmt.Errorf("range %d+%d of %d bytes: %w", offset, length, size, storagedriver.ErrInvalid)
	}
	if r.Store == fact.Content {
		return p.openRow(ctx, content, size, offset, length)
	}
	d, err := p.store(r.Store)
	if err != nil {
		return nil, err
	}
	got, err := d.Size(ctx, r.Locator)
	if err != nil {
		return nil, translate(fmt.Errorf("open object: %w", err))
	}
	if got != size {
		return nil, fmt.Errorf("object %s has %d of %d bytes: %w", r.Locator, got, size, fact.ErrGone)
	}
	rc, err := d.Open(ctx, r.Locator, offset, length)
	return rc, translate(err)
}

// Verify reads a sequence and compares it with its digests and size; an error
// that wraps fact.ErrGone if it is missing or differs.
func (p *Plane) Verify(ctx context.Context, r fact.Receipt, content eventlog.Sequence, digests identity.DigestSet, size int64) error {
	rc, err := p.Open(ctx, r, content, size, 0, -1)
	if err != nil {
		return err
	}
	got, err := hash(ctx, rc, size, extra(digests)...)
	if err = errors.Join(err, rc.Close()); err != nil {
		return err
	}
	for _, d := range digests {
		if !got.Has(d) {
			return fmt.Errorf("bytes in %s do not have the digest %s: %w", r.Store, d, fact.ErrGone)
		}
	}
	return nil
}

// Delete removes the bytes of a receipt for ever. It succeeds if they are gone.
func (p *Plane) Delete(ctx context.Context, r fact.Receipt, content eventlog.Sequence) error {
	if r.Store == fact.Content {
		return p.rows.DeleteObject(ctx, content)
	}
	d, err := p.store(r.Store)
	if err != nil {
		return err
	}
	return translate(d.Delete(ctx, r.Locator))
}
