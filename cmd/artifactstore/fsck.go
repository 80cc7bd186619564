package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/config"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver/s3"
)

func fsckCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "fsck",
		Short: "Check the log, the views and all that is stored, and repair what can be repaired",
		Long: `Fsck verifies the log, compares the views with it, and compares what they say is
stored with what is there, both ways. Without --repair it changes nothing, and may run
beside a server.

With --repair it rebuilds views that are not what the log says, puts damaged content under
quarantine (clients get 404 for it until the same content is pushed again), serves again
what was put back, makes lists of referrers anew, and deletes what nothing names. No
server may run meanwhile on a store in a data folder: --server has the running one do it,
views excepted. If the log itself is damaged it repairs nothing: then restore a backup.

It exits with 1 if something is wrong and was not repaired.`,
		Example: `  artifactstore fsck --data /var/lib/artifactstore
  artifactstore fsck --deep --data /var/lib/artifactstore      read and hash everything
  artifactstore fsck --deep --repair --config /etc/artifactstore.yaml
  artifactstore fsck --repair --server http://127.0.0.1:5001`,
		Args: noArguments,
	}
	s := addSettings(cmd, "data")
	var o registry.FsckOptions
	cmd.Flags().BoolVar(&o.Deep, "deep", false, "read all content and compare it with its digests")
	cmd.Flags().BoolVar(&o.Repair, "repair", false, "repair what can be repaired")
	cmd.Flags().BoolVar(&o.ManyOrphans, "many-orphans", false, "with --repair, delete objects that nothing names also where they are more than those that are named")
	server := cmd.Flags().String("server", "", "have the server whose operators' API is at `ADDRESS` check its own store, and repair it while it serves")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if o.ManyOrphans && !o.Repair {
			return &usageError{cmd.CommandPath(), "--many-orphans: it says what --repair may do; give both"}
		}
		if *server != "" {
			return fsckOfServer(cmd, *server, o, *asJSON)
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		if c.Storage.Driver == config.InMemory {
			return &usageError{cmd.CommandPath(), "this store keeps objects in the memory of its server, where they cannot be looked at"}
		}
		f := fsckRun{home: homeOf(&c.Config), o: o, notes: cmd.ErrOrStderr()}
		if err := f.run(cmd.Context()); err != nil {
			return err
		}
		if *asJSON {
			err = answer(cmd.OutOrStdout(), true, f.json(), "")
		} else {
			err = f.print(cmd.OutOrStdout())
		}
		return errors.Join(err, f.outcome())
	}
	return cmd
}

// fsckRun is one run of fsck, and what came of it.
type fsckRun struct {
	home
	o     registry.FsckOptions
	notes io.Writer // for the operator, while it goes on

	log      metastore.Report
	problem  error // of the log or of the views
	rebuilt  bool
	withheld bool // nothing of the storage was repaired, because of problem
	storage  registry.FsckReport
}

// run looks at everything, and repairs if it was told to. Its error is why it
// could not.
func (f *fsckRun) run(ctx context.Context) (err error) {
	s := new(store)
	defer func() { err = errors.Join(err, s.close()) }()
	if err := f.open(ctx, s); err != nil {
		return err
	}
	if err := f.checkLog(ctx, s.ledger); err != nil {
		return err
	}
	quiet := slog.New(slog.NewTextHandler(f.notes, &slog.HandlerOptions{Level: slog.LevelError}))
	if err := s.openRegistry(ctx, f.home, !f.o.Repair, quiet); err != nil {
		return err
	}
	o := f.o
	// What the views say is what decides whether an object has a name.
	f.withheld = f.problem != nil && o.Repair
	o.Repair = o.Repair && !f.withheld
	o.Progress = reportFsck(f.notes)
	if f.storage, err = s.registry.Fsck(ctx, o); err != nil {
		return fmt.Errorf("check what is stored: %w; run it again", advise(err))
	}
	return nil
}

// open opens the ledger, to write only for a repair.
func (f *fsckRun) open(ctx context.Context, s *store) (err error) {
	if !f.o.Repair {
		s.ledger, err = f.openToRead(ctx)
	} else {
		unlock, failed := f.claim(false)
		if failed != nil {
			return fmt.Errorf("%w; without --repair fsck runs beside a server, and with --server the running one repairs what is stored while it serves", failed)
		}
		s.closers = append(s.closers, unlock)
		s.ledger, err = f.openLedger(ctx, metastore.Options{}, false, nil)
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.ledger.Close)
	return nil
}

