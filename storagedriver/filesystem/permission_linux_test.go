package filesystem_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

// unprivileged makes the test one of a user who may not do everything, and who
// has the folder.
func unprivileged(t *testing.T, dir string) {
	t.Helper()
	if os.Geteuid() != 0 {
		return
	}
	const nobody = 65534
	must(t, filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Chown(name, nobody, nobody))
	}))
	runtime.LockOSThread() // until the goroutine ends, and the thread with it
	must(t, syscall.Setfsuid(nobody))
	t.Cleanup(func() { must(t, syscall.Setfsuid(0)) })
}

// closed is a store of an object, and folders and a file that cannot be opened.
func closed(t *testing.T) (d *filesystem.Driver, locator string) {
	t.Helper()
	dir := t.TempDir()
	d = open(t, dir, nil)
	must(t, put(t.Context(), d, "one", "abc"))
	locator = d.Locate("one", blake3)
	must(t, put(t.Context(), d, "two", "abc"))
	for _, shard := range []string{"00/00", "00/aa", "ff/00"} {
		must(t, os.MkdirAll(filepath.Join(dir, "objects", shard), 0o700))
		must(t, os.Chmod(filepath.Join(dir, "objects", shard), 0))
	}
	must(t, os.Chmod(filepath.Join(dir, "objects", d.Locate("two", blake3)), 0))
	unprivileged(t, dir)
	return d, locator
}

// A page opens the folders from the one on where it begins, and no others.
func TestAPageBeginsInTheRightFolder(t *testing.T) {
	d, locator := closed(t)
	page, err := d.Objects(t.Context(), "00/ab", 1)
	if err != nil || len(page) != 1 || page[0].Locator != locator {
		t.Errorf("Objects after 00/ab: %v, %v", page, err)
	}
}

// What must not be read is there all the same.
func TestNoPermissionIsNoMissingObject(t *testing.T) {
	d, _ := closed(t)
	ctx := t.Context()
	_, fromStart := d.Objects(ctx, "", 10)
	_, fromOne := d.Objects(ctx, "00/ab/g", 10)
	_, file := d.Open(ctx, d.Locate("two", blake3), 0, -1)
	_, folder := d.Open(ctx, d.Locate("any", "00aa"+blake3[4:]), 0, -1)
	_, size := d.Size(ctx, d.Locate("any", "00aa"+blake3[4:]))
	for what, err := range map[string]error{
		"Objects": fromStart, "Objects after 00/ab": fromOne, "Open": file, "Open in a folder": folder, "Size in a folder": size,
		"Delete in a folder": d.Delete(ctx, d.Locate("any", "00aa"+blake3[4:])),
	} {
		if !errors.Is(err, fs.ErrPermission) || errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
