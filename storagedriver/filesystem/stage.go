package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"artifactstore/internal/durable"
	"artifactstore/storagedriver"
)

// Stage makes the file staging/<id>.
func (d *Driver) Stage(ctx context.Context, id string) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("stage: %w", err)
	}
	f, err := d.tree.Create(staged(id))
	if err != nil {
		return nil, failure("stage "+id, err)
	}
	return &stage{id: id, file: f}, nil
}

// Resume opens staging/<id> again. The driver has no state of its own: the
// file is the state.
func (d *Driver) Resume(ctx context.Context, id string, _ []byte, offset int64) (storagedriver.Stage, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("resume: %w", err)
	}
	if offset < 0 {
		return nil, fmt.Errorf("resume %s at %d: %w", id, offset, storagedriver.ErrInvalid)
	}
	f, err := d.tree.Append(staged(id), offset)
	if err != nil {
		return nil, failure("resume "+id, err)
	}
	return &stage{id: id, file: f}, nil
}

// Discard removes staging/<id>.
func (d *Driver) Discard(ctx context.Context, id string, _ []byte) error {
	if err := check(ctx, id); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	return failure("discard "+id, d.discard(id))
}

func (d *Driver) discard(id string) error {
	if err := d.tree.Remove(staged(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// check is what every method on a staged object begins with.
func check(ctx context.Context, id string) error {
	if err := storagedriver.CheckID(id); err != nil {
		return err
	}
	return ctx.Err()
}

// stage is an open staged object.
type stage struct {
	id   string
	file *durable.File
}

func (s *stage) Write(p []byte) (int, error) {
	n, err := s.file.Write(p)
	return n, failure("stage "+s.id, err)
}

// Save has nothing to tell: bytes are in the file as soon as they are written.
func (s *stage) Save(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("save %s: %w", s.id, err)
	}
	return nil, failure("save "+s.id, s.file.Settle())
}

func (s *stage) Close() error { return failure("close "+s.id, s.file.Close()) }
