package main

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring a store of an older version to this version",
		Long: `Migrate brings a store of an older version to this version, step by step, and does
nothing if that is done already. When it is interrupted, run it again: it goes on where it was.
A step that changes what the store makes of its log verifies the log, before anything is changed,
and replays it, which takes some time.

A store in a data folder is migrated by serve as well, when it starts; no server may run
meanwhile. A store in PostgreSQL is migrated by this command alone, which also makes the tables
of a new one; its nodes may run meanwhile. Whether older versions can use the store afterwards
is said in the release notes, and by the store itself, so make a backup first.`,
		Example: `  artifactstore migrate --data /var/lib/artifactstore
  artifactstore migrate --config /etc/artifactstore.yaml`,
		Args: noArguments,
	}
	s := addSettings(cmd, "data")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		c, err := s.load()
		if err != nil {
			return err
		}
		h := logOf(&c.Config)
		unlock, err := h.claim(false)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
		steps, refilled := []migrationStep{}, false
		report := reportRefill(cmd.ErrOrStderr())
		o := metastore.Options{Refill: func(verified bool, done, total eventlog.Sequence) {
			refilled = true
			report(verified, done, total)
		}}
		ledger, err := h.openLedger(cmd.Context(), o, true, func(m metastore.Migration) {
			steps = append(steps, migrationStep{m.Version, m.Name})
			fmt.Fprintf(cmd.ErrOrStderr(), "migrating to version %d: %s\n", m.Version, m.Name)
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ledger.Close()) }()
		text := "The store is up to date."
		switch {
		case len(steps) > 0:
			text = fmt.Sprintf("The store was migrated in %d steps.", len(steps))
		case refilled:
			text = "The migration that was interrupted is finished."
		}
		return answer(cmd.OutOrStdout(), *asJSON, map[string]any{"steps": steps}, text)
	}
	return cmd
}

// reportRefill returns a Refilling that writes a line now and then.
func reportRefill(w io.Writer) metastore.Refilling {
	return everyNow(time.Second, func(what string, done, total eventlog.Sequence) {
		fmt.Fprintf(w, "%s: %d of %d events\n", what, done, total)
	})
}

// everyNow returns a Refilling that tells what is done at the end of it, and before
// that not more often than in an interval.
func everyNow(interval time.Duration, tell func(what string, done, total eventlog.Sequence)) metastore.Refilling {
	last := time.Now()
	return func(verified bool, done, total eventlog.Sequence) {
		now := time.Now()
		if now.Sub(last) < interval && done < total {
			return
		}
		last = now
		what := "verifying the log"
		if verified {
			what = "refilling the views"
		}
		tell(what, done, total)
	}
}

// migrationStep is a migration that ran, in JSON.
type migrationStep struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
}
