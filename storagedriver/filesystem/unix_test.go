//go:build unix

package filesystem_test

import (
	"syscall"
	"testing"
)

var errFull error = syscall.ENOSPC

// blocks returns how many bytes of disk a file takes.
func blocks(t *testing.T, name string) int64 {
	t.Helper()
	var stat syscall.Stat_t
	if err := syscall.Stat(name, &stat); err != nil {
		t.Fatal(err)
	}
	return stat.Blocks * 512
}
