package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io"

	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// Ingest appends r to a staged sequence, of which a new one has only its ID, in
// one read. It updates s to what was accepted, also when it fails. An error of
// r is returned as it is. While all bytes are at most InlineLimit they stay in
// s.Inline; before the first byte goes to a store, spill is called with what
// must be remembered to find it, and its error ends the call. The algorithms
// also are hashed from the start if s is new, beside BLAKE3 and SHA-256.
//
// An error that wraps fact.ErrGone means that what was staged before is lost.
func (p *Plane) Ingest(ctx context.Context, s *fact.Staged, r io.Reader, spill func(fact.Staged) error, also ...identity.Algorithm) error {
	if err := p.Room(ctx); err != nil {
		return err
	}
	r = reading{ctx, r}
	if s.Store == "" {
		done, err := p.collect(s, r)
		if done || err != nil {
			return err
		}
		return p.spill(ctx, s, r, spill, also)
	}
	h, err := p.restore(ctx, *s)
	if err != nil {
		return err
	}
	d, err := p.store(s.Store)
	if err != nil {
		return err
	}
	stage, err := d.Resume(ctx, s.ID, s.Driver, s.Offset)
	if err != nil {
		return translate(fmt.Errorf("resume staged object: %w", err))
	}
	return p.transfer(ctx, s, stage, h, r)
}

// collect reads into s.Inline. done tells that r has ended there.
func (p *Plane) collect(s *fact.Staged, r io.Reader) (done bool, err error) {
	if p.opts.InlineLimit <= 0 {
		return false, nil
	}
	buffer, release := budget.SmallBuffer()
	defer release()
	for {
		room := p.opts.InlineLimit + 1 - s.Offset // one more, to see whether it ends
		n, err := r.Read(buffer[:min(room, int64(len(buffer)))])
		s.Inline = append(s.Inline, buffer[:n]...)
		s.Offset += int64(n)
		if err == io.EOF {
			return s.Offset <= p.opts.InlineLimit, nil
		}
		if err != nil {
			return true, p.broke(s, err)
		}
		if s.Offset > p.opts.InlineLimit {
			return false, nil
		}
	}
}

// broke drops the one byte too many of a sequence that is to stay inline.
func (p *Plane) broke(s *fact.Staged, err error) error {
	s.Offset = min(s.Offset, p.opts.InlineLimit)
	s.Inline = s.Inline[:s.Offset]
	return err
}

// spill moves a sequence from memory to a staged object and goes on there.
func (p *Plane) spill(ctx context.Context, s *fact.Staged, r io.Reader, remember func(fact.Staged) error, also []identity.Algorithm) error {
	h := identity.NewHasher(also...)
	empty, err := h.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save hasher: %w", err)
	}
	before, head := *s, s.Inline
	*s = fact.Staged{ID: s.ID, Store: p.into, Hash: empty, Boot: p.opts.BootID}
	if err := remember(*s); err != nil {
		*s = before
		return p.broke(s, err)
	}
	stage, err := p.stores[p.into].Stage(ctx, s.ID)
	if err != nil {
		return translate(fmt.Errorf("stage object: %w", err))
	}
	return p.transfer(ctx, s, stage, h, io.MultiReader(&prefix{head}, r))
}

// prefix is what was read already.
type prefix struct{ rest []byte }

func (p *prefix) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// transfer copies r to the stage and hashes it, then saves both states in s
// and closes the stage.
func (p *Plane) transfer(ctx context.Context, s *fact.Staged, stage storagedriver.Stage, h *identity.Hasher, r io.Reader) error {
	source, failed := p.pump(stage, h, r)
	err := p.save(ctx, s, stage, h)
	if err = errors.Join(failed, err, closing(stage)); err != nil {
		return translate(err)
	}
	return source
}

func closing(stage storagedriver.Stage) error {
	if err := stage.Close(); err != nil {
		return fmt.Errorf("close staged object: %w", err)
	}
	return nil
}

// save records how far the stage has come. Nothing is recorded if the stage
// cannot tell: the sequence then stands where it stood.
func (p *Plane) save(ctx context.Context, s *fact.Staged, stage storagedriver.Stage, h *identity.Hasher) error {
	driver, err := stage.Save(context.WithoutCancel(ctx))
	if err != nil {
		return fmt.Errorf("save staged object: %w", err)
	}
	state, err := h.MarshalBinary()
	if err != nil {
		return fmt.Errorf("save hasher: %w", err)
	}
	s.Offset, s.Driver, s.Hash, s.Boot = h.Size(), driver, state, p.opts.BootID
	return nil
}

