package identity

import (
	"crypto/sha256"
	"crypto/sha512"
)

// FromBytes returns the digest of data, which is best small: see Hasher for
// streams. It is zero if the algorithm is not registered.
func FromBytes(a Algorithm, data []byte) Digest {
	switch a {
	case BLAKE3:
		return fromSum(a, sumBLAKE3(data))
	case SHA256:
		sum := sha256.Sum256(data)
		return fromSum(a, sum[:])
	case SHA512:
		sum := sha512.Sum512(data)
		return fromSum(a, sum[:])
	}
	return Digest{}
}

// Of returns what NewHasher(also...) would after one Write of data.
func Of(data []byte, also ...Algorithm) DigestSet {
	algorithms := selected(also)
	set := make(DigestSet, len(algorithms))
	for i, a := range algorithms {
		set[i] = FromBytes(a, data)
	}
	return set
}
