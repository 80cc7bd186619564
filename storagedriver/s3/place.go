package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"artifactstore/storagedriver"
)

// Place streams an object to a locator of any driver's. What an earlier try
// left of a multipart upload is aborted first.
func (d *Driver) Place(ctx context.Context, locator string, size int64, r io.Reader) error {
	err := checkLocator(ctx, locator)
	if err == nil && size < 0 {
		err = storagedriver.ErrInvalid
	}
	if err == nil {
		err = d.place(ctx, d.objectKey(locator), size, r)
	}
	if err != nil {
		return fmt.Errorf("place %s: %w", locator, err)
	}
	return nil
}

func (d *Driver) place(ctx context.Context, key string, size int64, r io.Reader) error {
	have, err := d.size(ctx, key)
	if err == nil && have == size {
		return nil
	}
	if err != nil && !gone(err) {
		return err
	}
	if size > d.options.PartSize {
		return d.placeParts(ctx, key, size, r)
	}
	b, err := d.fill(r, size)
	if err != nil {
		return err
	}
	defer b.free()
	return d.putObject(ctx, key, b.reader(size), false)
}

// fill reads so many bytes into a buffer.
func (d *Driver) fill(r io.Reader, size int64) (*buffer, error) {
	b, err := d.pool.buffer(d.spools(size))
	if err != nil {
		return nil, err
	}
	n, err := io.CopyN(b, r, size)
	if n < size && errors.Is(err, io.EOF) {
		err = fmt.Errorf("%d of %d bytes: %w", n, size, io.ErrUnexpectedEOF)
	}
	if err != nil {
		b.free()
		return nil, err
	}
	return b, nil
}

func (d *Driver) placeParts(ctx context.Context, key string, size int64, r io.Reader) error {
	if err := d.abort(ctx, key); err != nil {
		return err
	}
	id, err := d.create(ctx, key, random())
	if err != nil {
		return err
	}
	parts, err := d.sendAll(ctx, upload{key, id}, size, r)
	if err == nil {
		err = d.finish(ctx, upload{key, id}, parts, size, false)
	}
	if err != nil {
		left := d.abort(context.WithoutCancel(ctx), key)
		return errors.Join(err, left)
	}
	return nil
}

// sendAll sends size bytes in parts, several at once. After an error it waits
// for the parts that are being sent: one that is cut off may still arrive
// after the upload was aborted.
func (d *Driver) sendAll(ctx context.Context, u upload, size int64, r io.Reader) ([]part, error) {
	var (
		mu      sync.Mutex
		parts   []part
		failed  error
		flights sync.WaitGroup
		room    = make(chan struct{}, d.options.Concurrency)
	)
	note := func(p part, err error) {
		mu.Lock()
		defer mu.Unlock()
		if err == nil {
			parts = append(parts, p)
		} else if failed == nil {
			failed = err
		}
	}
	fine := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return failed == nil
	}
	for offset, number := int64(0), 1; offset < size && fine(); number++ {
		room <- struct{}{}
		b, err := d.fill(r, min(partSize(d.options.PartSize, offset), size-offset))
		if err != nil {
			note(part{}, err)
			break
		}
		offset += b.size
		flights.Go(func() {
			note(d.send(ctx, u.key, u.id, number, b.reader(b.size)))
			b.free()
			<-room
		})
	}
	flights.Wait()
	slices.SortFunc(parts, func(a, b part) int { return a.number - b.number })
	return parts, failed
}
