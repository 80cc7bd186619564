package identity

import "fmt"

// Algorithm is the registered name of a digest algorithm, of the grammar
// [a-z][a-z0-9_-]*.
type Algorithm string

// The registered algorithms.
const (
	BLAKE3 Algorithm = "blake3" // primary
	SHA256 Algorithm = "sha256" // always computed
	SHA512 Algorithm = "sha512" // computed when asked for
)

// registry is the fixed table of algorithms, sorted by name. Whether a name is
// an algorithm must not differ between two processes that share a store, so
// nothing can be added while a process runs.
var registry = [...]struct {
	name Algorithm
	size int // bytes of a sum
}{
	{BLAKE3, 32},
	{SHA256, 32},
	{SHA512, 64},
}

// Algorithms returns the registered algorithms, sorted by name.
func Algorithms() []Algorithm {
	names := make([]Algorithm, len(registry))
	for i, entry := range registry {
		names[i] = entry.name
	}
	return names
}

// ParseAlgorithm returns the registered algorithm of that name. The error wraps
// ErrInvalid, and ErrUnsupported if the name is well formed.
func ParseAlgorithm(name string) (Algorithm, error) {
	switch a := Algorithm(name); {
	case a.Registered():
		return a, nil
	case !isAlgorithmName(name):
		return "", fmt.Errorf("%w: algorithm %s", ErrInvalid, excerpt(name))
	default:
		return "", fmt.Errorf("%w %s", ErrUnsupported, excerpt(name))
	}
}

// Registered tells whether digests of this algorithm exist.
func (a Algorithm) Registered() bool { return a.Size() > 0 }

// Size returns the length of a sum in bytes, or 0 if a is not registered.
func (a Algorithm) Size() int {
	for _, entry := range registry {
		if entry.name == a {
			return entry.size
		}
	}
	return 0
}

// isAlgorithmName matches [a-z][a-z0-9_-]*.
func isAlgorithmName(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := 'a' <= c && c <= 'z'
		later := '0' <= c && c <= '9' || c == '_' || c == '-'
		if !letter && (i == 0 || !later) {
			return false
		}
	}
	return s != ""
}
