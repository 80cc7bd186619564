package storagedriver

import (
	"context"
	"io"
	"time"
)

// Optional abilities of drivers, of stages and of readers. A driver that wraps
// another one has those of the other through Unwrap: ask with Find.

// Find returns the ability T of a driver, or of the driver that it wraps.
func Find[T any](d Driver) (T, bool) {
	for d != nil {
		if ability, ok := d.(T); ok {
			return ability, true
		}
		w, ok := d.(interface{ Unwrap() Driver })
		if !ok {
			break
		}
		d = w.Unwrap()
	}
	var none T
	return none, false
}

// Persistent is an ability of drivers whose staged bytes, once saved, survive
// the machine and are reached from others: nobody needs to read them again
// after a restart, or where another node goes on.
type Persistent interface {
	StagedPersists() bool
}

// Holder is an ability of a Stage that can keep what is not worth a place of
// its own in the store.
type Holder interface {
	// Hold is Save for bytes that are complete, and that this process is going
	// to publish: the state is of no use to another one, which gets
	// ErrNotExist. In this process OpenStaged and Publish take the state as any
	// other. Publish, Discard, and Stage or Resume of this id forget what is
	// held; where none of them comes, Releaser does.
	Hold(ctx context.Context) (state []byte, err error)
}

// Releaser is an ability of every driver whose stages are Holders.
type Releaser interface {
	// Release forgets what this process holds of the staged object id, if
	// anything, and touches nothing that another one can see: the object
	// stands where it was saved last.
	Release(id string)
}

// Sized is an ability of the readers that Driver.Open returns: they know how
// large the whole object is.
type Sized interface {
	ObjectSize() int64 // bytes
}

// Link says what a client may fetch by itself.
type Link struct {
	Locator string
	// Size of the object in bytes.
	Size int64
	// Lifetime is how long the URL is good, from now on.
	Lifetime time.Duration
}

// Linker is an ability of drivers that let clients fetch an object from them.
type Linker interface {
	// Link returns a URL that serves the object to whoever has it, or "" if
	// this object is to be served by us. It does not ask whether the object
	// is there.
	Link(ctx context.Context, l Link) (url string, err error)
}

// Placer is an ability of drivers that can give an object a locator that
// another driver chose, so that a whole store can be moved.
type Placer interface {
	// Place makes an object of the first size bytes of r, durable and visible
	// at the locator when it returns nil; after an error there is nothing, or
	// what was there before. A reader that ends early is io.ErrUnexpectedEOF.
	// It succeeds without reading if an object of this size is there already.
	Place(ctx context.Context, locator string, size int64, r io.Reader) error
}

// Object is what a Walker found.
type Object struct {
	// Name is what the store itself calls it: the name of a file or a key,
	// below the place where the driver keeps objects.
	Name string
	// Locator of the object, "" if the driver did not make what it found, so
	// that no locator leads there.
	Locator string
	// Size in bytes.
	Size int64
	// Modified is when its bytes were stored, as far as the store knows.
	Modified time.Time
}

// Walker is an ability of drivers that can tell which objects they have.
type Walker interface {
	// Objects returns at most limit of the objects that come after a name, in
	// an order of the driver's own that stays the same; "" is before all of
	// them. Fewer than limit are the last. What is published or deleted
	// meanwhile may be missing or not; all else is returned once. It needs
	// memory for limit of them, however many there are, and no object need
	// have the name.
	//
	// Where all objects were published by this driver, the order is the byte
	// order of locators.
	Objects(ctx context.Context, after string, limit int) ([]Object, error)
}
