package dataplane

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
)

const (
	// maxMinFree bounds the twentieth of a store that it keeps free by default.
	maxMinFree = 1 << 30
	// databaseRoom is what the ledger, on the same disk, may need to go on: its
	// write-ahead log of 4 MiB, and as much to move that into the database.
	// Where a quarter of the disk is less than that it has to do.
	databaseRoom = 8 << 20
	// minFreeFiles is how many names a store keeps free, never more than a
	// tenth of what it has.
	minFreeFiles = 64
	// healthAge is how long an answer of a store about its room is good. The
	// ledger, which may be on the same disk, writes uncounted meanwhile.
	healthAge = 10 * time.Millisecond
	// healthTimeout bounds how long a store may take to answer.
	healthTimeout = 5 * time.Second
)

// room watches the free space of one store. Between two answers of the store
// it counts what is written.
type room struct {
	driver storagedriver.Driver
	kept   func(total int64) int64
	now    func() time.Time

	mu     sync.Mutex
	asked  time.Time
	health storagedriver.Health
	err    error
	spent  int64 // bytes written since asked
}

// take returns an error that wraps fact.ErrFull if n more bytes would leave
// less free than must be, or one that says why the store takes no writes. The
// bytes are counted as written if it returns nil.
func (r *room) take(ctx context.Context, n int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	fresh := r.now().Sub(r.asked) >= healthAge
	if fresh {
		r.ask(ctx)
	}
	err := r.short(n)
	if err != nil && !fresh { // perhaps there is room again
		r.ask(ctx)
		err = r.short(n)
	}
	if err == nil {
		r.spent += n
	}
	return err
}

// ask asks the store. An answer that failed is not kept. Others share the
// answer, and what a client sent before it went away is still accepted: so it
// does not end with the context of the one who asks.
func (r *room) ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), healthTimeout)
	defer cancel()
	r.health, r.err = r.driver.Health(ctx)
	r.spent, r.asked = 0, r.now()
	if r.err != nil {
		r.asked = time.Time{}
	}
}

// forget makes the next take ask the store.
func (r *room) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked = time.Time{}
}

func (r *room) short(n int64) error {
	if r.err != nil {
		return failure("health of the store", r.err)
	}
	h := r.health
	if h.Total >= 0 && h.Free-r.spent-n < r.kept(h.Total) {
		return fmt.Errorf("%d of %d bytes are free: %w", max(0, h.Free-r.spent), h.Total, fact.ErrFull)
	}
	if h.TotalFiles >= 0 && h.FreeFiles < min(minFreeFiles, h.TotalFiles/10) {
		return fmt.Errorf("%d of %d files are free: %w", h.FreeFiles, h.TotalFiles, fact.ErrFull)
	}
	return nil
}

// kept is how many bytes of a store that has total stay free.
func (o Options) kept(total int64) int64 {
	if o.MinFree > 0 {
		return o.MinFree
	}
	return max(min(maxMinFree, total/20), min(databaseRoom, total/4))
}

// Room returns nil while pushes can be taken: else an error that wraps
// fact.ErrFull, fact.ErrUnavailable or fact.ErrBroken, or why the store fails. What it
// says may be some milliseconds old.
func (p *Plane) Room(ctx context.Context) error {
	if err := p.rooms[p.writeTo].take(ctx, 0); err != nil {
		return fmt.Errorf("store %s: %w", p.writeTo, err)
	}
	return nil
}

// Health is the state of one store.
type Health struct {
	Store string
	storagedriver.Health
	// Kept is how many bytes stay free: pushes are refused before; -1 if the
	// store has no limit.
	Kept int64
	// Err says why the store does not work, if it does not.
	Err error
}

// Health asks every store, in order of their names.
func (p *Plane) Health(ctx context.Context) []Health {
	var all []Health
	for _, name := range p.Stores() {
		h, err := p.stores[name].Health(ctx)
		kept := int64(-1)
		if h.Total >= 0 {
			kept = p.o.kept(h.Total)
		}
		all = append(all, Health{Store: name, Health: h, Kept: kept, Err: failure("health of store "+name, err)})
	}
	return all
}

// Staged lists what is being staged in the stores, with ID and Store set, as
// far as they can tell. It is what Discard needs after an unclean start.
func (p *Plane) Staged(ctx context.Context) ([]fact.Staged, error) {
	var all []fact.Staged
	var errs []error
	for _, name := range p.Stores() {
		lister, ok := storagedriver.Find[storagedriver.Lister](p.stores[name])
		if !ok {
			continue
		}
		ids, err := lister.Staged(ctx)
		errs = append(errs, failure("list store "+name, err))
		for _, id := range ids {
			all = append(all, fact.Staged{ID: id, Store: name})
		}
	}
	return all, errors.Join(errs...)
}
