package registry

import (
	"bytes"
	"context"
	"errors"
	"io"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// Content is a byte sequence that a repository serves: a blob, or the pushed
// bytes of a manifest.
type Content struct {
	// Digest is in the algorithm that the client asked by.
	Digest identity.Digest
	// MediaType is that of a manifest; empty for a blob.
	MediaType string
	Size      int64 // bytes
	// Subject is a manifest's subject as written, or zero.
	Subject identity.Digest

	plane  Bytes
	blob   Blob
	inline []byte
	// condemned: nothing uses the blob, so it may be gone soon.
	condemned bool
	// again resolves the digest once more, nil if that was done.
	again func(context.Context) (*Content, error)
	// whole returns why a manifest is there and what it needs is not, or nil; it
	// is nil for what needs nothing.
	whole func(context.Context) error
}

// Check returns BlobUnknown or ManifestUnknown if the bytes are not there, as
// Open would, without opening them. What clients should push again counts as
// absent, though it can still be read: a blob that is condemned, and a manifest,
// asked for by digest, of which something that it needs is under quarantine.
func (c *Content) Check(ctx context.Context) error {
	if c.condemned {
		return Errorf(BlobUnknown, "nothing uses the blob any more, so it may be gone soon; push it again")
	}
	if err := c.quarantined(); err != nil {
		return err
	}
	if c.whole != nil {
		if err := c.whole(ctx); err != nil {
			return err
		}
	}
	if int64(len(c.inline)) == c.Size {
		return nil
	}
	present, err := c.plane.Present(ctx, c.blob.Receipt, c.blob.Content, c.Size)
	if err != nil || present {
		return storage(err)
	}
	if c.again == nil {
		return c.gone(fact.ErrGone)
	}
	now, err := c.again(ctx)
	if err != nil {
		return err
	}
	now.again = nil
	return now.Check(ctx)
}

// gone is the refusal for content whose bytes are missing or damaged.
func (c *Content) gone(err error) error {
	return c.refusal("the stored bytes are missing or damaged; pushing the same content again heals them", err)
}

// quarantined is the refusal for content that was found damaged, or nil.
func (c *Content) quarantined() error {
	if !c.blob.Damaged {
		return nil
	}
	return c.refusal("the stored bytes are damaged and under quarantine; pushing the same content again heals them", fact.ErrGone)
}

func (c *Content) refusal(message string, err error) error {
	code := BlobUnknown
	if c.MediaType != "" {
		code = ManifestUnknown
	}
	return &Error{Code: code, Message: message, Err: err}
}

// Link returns a URL from which a client can fetch the content from its store
// for some time, or "" if it is to be read by Open. The URL is a secret: it
// serves whoever has it.
func (c *Content) Link(ctx context.Context) (string, error) {
	if err := c.quarantined(); err != nil {
		return "", err
	}
	if int64(len(c.inline)) == c.Size {
		return "", nil
	}
	url, err := c.plane.Link(ctx, c.blob.Receipt, c.Size)
	return url, storage(err)
}

// Open reads length bytes from offset; length -1 means to the end. The range
// must lie within Size. The reader is the caller's to close and may hold more
// than was asked for: read length bytes and no more. If it is an *os.File, it
// can be sent without copying.
//
// If the object was replaced since the digest was resolved, it is resolved once
// more. If it is gone, Open returns BlobUnknown or ManifestUnknown.
func (c *Content) Open(ctx context.Context, offset, length int64) (io.ReadCloser, error) {
	if length < 0 {
		length = c.Size - offset
	}
	if err := c.quarantined(); err != nil {
		return nil, err
	}
	if int64(len(c.inline)) == c.Size {
		return io.NopCloser(bytes.NewReader(c.inline[offset : offset+length : offset+length])), nil
	}
	// The bytes are in a store, or they are a content row that is damaged.
	rc, err := c.plane.Open(ctx, c.blob.Receipt, c.blob.Content, c.Size, offset, length)
	if errors.Is(err, fact.ErrGone) && c.again != nil {
		now, err := c.again(ctx)
		if err != nil {
			return nil, err
		}
		now.again = nil
		return now.Open(ctx, offset, length)
	}
	if errors.Is(err, fact.ErrGone) {
		return nil, c.gone(err)
	}
	return rc, storage(err)
}
