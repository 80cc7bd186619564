package dataplane

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// Present tells whether the bytes of a receipt are there with this size. It
// does not read them.
func (p *Plane) Present(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size int64) (bool, error) {
	have, err := p.size(ctx, r, content)
	if errors.Is(err, fact.ErrGone) {
		return false, nil
	}
	return err == nil && have == size, err
}

func (p *Plane) size(ctx context.Context, r fact.Receipt, content eventlog.Sequence) (int64, error) {
	if r.Store == fact.Content {
		row, err := p.rows.Object(ctx, content)
		return int64(len(row)), err
	}
	driver, err := p.store(r.Store)
	if err != nil {
		return 0, err
	}
	size, err := driver.Size(ctx, r.Locator)
	return size, failure("size of object", err)
}

// Open reads length bytes from offset (-1: to the end) of the bytes of a
// receipt, which are the caller's to close. If they are gone, or fewer or more
// than size, the error wraps fact.ErrGone: an object that was cut short is
// never served as if it were whole.
//
// Where the object is a file the result is the *os.File, positioned at offset,
// and may go on beyond length: copy with io.CopyN(w, r, length) or an
// io.LimitReader, and net/http sends it with sendfile. Every other reader ends
// after length bytes, and fails with io.ErrUnexpectedEOF if it ends before.
func (p *Plane) Open(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size, offset, length int64) (io.ReadCloser, error) {
	length, err := storagedriver.CheckRange(size, offset, length)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	if r.Store == fact.Content {
		return p.openRow(ctx, content, size, offset, length)
	}
	driver, err := p.store(r.Store)
	if err != nil {
		return nil, err
	}
	rc, err := driver.Open(ctx, r.Locator, offset, length)
	if errors.Is(err, storagedriver.ErrInvalid) { // the range is within size
		return nil, gone("object %s is shorter than %d bytes (%v)", r.Locator, size, err)
	}
	if err != nil {
		return nil, failure("open object", err)
	}
	have, err := sizeOf(ctx, driver, r.Locator, rc)
	if err == nil && have != size {
		err = gone("object %s has %d bytes, want %d", r.Locator, have, size)
	}
	if err != nil {
		return nil, errors.Join(err, rc.Close())
	}
	if f, ok := rc.(*os.File); ok {
		return f, nil
	}
	return &section{rc, length}, nil
}

// sizeOf asks what is open rather than its name where it can.
func sizeOf(ctx context.Context, driver storagedriver.Driver, locator string, rc io.ReadCloser) (int64, error) {
	if sized, ok := rc.(storagedriver.Sized); ok {
		return sized.ObjectSize(), nil
	}
	if f, ok := rc.(*os.File); ok {
		info, err := f.Stat()
		if err != nil {
			return 0, fmt.Errorf("size of object: %w", err)
		}
		return info.Size(), nil
	}
	size, err := driver.Size(ctx, locator)
	return size, failure("size of object", err)
}

// Link returns a URL from which a client can fetch the bytes of a receipt by
// itself, good for Options.LinkLifetime, or "" if they are to be served from
// here. It does not ask whether they are there.
func (p *Plane) Link(ctx context.Context, r fact.Receipt, size int64) (string, error) {
	if r.Store == fact.Content {
		return "", nil
	}
	driver, err := p.store(r.Store)
	if err != nil {
		return "", err
	}
	linker, ok := storagedriver.Find[storagedriver.Linker](driver)
	if !ok {
		return "", nil
	}
	url, err := linker.Link(ctx, storagedriver.Link{Locator: r.Locator, Size: size, Lifetime: p.o.LinkLifetime})
	return url, failure("make a link to an object", err)
}

func (p *Plane) openRow(ctx context.Context, content eventlog.Sequence, size, offset, length int64) (io.ReadCloser, error) {
	row, err := p.rows.Object(ctx, content)
	if err != nil {
		return nil, fmt.Errorf("open content row: %w", err)
	}
	if int64(len(row)) != size {
		return nil, gone("content row %d has %d bytes, want %d", content, len(row), size)
	}
	return io.NopCloser(bytes.NewReader(row[offset : offset+length])), nil
}

// section is a reader of exactly left bytes.
type section struct {
	io.ReadCloser
	left int64
}

