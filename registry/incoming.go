package registry

import (
	"context"
	"errors"
	"fmt"
	"io"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// incoming is a byte sequence on its way from a client to a committed event.
//
// Its steps, and what a crash after each of them leaves behind:
//
//	ingest   upload row, staged object   the row expires, purge discards both
//	seal     nothing more
//	place    row with locator (flushed), object   purge discards both
//	commit   the event names the object; the row no longer does
//	settle   (if the object was not needed) row of a finished session that still
//	         names it; purge discards the object
//
// While the bytes are few they stay in memory, and the only step that writes is
// the commit.
type incoming struct {
	r  *Repository
	up Upload // Generation 0 while there is no row
	// saved is the offset that the row has.
	saved int64
	// sealed is set by seal.
	sealed fact.Sealed
	// placed tells that the object has been published; stale is what was
	// stored of the same content, because that is missing or damaged.
	placed bool
	stale  *Blob
	// unused is set by record if the object turned out not to be needed.
	unused bool
}

// errPlace tells that the state changed between place and commit such that the
// bytes must be placed after all.
var errPlace = errors.New("bytes must be placed first")

// receive starts a byte sequence that has no session.
func (r *Repository) receive(now session) *incoming {
	return &incoming{r: r, up: Upload{
		ID: now.id, Repository: r.name, Actor: r.caller.Actor, State: UploadOpen,
		Staged: fact.Staged{ID: now.id}, Expires: now.created.Add(r.opts.UploadExpiry),
	}}
}

// bodyReader remembers whether reading failed, to tell a client's failure from
// the storage's.
type bodyReader struct {
	io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	if err != nil && err != io.EOF {
		b.err = err
	}
	return n, err
}

// ingest appends a body. What arrived before a failure stays accepted.
func (in *incoming) ingest(ctx context.Context, body io.Reader, also identity.Algorithm) error {
	var algorithms []identity.Algorithm
	if also != "" {
		algorithms = append(algorithms, also)
	}
	spill := func(s fact.Staged) error {
		saved := in.up
		saved.Staged = s
		return in.save(ctx, saved, false)
	}
	from := &bodyReader{Reader: body}
	err := in.r.bytes.Ingest(ctx, &in.up.Staged, from, spill, algorithms...)
	switch {
	case err == nil:
		return nil
	case from.err != nil:
		return &Error{Code: BlobUploadInvalid, Message: "the request's body ended before it was complete", Err: err}
	case errors.Is(err, fact.ErrGone):
		return lost(err)
	}
	return storage(err)
}

// save writes the row, on condition that it is as this request last saw it.
func (in *incoming) save(ctx context.Context, up Upload, durable bool) error {
	seen := in.up.Generation
	if up.Generation = seen; seen == 0 {
		up.Generation = 1
	}
	err := in.r.update(ctx, Keys{Uploads: []string{up.ID}}, func(v View, c *Change) error {
		if err := sameGeneration(v, up.ID, seen); err != nil {
			return err
		}
		c.Puts, c.Durable = append(c.Puts, up), durable
		return nil
	})
	if err == nil {
		in.up.Generation, in.saved = up.Generation, up.Staged.Offset
	}
	return err
}

// sameGeneration refuses if another request has claimed the session since.
func sameGeneration(v View, id string, seen int64) error {
	up, err := v.Upload(id)
	if err != nil {
		return fmt.Errorf("look up upload: %w", err)
	}
	switch {
	case up == nil && seen == 0:
		return nil
	case up == nil || up.State != UploadOpen:
		return Errorf(BlobUploadUnknown, "the upload session has ended")
	case up.Generation != seen:
		return errTaken()
	}
	return nil
}

// seal completes the sequence and checks it against the digest that the client
// named, if it named one.
func (in *incoming) seal(ctx context.Context, d identity.Digest) error {
	sealed, err := in.r.bytes.Seal(ctx, &in.up.Staged, d.Algorithm())
	if errors.Is(err, fact.ErrGone) {
		return lost(err)
	}
	if err != nil {
		return storage(err)
	}
	if !d.IsZero() && !sealed.Digests.Has(d) {
		actual, _ := sealed.Digests.Get(d.Algorithm())
		return &Error{Code: DigestInvalid, Message: "the content does not have the digest that was named",
			Detail: map[string]string{"digest": d.String(), "actual": actual.String()}}
	}
	in.sealed = sealed
	return nil
}

// place makes sure that the bytes are in their final place, unless the same
// content is stored and present already.
func (in *incoming) place(ctx context.Context) error {
	var known *Blob
	err := in.r.ledger.Read(ctx, func(v View) (err error) {
		known, err = v.Blob(in.sealed.Digests.Primary())
		return err
	})
	if err != nil {
		return fmt.Errorf("look up content: %w", err)
	}
	if known != nil {
		present := !known.Damaged
		if present {
			if present, err = in.r.bytes.Present(ctx, known.Receipt, known.Content, known.Size); err != nil {
				return storage(fmt.Errorf("check stored content: %w", err))
			}
		}
		if present {
			return nil
		}
		in.stale = known
	}
	if in.sealed.Receipt.Store != fact.Content && !in.placed {
		// The locator is on disk before the object can be: see Staged.Locator.
		if err := in.save(ctx, in.up, true); err != nil {
			return err
		}
		if err := in.r.bytes.Publish(ctx, in.up.Staged); err != nil {
			gone := errors.Is(err, fact.ErrGone)
			if gone || in.up.Staged.Held {
				in.cancel(ctx)
			}
			if gone {
				return lost(err)
			}
			return storage(fmt.Errorf("publish object: %w", err))
		}
	}
	in.placed = true
	return nil
}

// lost is the refusal for a session whose bytes are not there any more.
func lost(err error) *Error {
	return &Error{Code: BlobUploadUnknown, Message: "what was uploaded before is lost; start a new upload", Err: err}
}

// release forgets bytes that only this process has. What they were for is done,
// or has failed: the row says where the sequence stands, which is where it
// stood before this request, unless place has written it.
func (in *incoming) release() { in.r.bytes.Release(in.up.Staged) }

// cancel ends a session whose row names bytes that are gone, or that only this
// process had and could not publish: nobody can go on with it, here or elsewhere.
func (in *incoming) cancel(ctx context.Context) {
	ctx, cancel := detached(ctx)
	defer cancel()
	row := in.up
	row.State = UploadCancelled
	row.Generation++
	err := in.r.update(ctx, Keys{Uploads: []string{row.ID}}, func(v View, c *Change) error {
		if err := sameGeneration(v, row.ID, in.up.Generation); err != nil {
			return err
		}
		c.Puts = append(c.Puts, row)
		return nil
	})
	if err == nil {
		err = in.r.discard(ctx, row, false)
	}
	if err != nil {
		in.r.opts.Log.Warn("a failed push could not be cleaned up; it is tried again later", "upload", row.ID, "error", err)
	}
}

// overtaken looks what has become of the session of a request that failed
// because somebody else has ended it meanwhile, nil if that is not why. What this
// request has staged since would stay for as long as the row of a session that
// was cancelled, so it goes now.
func (in *incoming) overtaken(ctx context.Context, err error) *Upload {
	var e *Error
	if !errors.As(err, &e) || e.Code != BlobUploadUnknown {
		return nil
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	var row *Upload
	err = in.r.ledger.Read(ctx, func(v View) (err error) {
		row, err = v.Upload(in.up.ID)
		return err
	})
	if err == nil && row != nil && row.State == UploadCancelled && in.up.Staged.Store != "" {
		err = in.r.bytes.Discard(ctx, in.up.Staged)
	}
	if err != nil {
		in.r.opts.Log.Warn("what an upload has left could not be cleaned up; it is tried again later", "upload", in.up.ID, "error", err)
		return nil
	}
	return row
}

// record adds the events that make the bytes part of the state, and ends the
// upload row. It runs inside decide; errPlace means that place must run again.
func (in *incoming) record(v View, c *Change) error {
	if err := sameGeneration(v, in.up.ID, in.up.Generation); err != nil {
		return err
	}
	known, err := v.Blob(in.sealed.Digests.Primary())
	if err != nil {
		return fmt.Errorf("look up content: %w", err)
	}
	in.unused = true
	switch {
	case known == nil && !in.placed:
		return errPlace
	case known == nil:
		in.unused = false
		c.AddContent(&fact.BlobStored{Digests: in.sealed.Digests, Size: in.sealed.Size, Receipt: in.sealed.Receipt}, in.sealed.Inline)
		return in.finish(c)
	case in.placed && in.stale != nil && sameBytes(known, in.stale):
		in.unused = false
		c.AddContent(&fact.BlobMoved{Blob: known.Digests.Primary(), From: known.Receipt, To: in.sealed.Receipt}, in.sealed.Inline)
		if known.Receipt.Store == fact.Content {
			c.Forget = append(c.Forget, known.Content)
		}
	case known.Damaged: // since place has looked
		return errPlace
	}
	for _, d := range in.sealed.Digests {
		have, ok := known.Digests.Get(d.Algorithm())
		if !ok {
			c.Add(&fact.BlobIdentified{Blob: known.Digests.Primary(), Digest: d})
		} else if have != d {
			return fmt.Errorf("content %s is stored with another digest than %s", known.Digests.Primary(), d)
		}
	}
	return in.finish(c)
}

// finish ends the upload row, if there is one. While it still names an object
// that no event does, purge knows what to discard.
func (in *incoming) finish(c *Change) error {
	if in.up.Generation == 0 {
		return nil
	}
	row := in.up
	row.State = UploadFinished
	row.Staged.Inline = nil
	if !in.unused || row.Staged.Store == "" {
		row.Staged = fact.Staged{}
	}
	c.Puts = append(c.Puts, row)
	return nil
}

// settle removes the object if it turned out not to be needed. A failure is
// logged: purge tries again.
func (in *incoming) settle(ctx context.Context) {
	if !in.unused || in.up.Staged.Store == "" {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	row := in.up
	row.State = UploadFinished
	if err := in.r.discard(ctx, row, false); err != nil {
		in.r.opts.Log.Warn("discard of a duplicate object failed; it is tried again later", "upload", row.ID, "error", err)
	}
}

// withdraw removes an object that was published for a session which another
// process has cancelled meanwhile, or dropped as expired: that one may have
// looked for the object before it was there, and no commit can name it any more.
// One that has finished the session may have named it, and been dropped since.
func (in *incoming) withdraw(ctx context.Context) {
	if !in.placed || in.up.Staged.Locator == "" {
		return
	}
	ctx, cancel := detached(ctx)
	defer cancel()
	unnamed := false
	err := in.r.ledger.Read(ctx, func(v View) error {
		up, err := v.Upload(in.up.ID)
		if err != nil || up != nil {
			unnamed = up != nil && up.State == UploadCancelled
			return err
		}
		known, err := v.Blob(in.sealed.Digests.Primary())
		unnamed = err == nil && (known == nil || known.Receipt != in.sealed.Receipt)
		return err
	})
	if err == nil && unnamed {
		err = in.r.bytes.Discard(ctx, in.up.Staged)
	}
	if err != nil {
		in.r.opts.Log.Warn("an object that nothing names could not be removed", "store", in.up.Staged.Store,
			"locator", in.up.Staged.Locator, "error", err)
	}
}

// commit places the bytes and commits the events that record and more add; keys
// are those of more.
func commit(ctx context.Context, r *Repository, ins []*incoming, keys Keys, more func(View, *Change) error) error {
	for _, in := range ins {
		keys.Uploads = append(keys.Uploads, in.up.ID)
		keys.Digests = append(keys.Digests, in.sealed.Digests.Primary())
	}
	for range 4 {
		for _, in := range ins {
			if err := in.place(ctx); err != nil {
				return err
			}
		}
		err := r.update(ctx, keys, func(v View, c *Change) error {
			for _, in := range ins {
				if err := in.record(v, c); err != nil {
					return err
				}
			}
			return more(v, c)
		})
		if errors.Is(err, errPlace) {
			continue
		}
		for _, in := range ins {
			if err == nil {
				in.settle(ctx)
			} else if !errors.Is(err, ErrUnknown) {
				in.withdraw(ctx)
			}
		}
		return err
	}
	return Errorf(Unavailable, "the content changed under the push several times; try again")
}
