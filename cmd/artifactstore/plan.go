package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/registry"
)

// actions are what a plan can have for a manifest, in the order in which people
// are told, and what they mean.
var actions = []struct{ name, means string }{
	{registry.PlanCollect, "gone now, tags included"},
	{registry.PlanMark, "marked as expired now, gone after the grace"},
	{registry.PlanRenew, "marked as expired before, kept after all"},
	{registry.PlanWait, "expired before, gone when the grace has passed"},
	{registry.PlanKeep, "not touched"},
}

func actionNames() []string {
	var names []string
	for _, a := range actions {
		names = append(names, a.name)
	}
	return names
}

func retentionPlanCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plan [PATTERN...]",
		Short: "Show what retention decides about every manifest, and why, without doing it",
		Long: `Plan decides about every manifest, in all repositories or in those that one of the
patterns matches, and changes nothing. It prints the id of the plan and what is to become
of the manifests, the first of them with the reason: 'retention show PLAN' has all.

'retention execute PLAN' does exactly what the plan shows, and refuses if something that it
names was touched since. Plans are kept for a week, the last 50 of them.`,
		Example: `  artifactstore retention plan
  artifactstore retention plan 'ci/**' team/app
  artifactstore retention plan --all | less
  artifactstore retention plan --json | jq -r .id`,
		Args: func(cmd *cobra.Command, args []string) error {
			if slices.Contains(args, "") {
				return &usageError{cmd.CommandPath(), "a PATTERN is empty"}
			}
			return nil
		},
	}
	l := addChange(cmd)
	all, wide := cmd.Flags().Bool("all", false, "print every decision, those to keep as well"), l.wide()
	l.checks = append(l.checks, func([]string) error {
		if *all && l.json {
			return &usageError{cmd.CommandPath(), "--all is for people: 'artifactstore retention show PLAN --json' prints every decision"}
		}
		return nil
	})
	l.run(func(ctx context.Context, in *inside, args []string) error {
		in.about = ""
		tell := func(p admin.PlanProgress) string { return fmt.Sprintf("%d manifests decided", p.Manifests) }
		err := work(ctx, in, adminclient.Path("plans"), admin.PlanRequest{Repositories: args}, tell, func(p admin.Plan) error {
			if err := printFields(in.out, planFields(p)); err != nil {
				return err
			}
			return in.decisions(ctx, p, *all, *wide)
		})
		return in.doubted(ctx, err)
	})
	return cmd
}

func planFields(p admin.Plan) []field {
	patterns := strings.Join(p.Patterns, ", ")
	if patterns == "" {
		patterns = "all"
	}
	fields := []field{{"plan", p.ID}, {"state", planState(p)}, {"made", moment(p.Created)}, {"by", p.Actor},
		{"at event", fmt.Sprint(p.Sequence)}, {"repositories", fmt.Sprintf("%s (%d)", patterns, p.Repositories)}}
	for _, a := range actions {
		n := p.Actions[a.name]
		text := fmt.Sprint(n.Manifests)
		if n.Tags > 0 && a.name != registry.PlanKeep {
			text += fmt.Sprintf(", with %d tags", n.Tags)
		}
		fields = append(fields, field{a.name, text})
	}
	return append(fields, field{"frees", frees(p)})
}

// frees is how much there would be less once what goes now is swept.
func frees(p admin.Plan) string {
	if p.Freed == nil {
		return "too much to count"
	}
	return exactSize(*p.Freed)
}

func planState(p admin.Plan) string {
	if p.Done == nil {
		return p.State
	}
	text := p.State + ": " + planDone(*p.Done)
	if p.Done.Problem != "" {
		text += "; " + p.Done.Problem
	}
	return text
}

func planDone(d admin.PlanDone) string {
	return fmt.Sprintf("%d marked as expired, %d renewed, %d collected with %d tags", d.Marked, d.Renewed, d.Collected, d.Tags)
}

// decisions prints what a plan has for manifests, by action: all of it, or the
// first of those that do not just stay.
func (in *inside) decisions(ctx context.Context, p admin.Plan, all, wide bool) error {
	for _, a := range actions {
		n := p.Actions[a.name].Manifests
		if n == 0 || a.name == registry.PlanKeep && !all {
			continue
		}
		if _, err := fmt.Fprintf(in.out, "\n%s, %s: %d\n", a.name, a.means, n); err != nil {
			return err
		}
		limit := uint64(shown)
		if all {
			limit = 0
		}
		if err := planItems(wide).print(ctx, in, itemsPath(p.ID, a.name), limit); err != nil {
			return err
		}
		if more := n - shown; more > 0 && !all {
			fmt.Fprintf(in.out, "... and %d more: artifactstore retention show %s --action %s%s\n", more, p.ID, a.name, in.again)
		}
	}
	if p.State == registry.PlanOpen && doesSomething(p) {
		_, err := fmt.Fprintf(in.out, "\nTo do this: artifactstore retention execute %s%s\n", p.ID, in.again)
		return err
	}
	return nil
}

func doesSomething(p admin.Plan) bool {
	return p.Actions[registry.PlanCollect].Manifests+p.Actions[registry.PlanMark].Manifests+p.Actions[registry.PlanRenew].Manifests > 0
}

func itemsPath(id, action string) string {
	path := adminclient.Path("plans", id, "items")
	if action != "" {
		path += "?action=" + url.QueryEscape(action)
	}
	return path
}