// checkLog verifies the log and the views, and rebuilds views that are not what
// an intact log says.
func (f *fsckRun) checkLog(ctx context.Context, ledger *metastore.Store) (err error) {
	progress := reportProgress(f.notes)
	if err := ledger.Healthy(); !f.o.Repair || !errors.Is(err, metastore.ErrRebuild) {
		if err != nil {
			return fmt.Errorf("open the store in %s: %w", f.home, advise(err))
		}
		if f.log, err = ledger.Check(ctx, progress); err == nil {
			return nil
		}
		_, differs := errors.AsType[*metastore.Difference](err)
		_, damaged := errors.AsType[*eventlog.Fault](err)
		if !differs && !damaged {
			return explainCheck(err)
		}
		if f.problem = explainCheck(err); damaged || !f.o.Repair {
			return nil
		}
	}
	// The log is verified before the views are emptied.
	head, err := eventlog.Verify(ctx, ledger.Events())
	if fault, ok := errors.AsType[*eventlog.Fault](err); ok {
		return explainCheck(fault)
	}
	if err != nil {
		return fmt.Errorf("verify the log: %w", advise(err))
	}
	if err := ledger.Rebuild(ctx, progress); err != nil {
		return fmt.Errorf("rebuild the views: %w; run it again to go on", err)
	}
	f.log.Head, f.problem, f.rebuilt = head, nil, true
	return nil
}

// reportFsck returns a progress that writes a line now and then.
func reportFsck(w io.Writer) func(registry.FsckReport) {
	const interval = time.Second
	last := time.Now()
	return func(r registry.FsckReport) {
		now := time.Now()
		if r.Stage == "" || now.Sub(last) < interval {
			return
		}
		last = now
		fmt.Fprintf(w, "checking %s: %d contents of %s; %d content rows; %d objects\n", r.Stage, r.Blobs, size(r.Bytes), r.Rows, r.Objects)
	}
}

// print says what was found, for people.
func (f *fsckRun) print(w io.Writer) error {
	var err error
	line := func(format string, args ...any) {
		_, failed := fmt.Fprintf(w, format+"\n", args...)
		err = errors.Join(err, failed)
	}
	if f.log.Head.Log != "" {
		line("log %s: %d events, running hash %s", f.log.Head.Log, f.log.Head.Sequence, f.log.Head.Chain)
	}
	switch {
	case f.rebuilt:
		line("The views were not what the log says, and were rebuilt.")
	case f.problem == nil:
		line("The views are what the log says.")
	}
	t := table{columns: []string{"KIND", "WHAT", "WHERE", ">SIZE", "", "PROBLEM"}}
	rows := make([][]string, 0, len(f.storage.Findings))
	for _, found := range f.storage.Findings {
		done := ""
		if found.Repaired {
			done = repairs[found.Kind]
		}
		rows = append(rows, []string{found.Kind, orDash(found.Subject), f.where(found), size(found.Size), done, found.Problem})
	}
	if len(rows) > 0 {
		err = errors.Join(err, t.print(w, rows))
	}
	all := int64(0)
	for _, n := range f.storage.Counts {
		all += n.Found
	}
	if more := all - int64(len(rows)); more > 0 {
		line("... and %d more", more)
	}
	for _, kind := range slices.Sorted(maps.Keys(f.storage.Counts)) {
		n := f.storage.Counts[kind]
		line("%s: %d found, %d repaired", kind, n.Found, n.Repaired)
	}
	how := "are there"
	if f.o.Deep {
		how = "were read"
	}
	line("%d contents of %s %s; %d content rows and %d objects were looked at.", f.storage.Blobs, size(f.storage.Bytes), how, f.storage.Rows, f.storage.Objects)
	for _, reason := range f.storage.Refused {
		line("%s; --many-orphans deletes them.", reason)
	}
	return err
}

// repairs say what was done about a finding.
var repairs = map[string]string{
	registry.FoundDamaged: "quarantined", registry.FoundHealed: "served again", registry.FoundDescriptor: "made anew",
	registry.FoundSpareRow: "removed", registry.FoundOrphan: "deleted", registry.FoundErased: "noted",
}

