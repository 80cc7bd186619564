package fact

import (
	"errors"
	"time"

	"artifactstore/registry/identity"
)

// Content is the store of small byte sequences that live in the ledger's own
// database, as the content row of the event that stored them.
const Content = "content"

// Receipt says where the bytes of a stored sequence are.
type Receipt struct {
	// Store is Content, or the logical name of a store that the
	// configuration maps to a storage driver.
	Store string `cbor:"store"`
	// Locator names the object in that store; empty for Content.
	Locator string `cbor:"locator,omitempty"`
}

// Staged is a byte sequence on its way in: what must be remembered so that
// another process can go on with it. It is plain data, persisted as CBOR in
// an upload session's row.
type Staged struct {
	// ID names the staged object in its store, of the grammar [a-z0-9]+.
	ID string `cbor:"id"`
	// Store is where the object is being written; empty while all bytes are in Inline.
	Store string `cbor:"store,omitempty"`
	// Offset is the number of bytes accepted so far.
	Offset int64 `cbor:"offset"`
	// Inline holds the bytes while they are few enough to live in a content row.
	Inline []byte `cbor:"inline,omitempty"`
	// Driver is the storage driver's own state of the staged object.
	Driver []byte `cbor:"driver,omitempty"`
	// Hash is the saved state of the identity.Hasher over the first Offset bytes.
	Hash []byte `cbor:"hash,omitempty"`
	// Boot identifies the run of the machine in which the bytes were written.
	// After another boot they are read again before they are trusted.
	Boot string `cbor:"boot,omitempty"`
	// Locator is where Publish puts the object, once Seal has decided it.
	Locator string `cbor:"locator,omitempty"`
	// Last: the next Ingest brings the last bytes, and the same process seals
	// and publishes them. It is not remembered.
	Last bool `cbor:"-"`
	// Held: Driver is the state of bytes that only this process has, until it
	// publishes or releases them. It is not remembered: to another process the
	// state is one of bytes that are gone.
	Held bool `cbor:"-"`
}

// Sealed is a byte sequence that is complete and hashed, but not yet part of
// any state.
type Sealed struct {
	Digests identity.DigestSet
	Size    int64
	Receipt Receipt
	// Inline holds the bytes if Receipt.Store is Content, else nil.
	Inline []byte
}

// Object is what a store says it has, whether or not anything names it.
type Object struct {
	// Name is what the store calls it: of a file or a key. Pages of a listing
	// begin after one.
	Name string
	// Locator is that of a receipt, "" if no receipt leads to what was found:
	// it is none of this store's making.
	Locator string
	Size    int64 // bytes
	// Modified is when the bytes were stored, by the clock of the store.
	Modified time.Time
}

// ErrGone: the bytes that a receipt names are not there, or not all of them.
var ErrGone = errors.New("stored bytes are missing or damaged")

// ErrFull: there is no room for more bytes; pushes are refused until there is.
var ErrFull = errors.New("storage is full")

// ErrUnavailable: a database or a store cannot be reached now. Nothing was
// changed, and it is worth trying again.
var ErrUnavailable = errors.New("the storage cannot be reached now")

// ErrUnusable: the ledger waits for something that its operator has begun, or has
// to do. Nothing was changed.
var ErrUnusable = errors.New("the store cannot be used now")

// ErrBroken: an earlier write could not be made durable; nothing more is taken
// in until the server is restarted.
var ErrBroken = errors.New("storage failed to make bytes durable")