func planItems(wide bool) listing[admin.PlanItem] {
	digest := shorter(wide)
	return listing[admin.PlanItem]{
		columns: []string{"REPOSITORY", "DIGEST", "TAGS", "REASON"},
		row: func(i admin.PlanItem) []string {
			tags := strings.Join(i.Tags, ", ")
			if more := i.TagCount - int64(len(i.Tags)); more > 0 {
				tags += fmt.Sprintf(" and %d more", more)
			}
			return []string{i.Repository, digest(i.Digest), orDash(tags), i.Reason}
		},
	}
}

func retentionPlansCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "plans",
		Short: "List the plans that were made, the latest first",
		Example: `  artifactstore retention plans
  artifactstore retention plans --json | jq -r 'select(.state == "open") | .id'`,
		Args: noArguments,
	}
	l := addLook(cmd)
	limit := l.limit()
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return listing[admin.Plan]{
			columns: []string{"PLAN", "STATE", "MADE", ">EXPIRE", ">RENEW", ">COLLECT", ">FREES", "REPOSITORIES"},
			row: func(p admin.Plan) []string {
				count := func(action string) string { return fmt.Sprint(p.Actions[action].Manifests) }
				freed, patterns := "?", strings.Join(p.Patterns, ", ")
				if p.Freed != nil {
					freed = size(*p.Freed)
				}
				if patterns == "" {
					patterns = "all"
				}
				return []string{p.ID, p.State, moment(p.Created), count(registry.PlanMark), count(registry.PlanRenew), count(registry.PlanCollect), freed, patterns}
			},
		}.print(ctx, in, adminclient.Path("plans"), *limit)
	})
	return cmd
}

func retentionShowCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show PLAN",
		Short: "Show a plan, with every decision and its reason",
		Long: `Show shows a plan, with every decision and its reason, or those of one action:

  collect  it goes now, with its tags
  expire   it is marked as expired now, and goes after the grace
  renew    it was marked as expired, and is kept after all
  wait     it has expired before, and goes when the grace has passed
  keep     it is kept

With --json it is the decisions alone: 'retention plans' has the rest.`,
		Example: `  artifactstore retention show PLAN
  artifactstore retention show PLAN --action collect
  artifactstore retention show PLAN --json | jq -r 'select(.holds) | .repository + "@" + .digest'`,
		Args: exactly("PLAN"),
	}
	l := addLook(cmd)
	limit, wide := l.limit(), l.wide()
	action := cmd.Flags().String("action", "", "print only decisions of this `ACTION`: "+strings.Join(actionNames(), ", "))
	completeFlag(cmd, "action", actionNames()...)
	l.complete(planWords)
	l.checks = append(l.checks, func([]string) error {
		if *action != "" && !slices.Contains(actionNames(), *action) {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--action: %q is none of %s", *action, strings.Join(actionNames(), ", "))}
		}
		return nil
	})
	l.run(func(ctx context.Context, in *inside, args []string) error {
		path := itemsPath(args[0], *action)
		if in.json {
			return planItems(*wide).print(ctx, in, path, *limit)
		}
		return object(ctx, in, adminclient.Path("plans", args[0]), func(p admin.Plan) error {
			if err := printFields(in.out, planFields(p)); err != nil {
				return err
			}
			if *action == "" && *limit == 0 {
				return in.decisions(ctx, p, true, *wide)
			}
			fmt.Fprintln(in.out)
			return planItems(*wide).print(ctx, in, path, *limit)
		})
	})
	return cmd
}

func retentionExecuteCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "execute PLAN",
		Short: "Do what a plan shows, or refuse if something that it names was touched since",
		Long: `Execute does exactly what a plan shows: it marks manifests as expired, renews those
that are kept after all, and collects those whose grace has passed, with their tags. Bytes
go when a sweep finds that nothing uses them.

If something that the plan names was touched since it was made, by whomever, it is refused,
and the events that did are listed: make another plan. When it is interrupted, run it again:
it goes on where it was. It exits with 1 if it was refused.`,
		Example: `  artifactstore retention execute PLAN
  artifactstore retention execute $(artifactstore retention plan 'ci/**' --json | jq -r .id)`,
		Args: exactly("PLAN"),
	}
	l := addChange(cmd)
	l.complete(planWords)
	l.run(func(ctx context.Context, in *inside, args []string) error {
		err := work(ctx, in, adminclient.Path("plans", args[0], "execute"), admin.ExecuteRequest{}, planDone, func(p admin.Plan) error {
			_, err := fmt.Fprintf(in.out, "The plan was executed: %s.\n", planDone(*p.Done))
			return err
		})
		refused, ok := errors.AsType[*adminclient.Refused](err)
		if !ok || len(refused.Events)+len(refused.Changed) == 0 {
			return in.doubted(ctx, err)
		}
		return errors.Join(printStale(in, refused), errors.New(refused.Detail))
	})
	return cmd
}

// printStale prints why a plan is out of date.
func printStale(in *inside, refused *adminclient.Refused) error {
	if in.json {
		return json.NewEncoder(in.out).Encode(refused.Problem)
	}
	if len(refused.Events) > 0 {
		rows := make([][]string, len(refused.Events))
		for i, e := range refused.Events {
			rows[i] = []string{fmt.Sprint(e.Sequence), moment(e.Time), e.Kind, e.Actor, e.Subject}
		}
		t := table{columns: []string{">EVENT", "TIME", "KIND", "ACTOR", "SUBJECT"}}
		if err := t.print(in.out, rows); err != nil {
			return err
		}
		if refused.MoreEvents {
			fmt.Fprintf(in.out, "... and more: artifactstore events --after %d%s\n", refused.Events[len(refused.Events)-1].Sequence, in.again)
		}
	}
	for _, text := range refused.Changed {
		if _, err := fmt.Fprintln(in.out, plain(text)); err != nil {
			return err
		}
	}
	return nil
}
