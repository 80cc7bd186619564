package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

// BenchmarkSweep sweeps until half of 10,000 small images are gone, and scrubs the
// rest. It tells how long the committer, for which pushes wait, was kept by a change:
// on average, and at most.
func BenchmarkSweep(b *testing.B) {
	const images = 10_000
	for b.Loop() {
		w := openCrowd(b)
		w.each(images, func(r *registry.Repository, i int) error { return pushCrowd(r, i) })
		w.each(images/2, func(r *registry.Repository, i int) error {
			return r.DeleteManifest(context.Background(), registry.Reference{Digest: digest(crowdManifest(i))})
		})
		w.tell("filling and deleting", 0)
		for {
			w.pass()
			var last registry.SweepProgress
			report, err := w.Sweep(b.Context(), registry.SweepOptions{Progress: func(p registry.SweepProgress) {
				if p.Phase != last.Phase && last.Phase != "" {
					w.tell(string(last.Phase), last.Visited)
				}
				last = p
			}})
			w.must(err)
			w.tell(string(last.Phase), last.Visited)
			n := report.Total()
			if n.Condemned.Number+n.Released.Number+n.Manifests == 0 {
				break
			}
		}
		report, err := w.Scrub(b.Context(), registry.ScrubOptions{})
		w.must(err)
		w.tell("scrub", report.Verified)
		w.must(w.ledger.Close())
	}
}

// crowd is a registry with many images, whose committer is watched.
type crowd struct {
	*registry.Registry
	b      *testing.B
	ledger *metastore.Store
	clock  *clock
	began  time.Time

	mu      sync.Mutex
	commits int
	sum     time.Duration
	longest metastore.Batch
}

func openCrowd(b *testing.B) *crowd {
	ctx := b.Context()
	w := &crowd{b: b, clock: &clock{now: time.Unix(1_700_000_000, 0)}, began: time.Now()}
	var err error
	w.ledger, err = metastore.Open(ctx, filepath.Join(b.TempDir(), "db"), metastore.Options{Now: w.clock.Now, Observe: w.observe})
	w.must(err)
	w.must(w.ledger.Migrate(ctx, nil))
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": memory.New(memory.Options{})}, "m", w.ledger,
		dataplane.Options{InlineLimit: 64 << 10, BootID: "b", Now: w.clock.Now})
	w.must(err)
	w.Registry, err = registry.New(ctx, w.ledger, plane, registry.Options{})
	w.must(err)
	return w
}

func (w *crowd) must(err error) {
	w.b.Helper()
	if err != nil {
		w.b.Fatal(err)
	}
}

func (w *crowd) observe(batch metastore.Batch) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.commits++
	w.sum += batch.Duration
	if batch.Duration > w.longest.Duration {
		w.longest = batch
	}
}

// tell prints what happened since it was last called, unless that is nothing or
// has no name.
func (w *crowd) tell(what string, rows int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if took := time.Since(w.began); w.commits > 0 && what != "" {
		fmt.Printf("%-24s %7d rows %8.0f /s   %5d commits, mean %-9v longest %-9v of %d events\n", what, rows, float64(rows)/took.Seconds(),
			w.commits, (w.sum / time.Duration(w.commits)).Round(10*time.Microsecond), w.longest.Duration.Round(10*time.Microsecond), w.longest.Events)
	}
	w.commits, w.sum, w.longest, w.began = 0, 0, metastore.Batch{}, time.Now()
}

// pass lets everything become due.
func (w *crowd) pass() {
	w.clock.advance(8 * day)
	w.must(w.Heartbeat(w.b.Context()))
	_, err := w.ConfirmClock(w.b.Context(), caller, "the benchmark has moved it")
	w.must(err)
	w.tell("", 0)
}

// each does something about so many images, many at a time.
func (w *crowd) each(images int, do func(r *registry.Repository, i int) error) {
	const clients, repositories = 64, 100
	work := make(chan int)
	var wait sync.WaitGroup
	for range clients {
		wait.Go(func() {
			for i := range work {
				r, err := w.Repository(fmt.Sprintf("r%d", i%repositories), caller)
				if err == nil {
					err = do(r, i)
				}
				if err != nil {
					w.b.Error(err)
				}
			}
		})
	}
	for i := range images {
		work <- i
	}
	close(work)
	wait.Wait()
}

// An image of the crowd has a config and a layer of its own, and one layer that all
// have.
func crowdBlobs(i int) []string {
	return []string{fmt.Sprintf("config %0900d", i), fmt.Sprintf("layer %0900d", i), "the layer of all"}
}

func crowdManifest(i int) string {
	var all [3]map[string]any
	for n, data := range crowdBlobs(i) {
		all[n] = descriptor("application/octet-stream", data)
	}
	data, _ := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
		"config": all[0], "layers": all[1:]}) // always encodes
	return string(data)
}

func pushCrowd(r *registry.Repository, i int) error {
	ctx := context.Background()
	for _, data := range crowdBlobs(i) {
		if _, err := r.PushBlob(ctx, digest(data), whole(data)); err != nil {
			return err
		}
	}
	_, err := r.PutManifest(ctx, image(tagged(fmt.Sprintf("v%d", i)), crowdManifest(i)))
	return err
}
