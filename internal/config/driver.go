package config

import (
	"fmt"
	"math"
	"strings"
)

// DatabaseDriver names a database.
type DatabaseDriver string

// The databases.
const (
	OnSQLite     DatabaseDriver = "sqlite"
	OnPostgreSQL DatabaseDriver = "postgres"
)

// MarshalText returns the database's name.
func (d DatabaseDriver) MarshalText() ([]byte, error) { return []byte(d), nil }

// UnmarshalText reads a database's name.
func (d *DatabaseDriver) UnmarshalText(text []byte) error {
	return choose(d, text, "a database; write sqlite or postgres", OnSQLite, OnPostgreSQL)
}

// StorageDriver names a place for bytes.
type StorageDriver string

// The places.
const (
	InFilesystem StorageDriver = "filesystem"
	InS3         StorageDriver = "s3"
	InMemory     StorageDriver = "memory"
)

// MarshalText returns the place's name.
func (d StorageDriver) MarshalText() ([]byte, error) { return []byte(d), nil }

// UnmarshalText reads a place's name.
func (d *StorageDriver) UnmarshalText(text []byte) error {
	return choose(d, text, "a place for bytes; write filesystem, s3 or memory", InFilesystem, InS3, InMemory)
}

// Encryption is what S3 is asked to encrypt objects with.
type Encryption string

// The kinds of encryption, in the words of S3's own header.
const (
	Unasked Encryption = ""
	AES256  Encryption = "AES256"
	KMS     Encryption = "aws:kms"
)

// MarshalText returns the kind's name.
func (e Encryption) MarshalText() ([]byte, error) { return []byte(e), nil }

// UnmarshalText reads a kind's name.
func (e *Encryption) UnmarshalText(text []byte) error {
	return choose(e, text, `an encryption; write AES256, aws:kms or ""`, Unasked, AES256, KMS)
}

// Redirect is the size in bytes from which on a blob is served by a redirect. Its
// text is never, always, or above and a Size.
type Redirect int64

// Redirect at no size, and at every size: there is nothing to fetch of an empty blob.
const (
	Never  Redirect = 0
	Always Redirect = 1
)

const above = "above "

// Applies tells whether a blob of that size is served by a redirect.
func (r Redirect) Applies(size int64) bool { return r != Never && size >= int64(r) }

// MarshalText returns the redirect as text.
func (r Redirect) MarshalText() ([]byte, error) {
	switch r {
	case Never:
		return []byte("never"), nil
	case Always:
		return []byte("always"), nil
	}
	size, err := Size(r - 1).MarshalText()
	return append([]byte(above), size...), err
}

// UnmarshalText reads what MarshalText writes.
func (r *Redirect) UnmarshalText(text []byte) error {
	switch string(text) {
	case "never":
		*r = Never
		return nil
	case "always":
		*r = Always
		return nil
	}
	var size Size
	number, ok := strings.CutPrefix(string(text), above)
	if err := size.UnmarshalText([]byte(number)); err != nil || !ok || size == math.MaxInt64 {
		return fmt.Errorf("%q does not say when to redirect; write never, always or above a size, such as above 1MiB", text)
	}
	*r = Redirect(size) + 1
	return nil
}
