package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
)

func rebuildCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "rebuild",
		Short: "Make the views anew from the log, or check that they are what the log says",
		Long: `Rebuild empties the views of a store and fills them again from the log, after it
has verified the log. No server may run meanwhile. When it is interrupted, run it again:
it goes on where it was.

With --check nothing is changed: the log is verified and replayed on the side, and every
row of every view is compared. That may run beside a server. It exits with 1 at the first
difference, or at the first event that was changed, dropped, reordered or cut off.`,
		Example: `  artifactstore rebuild --check --data /var/lib/artifactstore
  artifactstore rebuild --data /var/lib/artifactstore`,
		Args: noArguments,
	}
	s := addSettings(cmd, "data")
	asJSON := addJSON(cmd)
	check := cmd.Flags().Bool("check", false, "compare only, and change nothing")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		progress := reportProgress(cmd.ErrOrStderr())
		if *check {
			return checkViews(cmd.Context(), logOf(&c.Config), progress, *asJSON, cmd.OutOrStdout(), cmd.ErrOrStderr())
		}
		return rebuildViews(cmd.Context(), logOf(&c.Config), progress, *asJSON, cmd.OutOrStdout())
	}
	return cmd
}

// rebuildViews rebuilds the views of the store in a data folder that nobody
// else uses.
func rebuildViews(ctx context.Context, h home, progress metastore.Progress, asJSON bool, w io.Writer) (err error) {
	unlock, err := h.claim(false)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	ledger, err := h.openLedger(ctx, metastore.Options{Refill: everyNow(time.Second, func(_ string, done, total eventlog.Sequence) { progress(done, total) })}, false, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	// The views are emptied first, and a log that cannot be replayed would
	// leave nothing in their place.
	head, err := eventlog.Verify(ctx, ledger.Events())
	if fault, ok := errors.AsType[*eventlog.Fault](err); ok {
		return fmt.Errorf("the log is damaged, so the views were left as they are: %w", fault)
	}
	if err != nil {
		return fmt.Errorf("verify the log: %w", advise(err))
	}
	if err := ledger.Rebuild(ctx, progress); err != nil {
		return fmt.Errorf("rebuild the views: %w; run it again to go on", err)
	}
	return answer(w, asJSON, endOf(head), fmt.Sprintf("The views were rebuilt from %d events.", head.Sequence))
}

// checkViews proves that the views are what the log says.
func checkViews(ctx context.Context, h home, progress metastore.Progress, asJSON bool, out, warnings io.Writer) (err error) {
	ledger, err := h.openToRead(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ledger.Close()) }()
	report, failed := ledger.Check(ctx, progress)
	if asJSON {
		return errors.Join(printCheckJSON(out, report, failed == nil), explainCheck(failed))
	}
	if report.Head.Log != "" {
		fmt.Fprintf(out, "log %s: %d events, running hash %s\n", report.Head.Log, report.Head.Sequence, report.Head.Chain)
	}
	for _, view := range report.Views {
		fmt.Fprintf(out, "%-14s %10d rows equal\n", view.Name, view.Rows)
	}
	if report.Missing > 0 {
		fmt.Fprintf(warnings, "warning: the bytes of %d stored contents are missing from the database; the first is that of event %d\n",
			report.Missing, report.FirstMissing)
	}
	return explainCheck(failed)
}

// checkJSON is the outcome of a check in JSON. Views are those that were
// compared and found equal, with their rows; Missing counts contents whose bytes
// are not in the database.
type checkJSON struct {
	logEnd
	Equal   bool           `json:"equal"`
	Views   map[string]int `json:"views"`
	Missing int            `json:"missing"`
}

func printCheckJSON(w io.Writer, report metastore.Report, equal bool) error {
	views := make(map[string]int)
	for _, view := range report.Views {
		views[view.Name] = view.Rows
	}
	return answer(w, true, checkJSON{endOf(report.Head), equal, views, report.Missing}, "")
}

// explainCheck adds to the outcome of a check what it means for the operator.
func explainCheck(err error) error {
	if difference, ok := errors.AsType[*metastore.Difference](err); ok {
		return fmt.Errorf("a view is not what the log says: %w; 'artifactstore rebuild' makes the views anew", difference)
	}
	if fault, ok := errors.AsType[*eventlog.Fault](err); ok {
		return fmt.Errorf("the log is not what was written: %w; restore it from a backup", fault)
	}
	if err != nil {
		return fmt.Errorf("check the views: %w", advise(err))
	}
	return nil
}

// reportProgress returns a Progress that writes a line now and then.
func reportProgress(w io.Writer) metastore.Progress {
	const interval = time.Second
	last := time.Now()
	return func(done, total eventlog.Sequence) {
		if now := time.Now(); now.Sub(last) >= interval || done == total {
			last = now
			fmt.Fprintf(w, "%d of %d events\n", done, total)
		}
	}
}
