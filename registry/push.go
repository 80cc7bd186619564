package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"artifactstore/registry/identity"
	"artifactstore/registry/manifest"
)

// ManifestPush is a request to store a manifest.
type ManifestPush struct {
	// Reference is what it is pushed by, Tags are further tags to set.
	Reference Reference
	Tags      []string
	MediaType string // the Content-Type of the request
	Length    int64  // bytes in Body, or -1 if that is not known
	Body      io.Reader
	// IfMatch has the digests of which one must be what the tags name now;
	// "*" stands for anything, nil for no condition. IfNoneMatch asks that
	// there is nothing yet. Without any tag, the condition is on the
	// manifest itself. It holds for all tags, or nothing changes.
	IfMatch     []string
	IfNoneMatch bool
}

// ManifestResult says how a pushed manifest is known.
type ManifestResult struct {
	Digest identity.Digest
	// Subject is the digest of its subject as written, or zero.
	Subject identity.Digest
	// Tags are the further tags that were set, each once.
	Tags []string
}

// maxTags is how many tags one push can set.
const maxTags = 256

// parseWeight is how many bytes of memory a byte of a manifest, of a native form
// or of an event is counted as while it is being taken apart.
const parseWeight = 14

// PutManifest stores a manifest and sets its tags, all or nothing. Pushing what
// is there already succeeds and changes nothing. Refusals: ManifestInvalid,
// ManifestTooLarge, ManifestBlobUnknown (a reference is absent), SizeInvalid,
// DigestInvalid, TagInvalid, PreconditionFailed, TooManyRequests (no room for a
// large body now), StorageFull, Unavailable.
func (r *Repository) PutManifest(ctx context.Context, push ManifestPush) (ManifestResult, error) {
	if err := push.check(r.opts.MaxManifest); err != nil {
		return ManifestResult{}, err
	}
	raw, release, err := push.read(r.opts.MaxManifest, r.opts.Held)
	if err != nil {
		return ManifestResult{}, err
	}
	defer release()
	done, err := r.Reserve(ctx, int64(len(raw)))
	if err != nil {
		return ManifestResult{}, err
	}
	defer done()
	parsed, err := manifest.Parse(raw, push.MediaType, r.limits)
	if err != nil {
		return ManifestResult{}, invalid(err)
	}
	p := &put{r: r, push: push, parsed: parsed, raw: raw}
	if err := p.identify(); err != nil {
		return ManifestResult{}, err
	}
	if err := p.store(ctx); err != nil {
		return ManifestResult{}, err
	}
	further := p.tags
	if push.Reference.Tag != "" && !slices.Contains(push.Tags, push.Reference.Tag) {
		further = further[1:]
	}
	return ManifestResult{Digest: p.digest, Subject: p.subject(), Tags: further}, nil
}

// Reserve waits for the memory that taking apart n bytes of JSON or CBOR needs,
// and takes it from Options.Budget until release is called. Nothing else may be
// waited for meanwhile, least of all a client.
func (r *Registry) Reserve(ctx context.Context, n int64) (release func(), err error) {
	if r.opts.Budget == nil {
		return func() {}, nil
	}
	release, err = r.opts.Budget.Acquire(ctx, parseWeight*n)
	if err != nil {
		return nil, fmt.Errorf("wait for memory: %w", err)
	}
	return release, nil
}

// check refuses what can be refused before the body is read.
func (p *ManifestPush) check(limit int64) error {
	if p.Length > limit {
		return Errorf(ManifestTooLarge, "the manifest has %d bytes; the limit is %d", p.Length, limit)
	}
	if len(p.Tags) > maxTags {
		return Errorf(TagInvalid, "one push can set at most %d tags", maxTags)
	}
	for _, t := range p.Tags {
		if err := checkTag(t); err != nil {
			return err
		}
	}
	return nil
}

// freeBody is how much of a body is read without asking for room.
const freeBody = 16 << 10

// read reads the body, and takes room for it as it comes: what a client
// announces and does not send costs nothing. release gives the room back.
func (p *ManifestPush) read(limit int64, room Share) (raw []byte, release func(), err error) {
	var held []func()
	giveBack := func() {
		for _, back := range held {
			back()
		}
	}
	defer func() {
		if err != nil {
			giveBack()
		}
	}()
	var buf bytes.Buffer
	for size := min(freeBody, limit+1); ; {
		_, err := io.CopyN(&buf, p.Body, size-int64(buf.Len()))
		switch {
		case err == io.EOF:
			return buf.Bytes(), giveBack, nil
		case err != nil:
			return nil, nil, &Error{Code: ManifestInvalid, Message: "the request's body ended before it was complete", Err: err}
		case size > limit:
			return nil, nil, Errorf(ManifestTooLarge, "the manifest has more than %d bytes", limit)
		}
		next := min(2*size, limit+1)
		if room != nil {
			back, ok := room.TryAcquire(next - size)
			if !ok {
				return nil, nil, Errorf(TooManyRequests, "too many large manifests are being pushed at once; try again")
			}
			held = append(held, back)
		}
		size = next
	}
}

// invalid turns a parse error into a refusal.
func invalid(err error) error {
	var e *manifest.Error
	if errors.As(err, &e) {
		return &Error{Code: ManifestInvalid, Message: e.Error()}
	}
	return fmt.Errorf("parse manifest: %w", err)
}
