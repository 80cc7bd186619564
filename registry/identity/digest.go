// Package identity names byte sequences.
//
// A byte sequence is named by its digests, written "algorithm:hex" in lower
// case. One sequence has a set of them: BLAKE3 is the primary name, SHA-256 is
// always present beside it, and further algorithms (SHA-512) join when a client
// asks. All are computed in one read by Hasher.
//
// The forms that are stored and sent are described in docs/format/digests.md.
package identity

import (
	"cmp"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
)

var (
	// ErrInvalid: a text or a sum is not a canonical digest, or digests do
	// not make a set. Every refusal of this package but ErrState wraps it.
	ErrInvalid = errors.New("invalid digest")
	// ErrUnsupported: the digest is well formed, but its algorithm is not
	// registered. It wraps ErrInvalid.
	ErrUnsupported = fmt.Errorf("%w: unsupported algorithm", ErrInvalid)
)

// longest is the length of the longest digest, a SHA-512.
const longest = len(SHA512) + 1 + 2*64

// Digest is one canonical digest. Digests are comparable, and usable as map
// keys; the zero Digest names nothing (IsZero). Values come from Parse, New, a
// hash function or a Hasher only, so a Digest that is not zero is always
// canonical.
type Digest struct{ text string }

// Parse reads "algorithm:hex". It accepts the canonical form alone: the name
// of a registered algorithm, one colon, and the whole sum in lower case hex.
// The error wraps ErrInvalid, and ErrUnsupported if s is a digest by the OCI
// grammar with the name of an algorithm that is not registered.
func Parse(s string) (Digest, error) { return parse(s, Algorithm.validate) }

// parse reads a digest whose part after the colon is checked by validate.
func parse(s string, validate func(a Algorithm, encoded string) error) (Digest, error) {
	name, encoded, _ := strings.Cut(s, ":")
	a := Algorithm(name)
	if !a.Registered() {
		if isAlgorithmName(name) && isEncoded(encoded) {
			return Digest{}, fmt.Errorf("%w in %s", ErrUnsupported, excerpt(s))
		}
		return Digest{}, fmt.Errorf("%w %s", ErrInvalid, excerpt(s))
	}
	if err := validate(a, encoded); err != nil {
		return Digest{}, fmt.Errorf("%w %s: %w", ErrInvalid, excerpt(s), err)
	}
	return Digest{s}, nil
}

// MustParse is Parse for constants and tests: it panics on an error.
func MustParse(s string) Digest {
	d, err := Parse(s)
	if err != nil {
		panic(err)
	}
	return d
}

// New returns the digest with the given sum. The error wraps ErrInvalid if the
// length of the sum is not that of the algorithm, ErrUnsupported if the
// algorithm is not registered.
func New(a Algorithm, sum []byte) (Digest, error) {
	if _, err := ParseAlgorithm(string(a)); err != nil {
		return Digest{}, err
	}
	if len(sum) != a.Size() {
		return Digest{}, fmt.Errorf("%w: %s sum of %d bytes", ErrInvalid, a, len(sum))
	}
	return fromSum(a, sum), nil
}

// fromSum is New for sums that are known to be right.
func fromSum(a Algorithm, sum []byte) Digest {
	var text [longest]byte
	head := append(append(text[:0], a...), ':')
	return Digest{string(hex.AppendEncode(head, sum))}
}

// String returns "algorithm:hex", or "" for the zero Digest.
func (d Digest) String() string { return d.text }

// Algorithm returns the part before the colon, or "" for the zero Digest.
func (d Digest) Algorithm() Algorithm {
	name, _, _ := strings.Cut(d.text, ":")
	return Algorithm(name)
}

// Hex returns the part after the colon, or "" for the zero Digest.
func (d Digest) Hex() string {
	_, encoded, _ := strings.Cut(d.text, ":")
	return encoded
}

// Bytes returns the sum, or nil for the zero Digest.
func (d Digest) Bytes() []byte {
	sum, err := hex.DecodeString(d.Hex())
	if err != nil || len(sum) == 0 {
		return nil // the zero Digest: any other is canonical
	}
	return sum
}

// IsZero tells whether d names nothing.
func (d Digest) IsZero() bool { return d.text == "" }

// OCI returns d as a value of opencontainers/go-digest, and false if that
// package does not know the algorithm (BLAKE3) or d is zero.
func (d Digest) OCI() (digest.Digest, bool) {
	converted, err := digest.Parse(d.text)
	return converted, err == nil
}

// MarshalText returns String. The zero Digest becomes the empty text.
func (d Digest) MarshalText() ([]byte, error) { return []byte(d.text), nil }

// UnmarshalText accepts what Parse does, and the empty text for the zero Digest.
// It leaves d alone on an error.
//
// It is what records are decoded with, by the hundred thousand when the log is
// replayed, and so does without go-digest, whose regular expressions take six
// times as long. A fuzz test holds the two to the same answers.
func (d *Digest) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*d = Digest{}
		return nil
	}
	parsed, err := parse(string(text), Algorithm.validateHex)
	if err != nil {
		return err
	}
	*d = parsed
	return nil
}

// Compare orders digests by the name of the algorithm, then by sum; the zero
// Digest is first. The result is that of strings.Compare.
func Compare(a, b Digest) int {
	return cmp.Or(
		strings.Compare(string(a.Algorithm()), string(b.Algorithm())),
		strings.Compare(a.text, b.text),
	)
}

// validate checks what follows the colon: by go-digest where it knows the
// algorithm, by the same rule where it does not.
func (a Algorithm) validate(encoded string) error {
	if oci := digest.Algorithm(a); oci.Available() {
		return oci.Validate(encoded)
	}
	return a.validateHex(encoded)
}

// validateHex checks that encoded is a whole sum in lower case hex. Its errors
// are those of go-digest.
func (a Algorithm) validateHex(encoded string) error {
	if len(encoded) != hex.EncodedLen(a.Size()) {
		return digest.ErrDigestInvalidLength
	}
	for i := range len(encoded) {
		c := encoded[i]
		if ('0' > c || c > '9') && ('a' > c || c > 'f') {
			return digest.ErrDigestInvalidFormat
		}
	}
	return nil
}

// isEncoded matches [a-zA-Z0-9=_-]+, what the OCI image specification
// (descriptor.md, "Digests") allows after the colon for any algorithm.
func isEncoded(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
		if !letter && ('0' > c || c > '9') && c != '=' && c != '_' && c != '-' {
			return false
		}
	}
	return s != ""
}

// excerpt quotes s for an error, cut so that input without end does not make a
// message without end.
func excerpt(s string) string {
	if len(s) > longest {
		return fmt.Sprintf("%q...", s[:longest])
	}
	return fmt.Sprintf("%q", s)
}
