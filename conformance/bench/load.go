package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"artifactstore/conformance/harness"
)

// result is what a load came to.
type result struct {
	count     int
	elapsed   time.Duration
	cpu       float64 // seconds of the server
	latencies []time.Duration
}

func (r result) rate() float64 { return float64(r.count) / r.elapsed.Seconds() }

// cpuEach is the server's processor time for one operation.
func (r result) cpuEach() time.Duration {
	return time.Duration(r.cpu / float64(r.count) * float64(time.Second))
}

// percentile returns the latency that a share of the operations did not exceed.
func (r result) percentile(share float64) time.Duration {
	if len(r.latencies) == 0 {
		return 0
	}
	return r.latencies[min(len(r.latencies)-1, int(share*float64(len(r.latencies))))]
}

// worst is the longest latency.
func (r result) worst() time.Duration { return r.percentile(1) }

// add makes one result of two loads of the same kind.
func (r *result) add(o result) {
	r.count += o.count
	r.elapsed += o.elapsed
	r.cpu += o.cpu
	r.latencies = append(r.latencies, o.latencies...)
	slices.Sort(r.latencies)
}

// bench is a run of all measurements.
type bench struct {
	options
	limits limits
	server *harness.Server
	client *harness.Client
	next   atomic.Uint64 // seed of the next unique content
}

// serve runs measurements on a server with more settings, in a folder of its own
// unless there is a configuration file.
func (b *bench) serve(ctx context.Context, folder string, settings []string, measures ...func(context.Context) error) (err error) {
	if b.config != "" {
		folder = "data"
	}
	// At the default level the server writes a line for every request, and
	// this process would read it: that is not what is measured.
	b.server, err = harness.Open(harness.Config{Data: filepath.Join(b.dir, folder), File: b.config,
		Env: append([]string{"ARTIFACTSTORE_LOG_LEVEL=warn"}, settings...)})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.server.Stop()) }()
	b.client = b.server.Client()
	defer b.client.Close()
	for _, measure := range measures {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// load runs an operation from a number of clients, either limit times in all
// or, if limit is 0, for the seconds of the options. The operation gets a
// number that no other one has. The first failure ends the load.
func (b *bench) load(ctx context.Context, clients, limit int, operation func(context.Context, uint64) error) (result, error) {
	if limit == 0 {
		return b.loadFor(ctx, clients, time.Duration(b.seconds*float64(time.Second)), operation)
	}
	var begun atomic.Int64
	return b.loadWhile(ctx, clients, func() bool { return begun.Add(1) <= int64(limit) }, operation)
}

// loadFor is load for a time.
func (b *bench) loadFor(ctx context.Context, clients int, d time.Duration, operation func(context.Context, uint64) error) (result, error) {
	end := time.Now().Add(d)
	return b.loadWhile(ctx, clients, func() bool { return time.Now().Before(end) }, operation)
}

// loadWhile is load for as long as there is to be more.
func (b *bench) loadWhile(ctx context.Context, clients int, more func() bool, operation func(context.Context, uint64) error) (result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		mu    sync.Mutex
		r     result
		fails error
		wait  sync.WaitGroup
	)
	cpu, start := cpuSeconds(b.server.PID()), time.Now()
	for range clients {
		wait.Go(func() {
			for more() {
				began := time.Now()
				err := operation(ctx, b.next.Add(1))
				took := time.Since(began)
				mu.Lock()
				if err != nil {
					fails = errors.Join(fails, err)
				}
				stop := fails != nil
				r.latencies = append(r.latencies, took)
				mu.Unlock()
				if stop {
					cancel()
					return
				}
			}
		})
	}
	wait.Wait()
	r.elapsed, r.cpu, r.count = time.Since(start), cpuSeconds(b.server.PID())-cpu, len(r.latencies)
	slices.Sort(r.latencies)
	if fails != nil {
		return r, fmt.Errorf("a request of the load failed: %w", fails)
	}
	return r, ctx.Err()
}

// print prints a load of many small operations.
func (r result) print(what string) {
	fmt.Printf("%-42s %6.0f /s     p50 %-9v p99 %-9v server %v each\n", what, r.rate(),
		round(r.percentile(0.50)), round(r.percentile(0.99)), round(r.cpuEach()))
}

// printBytes prints a load that moves bytes, and its ratio to a limit.
func (r result) printBytes(what string, bytes int64, limit float64, limitName string) {
	rate := float64(bytes) / r.elapsed.Seconds()
	fmt.Printf("%-42s %6.0f MB/s  %.2f of %s; server %.2f s/GB\n", what, rate/mega,
		rate/limit, limitName, r.cpu/(float64(bytes)/1e9))
}

// round keeps three digits of a duration.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}

// plural is a number of clients, for people.
func plural(clients int) string {
	if clients == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", clients)
}
