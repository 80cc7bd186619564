package metastore_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// BenchmarkUpdate commits one tag move per change, each of which has reached
// the disk when it is answered.
func BenchmarkUpdate(b *testing.B) {
	for _, callers := range []int{1, 8, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			s := create(b, metastore.Options{})
			populated(b, s)
			var n atomic.Int64
			b.SetParallelism((callers + 1) / 2) // times the two processors of the machine that figures are given for
			b.ResetTimer()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := s.try(facts(tag("demo", fmt.Sprintf("t%d", n.Add(1)), "image"))); err != nil {
						b.Error(err)
					}
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkBlobs commits what a pushed blob comes to, its two events, each change
// on the disk when it is answered: by 64 callers of one node, and of two that
// share a database.
func BenchmarkBlobs(b *testing.B) {
	const callers = 64
	for _, nodes := range []int{1, 2} {
		if nodes > 1 && !onPostgres {
			continue
		}
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			s := create(b, metastore.Options{})
			s.update(b, facts(&fact.RepositoryCreated{Repository: "demo"}))
			stores := []*metastore.Store{s.Store}
			for range nodes - 1 {
				other, err := s.opened(s.options)
				must(b, err)
				defer func() { must(b, other.Close()) }()
				stores = append(stores, other)
			}
			work := make(chan int, callers)
			var done sync.WaitGroup
			for i := range callers {
				done.Go(func() {
					for n := range work {
						if err := pushBlob(stores[i%nodes], n); err != nil {
							b.Error(err)
						}
					}
				})
			}
			b.ResetTimer()
			for n := range b.N {
				work <- n
			}
			close(work)
			done.Wait()
			b.ReportMetric(2*float64(b.N)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// pushBlob commits the events of a blob whose bytes are in a store of objects.
func pushBlob(s *metastore.Store, n int) error {
	set := identity.Of(fmt.Appendf(nil, "blob %d", n))
	keys := registry.Keys{Repositories: []string{"demo"}, Digests: []identity.Digest{set.Primary()}}
	return s.Update(context.Background(), caller, keys, func(v registry.View) (*registry.Change, error) {
		known, err := v.Blob(set.Primary())
		if err != nil || known != nil {
			return nil, fmt.Errorf("blob %d is there: %v, %w", n, known != nil, err)
		}
		exists, err := v.RepositoryExists("demo")
		if err != nil || !exists {
			return nil, fmt.Errorf("the repository is there: %v, %w", exists, err)
		}
		return facts(
			&fact.BlobStored{Digests: set, Size: 1 << 20, Receipt: fact.Receipt{Store: "files", Locator: fmt.Sprintf("objects/id/ab/%032x", n)}},
			&fact.BlobLinked{Repository: "demo", Blob: set.Primary()}), nil
	})
}

// BenchmarkSession commits upload rows, which need no flush.
func BenchmarkSession(b *testing.B) {
	s := create(b, metastore.Options{})
	u := registry.Upload{ID: "u", Repository: "demo", State: registry.UploadOpen, Staged: fact.Staged{ID: "x"}}
	for b.Loop() {
		must(b, s.try(&registry.Change{Puts: []registry.Upload{u}}))
	}
}

// BenchmarkRead finds a manifest by its tag, with its bytes.
func BenchmarkRead(b *testing.B) {
	s := create(b, metastore.Options{})
	populated(b, s)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			err := s.Read(context.Background(), func(v registry.View) error {
				m, _, content, err := v.TaggedManifest("demo", "latest")
				if err == nil && (m == nil || len(content) == 0) {
					err = fmt.Errorf("manifest %v with %d bytes", m, len(content))
				}
				return err
			})
			if err != nil {
				b.Error(err)
			}
		}
	})
}

// BenchmarkReplay rebuilds the views from the log, and checks them.
func BenchmarkReplay(b *testing.B) {
	s := create(b, metastore.Options{})
	populated(b, s)
	const events = 200_000
	for i := range events / 5000 {
		c := new(registry.Change)
		for j := range 5000 {
			c.Add(tag("demo", fmt.Sprintf("t%d", i*5000+j), "image"))
		}
		s.update(b, c)
	}
	b.Run("rebuild", func(b *testing.B) {
		for b.Loop() {
			must(b, s.Rebuild(context.Background(), nil))
		}
		b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("check", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Check(context.Background(), nil)
			must(b, err)
		}
		b.ReportMetric(events*float64(b.N)/b.Elapsed().Seconds(), "events/s")
	})
}
