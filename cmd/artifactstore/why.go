package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func whyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why DIGEST",
		Short: "Tell what keeps something alive, as a chain",
		Long: `Why tells what keeps the content with a digest, in each repository that has a part in it:
what uses it, what keeps that, and so on, up to a tag, a hold, a rule, or nothing. It shows
ten repositories at most.`,
		Example: `  artifactstore why sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a
  artifactstore why sha256:... --json | jq -r '.chains[].reasons[-1].text'`,
		Args: exactly("DIGEST"),
	}
	l := addLook(cmd)
	cmd.Flags().Lookup("json").Usage = "print JSON: one object"
	l.run(func(ctx context.Context, in *inside, args []string) error {
		return object(ctx, in, adminclient.Path("digests", args[0], "why"), func(w admin.Why) error {
			for i, c := range w.Chains {
				if i > 0 {
					fmt.Fprintln(in.out)
				}
				for depth, r := range c.Reasons {
					if _, err := fmt.Fprintln(in.out, strings.Repeat("  ", depth)+plain(r.Text)); err != nil {
						return err
					}
				}
			}
			return nil
		})
	})
	return cmd
}

func clockCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "clock",
		Short: "Show whether the clock is believed, or confirm it after it went ahead",
		Long: `Clock shows the time by which things expire and holds end. If the clock goes ahead by more
than a day since it was last watched, nothing expires and no hold ends until an operator
confirms it: a wrong clock must not delete anything. So it is also after a server was
stopped for more than a day.`,
		Example: `  artifactstore clock
  artifactstore clock --json | jq .jumped`,
		Args: noSuchCommand,
	}
	l := addLook(cmd)
	cmd.Flags().Lookup("json").Usage = "print JSON: one object"
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return object(ctx, in, adminclient.Path("clock"), in.printClock)
	})
	cmd.AddCommand(clockConfirmCommand())
	return cmd
}

func (in *inside) printClock(c admin.Clock) error {
	fields := []field{{"now", moment(c.Now)}, {"trusted", moment(c.Trusted)}, {"watched", momentOr(c.Watched, "never")}, {"state", "believed"}}
	if c.Jumped {
		fields[3].value = fmt.Sprintf("went ahead from %s to %s: nothing expires and no hold ends", momentOr(c.Since, "?"), momentOr(c.Until, "?"))
		if c.Sequence != 0 {
			fields = append(fields, field{"event", fmt.Sprint(c.Sequence)})
		}
	}
	if err := printFields(in.out, fields); err != nil || !c.Jumped {
		return err
	}
	_, err := fmt.Fprintf(in.out, "\nIf the time is right: artifactstore clock confirm%s --reason ...\n", in.again)
	return err
}

func clockConfirmCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "confirm",
		Short: "Confirm that the clock is right although it went ahead",
		Long: `Confirm says that the clock is right although it went ahead by more than a day. From then
on what should have ended meanwhile ends: holds at once; manifests are marked, and have their
grace; what was marked or deleted before goes, if its grace has passed. Undo, extend and hold
before you confirm what is to stay. Plans can be made only afterwards: to see one before
anything is done, confirm while the server runs with retention.enforce: false and
sweep.interval: 0. If the clock is wrong, set it instead.`,
		Example: `  artifactstore clock confirm --reason "the server was off for a week"`,
		Args:    noArguments,
	}
	l := addChange(cmd)
	reason := l.reason("it is right")
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		return change(ctx, in, http.MethodPost, adminclient.Path("clock", "confirm"), admin.ReasonRequest{Reason: *reason}, in.printClock)
	})
	return cmd
}
