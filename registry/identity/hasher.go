package identity

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"hash"
	"slices"
	"sync"
)

// parallelWrite is the length from which a Write is worth starting goroutines
// for. Waking another core takes about 50 us in a virtual machine: measured
// with one free, 128 KiB are hashed 10 % slower than in one goroutine, 256 KiB
// 7 % faster, 512 KiB 50 % and 1 MiB 60 %.
const parallelWrite = 256 << 10

// Hasher computes the digests of a stream in one read: BLAKE3 and SHA-256, and
// further algorithms when asked. The zero Hasher is NewHasher().
//
// A Write of 256 KiB or more hashes with each algorithm in a goroutine of its
// own, and waits for all of them before it returns. While a core is free, a
// stream written in pieces of 1 MiB takes as long as by its slowest algorithm
// alone.
// A Hasher holds no resource that must be released, and takes 16 KiB of memory
// from the first byte on.
//
// One goroutine at a time may use a Hasher.
type Hasher struct {
	blake3 blake3
	sha256 resumable
	sha512 resumable // nil unless asked for
}

// resumable is what the hashes of the standard library are documented to be.
type resumable interface {
	hash.Hash
	encoding.BinaryAppender
	encoding.BinaryUnmarshaler
}

// NewHasher returns a Hasher of nothing, which computes BLAKE3, SHA-256 and the
// given algorithms. Names that are not registered are left out.
func NewHasher(also ...Algorithm) *Hasher {
	h := new(Hasher)
	h.init()
	if slices.Contains(also, SHA512) {
		h.sha512 = newSHA512()
	}
	return h
}

// The assertions hold by the documentation of crypto/sha256 and crypto/sha512.
func newSHA256() resumable { return sha256.New().(resumable) }
func newSHA512() resumable { return sha512.New().(resumable) }

// init makes the zero Hasher usable.
func (h *Hasher) init() {
	if h.sha256 == nil {
		h.sha256 = newSHA256()
	}
}

// selected returns the algorithms of NewHasher(also...), sorted by name.
func selected(also []Algorithm) []Algorithm {
	algorithms := []Algorithm{BLAKE3, SHA256}
	if slices.Contains(also, SHA512) {
		algorithms = append(algorithms, SHA512)
	}
	return algorithms
}

// Algorithms returns what h computes, sorted by name.
func (h *Hasher) Algorithms() []Algorithm {
	if h.sha512 != nil {
		return selected([]Algorithm{SHA512})
	}
	return selected(nil)
}

// Size returns the number of bytes written, before a restored state as well.
func (h *Hasher) Size() int64 { return h.blake3.size }

// Write appends p to the stream. It never fails, and keeps nothing of p. No
// goroutine that it starts is left when it returns.
func (h *Hasher) Write(p []byte) (int, error) {
	h.init()
	if len(p) < parallelWrite {
		h.writeSHA(p)
		return h.blake3.Write(p)
	}
	var others sync.WaitGroup
	others.Go(func() { _, _ = h.blake3.Write(p) })
	if h.sha512 == nil {
		_, _ = h.sha256.Write(p)
	} else {
		// The slowest stays here, so that waiting for the others is short.
		others.Go(func() { _, _ = h.sha256.Write(p) })
		_, _ = h.sha512.Write(p)
	}
	others.Wait()
	return len(p), nil
}

// writeSHA writes to the SHA-2 hashes, which never fail (hash.Hash).
func (h *Hasher) writeSHA(p []byte) {
	_, _ = h.sha256.Write(p)
	if h.sha512 != nil {
		_, _ = h.sha512.Write(p)
	}
}

// Sum returns the digests of what was written so far. The stream can go on.
func (h *Hasher) Sum() DigestSet {
	h.init()
	set := DigestSet{
		fromSum(BLAKE3, h.blake3.Sum(nil)),
		fromSum(SHA256, h.sha256.Sum(nil)),
	}
	if h.sha512 != nil {
		set = append(set, fromSum(SHA512, h.sha512.Sum(nil)))
	}
	return set
}
