package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/metastore"
)

func migrateCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Bring a store of an older version to this version",
		Long: `Migrate brings a store of an older version to this version, step by step, and does
nothing if that is done already. When it is interrupted, run it again: it goes on where it was.

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
		steps := []migrationStep{}
		ledger, err := h.openLedger(cmd.Context(), metastore.Options{}, true, func(m metastore.Migration) {
			steps = append(steps, migrationStep{m.Version, m.Name})
			fmt.Fprintf(cmd.ErrOrStderr(), "migrating to version %d: %s\n", m.Version, m.Name)
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ledger.Close()) }()
		text := "The store is up to date."
		if len(steps) > 0 {
			text = fmt.Sprintf("The store was migrated in %d steps.", len(steps))
		}
		return answer(cmd.OutOrStdout(), *asJSON, map[string]any{"steps": steps}, text)
	}
	return cmd
}

// migrationStep is a migration that ran, in JSON.
type migrationStep struct {
	Version int    `json:"version"`
	Name    string `json:"name"`
}
