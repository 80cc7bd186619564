package durable

import (
	"errors"
	"os"
	"syscall"
)

// paceWindow is how many bytes are written before the kernel is told to start
// putting them on disk.
const paceWindow = 8 << 20

// Flags of sync_file_range(2).
const (
	waitBefore = 1
	startWrite = 2
	waitAfter  = 4
)

// pacer lets the kernel write while bytes still arrive, so that the flush at
// the end finds little left to do, and a fast sender cannot fill the page cache
// with bytes that only that flush would write. It promises nothing: the flush does.
type pacer struct {
	// done is the end of what write-back was started for; the window before
	// it begins at from.
	from, done int64
	off        bool
}

// start is told where writing begins; what is before is not this pacer's.
func (p *pacer) start(offset int64) { p.from, p.done = offset, offset }

// wrote is told the new end of the file. When a window is complete it starts
// writing it, and waits for the one before.
func (p *pacer) wrote(file *os.File, end int64) error {
	if p.off || end-p.done < paceWindow {
		return nil
	}
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SyncFileRange(int(fd), p.done, end-p.done, startWrite)
		if failed == nil && p.done > p.from {
			failed = syscall.SyncFileRange(int(fd), p.from, p.done-p.from, waitBefore|startWrite|waitAfter)
		}
	})
	p.from, p.done = p.done, end
	if unsupported(failed) {
		p.off, failed = true, nil
	}
	return errors.Join(err, failed)
}

// unsupported tells that the file system has no such call; the flush at the
// end then does all the work.
func unsupported(err error) bool {
	return errors.Is(err, syscall.ENOSYS) || errors.Is(err, syscall.EINVAL) ||
		errors.Is(err, syscall.ESPIPE) || errors.Is(err, syscall.EOPNOTSUPP)
}
