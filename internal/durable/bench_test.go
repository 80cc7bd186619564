//go:build unix

package durable_test

import (
	"testing"
	"time"
)

// BenchmarkWriteAndSync writes 256 MiB in pieces of 1 MiB. The time of the
// flush at the end shows whether write-back was started on the way.
func BenchmarkWriteAndSync(b *testing.B) {
	tree := open(b, b.TempDir(), nil)
	piece := make([]byte, 1<<20)
	for i := range piece {
		piece[i] = byte(i)
	}
	b.SetBytes(256 << 20)
	var syncing time.Duration
	for b.Loop() {
		f, err := tree.Create("f")
		if err != nil {
			b.Fatal(err)
		}
		for range 256 {
			if _, err := f.Write(piece); err != nil {
				b.Fatal(err)
			}
		}
		began := time.Now()
		if err := f.Sync(); err != nil {
			b.Fatal(err)
		}
		syncing += time.Since(began)
		if err := f.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(syncing.Seconds()*1000/float64(b.N), "sync-ms/op")
}
