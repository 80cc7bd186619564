package sqlite

import (
	"errors"
	"syscall"

	"github.com/ncruces/go-sqlite3"
	"github.com/ncruces/go-sqlite3/util/vfsutil"
	"github.com/ncruces/go-sqlite3/vfs"
)

// fullVFS is the operating system's VFS, except that it tells a full disk from
// a broken one: the driver's own looks for ENOSPC in an error that wraps it,
// finds none, and reports every write that fails as an I/O error.
//
// Only writes are told apart. A flush that fails for want of room may have
// lost what was accepted before, which is worse than a full disk.
type fullVFS struct{ vfs.VFS }

// fullName is the name of fullVFS in the driver's table. Registering it again
// changes nothing.
const fullName = "artifactstore"

func registerVFS() { vfs.Register(fullName, fullVFS{vfs.Find("os")}) }

func (v fullVFS) Open(name string, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpen(v.VFS, name, flags)
	return tellFull(f), flags, err
}

// OpenFilename implements vfs.VFSFilename, which the driver prefers.
func (v fullVFS) OpenFilename(name *vfs.Filename, flags vfs.OpenFlag) (vfs.File, vfs.OpenFlag, error) {
	f, flags, err := vfsutil.WrapOpenFilename(v.VFS, name, flags)
	return tellFull(f), flags, err
}

func tellFull(f vfs.File) vfs.File {
	if f == nil {
		return nil
	}
	return fullFile{f}
}

// fullFile forwards the abilities of a file that this package relies on.
type fullFile struct{ vfs.File }

func (f fullFile) WriteAt(p []byte, off int64) (int, error) {
	n, err := f.File.WriteAt(p, off)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		err = vfs.SystemError(err, sqlite3.FULL)
	}
	return n, err
}

func (f fullFile) SharedMemory() vfs.SharedMemory { return vfsutil.WrapSharedMemory(f.File) }
func (f fullFile) LockState() vfs.LockLevel       { return vfsutil.WrapLockState(f.File) }
func (f fullFile) PersistWAL() bool               { return vfsutil.WrapPersistWAL(f.File) }
func (f fullFile) SetPersistWAL(keep bool)        { vfsutil.WrapSetPersistWAL(f.File, keep) }
func (f fullFile) PowersafeOverwrite() bool       { return vfsutil.WrapPowersafeOverwrite(f.File) }
func (f fullFile) SetPowersafeOverwrite(on bool)  { vfsutil.WrapSetPowersafeOverwrite(f.File, on) }