func (s *section) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, err := s.ReadCloser.Read(p[:min(int64(len(p)), s.left)])
	s.left -= int64(n)
	if err == io.EOF && s.left > 0 {
		err = errShort
	}
	return n, err
}

// errShort is the end of an object before its time. A store whose connection
// breaks off has io.EOF and io.ErrUnexpectedEOF in its errors too, and that is
// no damage.
var errShort = fmt.Errorf("the object ends early: %w", io.ErrUnexpectedEOF)

// Verify reads the bytes of a receipt at a pace (nil: as fast as it can) and
// hashes them. If they are missing, or not size bytes with these digests, the
// error wraps fact.ErrGone; any other error says that they could not be read
// this time.
func (p *Plane) Verify(ctx context.Context, r fact.Receipt, content eventlog.Sequence, digests identity.DigestSet, size int64,
	pace *budget.Pace,
) error {
	if err := pace.Object(ctx); err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	rc, err := p.Open(ctx, r, content, size, 0, -1)
	if err != nil {
		return err
	}
	also := make([]identity.Algorithm, 0, len(digests))
	for _, d := range digests {
		also = append(also, d.Algorithm())
	}
	got, err := p.hash(ctx, rc, size, pace, also...)
	if err != nil {
		return fmt.Errorf("verify: %w", err)
	}
	for _, d := range digests {
		if !got.Has(d) {
			return gone("bytes that should be %s are %s", d, got.Primary())
		}
	}
	return nil
}

// hash reads exactly size bytes at a pace, closes the reader and returns their
// digests. Fewer bytes are an error that wraps fact.ErrGone.
func (p *Plane) hash(ctx context.Context, rc io.ReadCloser, size int64, pace *budget.Pace, also ...identity.Algorithm) (identity.DigestSet, error) {
	defer func() { _ = rc.Close() }() // nothing was written
	lend, err := p.o.Budget.Transfer(ctx)
	if err != nil {
		return nil, fmt.Errorf("wait for a transfer buffer: %w", err)
	}
	defer lend.Close()
	lend.Grow()
	hash, r := identity.NewHasher(also...), io.LimitReader(rc, size)
	for {
		if lend.Wanted() { // a slow pace has time
			lend.Shrink()
		}
		buf := lend.Next()
		if err := pace.Bytes(ctx, min(int64(len(buf)), size-hash.Size())); err != nil {
			return nil, err
		}
		n, err := fill(r, buf)
		if _, err := hash.Write(buf[:n]); err != nil {
			return nil, err
		}
		if err == nil {
			continue
		}
		if errors.Is(err, errShort) || err == io.EOF && hash.Size() < size {
			return nil, gone("only %d of %d bytes are there", hash.Size(), size)
		}
		if err := notEOF(err); err != nil {
			return nil, failure("read object", err)
		}
		return hash.Sum(), nil
	}
}

// Delete removes the bytes of a receipt for ever. It succeeds if they are gone
// already.
func (p *Plane) Delete(ctx context.Context, r fact.Receipt, content eventlog.Sequence) error {
	if r.Store == fact.Content {
		return p.rows.DeleteObject(ctx, content)
	}
	driver, err := p.store(r.Store)
	if err != nil {
		return err
	}
	return failure("delete object", driver.Delete(ctx, r.Locator))
}

// Objects lists at most limit of the objects of a store, after a name of the
// listing, and what lies among them that is none. "" is before all names; fewer
// than limit are the last. The order is the store's own and stays the same; it
// is that of locators unless objects were moved here from another driver. What
// comes and goes meanwhile may be missing or not.
func (p *Plane) Objects(ctx context.Context, store, after string, limit int) ([]fact.Object, error) {
	driver, err := p.store(store)
	if err != nil {
		return nil, err
	}
	walker, ok := storagedriver.Find[storagedriver.Walker](driver)
	if !ok {
		return nil, fmt.Errorf("store %q cannot tell what it has", store)
	}
	found, err := walker.Objects(ctx, after, limit)
	if err != nil {
		return nil, failure("list store "+store, err)
	}
	page := make([]fact.Object, len(found))
	for i, o := range found {
		page[i] = fact.Object(o)
	}
	return page, nil
}
