package storagedriver

import (
	"fmt"
	"strings"
)

const (
	maxID      = 64
	maxLocator = 255
	lower      = "abcdefghijklmnopqrstuvwxyz0123456789"
)

// CheckID returns an error that wraps ErrInvalid unless id is of the grammar
// [a-z0-9]{1,64}.
func CheckID(id string) error {
	if id == "" || len(id) > maxID || !consists(id, lower) {
		return fmt.Errorf("staged object id %q: %w", shown(id), ErrInvalid)
	}
	return nil
}

// CheckLocator returns an error that wraps ErrInvalid unless locator is of the
// grammar [a-z0-9-]+(/[a-z0-9-]+)* and at most 255 bytes long.
func CheckLocator(locator string) error {
	if len(locator) > maxLocator {
		return fmt.Errorf("locator %q: %w", shown(locator), ErrInvalid)
	}
	for part := range strings.SplitSeq(locator, "/") {
		if part == "" || !consists(part, lower+"-") {
			return fmt.Errorf("locator %q: %w", shown(locator), ErrInvalid)
		}
	}
	return nil
}

// CheckRange returns an error that wraps ErrInvalid unless length bytes from
// offset lie within size bytes; a length of -1 means to the end. It returns
// the length that is meant.
func CheckRange(size, offset, length int64) (int64, error) {
	if offset < 0 || offset > size || length < -1 || length > size-offset {
		return 0, fmt.Errorf("range of %d bytes from %d in %d bytes: %w", length, offset, size, ErrInvalid)
	}
	if length == -1 {
		return size - offset, nil
	}
	return length, nil
}

func consists(s, of string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune(of, r) }) < 0
}

// shown cuts what goes into an error text.
func shown(s string) string {
	if len(s) > maxID {
		return s[:maxID]
	}
	return s
}
