// Package memory keeps objects in memory, for tests and for looking at what a
// driver has to do. It is as strict as the interface allows: states are checked,
// locators tell nothing of the content.
package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"artifactstore/storagedriver"
)

// Options configure a Driver.
type Options struct {
	// Limit is the number of bytes the store has room for; 0 means no limit.
	// Zeros in long runs take no room.
	Limit int64
}

// Driver keeps objects until it is garbage. It is safe for concurrent use.
type Driver struct {
	store *store
	// held is what only this driver knows of. store.mu guards it.
	held map[string]*content
}

var (
	_ storagedriver.Driver   = (*Driver)(nil)
	_ storagedriver.Lister   = (*Driver)(nil)
	_ storagedriver.Placer   = (*Driver)(nil)
	_ storagedriver.Walker   = (*Driver)(nil)
	_ storagedriver.Owned    = (*Driver)(nil)
	_ storagedriver.Releaser = (*Driver)(nil)
	_ storagedriver.Holder   = (*stage)(nil)
	_ storagedriver.Sized    = (*reader)(nil)
)

// store is what drivers that were opened again share.
type store struct {
	mu      sync.Mutex
	limit   int64
	used    int64
	staged  map[string]*content
	objects map[string]*content
	owner   string
}

// New returns an empty store.
func New(o Options) *Driver {
	return newDriver(&store{
		limit:   o.Limit,
		staged:  map[string]*content{},
		objects: map[string]*content{},
	})
}

func newDriver(s *store) *Driver { return &Driver{store: s, held: map[string]*content{}} }

// Reopen returns another driver of the same store, as another process would.
func (d *Driver) Reopen() *Driver { return newDriver(d.store) }

// Locate returns "objects/<id>".
func (d *Driver) Locate(id, _ string) string { return "objects/" + id }

// Publish moves the bytes from the staged objects to the objects.
func (d *Driver) Publish(ctx context.Context, id string, state []byte, size int64, locator string) error {
	if err := checkPublish(ctx, id, locator, d.Locate(id, "")); err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	s := d.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if have := s.objects[locator]; have != nil && have.size == size {
		s.drop(s.staged, id)
		delete(d.held, id)
		return nil
	}
	if held(state) {
		err := d.publishHeld(id, size, locator)
		if err != nil {
			err = fmt.Errorf("publish %s: %w", id, err)
		}
		return err
	}
	c, err := s.saved(id, state, size)
	if err != nil {
		return fmt.Errorf("publish %s: %w", id, err)
	}
	s.used -= c.cut(size)
	delete(s.staged, id)
	s.drop(s.objects, locator)
	s.objects[locator], c.stored = c, time.Now()
	return nil
}

// publishHeld makes an object of what is held, which took no room so far.
// mu is held.
func (d *Driver) publishHeld(id string, size int64, locator string) error {
	c := d.held[id]
	if c == nil || c.size != size {
		return fmt.Errorf("held object %s: %w", id, storagedriver.ErrNotExist)
	}
	s := d.store
	before := s.staged[id]
	s.drop(s.staged, id)
	if err := s.put(locator, c); err != nil {
		if before != nil {
			s.staged[id], s.used = before, s.used+before.room()
		}
		return err
	}
	delete(d.held, id)
	return nil
}

// put makes an object of content that took no room so far. mu is held.
func (s *store) put(locator string, c *content) error {
	room := c.room()
	if old := s.objects[locator]; old != nil {
		room -= old.room()
	}
	if s.limit > 0 && s.used+room > s.limit {
		return storagedriver.ErrFull
	}
	s.used += room
	s.objects[locator], c.stored = c, time.Now()
	return nil
}

