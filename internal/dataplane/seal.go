package dataplane

import (
	"context"
	"fmt"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// Seal ends a staged sequence: it returns its digests, in the algorithm also as
// well if that is not "", and sets s.Locator unless the bytes are inline. It
// reads the bytes again only if also was not hashed from the start, or if they
// were staged in another run of the machine and may not have survived it; an error that wraps fact.ErrGone
// means that they are not what they were. Publish makes them durable.
func (p *Plane) Seal(ctx context.Context, s *fact.Staged, also identity.Algorithm) (fact.Sealed, error) {
	if !stored(*s) {
		return sealInline(*s, also), nil
	}
	driver, err := p.store(s.Store)
	if err != nil {
		return fact.Sealed{}, err
	}
	digests, err := p.digests(ctx, s, also)
	if err != nil {
		return fact.Sealed{}, err
	}
	s.Locator = driver.Locate(s.ID, digests.Primary().Hex())
	return fact.Sealed{
		Digests: digests,
		Size:    s.Offset,
		Receipt: fact.Receipt{Store: s.Store, Locator: s.Locator},
	}, nil
}

func sealInline(s fact.Staged, also identity.Algorithm) fact.Sealed {
	inline := s.Inline
	if inline == nil {
		inline = []byte{}
	}
	return fact.Sealed{
		Digests: identity.Of(inline, also),
		Size:    int64(len(inline)),
		Receipt: fact.Receipt{Store: fact.Content},
		Inline:  inline,
	}
}

// digests ends the hash of bytes that are in a store.
func (p *Plane) digests(ctx context.Context, s *fact.Staged, also identity.Algorithm) (identity.DigestSet, error) {
	hash, err := restore(*s)
	if err != nil {
		return nil, err
	}
	digests := hash.Sum()
	if _, known := digests.Get(also); !known && also.Registered() {
		return p.reread(ctx, s, digests, also)
	}
	return digests, p.trust(ctx, s, hash)
}

// trust reads staged bytes again if they were written in another run of the
// machine: what was not flushed may be lost, or be other bytes of that length.
// Where staged bytes survive the machine there is nothing to find.
func (p *Plane) trust(ctx context.Context, s *fact.Staged, hash *identity.Hasher) error {
	if s.Boot == p.o.BootID {
		return nil
	}
	driver, err := p.store(s.Store)
	if err != nil {
		return err
	}
	if persistent, ok := storagedriver.Find[storagedriver.Persistent](driver); ok && persistent.StagedPersists() {
		return nil
	}
	_, err = p.reread(ctx, s, hash.Sum())
	return err
}

// reread hashes the staged bytes from the start and compares them with what
// they were when they were accepted.
func (p *Plane) reread(ctx context.Context, s *fact.Staged, want identity.DigestSet, also ...identity.Algorithm) (identity.DigestSet, error) {
	driver, err := p.store(s.Store)
	if err != nil {
		return nil, err
	}
	r, err := driver.OpenStaged(ctx, s.ID, s.Driver, s.Offset)
	if err != nil {
		return nil, failure("read staged bytes again", err)
	}
	got, err := p.hash(ctx, r, s.Offset, nil, also...)
	if err != nil {
		return nil, fmt.Errorf("read staged bytes again: %w", err)
	}
	if !got.Agrees(want) {
		return nil, gone("staged bytes %s have changed", s.ID)
	}
	s.Boot = p.o.BootID
	return got, nil
}

// Publish makes a sealed sequence an object at s.Locator, durably; it does
// nothing for inline bytes. s must have been remembered before, durably: a
// crash after it leaves an object that nothing else names. Publishing again
// succeeds.
func (p *Plane) Publish(ctx context.Context, s fact.Staged) error {
	if s.Locator == "" {
		return nil
	}
	driver, err := p.store(s.Store)
	if err != nil {
		return err
	}
	err = driver.Publish(ctx, s.ID, s.Driver, s.Offset, s.Locator)
	if err != nil {
		p.rooms[s.Store].forget()
	}
	return failure("publish object", err)
}

// Release forgets what only this process has of a staged sequence: it then
// stands where it was remembered last. Call it where neither Publish nor
// Discard came to succeed.
func (p *Plane) Release(s fact.Staged) {
	if !s.Held {
		return
	}
	if releaser, ok := storagedriver.Find[storagedriver.Releaser](p.stores[s.Store]); ok {
		releaser.Release(s.ID)
	}
}

// Discard removes what a staged sequence left in its store, published or not.
// The row that remembers it must be gone or ended, so that nothing can name the
// bytes any more. It succeeds if nothing is there.
func (p *Plane) Discard(ctx context.Context, s fact.Staged) error {
	if s.Store == "" {
		return nil
	}
	driver, err := p.store(s.Store)
	if err != nil {
		return err
	}
	if err := driver.Discard(ctx, s.ID, s.Driver); err != nil {
		return failure("discard staged bytes", err)
	}
	if s.Locator == "" {
		return nil
	}
	return failure("discard object", driver.Delete(ctx, s.Locator))
}
