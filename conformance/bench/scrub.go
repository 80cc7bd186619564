package main

import (
	"context"
	"fmt"
	"time"
)

// scrubbed is what a scrub tells.
type scrubbed struct{ Verified, Bytes int64 }

func (b *bench) scrub(ctx context.Context) (s scrubbed, took time.Duration, err error) {
	start := time.Now()
	err = b.work(ctx, "scrub", &s, nil)
	return s, time.Since(start), err
}

// scrubLarge reads large blobs again.
func (b *bench) scrubLarge(ctx context.Context) error {
	s, took, err := b.scrub(ctx)
	if err == nil {
		rate := float64(s.Bytes) / took.Seconds()
		fmt.Printf("%-42s %6.0f MB/s  %.2f of SHA-256\n", "scrub of 64 MiB blobs", rate/mega, rate/b.limits.hash)
	}
	return err
}

// scrubSmall reads small content again, beside pushes.
func (b *bench) scrubSmall(ctx context.Context) error {
	var without, with pushes
	if err := without.alone(ctx, b); err != nil {
		return err
	}
	var s scrubbed
	var took time.Duration
	err := with.measure(ctx, b, func() (result, error) {
		return b.beside(ctx, func(ctx context.Context) (err error) {
			s, took, err = b.scrub(ctx)
			return err
		})
	})
	if err != nil {
		return err
	}
	fmt.Printf("%-42s %6.0f /s     %d byte sequences in %v, %.0f MB/s\n", "scrub of small content", float64(s.Verified)/took.Seconds(), s.Verified,
		round(took), float64(s.Bytes)/mega/took.Seconds())
	compare("a scrub", &without, &with)
	return nil
}