// Place reads everything before it makes the object. Any locator will do.
func (d *Driver) Place(ctx context.Context, locator string, size int64, r io.Reader) error {
	if size < 0 {
		return fmt.Errorf("place %d bytes: %w", size, storagedriver.ErrInvalid)
	}
	have, err := d.object(ctx, locator)
	if err == nil && have.size == size {
		return nil
	}
	if err != nil && !errors.Is(err, storagedriver.ErrNotExist) {
		return fmt.Errorf("place: %w", err)
	}
	c := new(content)
	for buf := make([]byte, pageSize); c.size < size; {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("place %s: %w", locator, err)
		}
		n, err := io.ReadFull(r, buf[:min(pageSize, size-c.size)])
		c.append(buf[:n])
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return fmt.Errorf("place %s: %w", locator, err)
		}
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("place %s: %w", locator, err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if err := d.store.put(locator, c); err != nil {
		return fmt.Errorf("place %s: %w", locator, err)
	}
	return nil
}

func checkPublish(ctx context.Context, id, locator, want string) error {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return err
	}
	if err := check(ctx, id); err != nil {
		return err
	}
	if locator != want {
		return fmt.Errorf("locator %q is not of %s: %w", locator, id, storagedriver.ErrInvalid)
	}
	return nil
}

// drop forgets what a map has under a key. mu is held.
func (s *store) drop(from map[string]*content, key string) {
	if c := from[key]; c != nil {
		s.used -= c.room()
		delete(from, key)
	}
}

// Open reads a snapshot: what happens to the object later does not matter.
func (d *Driver) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	c, err := d.object(ctx, locator)
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	n, err := storagedriver.CheckRange(c.size, offset, length)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", locator, err)
	}
	return &reader{io.NewSectionReader(c, offset, n), c.size}, nil
}

// reader reads a part of an object.
type reader struct {
	io.Reader
	size int64 // of the whole
}

func (r *reader) Close() error { return nil }

// ObjectSize implements storagedriver.Sized.
func (r *reader) ObjectSize() int64 { return r.size }

// Size returns the size of an object.
func (d *Driver) Size(ctx context.Context, locator string) (int64, error) {
	c, err := d.object(ctx, locator)
	if err != nil {
		return 0, fmt.Errorf("size: %w", err)
	}
	return c.size, nil
}

func (d *Driver) object(ctx context.Context, locator string) (*content, error) {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	c := d.store.objects[locator]
	if c == nil {
		return nil, fmt.Errorf("%s: %w", locator, storagedriver.ErrNotExist)
	}
	return c, nil // objects never change
}

// Delete forgets an object.
func (d *Driver) Delete(ctx context.Context, locator string) error {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", locator, err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	d.store.drop(d.store.objects, locator)
	return nil
}

// Health counts bytes against the limit.
func (d *Driver) Health(ctx context.Context) (storagedriver.Health, error) {
	health := storagedriver.Unlimited()
	if err := ctx.Err(); err != nil {
		return health, fmt.Errorf("health: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.store.limit > 0 {
		health.Free, health.Total = max(0, d.store.limit-d.store.used), d.store.limit
	}
	return health, nil
}

// Staged lists the staged objects.
func (d *Driver) Staged(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list staged objects: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	return slices.Sorted(maps.Keys(d.store.staged)), nil
}

// Objects sorts all locators anew for each page.
func (d *Driver) Objects(ctx context.Context, after string, limit int) ([]storagedriver.Object, error) {
	err := ctx.Err()
	if err == nil && limit < 1 {
		err = storagedriver.ErrInvalid
	}
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	var page []storagedriver.Object
	for _, locator := range slices.Sorted(maps.Keys(d.store.objects)) {
		if locator > after && len(page) < limit {
			c := d.store.objects[locator]
			page = append(page, storagedriver.Object{Name: locator, Locator: locator, Size: c.size, Modified: c.stored})
		}
	}
	return page, nil
}

// Owner tells whose the store is.
func (d *Driver) Owner(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("owner: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	return d.store.owner, nil
}

// Own notes whose the store is.
func (d *Driver) Own(ctx context.Context, id, instead string) (string, error) {
	if err := check(ctx, id); err != nil {
		return "", fmt.Errorf("own: %w", err)
	}
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if d.store.owner == "" || d.store.owner == instead {
		d.store.owner = id
	}
	return d.store.owner, nil
}
