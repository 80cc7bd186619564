package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/retention"
)

func retentionStatusCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status " + manifestArgument,
		Short: "Show how long a manifest is kept, and why",
		Long: `Status shows the class of a manifest and what gave it, when it ends, what is decided about
it now and why, and the holds that freeze it: on itself, on its repository, on a tag that
names it, on an index that lists it and on its subject.`,
		Example: `  artifactstore retention status demo:v1
  artifactstore retention status demo@sha256:... --json | jq -r .reason`,
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
		return object(ctx, in, n.path("retention"), func(r admin.Retention) error { return in.printRetention(r, *wide) })
	})
	return cmd
}

// byOperator is the rule that gave a class which an operator has changed.
const byOperator = "operator"

func (in *inside) printRetention(r admin.Retention, wide bool) error {
	class := r.Class
	switch {
	case r.Rule == "":
		class += ", by default"
	case r.Rule == byOperator:
		class += ", chosen by an operator"
	case r.Chosen:
		class += ", chosen under " + r.Rule
	default:
		class += ", by " + r.Rule
	}
	end := momentOr(r.Expires, "never")
	if r.Extended {
		end += ", extended"
	}
	fields := []field{{"repository", r.Repository}, {"digest", r.Digest}, {"class", class}, {"expires", end},
		{"expired", momentOr(r.Marked, "")}, {"untagged", momentOr(r.Untagged, "")}, {"pulled", ""},
		{"state", r.State}, {"since", momentOr(r.Since, "")}, {"next", momentOr(r.Next, "")}, {"because", r.Reason}}
	if r.Pulled != nil {
		fields[6].value = r.Pulled.UTC().Format("2006-01-02")
	}
	if err := printFields(in.out, fields); err != nil || len(r.Holds) == 0 {
		return err
	}
	fmt.Fprintln(in.out)
	holds := holdTable(wide)
	t := table{columns: holds.columns}
	rows := make([][]string, len(r.Holds))
	for i, h := range r.Holds {
		rows[i] = holds.row(h)
	}
	return t.print(in.out, rows)
}

func retentionExtendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "extend " + manifestArgument,
		Short: "Put off the end of a manifest",
		Long: `Extend gives a manifest a later end. It never brings the end forward, and what never
expires has none to put off. A manifest that was marked as expired is kept again.`,
		Example: `  artifactstore retention extend demo:v1 --until 2028-01-01 --reason "the customer still uses it"
  artifactstore retention extend demo@sha256:... --until 1y --reason "wanted for the audit"`,
		Args: exactly(manifestArgument),
	}
	l := addChange(cmd)
	until := l.until("the new end is", true)
	reason := l.reason("it is kept longer")
	l.completeTag()
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseName(cmd, args[0])
		if err != nil {
			return err
		}
		request := admin.ExtendRequest{Until: *until, Reason: *reason}
		return change(ctx, in, http.MethodPost, n.path("extend"), request, func(r admin.Retention) error { return in.printRetention(r, false) })
	})
	return cmd
}

func retentionClassCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "class " + manifestArgument + " CLASS",
		Short: "Give a manifest another retention class",
		Long: `Class gives a manifest another class, whose term begins now. The class then counts as
chosen for this very manifest. What was made a permanent record takes no other class.`,
		Example: `  artifactstore retention class demo:v1 release-evidence --reason "it was released"`,
		Args:    exactly(manifestArgument, "CLASS"),
	}
	l := addChange(cmd)
	reason := l.reason("it gets another class")
	l.complete(tagWords, classWords)
	l.run(func(ctx context.Context, in *inside, args []string) error {
		n, err := parseName(cmd, args[0])
		if err != nil {
			return err
		}
		request := admin.ClassRequest{Class: args[1], Reason: *reason}
		return change(ctx, in, http.MethodPost, n.path("class"), request, func(r admin.Retention) error { return in.printRetention(r, false) })
	})
	return cmd
}

// classWords are the classes that are in force.
func classWords(ctx context.Context, c *adminclient.Client, word string) ([]string, cobra.ShellCompDirective) {
	text, err := c.Object(ctx, adminclient.Path("policies"))
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	p, err := decode[struct {
		Classes map[retention.Class]retention.Term `json:"classes"`
	}](text)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var found []string
	for _, name := range sortedClasses(p.Classes) {
		if strings.HasPrefix(string(name), word) {
			found = append(found, string(name))
		}
	}
	return found, cobra.ShellCompDirectiveNoFileComp
}

func eraseCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase REPOSITORY@DIGEST",
		Short: "Erase a manifest for a legal cause, whatever its class: this cannot be undone",
		Long: `Erase deletes a manifest that must not be kept, whatever its class and the policies say,
with its tags. It is the only way to delete what was made a permanent record. It cannot be
undone, and holds win over it. retention.erase must be enabled in the configuration.

Its bytes go as soon as nothing else uses them: 'artifactstore sweep' takes them away, and
'artifactstore why DIGEST' tells what else keeps them. Other repositories that have the same
manifest keep it.`,
		Example: `  artifactstore erase demo@sha256:... --reason "court order 17/2026" --yes`,
		Args:    exactly("REPOSITORY@DIGEST"),
	}
	l := addChange(cmd)
	reason := l.reason("it is erased")
	var n name
	l.checks = append(l.checks, func(args []string) (err error) {
		if n, err = parseName(cmd, args[0]); err == nil && n.tag != "" {
			err = &usageError{cmd.CommandPath(), fmt.Sprintf("%s is a tag, which may move: write REPOSITORY@DIGEST", args[0])}
		}
		return err
	})
	l.confirm(func(args []string) string { return "Erase " + args[0] + " for ever?" })
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return change(ctx, in, http.MethodPost, n.path("erase"), admin.ReasonRequest{Reason: *reason}, func(e admin.Erased) error {
			_, err := fmt.Fprintf(in.out, "%s@%s was erased. The blobs that it alone used go with the next sweeps; what keeps one: artifactstore why DIGEST%s\n",
				e.Repository, e.Digest, in.again)
			return err
		})
	})
	return cmd
}
