package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// maxReason bounds the reason of an epoch, in bytes.
const maxReason = 1000

func epochCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "epoch",
		Short: "Start a new epoch of the log, once after the database was restored",
		Long: `Epoch writes an event that says that the database was put back to an older state: it
was restored from a backup, or a standby took over without the last commits. Run it once,
before anybody pushes. From that event on the log differs from the one that was lost, so
that whoever has followed that one further than the restored log goes is told, and stops.

It changes nothing else. No server may run meanwhile on a store in a data folder; nodes on
PostgreSQL may.`,
		Example: `  artifactstore epoch --data /var/lib/artifactstore --reason "disk failed, restored the backup of 03:17"`,
		Args:    noArguments,
	}
	s := addSettings(cmd, "data")
	asJSON := addJSON(cmd)
	reason := cmd.Flags().String("reason", "", "why, for those who read the log later; it is kept where it can be erased (`TEXT`, required)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		switch {
		case strings.TrimSpace(*reason) == "":
			return &usageError{cmd.CommandPath(), "--reason is missing: say why the database was put back"}
		case len(*reason) > maxReason || !utf8.ValidString(*reason):
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--reason is no text, or longer than %d bytes", maxReason)}
		}
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
		ledger, err := h.openLedger(cmd.Context(), metastore.Options{Refill: reportRefill(cmd.ErrOrStderr())}, false, nil)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ledger.Close()) }()
		head, err := startEpoch(cmd.Context(), ledger, *reason)
		if err != nil {
			return fmt.Errorf("start an epoch: %w", advise(err))
		}
		return answer(cmd.OutOrStdout(), *asJSON, endOf(head),
			fmt.Sprintf("Event %d starts a new epoch of the log. Those who have followed it further than event %d are told.", head.Sequence, head.Sequence-1))
	}
	return cmd
}

// startEpoch writes the event, and returns the head behind it.
func startEpoch(ctx context.Context, ledger *metastore.Store, reason string) (eventlog.Head, error) {
	found, err := ledger.Events().Head(ctx)
	if err != nil {
		return found, err
	}
	entry := registry.Entry{Reason: reason, Fact: &fact.EpochStarted{
		Log: found.Log, Sequence: uint64(found.Sequence), Chain: found.Chain.String(),
	}}
	err = ledger.Update(ctx, registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		return &registry.Change{Entries: []registry.Entry{entry}}, nil
	})
	if err != nil {
		return found, err
	}
	return ledger.Events().Head(ctx)
}
