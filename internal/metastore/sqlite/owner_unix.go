//go:build linux || darwin

package sqlite

import (
	"os"
	"syscall"
)

// keepOwner gives the companions of a file, which a reader makes if nobody else
// has it open, to the owner of the file: left to root they would keep the server
// from opening it. SQLite's own library does the same. For others than root
// there is nothing to do.
func keepOwner(path string) {
	if os.Geteuid() != 0 {
		return
	}
	owner, ok := owns(path)
	if !ok {
		return
	}
	for _, companion := range companions(path) {
		if has, ok := owns(companion); ok && has != owner {
			_ = os.Lchown(companion, owner.uid, owner.gid) // who needs it will say so
		}
	}
}

type ids struct{ uid, gid int }

func owns(path string) (ids, bool) {
	info, err := os.Lstat(path)
	if err != nil {
		return ids{}, false
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return ids{}, false
	}
	return ids{int(stat.Uid), int(stat.Gid)}, true
}
