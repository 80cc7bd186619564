package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/config"
)

func configCommand() *cobra.Command {
	return group("config", "Check, show or describe the configuration",
		configCheckCommand(), configShowCommand(), configSchemaCommand())
}

func configCheckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check [FILE]",
		Short: "Check the configuration as serve would, and start nothing",
		Long: `Check reads FILE (or the file of --config), the environment, the flags, the
certificate and the files that hold secrets as serve would, and starts nothing: it asks neither
the database nor the bucket. All problems are printed, each with its place.`,
		Example: `  artifactstore config check /etc/artifactstore.yaml`,
		Args:    atMost(1),
	}
	s := addSettings(cmd, serveKeys...)
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			s.file = args[0]
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		if err := checkExposure(&c.Config); err != nil {
			return err
		}
		if _, err := loadCertificate(c.TLS); err != nil {
			return err
		}
		if err := readSecrets(&c.Config); err != nil {
			return err
		}
		return answer(cmd.OutOrStdout(), *asJSON, map[string]bool{"valid": true}, "The configuration is valid.")
	}
	return cmd
}

func configShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "show",
		Short:   "Print the effective configuration as YAML, with the source of each value",
		Example: `  artifactstore config show --config /etc/artifactstore.yaml`,
		Args:    noArguments,
	}
	s := addSettings(cmd, serveKeys...)
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := s.load()
		if err != nil {
			return err
		}
		source := func(k config.Key) string {
			if where, ok := c.Where[k.Name]; ok {
				return where
			}
			return "default"
		}
		if !*asJSON {
			return c.YAML(cmd.OutOrStdout(), source)
		}
		all := make(map[string]settingJSON)
		for _, k := range config.Keys() {
			all[k.Name] = settingJSON{k.Get(&c.Config), source(k)}
		}
		return answer(cmd.OutOrStdout(), true, all, "")
	}
	return cmd
}

// settingJSON is a setting in JSON: its value as a variable would have it.
type settingJSON struct {
	Value  string `json:"value"`
	Source string `json:"source"`
}

func configSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print a JSON Schema of the configuration file",
		Example: `  artifactstore config schema > artifactstore.schema.json`,
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(config.Schema())
			return err
		},
	}
}

// readSecrets returns what is wrong with the files that hold secrets.
func readSecrets(c *config.Config) error {
	_, err := c.Database.Source()
	_, _, keys := c.S3.AccessKey()
	return errors.Join(err, keys)
}

// checkExposure refuses to open the registry to other machines by mistake.
func checkExposure(c *config.Config) error {
	if c.InsecureNoAuth {
		return nil
	}
	if !config.Loopback(c.Listen) {
		return fmt.Errorf(`refusing to listen on %s: other machines could reach it, and there are no accounts:
anybody who reaches the port could pull, push and delete.
Listen on 127.0.0.1:5000 (--listen), or pass --insecure-no-auth if something else guards the port`, c.Listen)
	}
	if c.Admin.Listen != config.Off && !config.Loopback(c.Admin.Listen) {
		return fmt.Errorf(`refusing to listen on %s for operators: other machines could reach it, and there are no accounts:
anybody who reaches the port could read what there is and who pushed it.
Listen on 127.0.0.1:5001 (--admin-listen), or pass --insecure-no-auth if something else guards the port`, c.Admin.Listen)
	}
	return nil
}
