package filesystem

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"artifactstore/storagedriver"
)

// placeBuffer is how much Place reads at once.
const placeBuffer = 256 << 10

// Place stages the bytes under an id of its own, and then does what Publish
// does. A crash leaves the staged object, which Staged lists, or the object.
func (d *Driver) Place(ctx context.Context, locator string, size int64, r io.Reader) error {
	if err := checkObject(ctx, locator); err != nil {
		return fmt.Errorf("place: %w", err)
	}
	if size < 0 {
		return fmt.Errorf("place %s with %d bytes: %w", locator, size, storagedriver.ErrInvalid)
	}
	object := Name(locator)
	if info, err := d.tree.Stat(object); err == nil && info.Mode().IsRegular() && info.Size() == size {
		// Whoever placed it may have died before its name was durable.
		return failure("place "+locator, d.tree.Confirm(object))
	}
	var random [16]byte
	rand.Read(random[:]) // never fails: crypto/rand
	id := "place" + hex.EncodeToString(random[:])
	err := d.receive(ctx, id, size, r)
	if err == nil {
		err = d.tree.Publish(staged(id), object)
	}
	if err != nil {
		_ = d.discard(id) // the first error matters more
	}
	if failed, ok := errors.AsType[*readError](err); ok {
		return fmt.Errorf("place %s: read: %w", locator, failed.error)
	}
	return failure("place "+locator, err)
}

// readError is a failure of the reader, which is none of the store's.
type readError struct{ error }

// receive makes a flushed staged file of the first size bytes of r.
func (d *Driver) receive(ctx context.Context, id string, size int64, r io.Reader) error {
	f, err := d.tree.Create(staged(id))
	if err != nil {
		return err
	}
	buf := make([]byte, max(1, min(placeBuffer, size)))
	for left := size; left > 0 && err == nil; {
		var n int
		if n, err = io.ReadFull(r, buf[:min(left, int64(len(buf)))]); errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			err = &readError{err}
		} else {
			_, err = f.Write(buf[:n])
		}
		if err == nil {
			err = ctx.Err()
		}
		left -= int64(n)
	}
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}
