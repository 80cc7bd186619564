package main

import (
	"fmt"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// BenchmarkPostgresAndS3 is the same run over PostgreSQL and S3, both on this
// machine, where they take their share of it. What the S3 server itself takes is
// the limit to compare pushes with.
func BenchmarkPostgresAndS3(b *testing.B) {
	c := harness.StartCluster(b, 0, harness.ClusterOptions{})
	fmt.Printf("\nPostgreSQL and S3 (versitygw)\n\n")
	data := harness.Random(1, largeSize)
	const puts = 8
	start := time.Now()
	for i := range puts {
		c.S3.Put(b, fmt.Sprintf("limit/%d", i), data)
	}
	fmt.Printf("%-42s %6.0f MB/s\n", "PUT of 64 MiB to the S3 server itself", puts*largeSize/1e6/time.Since(start).Seconds())
	for b.Loop() {
		o := options{seconds: 3, blobs: puts, tags: 20_000, referrers: 500, dir: b.TempDir(), config: c.Config}
		if err := run(b.Context(), o); err != nil {
			b.Fatal(err)
		}
	}
}
