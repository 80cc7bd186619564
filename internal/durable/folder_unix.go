//go:build !windows

package durable

import "os"

// syncFolder flushes the names in a folder.
func syncFolder(dir *os.File) error { return dir.Sync() }
