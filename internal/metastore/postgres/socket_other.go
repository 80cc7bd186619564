//go:build !linux

package postgres

import "syscall"

// bindTimeout leaves sockets as they are.
func bindTimeout(string, string, syscall.RawConn) error { return nil }
