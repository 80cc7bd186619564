package main

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func repoDeleteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete REPOSITORY",
		Short: "Delete a repository with everything in it; it can be put back within the grace",
		Long: `Delete takes a repository with everything in it away from clients at once. Until the grace
has passed (7 days unless retention.grace says otherwise) 'undo' puts it back; then its
content is forgotten. It is refused while a hold is on the repository or on something in it,
and where a policy makes the repository write-once, tags immutable or content permanent.`,
		Example: `  artifactstore repo delete team/old --reason "moved to team/new"`,
		Args:    exactly("REPOSITORY"),
	}
	l := addChange(cmd)
	reason := l.reason("it is deleted")
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path, err := parseRepository(cmd, args[0])
		if err != nil {
			return err
		}
		return change(ctx, in, http.MethodDelete, path, admin.ReasonRequest{Reason: *reason}, func(d admin.DeletedRepository) error {
			_, err := fmt.Fprintf(in.out, "Repository %s was deleted. Until %s it can be put back: artifactstore undo %d%s --reason ...\n",
				d.Name, moment(d.Until), d.Sequence, in.again)
			return err
		})
	})
	return cmd
}

func repoDeletedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deleted",
		Short: "List the deleted repositories that can be put back",
		Example: `  artifactstore repo deleted
  artifactstore undo $(artifactstore repo deleted --json | jq 'select(.name == "demo") | .sequence') --reason "deleted by mistake"`,
		Args: noArguments,
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return listing[admin.DeletedRepository]{
			columns: []string{">EVENT", "NAME", "DELETED", "UNTIL"},
			row: func(d admin.DeletedRepository) []string {
				return []string{fmt.Sprint(d.Sequence), d.Name, moment(d.Deleted), moment(d.Until)}
			},
		}.print(ctx, in, adminclient.Path("deleted"), *limit)
	})
	return cmd
}

func manifestDeletedCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deleted REPOSITORY",
		Short: "List the deleted manifests of a repository that can be put back",
		Example: `  artifactstore manifest deleted demo
  artifactstore undo EVENT --reason "deleted by mistake"`,
		Args: exactly("REPOSITORY"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	l.completeRepository()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path, err := parseRepository(cmd, args[0], "deleted")
		if err != nil {
			return err
		}
		digest := shorter(*wide)
		return listing[admin.DeletedManifest]{
			columns: []string{">EVENT", "DIGEST", ">SIZE", "DELETED", "UNTIL", "TYPE"},
			row: func(d admin.DeletedManifest) []string {
				return []string{fmt.Sprint(d.Sequence), digest(d.Digest), size(d.Size), moment(d.Deleted), moment(d.Until), kind(d.MediaType, d.ArtifactType)}
			},
		}.print(ctx, in, path, *limit)
	})
	return cmd
}

func undoCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "undo EVENT",
		Short: "Put back what an event of the log has deleted or moved",
		Long: `Undo takes back an event: a deleted manifest comes back with the tags that went with it,
a deleted repository with everything, a deleted or moved tag names again what it named. It
works while the bytes are there: until the grace has passed (7 days unless retention.grace
says otherwise). What was erased for a legal cause, and what has expired and was collected,
is gone.

EVENT is the number of the event: 'manifest deleted', 'repo deleted', 'tag history' and
'events' show it. An undo is written to the log as well: a tag that it has moved can be moved
back by undoing that event, a manifest or a repository is deleted again.`,
		Example: `  artifactstore undo 4711 --reason "deleted by mistake"
  artifactstore undo $(artifactstore events --kind v1.manifest.deleted --json | tail -1 | jq .sequence) --reason "deleted by mistake"`,
		Args: exactly("EVENT"),
	}
	l := addChange(cmd)
	reason := l.reason("it is put back")
	var sequence uint64
	l.checks = append(l.checks, func(args []string) (err error) {
		if sequence, err = strconv.ParseUint(args[0], 10, 63); err != nil || sequence == 0 {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("%s is no event: write its number, as 'artifactstore events' prints it", args[0])}
		}
		return nil
	})
	l.run(func(ctx context.Context, in *inside, args []string) error {
		in.about = ""
		request := admin.UndoRequest{Sequence: sequence, Reason: *reason}
		return change(ctx, in, http.MethodPost, adminclient.Path("undo"), request, func(u admin.Undone) error {
			left := make([]string, len(u.Left))
			for i, t := range u.Left {
				left[i] = fmt.Sprintf("%s (event %d)", t.Tag, t.Sequence)
			}
			fields := []field{{"undone", fmt.Sprintf("event %d, %s of %s", u.Sequence, u.Kind, u.Subject)}, {"repository", u.Repository}}
			fields = append(fields, digestFields("restored", u.Restored)...)
			fields = append(fields, field{"tags set", strings.Join(u.Moved, ", ")}, field{"tags removed", strings.Join(u.Removed, ", ")},
				field{"tags left alone", strings.Join(left, ", ")})
			for _, n := range u.Notes {
				fields = append(fields, field{"note", n})
			}
			return printFields(in.out, fields)
		})
	})
	return cmd
}
