// Package eventlog is the append-only log that is the only truth of
// artifactstore: what an event is, how its bytes are chained, and how the log
// is read, verified and followed. It knows nothing of artifacts.
//
// A log is a sequence of events 1, 2, 3, ... without gaps. Every event has a
// canonical record, and a running hash covers all records up to it, so that a
// changed, dropped, reordered or cut event shows. docs/format/events.md gives
// the bytes.
package eventlog

import (
	"context"

	"artifactstore/registry/identity"
)

// Sequence is the position of an event in its log. The first event is 1, and
// there are no gaps: the order of sequences is the order of commits.
type Sequence uint64

// Kind is a versioned slug such as "v1.blob.stored".
type Kind string

// Event is one fact of the log.
//
// Its record (Event.Record) is the canonical CBOR of everything but Private,
// which the record carries only as PrivateDigest: the private part can be
// erased and the chain still holds.
type Event struct {
	// ID is 32 hex digits, random, unique: it tells whether a commit whose
	// answer was lost took place.
	ID       string
	Sequence Sequence
	// Time is in microseconds since 1970 UTC, never less than that of the
	// event before.
	Time int64
	Kind Kind
	// Subject is what the event is about, for people and filters.
	Subject string
	// Actor is an opaque id: "anonymous", "system", or an account's id.
	Actor string
	// Request is the id of the request that caused the event; may be empty.
	Request string
	// Payload is canonical CBOR, PayloadDigest its BLAKE3.
	Payload       []byte
	PayloadDigest identity.Digest
	// Private is canonical CBOR of Private; empty if it was erased.
	// PrivateDigest is its BLAKE3.
	Private       []byte
	PrivateDigest identity.Digest
	// Chain is the running hash of the log up to and including this event.
	Chain Hash
}

// Private is the erasable part of an event.
type Private struct {
	// Salt is 16 random bytes, so that PrivateDigest tells nothing of a short reason.
	Salt   []byte `cbor:"salt"`
	Reason string `cbor:"reason,omitempty"`
}

// Head is the end of a log.
type Head struct {
	// Log is the random id of this log, 32 hex digits.
	Log      string
	Sequence Sequence
	// Time is that of the last event, 0 in an empty log.
	Time  int64
	Chain Hash
}

// Reader reads a log. It is safe for concurrent use.
type Reader interface {
	// Head returns the end of the log.
	Head(ctx context.Context) (Head, error)
	// Read returns at most limit events after a sequence, in order, without
	// holes. An empty result means that there are none yet. A page is also
	// bounded by PageBytes, but has at least one event if there is one.
	Read(ctx context.Context, after Sequence, limit int) ([]Event, error)
	// Wait returns when the log has an event after a sequence, or with the
	// context's error.
	Wait(ctx context.Context, after Sequence) error
}

// PageBytes bounds the payloads and private parts of one page of Reader.Read:
// no event is added once they amount to it.
const PageBytes = 4 << 20
