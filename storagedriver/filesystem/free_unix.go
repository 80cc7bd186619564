//go:build linux || darwin

package filesystem

import (
	"os"
	"syscall"

	"artifactstore/storagedriver"
)

// free asks the file system of a folder for its room, as far as an
// unprivileged process may use it.
func free(folder *os.File) (storagedriver.Health, error) {
	health := storagedriver.Unlimited()
	raw, err := folder.SyscallConn()
	if err != nil {
		return health, err
	}
	var stat syscall.Statfs_t
	var failed error
	if err := raw.Control(func(fd uintptr) { failed = syscall.Fstatfs(int(fd), &stat) }); err != nil {
		return health, err
	}
	if failed != nil {
		return health, os.NewSyscallError("fstatfs", failed)
	}
	block := int64(stat.Bsize)
	health.Free, health.Total = int64(stat.Bavail)*block, int64(stat.Blocks)*block
	if stat.Files > 0 { // file systems without a table of inodes say 0
		health.FreeFiles, health.TotalFiles = int64(stat.Ffree), int64(stat.Files)
	}
	return health, nil
}
