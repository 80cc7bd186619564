package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

const logPage = 1000

// logQuery is what `artifactstore log` was asked for.
type logQuery struct {
	after  uint64
	kinds  []string
	json   bool
	follow bool
}

func logCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "log",
		Short: "Print the events of a store, oldest first",
		Long: `Log prints the events of a store, oldest first: one line for each with its
sequence number, time, kind, actor and subject; with --json one JSON object a line
with everything. It reads only, and may run beside a server.`,
		Args: noArguments,
	}
	var q logQuery
	s := addSettings(cmd, "data")
	cmd.Flags().Uint64Var(&q.after, "after", 0, "start behind the event with this `SEQUENCE`")
	cmd.Flags().StringSliceVar(&q.kinds, "kind", nil, "print only events of this `KIND`, such as v1.tag.moved; may be given more than once")
	cmd.Flags().BoolVar(&q.json, "json", false, "print JSON")
	cmd.Flags().BoolVarP(&q.follow, "follow", "f", false, "go on with new events until interrupted")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		for _, kind := range q.kinds {
			if fact.New(kind) == nil {
				return &usageError{cmd.CommandPath(), fmt.Sprintf("--kind: this version knows no events of kind %q", kind)}
			}
		}
		if q.after > math.MaxInt64 {
			return &usageError{cmd.CommandPath(), "--after: there are no such sequence numbers"}
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		store, err := openToRead(cmd.Context(), c.Data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		return printLog(cmd.Context(), cmd.OutOrStdout(), store.Events(), q)
	}
	return cmd
}

// printLog writes the events that q asks for. Under follow it ends without an
// error when ctx does.
func printLog(ctx context.Context, w io.Writer, log eventlog.Reader, q logQuery) error {
	after := eventlog.Sequence(q.after)
	for {
		events, err := log.Read(ctx, after, logPage)
		switch {
		case q.follow && ctx.Err() != nil:
			return nil
		case err != nil:
			return fmt.Errorf("read the log: %w", err)
		case len(events) == 0 && !q.follow:
			return nil
		case len(events) == 0:
			if err := log.Wait(ctx, after); err != nil && ctx.Err() == nil {
				return fmt.Errorf("follow the log: %w", err)
			}
		}
		for i := range events {
			after = events[i].Sequence
			if len(q.kinds) > 0 && !slices.Contains(q.kinds, string(events[i].Kind)) {
				continue
			}
			if err := printEvent(w, &events[i], q.json); err != nil {
				return err
			}
		}
	}
}

func printEvent(w io.Writer, e *eventlog.Event, asJSON bool) error {
	if !asJSON {
		at := time.UnixMicro(e.Time).UTC().Format(eventlog.TimeFormat)
		_, err := fmt.Fprintf(w, "%8d  %s  %-21s  %-9s  %s\n", e.Sequence, at, e.Kind, e.Actor, e.Subject)
		return err
	}
	line, err := e.JSON()
	if err != nil {
		return err
	}
	_, err = w.Write(append(line, '\n'))
	return err
}