// restore returns the hasher of what is staged, after making sure that a power
// cut has not changed it.
func (p *Plane) restore(ctx context.Context, s fact.Staged) (*identity.Hasher, error) {
	h := new(identity.Hasher)
	if err := h.UnmarshalBinary(s.Hash); err != nil || h.Size() != s.Offset {
		return nil, errors.Join(fmt.Errorf("restore hasher of %d bytes: %w", s.Offset, fact.ErrGone), err)
	}
	if s.Boot == p.opts.BootID {
		return h, nil
	}
	got, err := p.hashStaged(ctx, s, h.Algorithms())
	if err != nil {
		return nil, err
	}
	if !got.Equal(h.Sum()) {
		return nil, fmt.Errorf("staged bytes changed when the machine stopped: %w", fact.ErrGone)
	}
	return h, nil
}

// hashStaged reads what is staged once more.
func (p *Plane) hashStaged(ctx context.Context, s fact.Staged, also []identity.Algorithm) (identity.DigestSet, error) {
	d, err := p.store(s.Store)
	if err != nil {
		return nil, err
	}
	rc, err := d.OpenStaged(ctx, s.ID, s.Driver, s.Offset)
	if err != nil {
		return nil, translate(fmt.Errorf("read staged object: %w", err))
	}
	set, err := hash(ctx, rc, s.Offset, also...)
	return set, errors.Join(err, rc.Close())
}

// Seal ends a staged sequence: it returns its digests, in the algorithm also
// as well if that is not "", and sets s.Locator. The sequence is not an object
// before Publish.
func (p *Plane) Seal(ctx context.Context, s *fact.Staged, also identity.Algorithm) (fact.Sealed, error) {
	if s.Store == "" {
		return fact.Sealed{
			Digests: identity.Of(s.Inline, also), Size: s.Offset,
			Receipt: fact.Receipt{Store: fact.Content}, Inline: append([]byte{}, s.Inline...),
		}, nil
	}
	h, err := p.restore(ctx, *s)
	if err != nil {
		return fact.Sealed{}, err
	}
	digests := h.Sum()
	if _, ok := digests.Get(also); also != "" && !ok {
		if digests, err = p.hashStaged(ctx, *s, append(h.Algorithms(), also)); err != nil {
			return fact.Sealed{}, err
		}
	}
	d, err := p.store(s.Store)
	if err != nil {
		return fact.Sealed{}, err
	}
	s.Locator = d.Locate(s.ID, digests.Primary().Hex())
	return fact.Sealed{Digests: digests, Size: s.Offset, Receipt: fact.Receipt{Store: s.Store, Locator: s.Locator}}, nil
}

// Publish makes a sealed sequence a durable object at s.Locator; for inline
// bytes there is nothing to do. Doing it again succeeds.
func (p *Plane) Publish(ctx context.Context, s fact.Staged) error {
	if s.Store == "" {
		return nil
	}
	d, err := p.store(s.Store)
	if err != nil {
		return err
	}
	return translate(d.Publish(ctx, s.ID, s.Driver, s.Offset, s.Locator))
}

// Discard removes what a staged sequence left in its store: the staged object
// and, if s.Locator is set, the published one. It succeeds if there is nothing.
func (p *Plane) Discard(ctx context.Context, s fact.Staged) error {
	if s.Store == "" {
		return nil
	}
	d, err := p.store(s.Store)
	if err != nil {
		return err
	}
	if err := d.Discard(ctx, s.ID, s.Driver); err != nil {
		return translate(err)
	}
	if s.Locator == "" {
		return nil
	}
	return translate(d.Delete(ctx, s.Locator))
}

// Staged lists what is being staged in the stores that can tell.
func (p *Plane) Staged(ctx context.Context) ([]fact.Staged, error) {
	var all []fact.Staged
	for name, d := range p.stores {
		lister, ok := d.(storagedriver.Lister)
		if !ok {
			continue
		}
		ids, err := lister.Staged(ctx)
		if err != nil {
			return nil, translate(err)
		}
		for _, id := range ids {
			all = append(all, fact.Staged{ID: id, Store: name})
		}
	}
	return all, nil
}
