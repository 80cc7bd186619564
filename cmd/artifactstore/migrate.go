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
nothing if that is done already. No server may run meanwhile. When it is interrupted, run it
again: it goes on where it was. Serve does the same by itself when it starts. An older
version cannot use the store afterwards, so make a backup first.`,
		Example: `  artifactstore migrate --data /var/lib/artifactstore`,
		Args:    noArguments,
	}
	s := addSettings(cmd, "data")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		c, err := s.load()
		if err != nil {
			return err
		}
		f, unlock, err := ownExisting(c.Data)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unlock()) }()
		steps := []migrationStep{}
		ledger, err := openLedger(cmd.Context(), f, metastore.Options{}, func(m metastore.Migration) {
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
