package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func repoCommand() *cobra.Command {
	return group("repo", "List repositories, show one, or delete one", repoListCommand(), repoShowCommand(), repoDeleteCommand(), repoDeletedCommand())
}

func repoListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the repositories, by name",
		Example: `  artifactstore repo list
  artifactstore repo list --json | jq -r .name`,
		Args: noArguments,
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return listing[admin.Repository]{
			columns: []string{"NAME", "CREATED"},
			row:     func(r admin.Repository) []string { return []string{r.Name, moment(r.Created)} },
		}.print(ctx, in, adminclient.Path("repositories"), *limit)
	})
	return cmd
}

func repoShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show REPOSITORY",
		Short: "Show a repository, and how much it holds",
		Long: `Show a repository, and how much it holds. With --json it is the repository alone:
'artifactstore usage REPOSITORY --json' has the rest.`,
		Example: `  artifactstore repo show demo
  artifactstore repo show team/app --json`,
		Args: exactly("REPOSITORY"),
	}
	l := addLook(cmd)
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path, err := parseRepository(cmd, args[0])
		if err != nil {
			return err
		}
		return object(ctx, in, path, func(r admin.Repository) error {
			fields := []field{{"repository", r.Name}, {"created", moment(r.Created)}, {"event", fmt.Sprint(r.Sequence)}}
			return object(ctx, in, path+"/usage", func(u admin.Usage) error {
				return printFields(in.out, append(fields, usageFields(u)...))
			})
		})
	})
	return cmd
}

// usageFields say how much a repository holds.
func usageFields(u admin.Usage) []field {
	return []field{
		{"tags", fmt.Sprint(u.Tags)}, {"manifests", fmt.Sprint(u.Manifests)},
		{"blobs", fmt.Sprint(u.Blobs)}, {"size", exactSize(u.Bytes)},
		{"shared", exactSize(u.Shared)}, {"exclusive", exactSize(u.Exclusive)}, {"condemned", exactSize(u.Condemned)},
	}
}
