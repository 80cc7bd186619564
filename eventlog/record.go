package eventlog

import (
	"encoding/hex"
	"fmt"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
)

// Hash is a value of the running hash: the BLAKE3 of the previous value (32
// bytes) followed by the record of the event. Before the first event it is
// the BLAKE3 of the log's id.
type Hash [32]byte

// String returns the hash as 64 hex digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// Next returns the running hash after one more record.
func (h Hash) Next(record []byte) Hash {
	data := make([]byte, 0, len(h)+len(record))
	data = append(data, h[:]...)
	return hash(append(data, record...))
}

// Origin returns the head of a log that has no events yet.
func Origin(log string) Head {
	return Head{Log: log, Chain: hash([]byte(log))}
}

// hash returns the BLAKE3 of data.
func hash(data []byte) Hash {
	return Hash(identity.FromBytes(identity.BLAKE3, data).Bytes())
}

// record is the map that Event.Record encodes. Its names are the format: see
// docs/format/events.md.
type record struct {
	ID            string          `cbor:"id"`
	Sequence      uint64          `cbor:"sequence"`
	Time          int64           `cbor:"time"`
	Kind          string          `cbor:"kind"`
	Subject       string          `cbor:"subject"`
	Actor         string          `cbor:"actor"`
	Request       string          `cbor:"request"`
	Payload       []byte          `cbor:"payload"`
	PayloadDigest identity.Digest `cbor:"payloadDigest"`
	PrivateDigest identity.Digest `cbor:"privateDigest"`
}

// Record returns the canonical CBOR of everything in the event that may never
// change: all of it but Private and Chain.
func (e *Event) Record() ([]byte, error) {
	data, err := canon.Marshal(record{
		ID: e.ID, Sequence: uint64(e.Sequence), Time: e.Time, Kind: string(e.Kind),
		Subject: e.Subject, Actor: e.Actor, Request: e.Request,
		Payload: e.Payload, PayloadDigest: e.PayloadDigest, PrivateDigest: e.PrivateDigest,
	})
	if err != nil {
		return nil, fmt.Errorf("encode the record of event %d: %w", e.Sequence, err)
	}
	return data, nil
}

// Seal makes e, of which everything but the sequence, the digests and the
// running hash is set, the event after h, and returns the new head.
func (h Head) Seal(e *Event) (Head, error) {
	e.Sequence = h.Sequence + 1
	e.PayloadDigest = identity.FromBytes(identity.BLAKE3, e.Payload)
	e.PrivateDigest = identity.FromBytes(identity.BLAKE3, e.Private)
	if e.Time < h.Time {
		e.Time = h.Time
	}
	data, err := e.Record()
	if err != nil {
		return h, err
	}
	e.Chain = h.Chain.Next(data)
	return Head{Log: h.Log, Sequence: e.Sequence, Time: e.Time, Chain: e.Chain}, nil
}
