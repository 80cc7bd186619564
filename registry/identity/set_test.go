package identity_test

import (
	"errors"
	"testing"

	"artifactstore/registry/identity"
)

var (
	blakeA = identity.FromBytes(identity.BLAKE3, []byte("a"))
	blakeB = identity.FromBytes(identity.BLAKE3, []byte("b"))
	sha2A  = identity.FromBytes(identity.SHA256, []byte("a"))
	sha2B  = identity.FromBytes(identity.SHA256, []byte("b"))
	longA  = identity.FromBytes(identity.SHA512, []byte("a"))
)

func mustSet(t *testing.T, digests ...identity.Digest) identity.DigestSet {
	t.Helper()
	s, err := identity.NewSet(digests...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNewSetSortsAndKeepsOneOfEach(t *testing.T) {
	given := []identity.Digest{longA, sha2A, blakeA, sha2A}
	s := mustSet(t, given...)
	if !s.Equal(identity.DigestSet{blakeA, sha2A, longA}) {
		t.Errorf("set = %s", s)
	}
	if given[0] != longA {
		t.Error("NewSet changed its argument")
	}
	if !s.Equal(identity.Of([]byte("a"), identity.SHA512)) {
		t.Errorf("Of gives another set than %s", s)
	}
}

func TestWhatIsNotASetIsRefused(t *testing.T) {
	for name, digests := range map[string][]identity.Digest{
		"empty":                    {},
		"zero digest":              {blakeA, {}},
		"two sums of an algorithm": {sha2A, blakeA, sha2B},
	} {
		if s, err := identity.NewSet(digests...); !errors.Is(err, identity.ErrInvalid) || s != nil {
			t.Errorf("%s: NewSet = %s, %v", name, s, err)
		}
	}
	for name, s := range map[string]identity.DigestSet{
		"nil":              nil,
		"not sorted":       {sha2A, blakeA},
		"digest twice":     {sha2A, sha2A},
		"zero digest":      {{}, blakeA},
		"algorithm twice":  {sha2A, sha2B},
		"unsorted at last": {blakeA, longA, sha2A},
	} {
		if err := s.Validate(); !errors.Is(err, identity.ErrInvalid) {
			t.Errorf("%s: Validate = %v", name, err)
		}
	}
}

func TestSetAnswersByAlgorithm(t *testing.T) {
	s := mustSet(t, blakeA, sha2A)
	if s.Primary() != blakeA {
		t.Errorf("Primary = %s", s.Primary())
	}
	if d, ok := s.Get(identity.SHA256); !ok || d != sha2A {
		t.Errorf("Get = %s, %v", d, ok)
	}
	if d, ok := s.Get(identity.SHA512); ok || !d.IsZero() {
		t.Errorf("Get of what is not there = %s, %v", d, ok)
	}
	if !s.Has(sha2A) || s.Has(sha2B) || s.Has(longA) || s.Has(identity.Digest{}) {
		t.Error("Has is wrong")
	}
	if without := mustSet(t, longA, sha2A); without.Primary() != sha2A {
		t.Errorf("Primary without BLAKE3 = %s", without.Primary())
	}
	if d := identity.DigestSet(nil).Primary(); !d.IsZero() {
		t.Errorf("Primary of nothing = %s", d)
	}
}

func TestWithReplacesTheDigestOfTheAlgorithm(t *testing.T) {
	s := mustSet(t, blakeA, sha2A)
	for name, test := range map[string]struct {
		with identity.Digest
		want identity.DigestSet
	}{
		"new algorithm":  {longA, identity.DigestSet{blakeA, sha2A, longA}},
		"same digest":    {sha2A, identity.DigestSet{blakeA, sha2A}},
		"another digest": {blakeB, identity.DigestSet{blakeB, sha2A}},
		"zero digest":    {identity.Digest{}, identity.DigestSet{blakeA, sha2A}},
	} {
		if got := s.With(test.with); !got.Equal(test.want) {
			t.Errorf("%s: %s", name, got)
		}
	}
	if !s.Equal(identity.DigestSet{blakeA, sha2A}) {
		t.Errorf("With changed the set to %s", s)
	}
	if got := identity.DigestSet(nil).With(sha2A); !got.Equal(mustSet(t, sha2A)) {
		t.Errorf("nil set with a digest: %s", got)
	}
}

func TestAgrees(t *testing.T) {
	tests := []struct {
		name string
		s, t identity.DigestSet
		want bool
	}{
		{"same", identity.DigestSet{blakeA, sha2A}, identity.DigestSet{blakeA, sha2A}, true},
		{"part", identity.DigestSet{blakeA, sha2A, longA}, identity.DigestSet{sha2A}, true},
		{"overlap", identity.DigestSet{blakeA, sha2A}, identity.DigestSet{sha2A, longA}, true},
		{"nothing shared", identity.DigestSet{blakeA}, identity.DigestSet{sha2A}, false},
		{"one differs", identity.DigestSet{blakeA, sha2A}, identity.DigestSet{blakeA, sha2B}, false},
		{"all differ", identity.DigestSet{blakeA, sha2A}, identity.DigestSet{blakeB, sha2B}, false},
		{"empty", identity.DigestSet{blakeA}, nil, false},
	}
	for _, test := range tests {
		if test.s.Agrees(test.t) != test.want || test.t.Agrees(test.s) != test.want {
			t.Errorf("%s: want %v", test.name, test.want)
		}
	}
}
