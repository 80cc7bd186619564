package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

// What a shell is told: it must not be kept waiting, nor be told of failures.
const (
	completionTime  = time.Second
	completionLimit = 100 // names
)

// words are what a word that was begun can become.
type words func(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective)

// completeRepository completes the first argument as a repository.
func (l *look) completeRepository() { l.complete(repositoryWords) }

// completeTag completes the first argument as REPOSITORY:TAG.
func (l *look) completeTag() { l.complete(tagWords) }

func repositoryWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
	return names(ctx, c, adminclient.Path("repositories"), "", word), cobra.ShellCompDirectiveNoFileComp
}

func tagWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
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
}

// targetWords are what a hold can be on: repositories, and their tags.
func targetWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
	if strings.Contains(word, ":") {
		return tagWords(ctx, c, word)
	}
	found, directive := repositoryWords(ctx, c, word)
	return found, directive | cobra.ShellCompDirectiveNoSpace
}

// holdWords are the names of holds.
func holdWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
	return firsts(ctx, c, adminclient.Path("holds"), word, func(h admin.Hold) string { return h.Name }), cobra.ShellCompDirectiveNoFileComp
}

// planWords are the ids of plans.
func planWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
	return firsts(ctx, c, adminclient.Path("plans"), word, func(p admin.Plan) string { return p.ID }), cobra.ShellCompDirectiveNoFileComp
}

// noWords are for what only its user knows.
func noWords(context.Context, *adminclient.Client, string) ([]string, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveNoFileComp
}

// complete completes the arguments, each in its way.
func (l *look) complete(arguments ...words) {
	l.cmd.ValidArgsFunction = func(cmd *cobra.Command, args []string, word string) ([]string, cobra.ShellCompDirective) {
		if len(args) >= len(arguments) {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
		defer cancel()
		client, done, err := l.open(ctx, io.Discard, false)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		found, directive := arguments[len(args)](ctx, client, word)
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

// firsts are the texts of the first entries of a list that begin with prefix, each
// once. The list may have any order.
func firsts[T any](ctx context.Context, c *adminclient.Client, path, prefix string, text func(T) string) []string {
	var found []string
	for page, err := range c.List(ctx, path, completionLimit) {
		if err != nil {
			return found
		}
		for _, item := range page {
			entry, err := decode[T](item)
			if err != nil {
				return found
			}
			if t := text(entry); strings.HasPrefix(t, prefix) && !slices.Contains(found, t) {
				found = append(found, t)
			}
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
