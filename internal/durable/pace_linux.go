package durable

import (
	"errors"
	"os"
	"syscall"
)

const (
	// paceWindow is how many bytes are written before the kernel is told to
	// start putting them on disk.
	paceWindow = 8 << 20
	// paceBehind is how many bytes the disk may be behind before the writer
	// waits for it. Waiting for each window makes it slower than it need be.
	paceBehind = 8 * paceWindow
)

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
	// started is the end of what write-back was started for, settled of what
	// it was waited for.
	started, settled int64
	off              bool
}

// start is told where writing begins; what is before is not this pacer's.
func (p *pacer) start(offset int64) { p.started, p.settled = offset, offset }

// due tells whether a window is complete.
func (p *pacer) due(end int64) bool { return !p.off && end-p.started >= paceWindow }

// wrote starts writing what is before end, and waits for what is far behind.
func (p *pacer) wrote(file *os.File, end int64) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	behind := end - paceBehind
	err = raw.Control(func(fd uintptr) {
		failed = syscall.SyncFileRange(int(fd), p.started, end-p.started, startWrite)
		if failed == nil && behind > p.settled {
			failed = syscall.SyncFileRange(int(fd), p.settled, behind-p.settled, waitBefore|startWrite|waitAfter)
		}
	})
	p.started, p.settled = end, max(p.settled, behind)
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
