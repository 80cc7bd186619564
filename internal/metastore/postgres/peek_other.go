//go:build !unix

package postgres

import "net"

// peek cannot tell here; the next statement will.
func peek(net.Conn) (open, arrived bool) { return true, false }