// remote tells whether a server looked at its own store.
func (f *fsckRun) remote() bool { return f.Storage.Driver == "" }

// where says where something is, for people.
func (f *fsckRun) where(found registry.Finding) string {
	switch {
	case f.remote():
		return strings.TrimSpace(found.Store + " " + found.Name)
	case found.Store == fact.Content:
		return "row " + found.Name + " of the database"
	case found.Kind != registry.FoundStranger:
		return f.place(fact.Receipt{Store: found.Store, Locator: found.Name})
	case f.Storage.Driver == config.InS3:
		return fmt.Sprintf("object %s of bucket %s", s3.Key(f.S3.Prefix, found.Name), f.S3.Bucket)
	}
	return filepath.Join(storeName, filepath.FromSlash(found.Name))
}

// outcome is the error that says what is still wrong, and what to do about it.
func (f *fsckRun) outcome() error {
	var wrong []string
	if f.withheld {
		wrong = append(wrong, "nothing of what is stored was repaired, because the log is damaged")
	}
	counts := f.storage.Counts
	if n := counts[registry.FoundDamaged].Found + counts[registry.FoundQuarantined].Found; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%d contents are damaged or missing: push the same content again, which heals them, "+
			"or put the %s back from a backup and run 'artifactstore fsck --deep --repair'", n, f.object()))
	}
	if n := counts[registry.FoundUnread].Found; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%d contents could not be read: look after what they are kept on, and run it again", n))
	}
	_, differs := errors.AsType[*metastore.Difference](f.problem)
	if (differs || f.storage.Wrong()) && !f.o.Repair {
		wrong = append(wrong, "'artifactstore fsck --repair' repairs what can be repaired")
	} else if len(f.storage.Refused) > 0 {
		wrong = append(wrong, "objects that nothing names were left alone: see whether database and store belong together")
	}
	if f.storage.Wrong() && len(wrong) == 0 {
		wrong = append(wrong, "not all of it could be repaired; run it again")
	}
	if len(wrong) == 0 {
		return f.problem
	}
	return errors.Join(f.problem, errors.New(strings.Join(wrong, "; ")))
}

// fsckJSON is what `artifactstore fsck --json` prints.
type fsckJSON struct {
	logEnd
	// Equal: the views are what the log says. Problem says what is wrong with
	// either. Rebuilt: they were not, and are now.
	Equal   bool   `json:"equal"`
	Problem string `json:"problem,omitempty"`
	Rebuilt bool   `json:"rebuilt"`
	// Wrong tells whether something is wrong and was not repaired.
	Wrong bool `json:"wrong"`
	// Blobs and Bytes were looked at, Rows are content rows.
	Blobs   int64 `json:"blobs"`
	Bytes   int64 `json:"bytes"`
	Rows    int64 `json:"rows"`
	Objects int64 `json:"objects"`
	// Counts are by kind of finding, Findings the first of them.
	Counts   map[string]fsckCountJSON `json:"counts"`
	Findings []findingJSON            `json:"findings"`
	Refused  []string                 `json:"refused"`
}

type fsckCountJSON struct {
	Found    int64 `json:"found"`
	Repaired int64 `json:"repaired"`
}

type findingJSON struct {
	Kind     string `json:"kind"`
	Subject  string `json:"subject,omitempty"`
	Store    string `json:"store"`
	Name     string `json:"name"`
	Size     int64  `json:"size"`
	Problem  string `json:"problem"`
	Repaired bool   `json:"repaired"`
}

func (f *fsckRun) json() fsckJSON {
	s := &f.storage
	out := fsckJSON{logEnd: endOf(f.log.Head), Equal: f.problem == nil, Rebuilt: f.rebuilt, Wrong: f.outcome() != nil,
		Blobs: s.Blobs, Bytes: s.Bytes, Rows: s.Rows, Objects: s.Objects,
		Counts: map[string]fsckCountJSON{}, Findings: []findingJSON{}, Refused: append([]string{}, s.Refused...)}
	if f.problem != nil {
		out.Problem = f.problem.Error()
	}
	for kind, n := range s.Counts {
		out.Counts[kind] = fsckCountJSON(n)
	}
	for _, found := range s.Findings {
		out.Findings = append(out.Findings, findingJSON(found))
	}
	return out
}
