// Command bench measures the server beside the limits of this machine, in one
// run: rates, latencies, the server's processor time per unit of work, and how
// often it makes the disk flush; then what pushes suffer from plans, sweeps and
// scrubs in a store of many manifests, which takes longer by far.
//
// The client runs on the same machine and takes its share of the processors,
// so rates are lower bounds; processor time is the server's alone.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"artifactstore/conformance/harness"
)

// options are the sizes of what is measured.
type options struct {
	seconds   float64 // of each timed load
	blobs     int     // of 64 MiB, per number of clients
	tags      int     // in the repository whose tags are listed
	referrers int     // of the subject whose referrers are listed
	manifests int     // in the store that is swept; 0: that part is left out
	part      string  // the only one to be run, or empty
	dir       string  // for the data; in run, the folder made for this one
	config    string  // file of the server's configuration, or empty
}

func main() {
	var o options
	flag.Float64Var(&o.seconds, "seconds", 3, "`SECONDS` that each rate is measured for")
	flag.IntVar(&o.blobs, "blobs", 8, "`NUMBER` of 64 MiB blobs pushed by one client, and again by four")
	flag.IntVar(&o.tags, "tags", 100_000, "`NUMBER` of tags in the repository whose tags are listed")
	flag.IntVar(&o.referrers, "referrers", 2_000, "`NUMBER` of referrers of the subject whose referrers are listed")
	flag.IntVar(&o.manifests, "manifests", 100_000, "`NUMBER` of manifests in the store that is planned, swept and scrubbed, of which half are deleted; 0 leaves that out")
	flag.StringVar(&o.part, "part", "", "the `PART` to be run alone: traffic, or life (retention, sweep and scrub)")
	flag.StringVar(&o.dir, "dir", "", "`FOLDER` for the data, on the disk to be measured (default: that of temporary files)")
	flag.StringVar(&o.config, "config", "", "`FILE` of the configuration of the server to be measured, with a migrated store that is thrown away (default: SQLite and files)")
	flag.Parse()
	if o.part != "" && o.part != partTraffic && o.part != partLife || flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "bench: -part is %s or %s, and there are no arguments\n", partTraffic, partLife)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures everything and prints it as it comes.
func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp(o.dir, "artifactstore-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir), harness.RemoveBinary()) }()
	o.dir = dir
	started := time.Now()
	fmt.Printf("%s, %d processors, %s\n\n", processor(), runtime.NumCPU(), runtime.Version())
	limits, err := measureLimits(dir)
	if err != nil {
		return err
	}
	limits.print()
	b := &bench{options: o, limits: limits}
	if o.part != partLife {
		if err := b.serve(ctx, "data", withoutDuties, b.idle, b.pushLarge, b.pullLarge, b.scrubLarge, b.pushSmall,
			b.countFlushes, b.readSmall, b.listTags, b.listReferrers, b.used); err != nil {
			return err
		}
	}
	if o.part != partTraffic && o.manifests > 0 {
		if err := b.life(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("\nmeasured in %v\n", time.Since(started).Round(time.Second))
	return nil
}

// The parts of a run.
const (
	partTraffic = "traffic"
	partLife    = "life"
)

// withoutDuties are settings of a server that does nothing by itself that would
// disturb a measurement.
var withoutDuties = []string{"ARTIFACTSTORE_SWEEP_INTERVAL=0s", "ARTIFACTSTORE_SCRUB_RATE=0/s", "ARTIFACTSTORE_RETENTION_ENFORCE=false"}

func (b *bench) idle(context.Context) error {
	fmt.Printf("%-42s %s\n", "memory of the idle server", memory(b.server.PID()))
	return nil
}

func (b *bench) used(context.Context) error {
	fmt.Printf("%-42s %s\n", "memory of the server afterwards", memory(b.server.PID()))
	return nil
}
