package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
)

const manifestArgument = "REPOSITORY:TAG|REPOSITORY@DIGEST"

func manifestCommand() *cobra.Command {
	return group("manifest", "List manifests, show one and what it is connected with, or get its bytes",
		manifestListCommand(), manifestShowCommand(), manifestGetCommand(), manifestReferencesCommand(), manifestReferrersCommand(), manifestDeletedCommand())
}

func manifestListCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list REPOSITORY",
		Short: "List the manifests of a repository, the latest first, tagged or not",
		Example: `  artifactstore manifest list demo
  artifactstore manifest list demo --json | jq -r 'select(.tags == []) | .digest'`,
		Args: exactly("REPOSITORY"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path, err := parseRepository(cmd, args[0], "manifests")
		if err != nil {
			return err
		}
		digest := shorter(*wide)
		return listing[admin.Manifest]{
			columns: []string{"DIGEST", ">SIZE", "PUSHED", "TYPE", "TAGS"},
			row: func(m admin.Manifest) []string {
				return []string{digest(m.Digest), size(m.Size), moment(m.Pushed), kind(m.MediaType, m.ArtifactType), orDash(tagsOf(m))}
			},
		}.print(ctx, in, path, *limit)
	})
	return cmd
}

func tagsOf(m admin.Manifest) string {
	text := strings.Join(m.Tags, ", ")
	if m.MoreTags {
		text += ", ..."
	}
	return text
}

func manifestShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show " + manifestArgument,
		Short: "Show a manifest: its digests, what it references, and what refers to it",
		Long: `Show a manifest: its digests, what it references, and what refers to it as its
subject. With --json it is the manifest alone: 'manifest references' and 'manifest
referrers' have the rest.`,
		Example: `  artifactstore manifest show demo:v1
  artifactstore manifest show demo@sha256:... --json | jq -r .native`,
		Args: exactly(manifestArgument),
	}
	l := addLook(cmd)
	wide := l.wide()
	l.completeTag()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseName(cmd, args[0])
		if err != nil {
			return err
		}
		return object(ctx, in, n.path("info"), func(m admin.Manifest) error {
			if err := printFields(in.out, manifestFields(m)); err != nil {
				return err
			}
			if err := references(*wide).some(ctx, in, "references", n.path("references"), "manifest references "+args[0]); err != nil {
				return err
			}
			return referrers(*wide).some(ctx, in, "referrers", n.path("referrers"), "manifest referrers "+args[0])
		})
	})
	return cmd
}

func manifestFields(m admin.Manifest) []field {
	fields := []field{
		{"repository", m.Repository}, {"tags", orDash(tagsOf(m))}, {"digest", m.Digest}, {"media type", m.MediaType},
		{"artifact type", m.ArtifactType}, {"subject", m.Subject}, {"size", exactSize(m.Size)},
		{"pushed", moment(m.Pushed)}, {"event", fmt.Sprint(m.Sequence)}, {"retention", retentionOf(m.Class, m.Rule, m.Expires, m.Marked)}, {"native", m.Native},
	}
	return append(fields, digestFields("found by", m.Digests)...)
}

// retentionOf says how long a manifest is kept: 'retention status' says why.
func retentionOf(class, rule string, expires, marked *time.Time) string {
	text := class
	if rule != "" {
		text += " by " + rule
	}
	if expires == nil {
		text += ", never expires"
	} else {
		text += ", expires " + moment(*expires)
	}
	if marked != nil {
		text += ", marked as expired " + moment(*marked)
	}
	return text
}

// digestFields are digests below each other.
func digestFields(title string, digests []string) []field {
	fields := make([]field, len(digests))
	for i, d := range digests {
		fields[i].value = d
	}
	if len(fields) > 0 {
		fields[0].name = title
	}
	return fields
}

func references(wide bool) listing[admin.Reference] {
	digest := shorter(wide)
	return listing[admin.Reference]{
		columns: []string{"ROLE", "DIGEST", ">SIZE", "HELD", "TYPE"},
		row: func(r admin.Reference) []string {
			held := "no"
			if r.Held {
				held = "yes"
			}
			return []string{r.Role, digest(r.Digest), size(r.Size), held, r.MediaType}
		},
	}
}

// descriptor is what a table tells of a referrer.
type descriptor struct {
	MediaType    string `json:"mediaType"`
	ArtifactType string `json:"artifactType"`
	Digest       string `json:"digest"`
	Size         int64  `json:"size"`
}

func referrers(wide bool) listing[admin.Referrer] {
	digest := shorter(wide)
	return listing[admin.Referrer]{
		columns: []string{"DIGEST", ">SIZE", ">EVENT", "TYPE"},
		row: func(r admin.Referrer) []string {
			var d descriptor
			if json.Unmarshal(r.Descriptor, &d) != nil { // what cannot be read has no columns
				d = descriptor{}
			}
			return []string{digest(d.Digest), size(d.Size), fmt.Sprint(r.Sequence), kind(d.MediaType, d.ArtifactType)}
		},
	}
}

func manifestReferencesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "references " + manifestArgument,
		Short: "List what a manifest references: its config and layers, or its manifests",
		Long: `References lists what a manifest references, in its order: config and layers, or
the manifests of an index. Under HELD is whether the content was there when the
manifest was pushed.`,
		Example: `  artifactstore manifest references demo:v1
  artifactstore manifest references demo:v1 --json | jq -s 'map(.size) | add'`,
		Args: exactly(manifestArgument),
	}
	return manifestListOf(cmd, "references", references)
}

func manifestReferrersCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "referrers " + manifestArgument,
		Short: "List what refers to a manifest as its subject: signatures, SBOMs, reports",
		Example: `  artifactstore manifest referrers demo:v1
  artifactstore manifest referrers demo:v1 --json | jq -r .descriptor.artifactType`,
		Args: exactly(manifestArgument),
	}
	return manifestListOf(cmd, "referrers", referrers)
}

// manifestListOf is a verb that lists what a manifest is connected with.
func manifestListOf[T any](cmd *cobra.Command, what string, table func(wide bool) listing[T]) *cobra.Command {
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeTag()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseName(cmd, args[0])
		if err != nil {
			return err
		}
		return table(*wide).print(ctx, in, n.path(what), *limit)
	})
	return cmd
}
