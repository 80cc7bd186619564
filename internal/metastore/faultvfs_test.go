package metastore_test

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"

	"artifactstore/internal/metastore"
)

// disk stands between SQLite and the operating system: it counts flushes, sees
// whether a commit was flushed before it was answered, and fails on request.
type disk struct {
	name string

	mu      sync.Mutex
	flushes int // of the WAL
	pending int // writes to the WAL since its last flush
	failAt  int // the n-th write, flush or truncation from now on fails; 0: none
	failed  string
	cause   error // EIO, ENOSPC
	sticky  bool  // so does every later one
}

var disks atomic.Int64

func newDisk(t *testing.T) *disk {
	d := &disk{name: fmt.Sprintf("disk%d", disks.Add(1))}
	vfs.Register(d.name, d)
	t.Cleanup(func() { vfs.Unregister(d.name) })
	return d
}

// createOn makes a store on a disk.
func createOn(t *testing.T, d *disk) *store { return create(t, metastore.Options{VFS: d.name}) }

// fail makes the n-th operation from now on fail, and all later ones if sticky.
func (d *disk) fail(n int, sticky bool, cause error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.failAt, d.sticky, d.failed, d.cause = n, sticky, "", cause
}

// state returns the flushes so far and the writes that are not flushed.
func (d *disk) state() (flushes, pending int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.flushes, d.pending
}

// step counts an operation and decides whether it fails.
func (d *disk) step(what string) error {
	switch {
	case d.failAt == 0:
		return nil
	case d.failAt > 1:
		d.failAt--
		return nil
	}
	if d.failed == "" {
		d.failed = what
	}
	if !d.sticky {
		d.failAt = 0
	}
	return d.cause
}

func (d *disk) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpen(vfs.Find("os"), name, flags)
	return d.wrap(f, name), flags, err
}

func (d *disk) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(vfs.Find("os"), name, flags)
	return d.wrap(f, name.String()), flags, err
}

func (d *disk) wrap(f vfs.File, name string) vfs.File {
	if f == nil {
		return nil
	}
	return &diskFile{File: f, disk: d, wal: strings.HasSuffix(name, "-wal")}
}

func (d *disk) Delete(name string, sync bool) error { return vfs.Find("os").Delete(name, sync) }
func (d *disk) Access(name string, flags vfs.AccessFlag) (bool, error) {
	return vfs.Find("os").Access(name, flags)
}
func (d *disk) FullPathname(name string) (string, error) { return vfs.Find("os").FullPathname(name) }

type diskFile struct {
	vfs.File
	disk *disk
	wal  bool
}

func (f *diskFile) what(operation string) string {
	if f.wal {
		return operation + " the WAL"
	}
	return operation + " the database"
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(f.what("write")); err != nil {
		if err == syscall.ENOSPC {
			return 0, vfs.SystemError(err, uint8(13)) // SQLITE_FULL, as the driver says it
		}
		return 0, err
	}
	if f.wal {
		f.disk.pending++
	}
	return f.File.WriteAt(p, off)
}

func (f *diskFile) Sync(flags vfs.SyncFlag) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(f.what("flush")); err != nil {
		return err
	}
	if f.wal {
		f.disk.flushes++
		f.disk.pending = 0
	}
	return f.File.Sync(flags)
}

func (f *diskFile) Truncate(size int64) error {
	f.disk.mu.Lock()
	defer f.disk.mu.Unlock()
	if err := f.disk.step(f.what("truncate")); err != nil {
		return err
	}
	return f.File.Truncate(size)
}

func (f *diskFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f *diskFile) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f *diskFile) PersistWAL() bool               { return vfsutil.WrapPersistWAL(f.File) }
func (f *diskFile) SetPersistWAL(keep bool)        { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f *diskFile) PowersafeOverwrite() bool       { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f *diskFile) SetPowersafeOverwrite(on bool)  { vfsutil.WrapSetPowersafeOverwrite(f.File, on) }
