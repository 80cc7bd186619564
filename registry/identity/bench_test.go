package identity_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"io"
	"math"
	"slices"
	"testing"
	"time"

	"artifactstore/registry/identity"
)

// BenchmarkHasher hashes a stream in pieces of 1 MiB, and the same by the
// slowest of its algorithms alone in turn. It reports the best speeds of both,
// which are those with a core free, in MB/s, and their ratio; the time per
// operation is that of both.
func BenchmarkHasher(b *testing.B) {
	b.Run("sha256", func(b *testing.B) {
		benchmarkAgainst(b, sha256.New())
	})
	b.Run("sha512", func(b *testing.B) {
		benchmarkAgainst(b, sha512.New(), identity.SHA512)
	})
}

func benchmarkAgainst(b *testing.B, alone hash.Hash, also ...identity.Algorithm) {
	data := pattern(8 << 20)
	h := identity.NewHasher(also...)
	together, slowest := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
	for b.Loop() {
		together = min(together, timeWrites(h, data))
		slowest = min(slowest, timeWrites(alone, data))
	}
	speed := func(d time.Duration) float64 { return float64(len(data)) / 1e6 / d.Seconds() }
	b.ReportMetric(speed(together), "best-MB/s")
	b.ReportMetric(speed(slowest), "alone-MB/s")
	b.ReportMetric(speed(together)/speed(slowest), "of-alone")
}

func timeWrites(w io.Writer, data []byte) time.Duration {
	start := time.Now()
	for piece := range slices.Chunk(data, 1<<20) {
		_, _ = w.Write(piece) // hashes do not fail
	}
	return time.Since(start)
}

// BenchmarkHasherSmallWrites hashes in one goroutine, as streams from slow
// clients are.
func BenchmarkHasherSmallWrites(b *testing.B) {
	piece := pattern(32 << 10)
	h := identity.NewHasher()
	b.SetBytes(int64(len(piece)))
	b.ReportAllocs()
	for b.Loop() {
		h.Write(piece)
	}
}

// BenchmarkOf hashes what is as long as an event, a manifest, a small blob.
func BenchmarkOf(b *testing.B) {
	for name, size := range map[string]int{"450B": 450, "4KiB": 4 << 10, "64KiB": 64 << 10} {
		b.Run(name, func(b *testing.B) {
			data := pattern(size)
			b.SetBytes(int64(size))
			b.ReportAllocs()
			for b.Loop() {
				identity.Of(data)
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, a := range identity.Algorithms() {
		text := identity.FromBytes(a, nil).String()
		b.Run(string(a), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				identity.Parse(text)
			}
		})
	}
}

func BenchmarkState(b *testing.B) {
	h := identity.NewHasher()
	h.Write(pattern(1<<20 + 5000))
	b.ReportAllocs()
	for b.Loop() {
		state, _ := h.MarshalBinary()
		var restored identity.Hasher
		if err := restored.UnmarshalBinary(state); err != nil {
			b.Fatal(err)
		}
	}
}
