package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// saveTimeout bounds what is done for a client that may be gone.
const saveTimeout = 30 * time.Second

// intake is a staged sequence that is open for writing.
type intake struct {
	plane *Plane
	s     *fact.Staged
	stage storagedriver.Stage
	hash  *identity.Hasher
	room  *room
	lend  *budget.Transfer
	// begun is the error of the bytes that were accepted before run.
	begun error
	// hashing ends when the last buffer is hashed; nil if it is.
	hashing chan error
	// full: there was no room for larger buffers, or there are none.
	full bool
}

// begin starts the staged object of a sequence whose bytes were all inline
// so far.
//
// The row that spill writes names the object before it can exist. A crash
// after it leaves a row and perhaps a staged object, whose bytes nobody counts
// on: s.Offset is still that of the inline bytes. What an attempt before this
// one has staged, here or on a node that is still at work, is discarded: else it
// could become an object where this one does.
func (p *Plane) begin(ctx context.Context, s *fact.Staged, spill func(fact.Staged) error, also []identity.Algorithm) (*intake, error) {
	next := *s
	again := next.Store != ""
	if !again {
		next.Store = p.writeTo
		next.Boot = p.o.BootID
	}
	driver, err := p.store(next.Store)
	if err != nil {
		return nil, err
	}
	if err := spill(next); err != nil {
		return nil, err
	}
	*s = next
	if again {
		if err := driver.Discard(ctx, s.ID, nil); err != nil {
			return nil, failure("discard what was staged before", err)
		}
	}
	stage, err := driver.Stage(ctx, s.ID)
	if err != nil {
		p.rooms[s.Store].forget()
		return nil, failure("begin staged bytes", err)
	}
	return &intake{plane: p, s: s, stage: stage, hash: identity.NewHasher(also...), room: p.rooms[s.Store]}, nil
}

// resume reopens a sequence whose bytes are in a store.
func (p *Plane) resume(ctx context.Context, s *fact.Staged) (*intake, error) {
	driver, err := p.store(s.Store)
	if err != nil {
		return nil, err
	}
	hash, err := restore(*s)
	if err != nil {
		return nil, err
	}
	if err := p.trust(ctx, s, hash); err != nil {
		return nil, err
	}
	stage, err := driver.Resume(ctx, s.ID, s.Driver, s.Offset)
	if err != nil {
		return nil, failure("resume staged bytes", err)
	}
	return &intake{plane: p, s: s, stage: stage, hash: hash, room: p.rooms[s.Store]}, nil
}

// restore opens the saved hash state.
func restore(s fact.Staged) (*identity.Hasher, error) {
	hash := new(identity.Hasher)
	if err := hash.UnmarshalBinary(s.Hash); err != nil {
		return nil, gone("saved hash state (%v)", err)
	}
	if hash.Size() != s.Offset {
		return nil, gone("hash state of %d bytes for %d bytes", hash.Size(), s.Offset)
	}
	return hash, nil
}

// run writes r and ends the intake: s is updated to what was accepted.
func (in *intake) run(ctx context.Context, r io.Reader) error {
	failed := in.begun
	if failed == nil {
		failed = in.pump(ctx, r)
	}
	in.wait()
	// What was accepted stays accepted, also for a client that went away.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := in.save(ctx, in.s.Last && failed == nil); err != nil && failed == nil {
		failed = err
	}
	return failed
}

// save closes the stage and remembers what it holds. If that fails s stays as
// it was before: the bytes from there on are dropped when it is resumed. Bytes
// that are complete need not be kept where another process could go on.
func (in *intake) save(ctx context.Context, complete bool) error {
	keep := in.stage.Save
	holder, held := in.stage.(storagedriver.Holder)
	if held = held && complete; held {
		keep = holder.Hold
	}
	state, err := keep(ctx)
	if err = errors.Join(err, in.stage.Close()); err != nil {
		in.plane.Release(fact.Staged{ID: in.s.ID, Store: in.s.Store, Held: held})
		return failure("save staged bytes", err)
	}
	hash, err := in.hash.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save hash state: %w", err)
	}
	s := in.s
	s.Offset, s.Driver, s.Hash, s.Held = in.hash.Size(), state, hash, held
	s.Inline, s.Boot = nil, in.plane.o.BootID
	return nil
}
