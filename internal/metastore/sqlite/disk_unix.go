//go:build linux || darwin

package sqlite

import "syscall"

// diskSize is the size of the disk that a file is on, 0 if the system does not
// tell.
func diskSize(path string) int64 {
	var stat syscall.Statfs_t
	if err := syscall.Statfs(path, &stat); err != nil {
		return 0
	}
	return int64(stat.Blocks) * int64(stat.Bsize)
}
