// Package storagedriver is the interface between artifactstore and the places
// that keep bytes, for implementers of such places.
//
// A driver keeps objects: immutable byte sequences, each under a locator of its
// own, which the driver chose. It knows nothing of digests' meaning, of
// repositories or of who may read what. Every driver passes the suite in
// package drivertest.
//
// Writing has three steps: Stage creates a staged object, which no reader can
// see; bytes are appended, possibly by several processes one after the other;
// Publish makes it an object, durable and visible, at the locator that Locate
// announced before. The caller remembers ids and locators: a driver is never
// asked what it holds, except by optional abilities.
package storagedriver

import (
	"context"
	"errors"
	"io"
)

// Errors that drivers return, wrapped or not. Any other error is a failure of
// the store, or the context's own.
var (
	// ErrNotExist: no object has this locator, or no staged object this id.
	ErrNotExist = errors.New("object does not exist")
	// ErrFull: the store has no room for more bytes or names.
	ErrFull = errors.New("no space left in the store")
	// ErrBroken: an earlier flush failed, so the store can no longer promise
	// that what it accepts is durable. It takes no more writes until it is
	// opened anew; reading goes on.
	ErrBroken = errors.New("store failed to make bytes durable and takes no more writes")
	// ErrUnavailable: the store cannot be reached now, or has too much to do.
	// What was to be written is not there, or is of no use to anybody; another
	// attempt may succeed.
	ErrUnavailable = errors.New("store cannot be reached now")
	// ErrInvalid: an id or a locator is outside the grammar, or a range
	// outside the object.
	ErrInvalid = errors.New("invalid argument")
)

// Driver keeps objects. Implementations are safe for concurrent use. Every
// method returns soon after its context is cancelled; one whose context is
// cancelled before it starts returns the context's error and changes nothing.
//
// Ids are of the grammar [a-z0-9]{1,64}. Locators are of the grammar
// [a-z0-9-]+(/[a-z0-9-]+)*, at most 255 bytes long. Anything else is ErrInvalid.
type Driver interface {
	// Stage begins the staged object id. If id exists already its bytes are dropped.
	Stage(ctx context.Context, id string) (Stage, error)

	// Resume reopens the staged object id at offset bytes, in the state that
	// Stage.Save returned at that offset. Bytes beyond offset are dropped.
	// ErrNotExist if it is gone or shorter than offset.
	Resume(ctx context.Context, id string, state []byte, offset int64) (Stage, error)

	// OpenStaged reads the first size bytes of the staged object, to hash
	// them again. state is what Save returned at that size. ErrNotExist if it
	// is gone or shorter than size.
	OpenStaged(ctx context.Context, id string, state []byte, size int64) (io.ReadCloser, error)

	// Discard removes the staged object id and all that it left behind; what
	// was published stays. It succeeds if nothing is there. state may be any
	// that Save returned, or nil. A discarded staged object may come back
	// after a power cut: Lister is for that.
	Discard(ctx context.Context, id string, state []byte) error

	// Locate returns the locator at which Publish will put the staged object
	// id whose content has the given BLAKE3 digest (64 hex digits). It is
	// pure: the same arguments give the same locator, another id gives
	// another one, and no locator is a folder of another. It ends with the id,
	// after a '/' or a '-', so that who finds the object knows whose it was.
	Locate(id, blake3 string) string

	// Publish makes the first size bytes of the staged object visible at a
	// locator that Locate returned for id. When it returns nil the object and
	// its name are durable, and the staged object is gone. Publishing what is
	// published at this locator already succeeds. ErrNotExist if the staged
	// object is gone or shorter than size. No Stage of this id may be open.
	// state is what Save returned at that size.
	Publish(ctx context.Context, id string, state []byte, size int64, locator string) error

	// Open reads length bytes from offset of an object; length -1 means to
	// the end. A range outside the object is ErrInvalid. The reader is the
	// caller's to close. Where the object is a file, the reader is an
	// *os.File positioned at offset, so that it can be sent without copying;
	// it goes on beyond length, so the caller reads no more than length.
	Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error)

	// Size returns the size of an object in bytes.
	Size(ctx context.Context, locator string) (int64, error)

	// Delete removes an object. It succeeds if the object is gone already.
	// When it returns nil, the deletion is durable. A reader that is open
	// either reads on to the right end or fails.
	Delete(ctx context.Context, locator string) error

	// Health reports whether the store works and how much room it has. Its
	// error says why the store takes no more writes.
	Health(ctx context.Context) (Health, error)
}

// Stage is an open staged object. It has one user at a time.
type Stage interface {
	// Write appends bytes. After an error nothing more is accepted and Save
	// fails: the staged object stands where it was saved before, and Resume
	// there drops the rest.
	io.Writer
	// Save makes what was written so far known to Resume in another process,
	// and returns the driver's state. It promises to survive a crash of the
	// process, not of the machine.
	Save(ctx context.Context) (state []byte, err error)
	// Close releases the stage. It discards nothing. What was saved before an
	// error of Close may be lost.
	Close() error
}

// Health is the state of a store. Numbers are -1 where the store knows no limit.
type Health struct {
	// Free and Total are in bytes.
	Free, Total int64
	// FreeFiles and TotalFiles count what else can run out: names, inodes.
	FreeFiles, TotalFiles int64
}

// Unlimited is the health of a store without known limits.
func Unlimited() Health { return Health{Free: -1, Total: -1, FreeFiles: -1, TotalFiles: -1} }

// Lister is an optional ability: a driver that can name its staged objects,
// and whatever else of them a crash left behind. Those of which another process
// has saved nothing, and left nothing behind, may be missing.
type Lister interface {
	// Staged returns the ids of all staged objects, in byte order.
	Staged(ctx context.Context) ([]string, error)
}
