package identity_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"hash"
	"runtime"
	"testing"
	"time"

	"artifactstore/registry/identity"
)

// BenchmarkHasher hashes a stream in pieces of 1 MiB, and reports the speed as
// a share of that of the slowest algorithm alone, measured in turn with it.
func BenchmarkHasher(b *testing.B) {
	b.Run("sha256", func(b *testing.B) {
		benchmarkAgainst(b, sha256.New())
	})
	b.Run("sha512", func(b *testing.B) {
		benchmarkAgainst(b, sha512.New(), identity.SHA512)
	})
}

func benchmarkAgainst(b *testing.B, alone hash.Hash, also ...identity.Algorithm) {
	const total, piece = 64 << 20, 1 << 20
	data := pattern(total)
	h := identity.NewHasher(also...)
	var together, slowest time.Duration
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		for p := data; len(p) > 0; p = p[piece:] {
			h.Write(p[:piece])
		}
		together += time.Since(start)

		b.StopTimer()
		start = time.Now()
		for p := data; len(p) > 0; p = p[piece:] {
			alone.Write(p[:piece])
		}
		slowest += time.Since(start)
		b.StartTimer()
	}
	b.ReportMetric(slowest.Seconds()/together.Seconds(), "of-slowest-alone")
	b.ReportMetric(float64(runtime.GOMAXPROCS(0)), "cores")
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
