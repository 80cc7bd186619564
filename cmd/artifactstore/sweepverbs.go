package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"artifactstore/internal/admin"
	"artifactstore/internal/adminclient"
)

func sweepCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sweep",
		Short: "Take away what nothing uses, in the background of all else",
		Long: `Sweep takes away what nothing uses: it condemns blobs that no manifest needs, forgets those
that were condemned long enough ago, and deleted manifests and repositories whose grace has
passed, and deletes the objects of what was forgotten a while ago. A server sweeps by itself,
every sweep.interval; this does it now. Clients are not stopped meanwhile. When it is
interrupted, run it again.

With --dry-run it changes nothing and says what a sweep would do now.
'artifactstore why DIGEST' tells what keeps something. It exits with 1 if objects could not
be deleted; the next sweep tries again.`,
		Example: `  artifactstore sweep --dry-run
  artifactstore sweep
  artifactstore sweep --data /var/lib/artifactstore --json`,
		Args: noArguments,
	}
	l := addChange(cmd)
	dry := cmd.Flags().Bool("dry-run", false, "change nothing, and say what a sweep would do now")
	l.changes = func() bool { return !*dry }
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		var failed int64
		tell := func(p admin.SweepPhase) string { return fmt.Sprintf("%s: %d visited", p.Phase, p.Visited) }
		text, err := in.task(ctx, adminclient.Path("sweep"), admin.SweepRequest{DryRun: *dry}, telling(tell))
		if err != nil {
			return err
		}
		report, err := decode[admin.SweepReport](text)
		if err != nil {
			return err
		}
		for _, p := range report.Phases {
			failed += p.Failed
		}
		err = printed(in, text, in.printSweep)
		if failed > 0 {
			err = errors.Join(err, fmt.Errorf("%d objects could not be deleted: the server's log says why; the next sweep tries again", failed))
		}
		return err
	})
	return cmd
}

func (in *inside) printSweep(r admin.SweepReport) error {
	if r.DryRun {
		fmt.Fprintln(in.out, "A sweep would do this now:")
	}
	rows := make([][]string, len(r.Phases))
	for i, p := range r.Phases {
		rows[i] = []string{p.Phase, fmt.Sprint(p.Visited), swept(p)}
	}
	t := table{columns: []string{"PHASE", ">VISITED", "WHAT"}}
	if err := t.print(in.out, rows); err != nil || !r.Rough {
		return err
	}
	_, err := fmt.Fprintln(in.out, "There is too much to count: a sweep would forget more than that.")
	return err
}

// swept says what a phase has done, in a phrase.
func swept(p admin.SweepPhase) string {
	var parts []string
	amount := func(a admin.Amount, done string) {
		if a.Number > 0 {
			parts = append(parts, fmt.Sprintf("%d %s (%s)", a.Number, done, size(a.Bytes)))
		}
	}
	count := func(n int64, done string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, done))
		}
	}
	amount(p.Condemned, "condemned")
	amount(p.Revived, "revived")
	amount(p.Released, "released")
	count(p.Manifests, "manifests forgotten")
	count(p.Repositories, "repositories forgotten")
	amount(p.Forgotten, "forgotten")
	amount(p.Erased, "objects deleted")
	count(p.Held, "kept by a hold")
	count(p.Failed, "could not be deleted")
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

func scrubCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scrub",
		Short: "Read everything that is stored and find what is damaged, in the background of all else",
		Long: `Scrub reads everything that is stored and compares it with its digests, a server at the
rate scrub.rate. What is damaged or missing is put under quarantine: clients get 404 for it
instead of wrong bytes, until the same content is pushed again, which heals it. What is right
again is served again. A server scrubs by itself, every scrub.interval; this does it now, or
goes on with one that was interrupted.

It exits with 1 if something is damaged or could not be read.`,
		Example: `  artifactstore scrub
  artifactstore scrub --data /var/lib/artifactstore --json`,
		Args: noArguments,
	}
	l := addChange(cmd)
	l.run(func(ctx context.Context, in *inside, _ []string) error {
		text, err := in.task(ctx, adminclient.Path("scrub"), admin.ScrubRequest{}, telling(scrubProgress))
		if err != nil {
			return err
		}
		report, err := decode[admin.ScrubReport](text)
		if err != nil {
			return err
		}
		return errors.Join(printed(in, text, func(r admin.ScrubReport) error { return printFields(in.out, scrubFields(r)) }), in.damaged(ctx, report))
	})
	return cmd
}

func scrubProgress(r admin.ScrubReport) string {
	return fmt.Sprintf("%d contents of %s read; %d damaged", r.Verified, size(r.Bytes), r.Damaged)
}

func scrubFields(r admin.ScrubReport) []field {
	return []field{
		{"began", moment(r.Began)}, {"ended", momentOr(r.Ended, "not yet")},
		{"read and right", fmt.Sprintf("%d contents of %s", r.Verified, size(r.Bytes))},
		{"descriptors", fmt.Sprintf("%d of referrers, %d made anew", r.Descriptors, r.Mended)},
		{"damaged", fmt.Sprint(r.Damaged)}, {"right again", fmt.Sprint(r.Healed)}, {"could not be read", fmt.Sprint(r.Unread)},
	}
}

// damaged lists what is under quarantine, and returns what a scrub has found wrong
// as an error.
func (in *inside) damaged(ctx context.Context, report admin.ScrubReport) error {
	const few = 100
	var rows [][]string
	for page, err := range in.List(ctx, adminclient.Path("storage", "damaged"), few) {
		if err != nil {
			return err
		}
		for _, item := range page {
			d, err := decode[admin.Digest](item)
			if err != nil {
				return err
			}
			rows = append(rows, damagedContents.row(d))
		}
	}
	if len(rows) > 0 && !in.json {
		fmt.Fprintln(in.out)
		t := table{columns: damagedContents.columns}
		if err := t.print(in.out, rows); err != nil {
			return err
		}
		if len(rows) == few {
			fmt.Fprintln(in.out, "... and perhaps more: 'artifactstore storage damaged' lists all")
		}
	}
	var wrong []string
	if len(rows) > 0 {
		wrong = append(wrong, "content is damaged or missing: push the same again, which heals it, or put it back from a backup and scrub again; "+
			"'artifactstore storage damaged' lists it, and 'artifactstore digest show DIGEST' tells who has it")
	}
	if report.Unread > 0 {
		wrong = append(wrong, fmt.Sprintf("%d contents could not be read: look after what they are kept on, and scrub again", report.Unread))
	}
	if len(wrong) == 0 {
		return nil
	}
	return errors.New(strings.Join(wrong, "; "))
}
