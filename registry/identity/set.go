package identity

import (
	"fmt"
	"slices"
)

// DigestSet is what one byte sequence is named by: at least one digest, sorted
// by the name of the algorithm, one per algorithm. The nil set names nothing.
// Sets are values: no method changes the set it is called on.
//
// A set that was decoded as a plain array of digests is not a set yet: the
// decoder calls Validate.
type DigestSet []Digest

// NewSet returns the set of the digests, given in any order; a digest may be
// given more than once. The error wraps ErrInvalid if there is none, one is
// zero, or two of them have one algorithm and different sums.
func NewSet(digests ...Digest) (DigestSet, error) {
	s := DigestSet(slices.Clone(digests))
	slices.SortFunc(s, Compare)
	s = slices.Compact(s)
	if err := s.Validate(); err != nil {
		return nil, err
	}
	return s, nil
}

// Validate checks that s is a set: not empty, sorted by the name of the
// algorithm, one digest per algorithm, none of them zero. The error wraps
// ErrInvalid.
func (s DigestSet) Validate() error {
	if len(s) == 0 {
		return fmt.Errorf("%w: empty set", ErrInvalid)
	}
	for i, d := range s {
		switch {
		case d.IsZero():
			return fmt.Errorf("%w: zero digest in a set", ErrInvalid)
		case i > 0 && s[i-1].Algorithm() == d.Algorithm():
			return fmt.Errorf("%w: more than one %s digest in a set", ErrInvalid, d.Algorithm())
		case i > 0 && s[i-1].Algorithm() > d.Algorithm():
			return fmt.Errorf("%w: set is not sorted", ErrInvalid)
		}
	}
	return nil
}

// Primary returns the BLAKE3 digest, or the first if there is none. It is zero
// only for the nil set.
func (s DigestSet) Primary() Digest {
	if d, ok := s.Get(BLAKE3); ok || len(s) == 0 {
		return d
	}
	return s[0]
}

// Get returns the digest of an algorithm, and whether there is one.
func (s DigestSet) Get(a Algorithm) (Digest, bool) {
	for _, d := range s {
		if d.Algorithm() == a {
			return d, true
		}
	}
	return Digest{}, false
}

// Has tells whether d is one of the digests.
func (s DigestSet) Has(d Digest) bool { return slices.Contains(s, d) }

// With returns a new set that has d, in place of another digest of its
// algorithm. A zero d adds nothing.
func (s DigestSet) With(d Digest) DigestSet {
	with := make(DigestSet, 0, len(s)+1)
	for _, other := range s {
		if other.Algorithm() != d.Algorithm() {
			with = append(with, other)
		}
	}
	if !d.IsZero() {
		with = append(with, d)
	}
	slices.SortFunc(with, Compare)
	return with
}

// Equal tells whether both sets have the same digests.
func (s DigestSet) Equal(t DigestSet) bool { return slices.Equal(s, t) }

// Agrees tells whether the sets can name one byte sequence, as far as they
// show: they share a digest, and differ in no algorithm that both have.
func (s DigestSet) Agrees(t DigestSet) bool {
	shared := false
	for _, d := range s {
		other, ok := t.Get(d.Algorithm())
		if ok && other != d {
			return false
		}
		shared = shared || ok
	}
	return shared
}
