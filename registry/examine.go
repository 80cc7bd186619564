package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// This file looks at stored bytes, for the scrub and for fsck, and says what was
// found.

// condition is in what condition stored bytes were found.
type condition int

const (
	intact  condition = iota
	missing           // nothing is there, or not as many bytes
	wrong             // they are others than they should be
	unread            // they could not be read this time
)

// examine looks at the bytes of a blob, and reads them if it is deep. cause says
// why they are not intact; err ends whatever goes on.
func (r *Registry) examine(ctx context.Context, b *Blob, deep bool, pace *budget.Pace) (found condition, cause, err error) {
	if deep {
		cause = r.bytes.Verify(ctx, b.Receipt, b.Content, b.Digests, b.Size, pace)
		if cause == nil {
			return intact, nil, nil
		}
	}
	if cause == nil || errors.Is(cause, fact.ErrGone) {
		present, err := r.bytes.Present(ctx, b.Receipt, b.Content, b.Size)
		switch {
		case err != nil:
			cause = err
		case present && !deep:
			return intact, nil, nil
		case present:
			return wrong, cause, nil
		default:
			if cause == nil {
				cause = fact.ErrGone
			}
			return missing, cause, nil
		}
	}
	if err := ctx.Err(); err != nil {
		return unread, cause, err
	}
	return unread, cause, nil
}

// errUninhabited: whatever is missing from a store may not be, since nothing at all
// of this registry was found there.
var errUninhabited = errors.New("nothing of this registry is in the store: it may not be mounted, or be another one")

// inhabited remembers in which stores something of this registry was found.
type inhabited map[string]bool

// has looks for one object that the registry knows.
func (i inhabited) has(ctx context.Context, r *Registry, store string) (bool, error) {
	there, known := i[store]
	if known || store == fact.Content {
		return there || !known, nil
	}
	for after := ""; !there; {
		page, err := r.bytes.Objects(ctx, store, after, fsckPage)
		if err != nil {
			return false, fmt.Errorf("look into store %q: %w", store, err)
		}
		var locators []string
		for _, o := range page {
			locators, after = append(locators, o.Locator), o.Name
		}
		err = r.ledger.Read(ctx, func(v View) error {
			named, err := v.Named(store, locators)
			there = len(named) > 0
			return err
		})
		if err != nil {
			return false, err
		}
		if len(page) < fsckPage {
			break
		}
	}
	i[store] = there
	return there, nil
}

// sameBytes tells whether a blob is still where it was when its bytes were looked at.
func sameBytes(now, seen *Blob) bool {
	return now != nil && now.Sequence == seen.Sequence && now.Receipt == seen.Receipt && now.Content == seen.Content
}

// current tells whether a blob is still stored where it was.
func (r *Registry) current(ctx context.Context, b *Blob) (is bool, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		now, err := v.Blob(b.Digests.Primary())
		is = sameBytes(now, b)
		return err
	})
	if err != nil {
		return false, fmt.Errorf("look up content: %w", err)
	}
	return is, nil
}

// condemn looks once more at bytes that were found missing or wrong, and puts
// them under quarantine if they are still what the registry would serve. It
// returns whether it did.
func (r *Registry) condemn(ctx context.Context, b *Blob, deep bool, pace *budget.Pace) (done bool, err error) {
	found, cause, err := r.examine(ctx, b, deep, pace)
	if err != nil || found != missing && found != wrong {
		return false, err
	}
	primary := b.Digests.Primary()
	err = r.ledger.Update(ctx, System, Keys{Digests: []identity.Digest{primary}}, func(v View) (*Change, error) {
		now, err := v.Blob(primary)
		if done = err == nil && sameBytes(now, b) && !now.Damaged; !done {
			return nil, err
		}
		c := new(Change)
		c.Add(&fact.LocationDamaged{Blob: primary, Receipt: b.Receipt})
		return c, nil
	})
	if err != nil {
		return false, fmt.Errorf("note damage of %s: %w", primary, err)
	}
	if done {
		r.opts.Log.Error("stored bytes are damaged and are not served any more; pushing the same content again heals them",
			"blob", primary.String(), "size", b.Size, "store", b.Receipt.Store, "locator", b.Receipt.Locator, "error", cause)
	}
	return done, nil
}

// confirmed adds to a change that blobs were found intact, as far as they still
// are where they were. One that was found damaged meanwhile stays so.
func confirmed(v View, c *Change, store string, seen []*Blob) (healed int64, err error) {
	f := &fact.LocationVerified{Store: store}
	for _, b := range seen {
		now, err := v.Blob(b.Digests.Primary())
		if err != nil {
			return 0, fmt.Errorf("look up verified content: %w", err)
		}
		if !sameBytes(now, b) || now.Damaged && !b.Damaged {
			continue
		}
		if now.Damaged {
			healed++
		}
		f.Blobs = append(f.Blobs, now.Digests.Primary())
	}
	if len(f.Blobs) > 0 {
		c.Add(f)
	}
	return healed, nil
}

