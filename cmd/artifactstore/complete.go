package main

import (
	"context"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/adminclient"
)

// What a shell is told: it must not be kept waiting, nor be told of failures.
const (
	completionTime  = time.Second
	completionLimit = 100 // names
)

// completeRepository completes the first argument as a repository.
func (l *look) completeRepository() {
	l.complete(func(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
		return names(ctx, c, adminclient.Path("repositories"), "", word), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeTag completes the first argument as REPOSITORY:TAG.
func (l *look) completeTag() {
	l.complete(func(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
		repository, tag, found := strings.Cut(word, ":")
		if found {
			path := adminclient.Path("repositories", repository, "tags")
			return names(ctx, c, path, repository+":", tag), cobra.ShellCompDirectiveNoFileComp
		}
		all := names(ctx, c, adminclient.Path("repositories"), "", repository)
		for i := range all {
			all[i] += ":"
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}

func (l *look) complete(words func(context.Context, *adminclient.Client, string) ([]string, cobra.ShellCompDirective)) {
	l.cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		client, done, err := l.open(ctx, io.Discard)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, directive := words(ctx, client, word)
		if done() != nil { // it was only read
			return nil, directive
		}
		return found, directive
	}
}

// names are the names of a list that begin with prefix, each with more before it.
func names(ctx context.Context, c *adminclient.Client, path, before, prefix string) []string {
	var found []string
	for page, err := range c.ListFrom(ctx, path, placeBefore(prefix), completionLimit) {
		if err != nil {
			return found
		}
		for _, item := range page {
			entry, err := decode[struct{ Name string }](item)
			if err != nil || !strings.HasPrefix(entry.Name, prefix) {
				return found
			}
			found = append(found, before+entry.Name)
		}
	}
	return found
}

// placeBefore is a place in a list of names right before those with a prefix:
// '~' is behind all characters that names have.
func placeBefore(prefix string) string {
	if prefix == "" {
		return ""
	}
	last := len(prefix) - 1
	return prefix[:last] + string(prefix[last]-1) + "~"
}

// completeFlag completes a flag with values.
func completeFlag(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag is defined by the caller
	}
}
