package durable

import "os"

// syncFolder does nothing: Windows has no flush of a folder, its file system
// keeps a journal of names.
func syncFolder(*os.File) error { return nil }
