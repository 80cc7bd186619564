//go:build unix

package postgres

import (
	"errors"
	"net"
	"syscall"
)

// peek tells whether the other side of a connection has not ended it, and
// whether something has arrived. It takes nothing of it, and does not wait, not
// even for a goroutine that is reading: pgx leaves one behind when a write was slow.
func peek(c net.Conn) (open, arrived bool) {
	if secured, ok := c.(interface{ NetConn() net.Conn }); ok {
		c = secured.NetConn()
	}
	socket, ok := c.(syscall.Conn)
	if !ok {
		return true, false
	}
	raw, err := socket.SyscallConn()
	if err != nil {
		return false, false
	}
	var n int
	var failed error
	err = raw.Control(func(fd uintptr) { // Read would wait for its turn
		var one [1]byte
		n, _, failed = syscall.Recvfrom(int(fd), one[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
	})
	return err == nil && (n > 0 || errors.Is(failed, syscall.EAGAIN)), n > 0
}
