package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func statusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show what serves, whether it takes pushes, and where its log ends",
		Example: `  artifactstore status
  artifactstore status --json | jq .ready
  artifactstore status --data /var/lib/artifactstore`,
		Args: noArguments,
	}
	l := addLook(cmd)
	l.logOnly = true
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return object(ctx, in, adminclient.Path("status"), func(s admin.Status) error {
			fields := []field{
				{"state", state(s)}, {"version", s.Version}, {"commit", s.Commit}, {"go", s.Go}, {"started", moment(s.Started)},
				{"log", s.Log.ID}, {"events", fmt.Sprint(s.Log.Sequence)},
			}
			if s.Log.Time != nil {
				fields = append(fields, field{"last event", moment(*s.Log.Time)})
			}
			fields = append(append(fields, field{"running hash", s.Log.Chain}), wellbeing(s)...)
			if err := printFields(in.out, fields); err != nil || len(s.Nodes) == 0 {
				return err
			}
			fmt.Fprintln(in.out)
			t := table{columns: []string{"NODE", "VERSION", "STARTED", "STATE"}}
			return t.print(in.out, nodeRows(s.Nodes))
		})
	})
	return cmd
}

// wellbeing is what an operator has to look after.
func wellbeing(s admin.Status) (fields []field) {
	if s.ClockJumped {
		fields = append(fields, field{"clock", "went ahead: nothing expires; see 'artifactstore clock'"})
	}
	if s.Damaged > 0 {
		fields = append(fields, field{"damaged", fmt.Sprintf("%d contents are under quarantine; see 'artifactstore storage damaged'", s.Damaged)})
	}
	if s.Scrub != nil {
		text := "began " + moment(s.Scrub.Began)
		if s.Scrub.Ended != nil {
			text += ", ended " + moment(*s.Scrub.Ended)
		}
		fields = append(fields, field{"scrub", text + "; " + scrubProgress(*s.Scrub)})
	}
	return fields
}

func state(s admin.Status) string {
	switch {
	case !s.Serving:
		return "looked at without a server"
	case !s.Ready && slices.ContainsFunc(s.Nodes, func(n admin.Node) bool { return n.Self && n.Problem != "" }):
		return "serving, but not ready: see the nodes below"
	case !s.Ready:
		return "serving, but refuses pushes: see 'artifactstore storage' and the server's log"
	}
	return "serving, takes pushes"
}

func nodeRows(nodes []admin.Node) [][]string {
	var rows [][]string
	for _, n := range nodes {
		name, is := n.Name, "serves"
		if n.Self {
			name += " (this one)"
		}
		if n.Problem != "" {
			is = "not ready: " + n.Problem
		}
		rows = append(rows, []string{name, n.Version, moment(n.Started), is})
	}
	return rows
}

func usageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "usage [REPOSITORY]",
		Short: "Show how much there is in all, or in a repository",
		Long: `Usage shows how much there is in all: what the stores keep, in which each content is
once, however many repositories have it. With a REPOSITORY it counts what that one
holds, each content once, also what it shares with others.`,
		Example: `  artifactstore usage
  artifactstore usage demo
  artifactstore usage demo --json | jq .bytes`,
		Args: atMost(1),
	}
	l := addLook(cmd)
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		if len(args) == 0 {
			return object(ctx, in, adminclient.Path("usage"), func(u admin.TotalUsage) error { return printTotals(in, u) })
		}
		path, err := parseRepository(cmd, args[0], "usage")
		if err != nil {
			return err
		}
		return object(ctx, in, path, func(u admin.Usage) error {
			return printFields(in.out, append([]field{{"repository", u.Repository}}, usageFields(u)...))
		})
	})
	return cmd
}

func printTotals(in *inside, u admin.TotalUsage) error {
	err := printFields(in.out, []field{
		{"repositories", fmt.Sprint(u.Repositories)}, {"tags", fmt.Sprint(u.Tags)},
		{"manifests", fmt.Sprint(u.Manifests)}, {"uploads", fmt.Sprint(u.Uploads)},
	})
	if err != nil {
		return err
	}
	rows := make([][]string, len(u.Stores))
	for i, s := range u.Stores {
		rows[i] = []string{s.Name, fmt.Sprint(s.Blobs), size(s.Bytes)}
	}
	fmt.Fprintln(in.out)
	t := table{columns: []string{"STORE", ">CONTENTS", ">SIZE"}}
	return t.print(in.out, rows)
}

func storageCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "storage",
		Short: "Show whether the stores are healthy, and how much room they have",
		Long: `Storage shows whether the stores are healthy and how much room they have. Pushes are
refused when less than MIN FREE is free. A '-' stands for what a store does not know.`,
		Example: `  artifactstore storage
  artifactstore storage --json | jq 'select(.healthy | not)'`,
		Args: noSuchCommand,
	}
	l := addLook(cmd)
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		text, err := in.Object(ctx, adminclient.Path("storage"))
		if err != nil {
			return err
		}
		all, err := decode[admin.Page[json.RawMessage]](text)
		if err != nil {
			return err
		}
		l := listing[admin.Store]{
			columns: []string{"STORE", "HEALTHY", ">FREE", ">OF", ">MIN FREE", ">FREE FILES"},
			row: func(s admin.Store) []string {
				healthy := "yes"
				if !s.Healthy {
					healthy = "no: see the server's log"
				}
				files := "-"
				if s.FreeFiles != nil {
					files = fmt.Sprint(*s.FreeFiles)
				}
				return []string{s.Name, healthy, sizeIfKnown(s.FreeBytes), sizeIfKnown(s.TotalBytes), sizeIfKnown(s.KeptBytes), files}
			},
		}
		return l.page(in, &table{columns: l.columns}, all.Items)
	})
	cmd.AddCommand(storageDamagedCommand())
	return cmd
}

func storageDamagedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "damaged",
		Short: "List what is under quarantine, because its bytes were found missing or wrong",
		Long: `Damaged lists what clients get 404 for because its bytes were found missing or wrong.
Pushing the same content again heals it; 'digest show DIGEST' tells who has it.`,
		Example: `  artifactstore storage damaged
  artifactstore storage damaged --json | jq -r '.digests[]'`,
		Args: noArguments,
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return damagedContents.print(ctx, in, adminclient.Path("storage", "damaged"), *limit)
	})
	return cmd
}

var damagedContents = listing[admin.Digest]{
	columns: []string{"DAMAGED", ">SIZE", "STORE", "LOCATOR"},
	row: func(d admin.Digest) []string {
		return []string{strings.Join(d.Digests, " "), size(d.Size), d.Store, orDash(d.Locator)}
	},
}

func sizeIfKnown(n *int64) string {
	if n == nil {
		return "-"
	}
	return size(*n)
}

func uploadsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "uploads",
		Short: "List the uploads in progress, and how far they are",
		Example: `  artifactstore uploads
  artifactstore uploads --json | jq -s 'map(.received) | add'`,
		Args: noArguments,
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return listing[admin.Upload]{
			columns: []string{"ID", "REPOSITORY", "ACTOR", ">RECEIVED", "EXPIRES"},
			row: func(u admin.Upload) []string {
				return []string{u.ID, u.Repository, u.Actor, size(u.Received), moment(u.Expires)}
			},
		}.print(ctx, in, adminclient.Path("uploads"), *limit)
	})
	return cmd
}
