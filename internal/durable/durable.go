// Package durable writes files so that they survive a power cut.
//
// A Tree is a folder tree below one os.Root: nothing outside it can be reached,
// whatever a name says. Files are made under a temporary name, flushed, and
// then renamed; a rename is durable once the folder is flushed, and a folder
// once its parent is. Publish does all of that.
//
// A failed flush is never repeated: the kernel reports it once and may have
// dropped the bytes, so a second flush would succeed and lie. The file is
// removed, and the Tree refuses all further writes with ErrBroken until it is
// opened anew. A flush that fails because the disk is full spoils only its file.
package durable

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
)

// The modes of what a Tree makes, before the process's umask.
const (
	FolderMode fs.FileMode = 0o750
	FileMode   fs.FileMode = 0o640
)

var (
	// ErrBroken: an earlier flush failed and nothing is written any more.
	ErrBroken = errors.New("an earlier flush failed")
	// ErrReadOnly: the tree was opened for reading.
	ErrReadOnly = errors.New("opened for reading only")
)

// Op names an operation on the file system that a Fault can make fail.
type Op string

// The operations.
const (
	OpMkdir     Op = "mkdir"
	OpCreate    Op = "create"
	OpWrite     Op = "write"
	OpWriteBack Op = "writeback"
	OpTruncate  Op = "truncate"
	OpSync      Op = "sync"
	OpClose     Op = "close"
	OpRename    Op = "rename"
	OpSyncDir   Op = "syncdir"
	OpRemove    Op = "remove"
)

// Fault is asked before every operation that changes something. If it returns
// an error the operation is not done and fails with it, except that half of a
// write is done. It is for tests, and is called concurrently.
type Fault func(op Op, name string) error

// Options configure a Tree.
type Options struct {
	// Fault may be nil.
	Fault Fault
	// ReadOnly makes nothing and refuses all that changes something with
	// ErrReadOnly: for a tree that another process may be writing to.
	ReadOnly bool
}

// Tree is a folder tree. It is safe for concurrent use. Names are slash
// separated and relative to its root.
type Tree struct {
	root     *os.Root
	fault    Fault
	readOnly bool
	// broken is the first failed flush.
	broken atomic.Pointer[error]
	// known holds the folders whose names this process made durable.
	known sync.Map
}

// Open opens the tree below dir, and makes dir durably if it is missing.
func Open(dir string, o Options) (*Tree, error) {
	if !o.ReadOnly {
		if err := makeRoot(filepath.Clean(dir)); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &Tree{root: root, fault: o.Fault, readOnly: o.ReadOnly}, nil
}

// makeRoot makes dir and its missing parents. The parent is flushed also if
// dir exists: an earlier process may have died between the two.
func makeRoot(dir string) error {
	err := os.Mkdir(dir, FolderMode)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(dir) != dir {
		if err := makeRoot(filepath.Dir(dir)); err != nil {
			return err
		}
		err = os.Mkdir(dir, FolderMode)
	}
	existed := errors.Is(err, fs.ErrExist)
	if err != nil && !existed {
		return err
	}
	parent, err := os.Open(filepath.Dir(dir))
	if err != nil {
		if existed { // a parent that this user may not open is not of its making
			return nil
		}
		return err
	}
	return errors.Join(syncFolder(parent), parent.Close())
}

// Close releases the tree. Files that are open stay open.
func (t *Tree) Close() error { return t.root.Close() }

// Err returns nil, or an error that wraps ErrBroken and the failed flush.
func (t *Tree) Err() error {
	if cause := t.broken.Load(); cause != nil {
		return fmt.Errorf("%w: %w", ErrBroken, *cause)
	}
	return nil
}

// latch remembers a failed flush for ever.
func (t *Tree) latch(cause error) { t.broken.CompareAndSwap(nil, &cause) }

// begin is called before every operation that changes something.
func (t *Tree) begin(op Op, name string) error {
	if t.readOnly {
		return &fs.PathError{Op: string(op), Path: name, Err: ErrReadOnly}
	}
	if t.fault == nil {
		return nil
	}
	if err := t.fault(op, name); err != nil {
		return &fs.PathError{Op: string(op), Path: name, Err: err}
	}
	return nil
}

// MakeDir makes a folder and its parents, all durably.
//
// A folder that exists may be of another's making, who has not flushed its
// parent yet or died before. So each process flushes the parent once itself.
func (t *Tree) MakeDir(name string) error {
	if _, ok := t.known.Load(name); ok {
		return nil
	}
	parent := path.Dir(name)
	if parent != "." {
		if err := t.MakeDir(parent); err != nil {
			return err
		}
	}
	if err := t.writable(OpMkdir, name); err != nil {
		return err
	}
	if err := t.root.Mkdir(name, FolderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := t.SyncDir(parent); err != nil {
		return err
	}
	t.known.Store(name, struct{}{})
	return nil
}

// writable is begin for operations that a broken tree refuses.
func (t *Tree) writable(op Op, name string) error {
	if err := t.Err(); err != nil {
		return err
	}
	return t.begin(op, name)
}

// SyncDir makes the names in a folder durable. When it fails the tree is broken.
func (t *Tree) SyncDir(name string) error {
	if t.readOnly {
		return &fs.PathError{Op: string(OpSyncDir), Path: name, Err: ErrReadOnly}
	}
	if err := t.Err(); err != nil {
		return err
	}
	dir, err := t.root.Open(name)
	if err != nil {
		return err
	}
	if err = t.begin(OpSyncDir, name); err == nil {
		err = syncFolder(dir)
	}
	if err != nil {
		t.latch(err)
	}
	return errors.Join(err, dir.Close())
}

// Publish renames a flushed file, makes the folders that the new name needs,
// and returns when the new name is durable. A file that has the name already
// is replaced.
//
// If the last flush fails the file is removed: nobody was told of it, and a
// later flush could claim what is not so.
func (t *Tree) Publish(from, to string) error {
	folder := path.Dir(to)
	if err := t.MakeDir(folder); err != nil {
		return err
	}
	if err := t.writable(OpRename, from); err != nil {
		return err
	}
	if err := t.root.Rename(from, to); err != nil {
		return err
	}
	if err := t.SyncDir(folder); err != nil {
		_ = t.Remove(to) // the flush's error matters more
		return err
	}
	return nil
}

// Confirm makes the name of a file that was published before durable, in case
// that was cut short.
func (t *Tree) Confirm(name string) error {
	folder := path.Dir(name)
	if err := t.MakeDir(folder); err != nil {
		return err
	}
	return t.SyncDir(folder)
}

// WriteFile makes a small file, durably and whole.
func (t *Tree) WriteFile(name string, data []byte) error {
	f, err := t.Create(name + ".new")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return t.Publish(name+".new", name)
}

// Remove removes a file or an empty folder. It works in a broken tree as well,
// and promises nothing about a power cut.
func (t *Tree) Remove(name string) error {
	if err := t.begin(OpRemove, name); err != nil {
		return err
	}
	return t.root.Remove(name)
}

// Erase removes a file for ever: when it returns nil a power cut does not
// bring it back. It succeeds if the file, or its folder, is gone already.
func (t *Tree) Erase(name string) error {
	if err := t.Err(); err != nil {
		return err
	}
	if err := t.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := t.SyncDir(path.Dir(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Open opens a file or folder for reading.
func (t *Tree) Open(name string) (*os.File, error) { return t.root.Open(name) }

// Stat describes a file or folder, or a link itself.
func (t *Tree) Stat(name string) (fs.FileInfo, error) { return t.root.Lstat(name) }

// Full tells whether an error means that the disk, or a quota of it, is full.
func Full(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
