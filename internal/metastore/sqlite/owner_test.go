//go:build linux || darwin

package sqlite_test

import (
	"errors"
	"os"
	"syscall"
	"testing"

	"artifactstore/internal/metastore/sqlite"
)

// TestAReaderLeavesNothingThatKeepsTheOwnerOut: root looks into a store whose
// server, which is somebody else, does not run.
func TestAReaderLeavesNothingThatKeepsTheOwnerOut(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files that others cannot write to")
	}
	db, path := open(t)
	must(t, db.Close())
	const owner = 12345
	must(t, os.Chown(path, owner, owner))
	reader, err := sqlite.Open(t.Context(), path, sqlite.Options{ReadOnly: true})
	must(t, err)
	must(t, reader.Close())
	for _, companion := range []string{path + "-wal", path + "-shm"} {
		info, err := os.Stat(companion)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		must(t, err)
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != owner || stat.Gid != owner {
			t.Errorf("%s belongs to %d:%d", companion, stat.Uid, stat.Gid)
		}
	}
}

// TestAFileThatCannotBeOpenedIsNamed, and not only called a database.
func TestAFileThatCannotBeOpenedIsNamed(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can open everything")
	}
	db, path := open(t)
	must(t, db.Close())
	must(t, os.WriteFile(path+"-shm", nil, 0o400))
	_, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	var named *os.PathError
	if !errors.As(err, &named) || named.Path != path+"-shm" || !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v", err)
	}
}
