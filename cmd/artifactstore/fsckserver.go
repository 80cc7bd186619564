package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/internal/config"
	"artifactstore/registry"
)

// fsckOfServer has a running server check its store, and repair what it can while
// it serves: all but the log and the views.
func fsckOfServer(cmd *cobra.Command, server string, o registry.FsckOptions, asJSON bool) error {
	for _, name := range []string{"data", "config"} {
		if cmd.Flags().Changed(name) {
			return &usageError{cmd.CommandPath(), "--server and --" + name + " name two stores: give one"}
		}
	}
	l := &look{cmd: cmd, server: server, json: asJSON}
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		request := admin.FsckRequest{Repair: o.Repair, Deep: o.Deep, ManyOrphans: o.ManyOrphans}
		text, err := in.task(ctx, adminclient.Path("fsck"), request, telling(fsckProgress))
		if err != nil {
			return err
		}
		report, err := decode[admin.FsckReport](text)
		if err != nil {
			return err
		}
		f := fsckRun{home: home{Config: new(config.Config)}, o: o, storage: storageOf(&report), withheld: o.Repair && report.LogProblem != ""}
		if report.LogProblem != "" {
			f.problem = errors.New(report.LogProblem)
		}
		err = printed(in, text, func(admin.FsckReport) error { return f.print(in.out) })
		return errors.Join(err, f.outcome())
	})
	return cmd.RunE(cmd, nil)
}

func fsckProgress(r admin.FsckReport) string {
	return fmt.Sprintf("checking %s: %d contents of %s; %d content rows; %d objects", r.Stage, r.Blobs, size(r.Bytes), r.Rows, r.Objects)
}

// storageOf is what a server has found of what is stored.
func storageOf(r *admin.FsckReport) registry.FsckReport {
	s := registry.FsckReport{Blobs: r.Blobs, Bytes: r.Bytes, Objects: r.Objects, Rows: r.Rows,
		Counts: map[string]registry.FsckCount{}, Refused: r.Refused}
	for kind, n := range r.Counts {
		s.Counts[kind] = registry.FsckCount(n)
	}
	for _, f := range r.Findings {
		s.Findings = append(s.Findings, registry.Finding(f))
	}
	return s
}
