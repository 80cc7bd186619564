package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func digestCommand() *cobra.Command {
	return group("digest", "Show what has a digest, which repositories hold it, and what references it",
		digestShowCommand(), digestRepositoriesCommand(), digestReferencesCommand())
}

func digestShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show DIGEST",
		Short: "Show the content that has a digest: its other digests, its size and place, who has it",
		Long: `Show the content that has a digest, of sha256, sha512 or blake3: its other digests,
its size and place, which repositories hold it, and which manifests reference it. With
--json it is the content alone: 'digest repositories' and 'digest references' have the
rest.`,
		Example: `  artifactstore digest show sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
  artifactstore digest show blake3:... --json | jq -r '.digests[]'`,
		Args: exactly("DIGEST"),
	}
	l := addLook(cmd)
	wide := l.wide()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path := adminclient.Path("digests", args[0])
		return object(ctx, in, path, func(d admin.Digest) error {
			fields := append(digestFields("digests", d.Digests), field{"size", exactSize(d.Size)}, field{"stored", moment(d.Stored)},
				field{"event", fmt.Sprint(d.Sequence)}, field{"store", d.Store}, field{"locator", d.Locator})
			for i, u := range d.Native {
				fields = append(fields, field{value: u.Repository + "@" + u.Manifest})
				if i == 0 {
					fields[len(fields)-1].name = "native form of"
				}
			}
			if err := printFields(in.out, fields); err != nil {
				return err
			}
			if err := holders.some(ctx, in, "repositories", path+"/repositories", "digest repositories "+args[0]); err != nil {
				return err
			}
			return users(*wide).some(ctx, in, "referenced by", path+"/references", "digest references "+args[0])
		})
	})
	return cmd
}

var holders = listing[admin.Holder]{
	columns: []string{"REPOSITORY", "HOLDS IT AS"},
	row: func(h admin.Holder) []string {
		switch {
		case h.Blob && h.Manifest:
			return []string{h.Repository, "blob and manifest"}
		case h.Manifest:
			return []string{h.Repository, "manifest"}
		}
		return []string{h.Repository, "blob"}
	},
}

func users(wide bool) listing[admin.User] {
	digest := shorter(wide)
	return listing[admin.User]{
		columns: []string{"REPOSITORY", "MANIFEST", "AS", "TYPE"},
		row: func(u admin.User) []string {
			return []string{u.Repository, digest(u.Manifest), u.Role, u.MediaType}
		},
	}
}

func digestRepositoriesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "repositories DIGEST",
		Short: "List the repositories that hold the content with a digest",
		Example: `  artifactstore digest repositories sha256:...
  artifactstore digest repositories sha256:... --json | jq -r .repository`,
		Args: exactly("DIGEST"),
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		return holders.print(ctx, in, adminclient.Path("digests", args[0], "repositories"), *limit)
	})
	return cmd
}

func digestReferencesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "references DIGEST",
		Short: "List the manifests, in all repositories, that reference the content with a digest",
		Example: `  artifactstore digest references sha256:...
  artifactstore digest references sha256:... --json | jq -r '.repository + "@" + .manifest'`,
		Args: exactly("DIGEST"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		return users(*wide).print(ctx, in, adminclient.Path("digests", args[0], "references"), *limit)
	})
	return cmd
}
