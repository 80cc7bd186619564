package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"artifactstore/internal/durable"
)

// The names in a data folder.
const (
	databaseName = "artifactstore.db"
	storeName    = "store"
	lockName     = "lock"
	idName       = "id" // of the folder, where the database is elsewhere
)

// folder is a data folder.
type folder struct{ path string }

func (f folder) database() string { return filepath.Join(f.path, databaseName) }
func (f folder) store() string    { return filepath.Join(f.path, storeName) }

// restrict makes all files of this process unreadable for others, and
// read-only for the group. It comes before the first file is made: SQLite
// gives its write-ahead log the mode 0644 whatever the database's own mode is.
func restrict() { syscall.Umask(0o027) }

// make makes the data folder, and the folders above it, if it is missing.
func (f folder) make() error {
	tree, err := durable.Open(f.path, durable.Options{})
	if err != nil {
		return fmt.Errorf("make data folder: %w", f.owned(err))
	}
	return tree.Close()
}

// owned adds to an error for want of permission what the operator can do.
func (f folder) owned(err error) error {
	if !errors.Is(err, os.ErrPermission) {
		return err
	}
	user, group := os.Getuid(), os.Getgid()
	if _, missing := os.Stat(f.path); errors.Is(missing, os.ErrNotExist) {
		return fmt.Errorf("%w; make it as root, for the user that this runs as: install -d -o %d -g %d %s", err, user, group, f.path)
	}
	return fmt.Errorf("%w; %s and everything in it must belong to the user that this runs as: chown -R %d:%d %[2]s", err, f.path, user, group)
}

// vacant makes sure that the folder holds a store or nothing, so that a copy is
// not mixed with what is somebody else's. The folder may be missing; the root of
// a disk may have the folder in which its check keeps what it found.
func (f folder) vacant() error {
	if _, err := os.Stat(f.database()); err == nil {
		return nil
	}
	entries, err := os.ReadDir(f.path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == storeName, name == lockName, name == idName, name == "lost+found":
		default:
			return fmt.Errorf("%s holds no store, but other things such as %s: name a folder that is empty, or that is not there yet", f.path, name)
		}
	}
	return nil
}

// toRead adds to the error of a database that could not be opened to be read
// what the operator can do about it, if it is for want of permission: SQLite
// writes beside what it reads. The owner must not be changed for that.
func (f folder) toRead(err error) error {
	for _, path := range f.files() {
		switch denied := syscall.Access(path, mayReadAndWrite); denied {
		case syscall.EACCES:
			return fmt.Errorf("%w; who looks into the store must be able to write %s, too: run this as the user that it belongs to, or as root", err, path)
		case syscall.EROFS:
			return fmt.Errorf("%w; who looks into the store must be able to write %s, too, which is read-only: look into a copy", err, path)
		}
	}
	return err
}

// toWrite is toRead for a database that could not be opened to be written: it
// must belong to whoever does.
func (f folder) toWrite(err error) error {
	for _, path := range f.files() {
		if denied := syscall.Access(path, mayReadAndWrite); errors.Is(denied, os.ErrPermission) {
			return fmt.Errorf("%w: %w", err, f.owned(&os.PathError{Op: "write", Path: path, Err: denied}))
		}
	}
	return err
}

// files are the folder and the files that SQLite writes in it.
func (f folder) files() []string {
	return []string{f.path, f.database(), f.database() + "-wal", f.database() + "-shm"}
}

// mayReadAndWrite is R_OK | W_OK of access(2).
const mayReadAndWrite = 6

// existing returns the data folder, which must hold a store.
func existing(path string) (folder, error) {
	f := folder{path}
	_, err := os.Stat(f.database())
	if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return folder{}, fmt.Errorf("there is no store in %s: name its folder with --data (serve makes a new store)", path)
	}
	if errors.Is(err, os.ErrPermission) {
		err = fmt.Errorf("%w; run this as the user that the store belongs to, or as root", err)
	}
	return f, err
}

// errInUse: another process holds the lock of a data folder.
var errInUse = errors.New("is in use")

// lock takes the exclusive lock of the data folder, which it does not make;
// whoever writes to the folder holds it. The lock is the kernel's (flock) and
// ends with the process. The file says who holds it, and stays.
func (f folder) lock() (unlock func() error, err error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return nil, fmt.Errorf("open data folder: %w", err)
	}
	file, err := root.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o640)
	err = errors.Join(err, root.Close())
	if err != nil {
		return nil, fmt.Errorf("open lock of data folder: %w", f.owned(err))
	}
	if err := f.claim(file); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file.Close, nil
}

// claim locks the open lock file and writes our process id into it.
func (f folder) claim(file *os.File) error {
	err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return fmt.Errorf("data folder %s %w by %s: stop that first, or use another folder", f.path, errInUse, holder(file))
	}
	if err != nil {
		return fmt.Errorf("lock data folder %s: %w", f.path, err)
	}
	if err := file.Truncate(0); err != nil {
		return fmt.Errorf("write lock of data folder: %w", err)
	}
	if _, err := fmt.Fprintln(file, os.Getpid()); err != nil {
		return fmt.Errorf("write lock of data folder: %w", err)
	}
	return nil
}

// holder names the process that holds the lock, as far as the file tells: it
// is empty for the moment in which the holder has just taken it.
func holder(file *os.File) string {
	text, err := io.ReadAll(io.LimitReader(file, 32))
	if pid := strings.TrimSpace(string(text)); err == nil && pid != "" {
		return "process " + pid
	}
	return "another process"
}
