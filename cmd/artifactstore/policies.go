package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
	"artifactstore/internal/config"
	"artifactstore/registry"
	"artifactstore/retention"
)

func retentionCommand() *cobra.Command {
	return group("retention", "Say how long things are kept, see what that means, and do it",
		retentionPlanCommand(), retentionPlansCommand(), retentionShowCommand(), retentionExecuteCommand(),
		retentionPoliciesCommand(), retentionStatusCommand(), retentionExtendCommand(), retentionClassCommand())
}

func retentionPoliciesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "policies",
		Short: "Show the retention policies and classes that are in force, or set them",
		Long: `Policies shows what is in force: the classes with their terms, and the policies in the
order in which they are tried. The first one applies whose repositories match. Those of the
configuration come first; 'retention policies set' sets the others.`,
		Example: `  artifactstore retention policies
  artifactstore retention policies --json | jq '.sources[] | select(.source == "admin") | .document'`,
		Args: noSuchCommand,
	}
	l := addLook(cmd)
	cmd.Flags().Lookup("json").Usage = "print JSON: one object"
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return object(ctx, in, adminclient.Path("policies"), in.printPolicies)
	})
	cmd.AddCommand(policiesSetCommand())
	return cmd
}

func (in *inside) printPolicies(p admin.Policies) error {
	var fields []field
	for _, s := range p.Sources {
		text := "nothing"
		if s.Sequence != 0 {
			text = fmt.Sprintf("set %s by %s, event %d", momentOr(s.Set, ""), s.Actor, s.Sequence)
		}
		if s.Reason != "" {
			text += ": " + s.Reason
		}
		fields = append(fields, field{s.Source, text})
	}
	fields = append(fields, field{"default", string(p.Default)}, field{"grace", p.Grace.String()})
	if err := printFields(in.out, fields); err != nil {
		return err
	}
	classes := sortedClasses(p.Classes)
	rows := make([][]string, len(classes))
	for i, c := range classes {
		rows[i] = []string{string(c), p.Classes[c].String()}
	}
	fmt.Fprintln(in.out)
	if err := (&table{columns: []string{"CLASS", "TERM"}}).print(in.out, rows); err != nil {
		return err
	}
	rows = nil
	for _, f := range p.Policies {
		rows = append(rows, []string{f.Policy.Name, f.Source, strings.Join(f.Policy.Repositories, " "), orDash(string(f.Policy.Class)), orDash(strings.Join(rulesOf(&f.Policy), "; "))})
	}
	if len(rows) == 0 {
		_, err := fmt.Fprintln(in.out, "\nThere are no policies.")
		return err
	}
	fmt.Fprintln(in.out)
	return (&table{columns: []string{"POLICY", "SOURCE", "REPOSITORIES", "CLASS", "RULES"}}).print(in.out, rows)
}

// sortedClasses has the shortest term first.
func sortedClasses(terms map[retention.Class]retention.Term) []retention.Class {
	return slices.SortedFunc(maps.Keys(terms), func(a, b retention.Class) int {
		return cmp.Or(cmp.Compare(terms[a], terms[b]), cmp.Compare(a, b))
	})
}

// rulesOf says what a policy has beside its class, each in a phrase.
func rulesOf(p *retention.Policy) []string {
	var rules []string
	if len(p.Choose) > 0 {
		names := make([]string, len(p.Choose))
		for i, c := range p.Choose {
			names[i] = string(c)
		}
		rules = append(rules, "choose "+strings.Join(names, " "))
	}
	if p.ExpireTagged {
		rules = append(rules, "tags expire")
	}
	if p.ExpireUntagged != 0 {
		rules = append(rules, "untagged after "+p.ExpireUntagged.String())
	}
	for _, k := range p.Keep {
		rules = append(rules, "keep "+k.Name+": "+strings.Join(keepOf(&k), ", "))
	}
	for _, i := range p.ImmutableTags {
		text := "immutable " + strings.Join(i.Tags, " ")
		if !i.Until.IsZero() {
			text += " until " + moment(i.Until.Time())
		}
		rules = append(rules, text)
	}
	if p.WriteOnce {
		rules = append(rules, "write-once")
	}
	return rules
}

// keepOf says what a rule keeps.
func keepOf(k *retention.Keep) []string {
	tags := "all"
	if len(k.Tags) > 0 {
		tags = strings.Join(k.Tags, " ")
	}
	parts := []string{tags}
	if k.Newest > 0 {
		parts = append(parts, fmt.Sprintf("newest %d", k.Newest))
	}
	if k.PushedWithin != 0 {
		parts = append(parts, "pushed within "+k.PushedWithin.String())
	}
	if k.PulledWithin != 0 {
		parts = append(parts, "pulled within "+k.PulledWithin.String())
	}
	return parts
}

func policiesSetCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "set FILE",
		Short: "Set the retention policies that stand behind those of the configuration",
		Long: `Set puts the policies and classes of a file in force, in the place of those that were set
before. The file is YAML or JSON, with the members classes, default, grace and policies;
docs/retention.md explains them. What the configuration says stays, and comes first. A file
that has only {} takes away what was set before.

The end of what is stored does not move with the classes, but the rules for it do: see with
'retention plan' what they mean before the server applies them.`,
		Example: `  artifactstore retention policies set policies.yaml --reason "builds go after a week"`,
		Args:    exactly("FILE"),
	}
	l := addChange(cmd)
	reason := l.reason("they are set")
	cmd.ValidArgsFunction = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)
	var document json.RawMessage
	l.checks = append(l.checks, func(args []string) (err error) {
		document, err = readPolicies(args[0])
		return err
	})
	l.run(func(ctx context.Context, in *inside, args []string) error {
		request := admin.PoliciesRequest{Document: document, Reason: *reason}
		err := change(ctx, in, http.MethodPut, adminclient.Path("policies"), request, in.printPolicies)
		if refused, ok := errors.AsType[*adminclient.Refused](err); ok && refused.Code == registry.RetentionInvalid {
			return fmt.Errorf("%s: %s", args[0], refused.Detail) // which is no fault of the command line
		}
		return err
	})
	return cmd
}

// readPolicies reads a document of retention policies and returns its JSON.
func readPolicies(file string) (json.RawMessage, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the policies: %w", err)
	}
	document, err := config.ToJSON(file, text)
	if err != nil {
		return nil, err
	}
	if _, err := retention.ParseDocument(document); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return document, nil
}
