package main

import (
	"os"

	"github.com/spf13/cobra"

	"artifactstore/internal/config"
)

// settingFlags are the keys that have a flag. The words in backquotes stand
// for the value in the help.
var settingFlags = map[string]struct{ name, usage string }{
	"listen":           {"listen", "`ADDRESS` and port to listen on"},
	"data":             {"data", "`FOLDER` that holds everything the server keeps"},
	"insecure_no_auth": {"insecure-no-auth", "allow listening beyond loopback although anybody who reaches the port can pull, push and delete"},
	"admin.listen":     {"admin-listen", "`ADDRESS` and port of the operators' API, or off"},
	"log.format":       {"log-format", "`FORMAT` of the log lines on standard error: text or json"},
}

// serveKeys are the keys that have a flag of serve.
var serveKeys = []string{"listen", "data", "insecure_no_auth", "admin.listen", "log.format"}

// settings gives a command its configuration: the flags --config and those of
// some keys, beside the file and the environment.
type settings struct {
	cmd  *cobra.Command
	keys []string
	file string
}

// addSettings adds the flag --config and the flags of the keys to a command.
func addSettings(cmd *cobra.Command, keys ...string) *settings {
	s := &settings{cmd: cmd, keys: keys}
	defaults := config.Default()
	for _, name := range keys {
		f := settingFlags[name]
		key, _ := config.Lookup(name)
		if value := key.Get(&defaults); value == "false" {
			cmd.Flags().Bool(f.name, false, f.usage)
		} else {
			cmd.Flags().String(f.name, value, f.usage)
		}
	}
	cmd.Flags().StringVar(&s.file, "config", os.Getenv(config.FileVariable), "configuration `FILE` (YAML)")
	return s
}

// load returns the configuration that the command line, the environment and
// the file make.
func (s *settings) load() (*config.Effective, error) {
	var flags []config.Setting
	for _, key := range s.keys {
		flag := s.cmd.Flags().Lookup(settingFlags[key].name)
		if flag.Changed {
			flags = append(flags, config.Setting{Key: key, Value: flag.Value.String(), Where: "--" + flag.Name})
		}
	}
	return config.Load(s.file, os.Environ(), flags)
}
