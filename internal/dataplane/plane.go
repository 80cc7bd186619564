// Package dataplane moves bytes: it ingests streams, serves, verifies and
// deletes what is stored, and reports the health of the stores. It knows nothing
// of repositories, manifests or events; who asks keeps the receipts.
//
// Bytes live in one of two kinds of places. Up to Options.InlineLimit they stay
// with their facts, as content rows of the ledger (Rows); the caller commits
// them together with the event. Longer ones become objects of a storage driver,
// each ingest an object of its own.
//
// Errors wrap fact.ErrGone (what a receipt or an upload names is missing or
// damaged), fact.ErrFull (no room), fact.ErrUnavailable (a store cannot be reached
// now) or fact.ErrBroken (a flush failed; nothing is taken in until the store is
// opened anew); all others are failures of a store, of the reader that was passed
// in, or of the context.
package dataplane

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
)

// Rows are the content rows of the ledger. Implementations are safe for
// concurrent use.
type Rows interface {
	// Object returns the content row of an event, or an error that wraps
	// fact.ErrGone.
	Object(ctx context.Context, sequence eventlog.Sequence) ([]byte, error)
	// DeleteObject removes the content row of an event durably, if it is there.
	DeleteObject(ctx context.Context, sequence eventlog.Sequence) error
}

// The defaults of Options.
const (
	DefaultInlineLimit = 64 << 10
	DefaultBudget      = 32 << 20
	DefaultLifetime    = 15 * time.Minute
)

// Options configure a Plane.
type Options struct {
	// InlineLimit is the number of bytes up to which a sequence becomes a
	// content row. At 0 even an empty one becomes an object. Under memory
	// pressure sequences above 16 KiB may become objects too.
	InlineLimit int64
	// MinFree is the number of free bytes below which a store takes no
	// pushes, so that what needs little room goes on. 0 means 1 GiB or 5 %
	// of the store, whichever is less, but what the database needs at least.
	MinFree int64
	// Budget bounds the memory of transfers; nil means one of DefaultBudget.
	Budget *budget.Budget
	// BootID identifies the run of the machine. What was staged in another
	// run is read again before it is trusted, unless its store keeps staged
	// bytes beyond the machine.
	BootID string
	// LinkLifetime is how long clients can use a URL that Link returned; 0
	// means DefaultLifetime.
	LinkLifetime time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// Plane is the data plane. It is safe for concurrent use.
type Plane struct {
	stores  map[string]storagedriver.Driver
	writeTo string
	rows    Rows
	rooms   map[string]*room
	o       Options
}

// New returns a plane over stores by logical name, of which writeTo takes what
// is new. It starts nothing and asks nothing.
func New(stores map[string]storagedriver.Driver, writeTo string, rows Rows, o Options) (*Plane, error) {
	if stores[writeTo] == nil {
		return nil, fmt.Errorf("store %q to write to is not configured", writeTo)
	}
	if stores[fact.Content] != nil {
		return nil, fmt.Errorf("no store can have the name %q: it means content rows", fact.Content)
	}
	if o.Budget == nil {
		o.Budget = budget.New(DefaultBudget)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.LinkLifetime == 0 {
		o.LinkLifetime = DefaultLifetime
	}
	p := &Plane{stores: maps.Clone(stores), writeTo: writeTo, rows: rows, rooms: map[string]*room{}, o: o}
	for name, d := range p.stores {
		p.rooms[name] = &room{driver: d, kept: o.kept, now: o.Now}
	}
	return p, nil
}

// store finds a driver. A store that is not configured is a mistake of the
// operator's and must not look like bytes that are gone.
func (p *Plane) store(name string) (storagedriver.Driver, error) {
	if d := p.stores[name]; d != nil {
		return d, nil
	}
	return nil, fmt.Errorf("store %q is not configured", name)
}

// Stores returns the names of all stores, sorted. Content rows are in none.
func (p *Plane) Stores() []string { return slices.Sorted(maps.Keys(p.stores)) }

// failure says what an error of a driver means to the caller.
func failure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, storagedriver.ErrFull):
		return fmt.Errorf("%s: %w: %w", doing, fact.ErrFull, err)
	case errors.Is(err, storagedriver.ErrBroken):
		return fmt.Errorf("%s: %w: %w", doing, fact.ErrBroken, err)
	case errors.Is(err, storagedriver.ErrUnavailable):
		return fmt.Errorf("%s: %w: %w", doing, fact.ErrUnavailable, err)
	case errors.Is(err, storagedriver.ErrNotExist):
		return fmt.Errorf("%s: %w: %w", doing, fact.ErrGone, err)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}

// gone says that bytes are not what they should be.
func gone(format string, args ...any) error {
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), fact.ErrGone)
}
