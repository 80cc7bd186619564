// Package filesystem keeps objects as files below one folder of a local file
// system. docs/format/layout.md describes the folder and what a crash leaves
// in it.
//
//	layout                          one line, the version of this layout
//	owner                           one line, whose objects these are
//	staging/<id>                    staged objects
//	objects/<ab>/<cd>/<blake3>-<id> objects; ab and cd are the first digits
//	objects/foreign/<ab>/<cd>/<...> objects whose locators another driver chose
//
// The driver needs the folder to itself, one process at a time, but for those
// that only read; who opens it sees to that. All access goes through an os.Root.
package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"syscall"

	"artifactstore/internal/durable"
	"artifactstore/storagedriver"
)

const (
	stagingFolder = "staging"
	objectsFolder = "objects"
	foreignFolder = "foreign"
	layoutFile    = "layout"
	layoutText    = "artifactstore filesystem layout 1\n"
)

// Options configure a Driver.
type Options struct {
	// Fault is asked before every operation that changes the file system, and
	// makes it fail with its error. It is for tests; nil is no fault.
	Fault durable.Fault
	// ReadOnly opens a store that is there already, also beside the process
	// that owns it: nothing is made or changed, and every write fails with
	// durable.ErrReadOnly.
	ReadOnly bool
}

// Driver keeps objects in a folder. It is safe for concurrent use.
//
// After a flush failed it takes no more writes (storagedriver.ErrBroken) until
// it is opened anew. Bytes are flushed by Publish; Save leaves them to the
// kernel, where they survive the process but not the machine.
type Driver struct{ tree *durable.Tree }

var (
	_ storagedriver.Driver = (*Driver)(nil)
	_ storagedriver.Lister = (*Driver)(nil)
	_ storagedriver.Placer = (*Driver)(nil)
	_ storagedriver.Walker = (*Driver)(nil)
	_ storagedriver.Owned  = (*Driver)(nil)
)

// Open opens the store below dir, and makes it if dir is missing or empty. It
// refuses a folder with a layout of another version, and, if it is opened
// ReadOnly, one without a layout.
func Open(dir string, o Options) (*Driver, error) {
	tree, err := durable.Open(dir, durable.Options{Fault: o.Fault, ReadOnly: o.ReadOnly})
	if err != nil {
		return nil, fmt.Errorf("open store: %w", err)
	}
	ready := prepare
	if o.ReadOnly {
		ready = verify
	}
	if err := ready(tree); err != nil {
		return nil, errors.Join(fmt.Errorf("open store %s: %w", dir, err), tree.Close())
	}
	return &Driver{tree}, nil
}

// prepare makes what every store has. The layout file comes last: a folder
// that has it has the rest.
func prepare(tree *durable.Tree) error {
	for _, folder := range []string{stagingFolder, objectsFolder} {
		if err := tree.MakeDir(folder); err != nil {
			return err
		}
	}
	err := verify(tree)
	if errors.Is(err, fs.ErrNotExist) {
		return tree.WriteFile(layoutFile, []byte(layoutText))
	}
	return err
}

// verify looks at the layout file.
func verify(tree *durable.Tree) error {
	f, err := tree.Open(layoutFile)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(f, int64(len(layoutText))+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if string(text) != layoutText {
		return fmt.Errorf("unknown layout %.64q; this version reads %q", text, layoutText)
	}
	return nil
}

// Close releases the folder. Readers that are open stay open.
func (d *Driver) Close() error { return d.tree.Close() }

// Locate returns "<ab>/<cd>/<blake3>-<id>".
func (d *Driver) Locate(id, blake3 string) string {
	return blake3[:2] + "/" + blake3[2:4] + "/" + blake3 + "-" + id
}

// Publish flushes the staged file, renames it, and flushes the folder. A
// staged file that could not be flushed is gone, since a second flush would
// claim what is not so.
func (d *Driver) Publish(ctx context.Context, id string, _ []byte, size int64, locator string) error {
	object, err := published(id, locator)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", id, err)
	}
	if info, err := d.tree.Stat(object); err == nil && info.Mode().IsRegular() && info.Size() == size {
		return d.confirm(id, object)
	}
	if err := d.flush(id, size); err != nil {
		return failure("publish "+id, err)
	}
	if err := d.tree.Publish(staged(id), object); err != nil {
		return failure("publish "+id, err)
	}
	return nil
}

// confirm ends a Publish that was cut short after its rename.
func (d *Driver) confirm(id, object string) error {
	err := d.tree.Confirm(object)
	if err == nil {
		err = d.discard(id)
	}
	return failure("publish "+id, err)
}

// flush makes the staged bytes durable, and the file size bytes long.
func (d *Driver) flush(id string, size int64) error {
	f, err := d.tree.Append(staged(id), size)
	if err != nil {
		return err
	}
	err = f.Sync()
	return errors.Join(err, f.Close())
}

// Delete removes the object's file and flushes its folder.
func (d *Driver) Delete(ctx context.Context, locator string) error {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("delete %s: %w", locator, err)
	}
	return failure("delete "+locator, d.tree.Erase(Name(locator)))
}

// Health reports the free space of the file system that holds the folder.
func (d *Driver) Health(ctx context.Context) (storagedriver.Health, error) {
	if err := ctx.Err(); err != nil {
		return storagedriver.Unlimited(), fmt.Errorf("health: %w", err)
	}
	root, err := d.tree.Open(".")
	if err != nil {
		return storagedriver.Unlimited(), failure("health", err)
	}
	health, err := free(root)
	return health, failure("health", errors.Join(d.tree.Err(), err, root.Close()))
}

// Staged lists the staging folder. Names that no staged object has are left out.
func (d *Driver) Staged(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list staged objects: %w", err)
	}
	folder, err := d.tree.Open(stagingFolder)
	if err != nil {
		return nil, failure("list staged objects", err)
	}
	names, err := folder.Readdirnames(-1)
	if err = errors.Join(err, folder.Close()); err != nil {
		return nil, failure("list staged objects", err)
	}
	names = slices.DeleteFunc(names, func(name string) bool { return storagedriver.CheckID(name) != nil })
	slices.Sort(names)
	return names, nil
}

// failure gives an error of the file system the meaning that the interface
// has for it.
func failure(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, durable.ErrBroken):
		return fmt.Errorf("%s: %w: %w", doing, storagedriver.ErrBroken, err)
	case durable.Full(err):
		return fmt.Errorf("%s: %w: %w", doing, storagedriver.ErrFull, err)
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%s: %w", doing, storagedriver.ErrNotExist)
	default:
		return fmt.Errorf("%s: %w", doing, err)
	}
}
