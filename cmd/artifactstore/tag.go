package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
)

func tagCommand() *cobra.Command {
	return group("tag", "List tags, show one, or tell who moved it when", tagListCommand(), tagShowCommand(), tagHistoryCommand())
}

// kind is what a manifest is, in one word. The artifact type of an image is that
// of its config, which says less than the media type.
func kind(mediaType, artifactType string) string {
	switch artifactType {
	case "", "application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json":
		return mediaType
	}
	return artifactType
}

func tagListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list REPOSITORY",
		Short: "List the tags of a repository, by name",
		Example: `  artifactstore tag list demo
  artifactstore tag list demo --json | jq -r 'select(.actor == "anonymous") | .name'`,
		Args: exactly("REPOSITORY"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path, err := parseRepository(cmd, args[0], "tags")
		if err != nil {
			return err
		}
		digest := shorter(*wide)
		return listing[admin.Tag]{
			columns: []string{"TAG", "DIGEST", ">SIZE", "MOVED", "ACTOR", "TYPE"},
			row: func(t admin.Tag) []string {
				return []string{t.Name, digest(t.Digest), size(t.Size), moment(t.Moved), t.Actor, kind(t.MediaType, t.ArtifactType)}
			},
		}.print(ctx, in, path, *limit)
	})
	return cmd
}

func tagShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show REPOSITORY:TAG",
		Short: "Show what a tag names, and who moved it there when",
		Example: `  artifactstore tag show demo:v1
  artifactstore tag show demo:v1 --json | jq -r .digest`,
		Args: exactly("REPOSITORY:TAG"),
	}
	l := addLook(cmd)
	l.completeTag()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseTag(cmd, args[0])
		if err != nil {
			return err
		}
		return object(ctx, in, n.tagPath(), func(t admin.Tag) error {
			return printFields(in.out, []field{
				{"tag", t.Repository + ":" + t.Name}, {"digest", t.Digest},
				{"media type", t.MediaType}, {"artifact type", t.ArtifactType}, {"size", exactSize(t.Size)},
				{"moved", moment(t.Moved)}, {"actor", t.Actor}, {"event", fmt.Sprint(t.Sequence)},
				{"retention", retentionOf(t.Class, t.Rule, t.Expires, t.Marked)},
			})
		})
	})
	return cmd
}

func tagHistoryCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "history REPOSITORY:TAG",
		Short: "List the moves of a tag, the latest first: who moved it when, from what to what",
		Long: `History lists the moves of a tag, the latest first: who moved it when, from what
to what. A '-' stands for no manifest: the tag was new, or it was deleted. A deleted
tag keeps its history.`,
		Example: `  artifactstore tag history demo:v1
  artifactstore tag history demo:v1 -n 1 --json`,
		Args: exactly("REPOSITORY:TAG"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeTag()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseTag(cmd, args[0])
		if err != nil {
			return err
		}
		digest := shorter(*wide)
		return listing[admin.TagMove]{
			columns: []string{">EVENT", "TIME", "ACTOR", "FROM", "TO"},
			row: func(m admin.TagMove) []string {
				return []string{fmt.Sprint(m.Sequence), moment(m.Time), m.Actor, orDash(digest(m.From)), orDash(digest(m.To))}
			},
		}.print(ctx, in, n.tagPath("history"), *limit)
	})
	return cmd
}
