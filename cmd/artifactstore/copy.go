package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/config"
)

func copyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "copy --from CONFIG --to CONFIG",
		Short: "Move a whole store to another database and another place for objects",
		Long: `Copy makes the store that one configuration file names the same as that of another: the
log, event by event, small contents, and objects, each verified by its digests. Either may be
on SQLite or PostgreSQL, and in a folder or in S3. Only database, data, storage and s3 of the
files count; the environment does not.

Nodes of the first store may run meanwhile; those of the second may not. When copy is interrupted,
run it again: it goes on where it was. To move without losing a push, run it while the old
nodes still serve, stop them, run it once more, and start the new ones. It ends with the heads of
both logs, and with 1 if they differ or something was missing. Unfinished uploads are not copied.`,
		Example: `  artifactstore copy --from single.yaml --to production.yaml
  artifactstore rebuild --check --config production.yaml`,
		Args: noArguments,
	}
	flags := cmd.Flags()
	from := flags.String("from", "", "configuration `FILE` of the store to copy")
	to := flags.String("to", "", "configuration `FILE` of the store that becomes the copy")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		source, err := configOf(cmd, "--from", *from)
		if err != nil {
			return err
		}
		target, err := configOf(cmd, "--to", *to)
		if err != nil {
			return err
		}
		if err := differ(source, target); err != nil {
			return &usageError{cmd.CommandPath(), err.Error()}
		}
		r := copyRun{from: homeOf(source), to: homeOf(target), what: "copy", another: "database, folder or prefix", notes: cmd.ErrOrStderr()}
		result, end, err := r.run(cmd.Context())
		if err != nil {
			return r.explain(err)
		}
		if *asJSON {
			err = printResultJSON(cmd.OutOrStdout(), result)
		} else {
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "log %s: %d events, running hash %s\nCopied %d events, %d objects, %s.\n",
				result.Head.Log, result.Head.Sequence, result.Head.Chain, result.Events, result.Objects, size(result.Bytes))
		}
		if err = errors.Join(err, r.damaged(result)); err == nil && end != result.Head {
			err = fmt.Errorf("the store goes on: it has %d events now, the copy %d; stop its nodes and run copy again", end.Sequence, result.Head.Sequence)
		}
		return err
	}
	return cmd
}

// configOf reads the configuration of one of the two stores.
func configOf(cmd *cobra.Command, flag, file string) (*config.Config, error) {
	if file == "" {
		return nil, &usageError{cmd.CommandPath(), flag + ": name the configuration file of a store"}
	}
	c, err := config.Load(file, nil, nil)
	if err != nil {
		return nil, err
	}
	if c.Storage.Driver == config.InMemory {
		return nil, &usageError{cmd.CommandPath(), fmt.Sprintf("%s: %s keeps objects in the memory of a server, where nothing can be copied from or to", flag, file)}
	}
	return &c.Config, nil
}

// differ refuses a copy onto itself.
func differ(from, to *config.Config) error {
	a, b := homeOf(from), homeOf(to)
	if b.inFolder() {
		if inside, err := a.contains(to.Data); err != nil || inside {
			return errors.Join(err, fmt.Errorf("--to: %s is in the data folder of --from: name another folder", to.Data))
		}
	}
	if a.Storage.Driver == config.InS3 && b.Storage.Driver == config.InS3 &&
		from.S3.Bucket == to.S3.Bucket && strings.Trim(from.S3.Prefix, "/") == strings.Trim(to.S3.Prefix, "/") && strings.TrimSuffix(from.S3.Endpoint, "/") == strings.TrimSuffix(to.S3.Endpoint, "/") {
		return errors.New("--to: it has the bucket and the prefix of --from: the copy needs objects of its own")
	}
	if !a.shared() || !b.shared() {
		return nil
	}
	source, err := from.Database.Source()
	if err != nil {
		return err
	}
	target, err := to.Database.Source()
	if err == nil && source == target {
		err = errors.New("--to: it has the database of --from")
	}
	return err
}
