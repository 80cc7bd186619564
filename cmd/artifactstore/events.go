package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/registry/fact"
)

func eventsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "Print what happened, oldest first, and go on with what happens",
		Long: `Events prints the events of the log, oldest first: one line for each with its
sequence number, time, kind, actor and subject; with --json one JSON object a line
with everything.

With --follow it goes on with new events until it is interrupted, which is no failure.
When the connection breaks it says so on standard error and makes a new one, as often as
needed: each event is printed once, and none is left out. It ends with an error when the
log no longer has what was printed or passed over: its store was restored from a backup, or
is another one.`,
		Example: `  artifactstore events --kind v1.tag.moved --kind v1.tag.deleted
  artifactstore events --after 1000 -n 100 --json
  artifactstore events --last 20
  artifactstore events --follow --last 0`,
		Args: noArguments,
	}
	l := addLook(cmd)
	l.logOnly = true
	limit := l.limit()
	var q adminclient.EventQuery
	after := cmd.Flags().String("after", "", "start behind this `PLACE`: the sequence of an event, or LOG:SEQUENCE:CHAIN, which the log must have")
	last := cmd.Flags().Uint64("last", 0, "start with the last `N` events of the log; 0 means behind its end")
	cmd.Flags().StringSliceVar(&q.Kinds, "kind", nil, "print only events of this `KIND`, such as v1.tag.moved; may be given more than once")
	follow := cmd.Flags().BoolP("follow", "f", false, "go on with new events until interrupted")
	completeFlag(cmd, "kind", fact.Kinds()...)
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		q.Limit = *limit
		var err error
		if q.After, err = eventlog.ParseCursor(*after); err != nil {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--after %s: %v", *after, err)}
		}
		if cmd.Flags().Changed("kind") && len(q.Kinds) == 0 {
			return &usageError{cmd.CommandPath(), "--kind names no kind"}
		}
		if cmd.Flags().Changed("last") {
			if cmd.Flags().Changed("after") {
				return &usageError{cmd.CommandPath(), "--after and --last both say where to start: give only one of them"}
			}
			if q.After, err = in.end(ctx); err != nil {
				return err
			}
			if end := uint64(q.After.Sequence); *last > 0 {
				q.After = eventlog.Cursor{Sequence: eventlog.Sequence(end - min(end, *last))}
			}
		}
		if !*follow {
			return in.Events(ctx, q, in.printEvent)
		}
		notice := func(err error, wait time.Duration) {
			fmt.Fprintf(cmd.ErrOrStderr(), "artifactstore: the connection broke off (%v); trying again in %v\n", err, wait)
		}
		err = in.Follow(ctx, q, notice, func(e *adminclient.Event) error {
			if err := in.printEvent(e); err != nil {
				return err
			}
			return in.out.Flush()
		})
		if ctx.Err() != nil { // that is how it ends
			return nil
		}
		return err
	})
	return cmd
}

// end is the cursor behind the last event of the log.
func (in *inside) end(ctx context.Context) (eventlog.Cursor, error) {
	document, err := in.Object(ctx, adminclient.Path("status"))
	if err != nil {
		return eventlog.Cursor{}, err
	}
	var s admin.Status
	if err := json.Unmarshal(document, &s); err != nil {
		return eventlog.Cursor{}, fmt.Errorf("read the status: %w", err)
	}
	end, err := eventlog.ParseCursor(fmt.Sprintf("%s:%d:%s", s.Log.ID, s.Log.Sequence, s.Log.Chain))
	if err != nil {
		return eventlog.Cursor{}, fmt.Errorf("read the end of the log in the status: %w", err)
	}
	return end, nil
}

func (in *inside) printEvent(e *adminclient.Event) error {
	if in.json {
		_, err := in.out.Write(append(e.JSON, '\n'))
		return err
	}
	_, err := fmt.Fprintln(in.out, strings.TrimRight(
		fmt.Sprintf("%8d  %s  %-28s  %-9s  %s", e.Sequence, plain(e.Time), plain(e.Kind), plain(e.Actor), plain(e.Subject)), " "))
	return err
}
