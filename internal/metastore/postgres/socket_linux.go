package postgres

import (
	"strings"
	"syscall"
	"time"
)

// userTimeout is how long what was sent may go without an acknowledgement,
// which keepalives do not look at.
const userTimeout = 20 * time.Second

// bindTimeout sets TCP_USER_TIMEOUT, which package syscall has no name for.
func bindTimeout(network, _ string, c syscall.RawConn) error {
	if !strings.HasPrefix(network, "tcp") {
		return nil
	}
	const tcpUserTimeout = 18
	return c.Control(func(fd uintptr) {
		// A kernel that refuses waits as long as it always did.
		_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, tcpUserTimeout, int(userTimeout.Milliseconds()))
	})
}
