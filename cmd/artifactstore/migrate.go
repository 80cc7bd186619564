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
		steps := 0
		ledger, err := openLedger(cmd.Context(), f, metastore.Options{}, func(m metastore.Migration) {
			steps++
			fmt.Fprintf(cmd.ErrOrStderr(), "migrating to version %d: %s\n", m.Version, m.Name)
		})
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, ledger.Close()) }()
		if steps == 0 {
			_, err = fmt.Fprintln(cmd.OutOrStdout(), "The store is up to date.")
		} else {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "The store was migrated in %d steps.\n", steps)
		}
		return err
	}
	return cmd
}
