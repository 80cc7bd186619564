package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"artifactstore/storagedriver"
)

// Open returns the object's *os.File, positioned at offset.
func (d *Driver) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	f, size, err := d.open(ctx, locator)
	if err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	if _, err = storagedriver.CheckRange(size, offset, length); err == nil && offset > 0 {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", locator, err), f.Close())
	}
	return f, nil
}

// Size asks the file system.
func (d *Driver) Size(ctx context.Context, locator string) (int64, error) {
	if err := checkObject(ctx, locator); err != nil {
		return 0, fmt.Errorf("size of object: %w", err)
	}
	info, err := d.tree.Stat(Name(locator))
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return 0, failure("size of "+locator, err)
	}
	return info.Size(), nil
}

// open opens an object's file and tells its size.
func (d *Driver) open(ctx context.Context, locator string) (*os.File, int64, error) {
	if err := checkObject(ctx, locator); err != nil {
		return nil, 0, err
	}
	return d.openFile(Name(locator))
}

// openFile opens what Stat says is a file. A link to one may lead anywhere, and
// opening a pipe would wait for who writes to it.
func (d *Driver) openFile(name string) (*os.File, int64, error) {
	info, err := d.tree.Stat(name)
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, 0, failure(name, err)
	}
	f, err := d.tree.Open(name)
	if err != nil {
		return nil, 0, failure(name, err)
	}
	info, err = f.Stat()
	if err == nil {
		err = regular(info)
	}
	if err != nil {
		return nil, 0, errors.Join(failure(name, err), f.Close())
	}
	return f, info.Size(), nil
}

// checkObject is what every method on an object begins with.
func checkObject(ctx context.Context, locator string) error {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return err
	}
	return ctx.Err()
}

// regular refuses what this driver never made.
func regular(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return fs.ErrNotExist
	}
	return nil
}

// OpenStaged reads the beginning of staging/<id>.
func (d *Driver) OpenStaged(ctx context.Context, id string, _ []byte, size int64) (io.ReadCloser, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("open staged object: %w", err)
	}
	f, have, err := d.openFile(staged(id))
	if err != nil {
		return nil, fmt.Errorf("open staged object: %w", err)
	}
	if have < size {
		err := fmt.Errorf("staged object %s has %d of %d bytes: %w", id, have, size, storagedriver.ErrNotExist)
		return nil, errors.Join(err, f.Close())
	}
	return prefix{io.LimitReader(f, size), f}, nil
}

// prefix reads the beginning of a file.
type prefix struct {
	io.Reader
	io.Closer
}
