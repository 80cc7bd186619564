package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// A usageError is a command line that makes no sense.
type usageError struct {
	command string // the command whose help explains it
	text    string
}

func (e *usageError) Error() string { return e.text }

// noArguments refuses arguments after the flags.
func noArguments(cmd *cobra.Command, args []string) error {
	return atMost(0)(cmd, args)
}

// atMost refuses more than n arguments.
func atMost(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) > n {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("%s: unexpected argument %q", cmd.CommandPath(), args[n])}
		}
		return nil
	}
}

// exactly wants these arguments, and names one that is missing, or empty as a
// variable of the shell that was not set.
func exactly(arguments ...string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		for i, argument := range arguments {
			if len(args) <= i || args[i] == "" {
				return &usageError{cmd.CommandPath(), argument + " is missing"}
			}
		}
		return atMost(len(arguments))(cmd, args)
	}
}

// group is a command that only groups others.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   use,
		Short: short,
		Args:  noSuchCommand,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(commands...)
	return cmd
}

// noSuchCommand is for commands that group others: any argument is a mistyped
// command.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	cmd.SuggestionsMinimumDistance = 2 // cobra sets its default too late for this
	text := fmt.Sprintf("%s has no command %q", cmd.CommandPath(), args[0])
	if near := cmd.SuggestionsFor(args[0]); len(near) > 0 {
		text += "; did you mean " + strings.Join(near, " or ") + "?"
	}
	return &usageError{cmd.CommandPath(), text}
}
