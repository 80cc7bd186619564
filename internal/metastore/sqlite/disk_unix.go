//go:build linux || darwin

package sqlite

import (
	"os"
	"syscall"
)

// diskSize is the size of the disk that a file is on, 0 if the system does not
// tell.
func diskSize(path string) int64 {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return 0
	}
	return int64(stat.Blocks) * int64(stat.Bsize)
}

// giveAway gives the companions of a database to its owner, as SQLite's own VFS
// does and the driver's does not, where the system lets it. Only root makes files
// in the folders of others; what it leaves there, also by reading, would keep the
// owner from the database.
func giveAway(path string) {
	var owner syscall.Stat_t
	if os.Geteuid() != 0 || syscall.Stat(path, &owner) != nil || owner.Uid == 0 {
		return
	}
	for _, companion := range []string{path + "-wal", path + "-shm"} {
		_ = os.Lchown(companion, int(owner.Uid), int(owner.Gid)) // it may not be there
	}
}
