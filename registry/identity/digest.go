// Package identity names byte sequences.
//
// A byte sequence is named by its digests, written "algorithm:hex" in lower
// case. One sequence has a set of them: BLAKE3 is the primary name, SHA-256 is
// always present beside it, and further algorithms (SHA-512) join when a client
// asks. All are computed in one read by Hasher.
package identity

// Algorithm is the registered name of a digest algorithm, of the grammar
// [a-z][a-z0-9_-]*.
type Algorithm string

// The registered algorithms.
const (
	BLAKE3 Algorithm = "blake3" // primary
	SHA256 Algorithm = "sha256" // always computed
	SHA512 Algorithm = "sha512" // computed when asked for
)

// Digest is one canonical digest. Digests are comparable, and usable as map
// keys; the zero Digest names nothing (IsZero). Values come from Parse, New or
// a Hasher only, so a Digest that is not zero is always canonical.
type Digest struct{ text string }