// acquit serves the bytes of a blob under quarantine again, which are intact.
func (r *Registry) acquit(ctx context.Context, b *Blob) (done bool, err error) {
	keys := Keys{Digests: []identity.Digest{b.Digests.Primary()}}
	err = r.ledger.Update(ctx, System, keys, func(v View) (*Change, error) {
		c := new(Change)
		healed, err := confirmed(v, c, b.Receipt.Store, []*Blob{b})
		done = healed > 0
		return c, err
	})
	return done && err == nil, err
}

// maxListed is the longest descriptor that is read to be compared, in bytes.
const maxListed = 64 << 20

// comparison is what came of comparing the descriptor of a referrer.
type comparison struct {
	// problem is empty if the descriptor is right.
	problem string
	// want is what it should be, nil if that is not known.
	want []byte
}

// compareDescriptor compares the descriptor by which a manifest is listed with
// the manifest, of which it is a function.
func (r *Registry) compareDescriptor(ctx context.Context, item *DescriptorItem, pace *budget.Pace) (comparison, error) {
	var c comparison
	var have []byte
	var there bool
	err := r.ledger.Read(ctx, func(v View) (err error) {
		if there, err = r.keeps(v, item.Repository, item.Blob.Digests.Primary(), item.Sequence); err != nil {
			return err
		}
		have, err = v.Descriptor(item.Sequence)
		return err
	})
	if err != nil {
		return c, fmt.Errorf("read descriptor: %w", err)
	}
	if !there {
		return c, nil // it was forgotten meanwhile
	}
	if err := pace.Bytes(ctx, int64(len(have))+item.Blob.Size); err != nil {
		return c, err
	}
	if c.want, err = r.descriptorOf(ctx, item); err != nil {
		return c, err
	}
	switch {
	case have == nil:
		c.problem = "it is missing"
	case c.want != nil && !bytes.Equal(have, c.want):
		c.problem = "it is not that of its manifest"
	case c.want == nil && !json.Valid(have):
		c.problem = "it is no JSON"
	}
	return c, nil
}

// descriptorOf makes the descriptor of a manifest from its bytes; nil if they
// are not there, or cannot be read by the limits of today.
func (r *Registry) descriptorOf(ctx context.Context, item *DescriptorItem) ([]byte, error) {
	b := &item.Blob
	if b.Damaged || b.Size > maxListed {
		return nil, nil
	}
	release, err := r.Reserve(ctx, b.Size)
	if err != nil {
		return nil, err
	}
	defer release()
	rc, err := r.bytes.Open(ctx, b.Receipt, b.Content, b.Size, 0, -1)
	if err != nil {
		return nil, ctx.Err() // the pass over all bytes says why
	}
	raw, err := io.ReadAll(io.LimitReader(rc, b.Size))
	_ = rc.Close() // nothing was written
	if err != nil {
		return nil, ctx.Err()
	}
	if primary := b.Digests.Primary(); identity.FromBytes(primary.Algorithm(), raw) != primary {
		return nil, nil
	}
	parsed, err := manifest.Parse(raw, item.MediaType, r.limits)
	if err != nil {
		return nil, nil
	}
	return manifest.ReferrerDescriptor(parsed, item.Digest, b.Size), nil
}

// mend writes the descriptor of a manifest again. It is no part of the log, and
// follows from bytes that are.
func (r *Registry) mend(ctx context.Context, item *DescriptorItem, want []byte) (done bool, err error) {
	primary := item.Blob.Digests.Primary()
	keys := Keys{Repositories: []string{item.Repository}, Manifests: []identity.Digest{primary}}
	err = r.ledger.Update(ctx, System, keys, func(v View) (*Change, error) {
		there, err := r.keeps(v, item.Repository, primary, item.Sequence)
		if done = there; err != nil || !there {
			return nil, err
		}
		c := &Change{Durable: true}
		c.Working.Contents = map[eventlog.Sequence][]byte{item.Sequence: want}
		return c, nil
	})
	if err != nil {
		return false, fmt.Errorf("write descriptor: %w", err)
	}
	if done {
		r.opts.Log.Warn("the descriptor of a referrer was wrong and was made anew", "repository", item.Repository, "manifest", item.Digest.String())
	}
	return done, nil
}

// keeps tells whether a manifest, or a deleted one that can still be put back,
// is the one that an event put.
func (r *Registry) keeps(v View, repository string, primary identity.Digest, put eventlog.Sequence) (bool, error) {
	m, _, err := v.Manifest(repository, primary)
	if err != nil || m != nil && m.Sequence == put {
		return m != nil, err
	}
	g, err := v.Grave(repository, primary)
	return g != nil && g.Sequence == put, err
}
