// Command bench measures the server beside the limits of this machine, in one
// run: rates, latencies, the server's processor time per unit of work, and how
// often it makes the disk flush. It takes about a minute.
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
	dir       string  // for the data; in run, the folder made for this one
	config    string  // file of the server's configuration, or empty
}

func main() {
	var o options
	flag.Float64Var(&o.seconds, "seconds", 3, "`SECONDS` that each rate is measured for")
	flag.IntVar(&o.blobs, "blobs", 8, "`NUMBER` of 64 MiB blobs pushed by one client, and again by four")
	flag.IntVar(&o.tags, "tags", 100_000, "`NUMBER` of tags in the repository whose tags are listed")
	flag.IntVar(&o.referrers, "referrers", 2_000, "`NUMBER` of referrers of the subject whose referrers are listed")
	flag.StringVar(&o.dir, "dir", "", "`FOLDER` for the data, on the disk to be measured (default: that of temporary files)")
	flag.StringVar(&o.config, "config", "", "`FILE` of the configuration of the server to be measured, with a migrated store that is thrown away (default: SQLite and files)")
	flag.Parse()
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
	// At the default level the server writes a line for every request, and
	// this process would read it: that is not what is measured.
	server, err := harness.Open(harness.Config{Data: dir + "/data", File: o.config, Env: []string{"ARTIFACTSTORE_LOG_LEVEL=warn"}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	b := &bench{options: o, limits: limits, server: server, client: server.Client()}
	defer b.client.Close()
	fmt.Printf("%-42s %s\n", "memory of the idle server", memory(server.PID()))
	for _, measure := range []func(context.Context) error{
		b.pushLarge, b.pullLarge, b.pushSmall, b.countFlushes, b.readSmall, b.listTags, b.listReferrers,
	} {
		if err := measure(ctx); err != nil {
			return err
		}
	}
	fmt.Printf("%-42s %s\n", "memory of the server afterwards", memory(server.PID()))
	fmt.Printf("\nmeasured in %v\n", time.Since(started).Round(time.Second))
	return nil
}
