// Command artifactstore is a registry for durable artifacts that speaks the
// OCI distribution API, and the tools to look after one.
//
// It exits with 0 after success, 1 after a failure, when something was not found
// or when a check found a difference, and 2 when the command line is wrong.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func main() {
	restrict()
	ctx, cancel := context.WithCancel(context.Background())
	go obeySignals(cancel)
	os.Exit(exitCode(root().ExecuteContext(ctx)))
}

// obeySignals asks the process to end at the first signal, and ends it at the
// second. It runs until the process ends.
func obeySignals(stop func()) {
	signals := make(chan os.Signal, 2) // so that a quick second one is not lost
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	<-signals
	stop()
	<-signals
	os.Exit(1)
}

// exitCode reports err on standard error and returns the code for it.
func exitCode(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintf(os.Stderr, "artifactstore: %v\n", err)
	if usage, ok := errors.AsType[*usageError](err); ok {
		fmt.Fprintf(os.Stderr, "Run '%s --help' for usage.\n", usage.command)
		return 2
	}
	return 1
}

func root() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "artifactstore",
		Short: "A registry for durable artifacts: oras, docker, helm and crane push to it and pull from it",
		Long: `artifactstore is a registry for durable artifacts. Clients speak the OCI
distribution API to it: oras, docker, helm, crane and others work unchanged.

  artifactstore serve                                        start it on 127.0.0.1:5000
  oras push --plain-http localhost:5000/demo:v1 file.txt     push a file
  oras pull --plain-http localhost:5000/demo:v1              pull it again
  artifactstore tag list demo                                look inside

It exits with 0 after success, 1 after a failure, when something was not found or when
a check found a difference, and 2 when the command line is wrong.`,
		Args:          noSuchCommand,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	cmd.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{cmd.CommandPath(), err.Error()}
	})
	add(cmd, "Run:", serveCommand(), configCommand())
	add(cmd, "Look inside, a running server or a stopped store:", statusCommand(), repoCommand(), tagCommand(), manifestCommand(),
		digestCommand(), whyCommand(), eventsCommand(), usageCommand(), storageCommand(), uploadsCommand())
	add(cmd, "Decide what is kept:", retentionCommand(), holdCommand(), undoCommand(), eraseCommand(), clockCommand())
	add(cmd, "Look after:", backupCommand(), copyCommand(), importCommand(), sweepCommand(), scrubCommand(), fsckCommand(), rebuildCommand(), epochCommand(), migrateCommand(), healthcheckCommand(), versionCommand())
	cmd.Version, _ = buildVersion()
	cmd.SetHelpCommandGroupID("Look after:")
	cmd.SetCompletionCommandGroupID("Look after:")
	return cmd
}

// add adds commands under a title of the help.
func add(cmd *cobra.Command, title string, commands ...*cobra.Command) {
	cmd.AddGroup(&cobra.Group{ID: title, Title: title})
	for _, c := range commands {
		c.GroupID = title
		cmd.AddCommand(c)
	}
}
