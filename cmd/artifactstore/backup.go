package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"artifactstore/eventlog"
	"artifactstore/internal/backup"
	"artifactstore/internal/config"
	"artifactstore/internal/metastore"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/s3"
)

func backupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "backup --to FOLDER",
		Short: "Copy a store beside its running server, or bring the copy up to date",
		Long: `Backup makes FOLDER a copy of the store as it is now, while a server may go on
writing to it. FOLDER is a data folder like any other: to restore, run
'artifactstore serve --data FOLDER', or copy it to where it is to be served.

Run again with the same FOLDER it copies only what is new. When it is interrupted, by
whatever, the copy is whole up to where it came, and the next run goes on there. Every
event and every content is verified while it is copied; what is damaged or missing in the
store is reported, everything else is copied, and the exit code is 1. Unfinished
uploads are not copied.`,
		Example: `  artifactstore backup --data /var/lib/artifactstore --to /backup/artifactstore
  artifactstore backup --config /etc/artifactstore.yaml --to /backup/artifactstore --json`,
		Args: noArguments,
	}
	s := addSettings(cmd, "data")
	to := cmd.Flags().String("to", "", "`FOLDER` of the copy")
	asJSON := addJSON(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *to == "" {
			return &usageError{cmd.CommandPath(), "--to: name the folder of the copy"}
		}
		c, err := s.load()
		if err != nil {
			return err
		}
		r := copyRun{from: homeOf(&c.Config), to: backupHome(*to), what: "backup", another: "folder", notes: cmd.ErrOrStderr()}
		if r.from.Storage.Driver == config.InMemory {
			return &usageError{cmd.CommandPath(), "this store keeps objects in the memory of its server, where they cannot be copied from"}
		}
		if inside, err := r.from.contains(*to); err != nil {
			return err
		} else if inside {
			return &usageError{cmd.CommandPath(), fmt.Sprintf("--to: %s is in the data folder %s; a copy needs a folder outside of it, best on another disk", *to, c.Data)}
		}
		result, _, err := r.run(cmd.Context())
		if err != nil {
			return r.explain(err)
		}
		if *asJSON {
			err = printResultJSON(cmd.OutOrStdout(), result)
		} else {
			err = printResult(cmd.OutOrStdout(), result, *to)
		}
		return errors.Join(err, r.damaged(result))
	}
	return cmd
}

// backupHome is a folder that is the copy of a store, wherever that is.
func backupHome(folder string) home {
	c := config.Default()
	c.Data = folder
	return homeOf(&c)
}

// contains tells whether a folder is in the one in which something of the
// store is kept.
func (h home) contains(path string) (bool, error) {
	if !h.inFolder() {
		return false, nil
	}
	return isInside(path, h.folder.path)
}

// isInside tells whether a folder, which may not exist yet, is another one or
// lies below it, however either is spelled.
func isInside(path, other string) (bool, error) {
	outer, err := os.Stat(other)
	if err != nil {
		return false, nil // existing says what is wrong with it
	}
	path, err = filepath.Abs(path)
	if err != nil {
		return false, fmt.Errorf("find folder: %w", err)
	}
	for {
		// What exists is followed to where it really is, once.
		if real, err := filepath.EvalSymlinks(path); err == nil {
			path = real
			break
		}
		if filepath.Dir(path) == path {
			return false, nil
		}
		path = filepath.Dir(path)
	}
	for ; ; path = filepath.Dir(path) {
		if info, err := os.Stat(path); err == nil && os.SameFile(info, outer) {
			return true, nil
		}
		if filepath.Dir(path) == path {
			return false, nil
		}
	}
}

// copyRun is one run of backup or of copy.
type copyRun struct {
	from, to home
	what     string    // the name of the verb
	another  string    // what else to name with --to if this cannot be used
	notes    io.Writer // for the operator, while it goes on
}

// run opens both stores and copies. The source comes first, so that a mistyped
// one leaves no folder behind. It returns the head that the source had at the end.
func (r copyRun) run(ctx context.Context) (result backup.Result, end eventlog.Head, err error) {
	var closers []func() error
	defer func() {
		for i := len(closers) - 1; i >= 0; i-- {
			err = errors.Join(err, closers[i]())
		}
	}()
	quiet := slog.New(slog.NewTextHandler(r.notes, &slog.HandlerOptions{Level: slog.LevelWarn}))
	source, err := r.from.openToRead(ctx)
	if err != nil {
		return result, end, err
	}
	closers = append(closers, source.Close)
	if err := source.Healthy(); err != nil && !errors.Is(err, metastore.ErrRebuild) {
		return result, end, fmt.Errorf("open the store in %s: %w", r.from, advise(err))
	}
	objects, closeObjects, err := r.from.openOwned(ctx, source.Events(), true, quiet)
	if err != nil {
		return result, end, err
	}
	closers = append(closers, closeObjects)

	if r.to.inFolder() {
		if err := r.to.folder.vacant(); err != nil {
			return result, end, fmt.Errorf("--to: %w", err)
		}
	}
	unlock, err := r.to.claim(true)
	if err != nil {
		return result, end, fmt.Errorf("--to: %w", err)
	}
	closers = append(closers, unlock)
	copied, err := r.to.openLedger(ctx, metastore.Options{Log: quiet, Refill: reportRefill(r.notes)}, true, nil)
	if err != nil {
		return result, end, err
	}
	closers = append(closers, copied.Close)
	if err := copied.Alone(ctx); err != nil {
		return result, end, fmt.Errorf("--to: %w", err)
	}
	files, closeFiles, err := r.to.openObjects(ctx, false, quiet)
	if err != nil {
		return result, end, err
	}
	closers = append(closers, closeFiles)
	result, err = backup.Run(ctx,
		backup.Source{Ledger: source, Objects: map[string]backup.Objects{storeOfFiles: objects}},
		backup.Target{Ledger: copied, Objects: map[string]storagedriver.Driver{storeOfFiles: files}},
		reportBackup(r.notes))
	if err != nil {
		return result, end, err
	}
	end, err = source.Events().Head(ctx)
	return result, end, err
}

// reportBackup returns a progress that writes a line at the start and then now
// and then.
func reportBackup(w io.Writer) func(backup.Progress) {
	const interval = time.Second
	var last time.Time
	return func(p backup.Progress) {
		now := time.Now()
		if now.Sub(last) < interval {
			return
		}
		last = now
		fmt.Fprintf(w, "%d of %d events; %d objects, %s copied; %d objects checked\n", p.Done, p.Total, p.Objects, size(p.Bytes), p.Checked)
	}
}

// explain adds to a failure what the operator can do about it.
func (r copyRun) explain(err error) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("the %s was interrupted; what was copied stays: run it again to go on", r.what)
	}
	if errors.Is(err, backup.ErrOtherLog) || errors.Is(err, backup.ErrDiverged) {
		return fmt.Errorf("%s cannot go on as a copy of %s: %w; nothing in it was changed: name another %s with --to, or remove this one if nobody needs it", r.to, r.from, err, r.another)
	}
	if errors.Is(err, fact.ErrUnavailable) {
		return fmt.Errorf("a database could not be reached any more: %w; what was copied stays: run it again to go on", err)
	}
	if errors.Is(err, fact.ErrFull) || errors.Is(err, storagedriver.ErrFull) {
		return fmt.Errorf("there is no room for the copy in %s: %w; make room and run it again: it goes on where it was", r.to, err)
	}
	if errors.Is(err, fact.ErrBroken) || errors.Is(err, storagedriver.ErrBroken) {
		return fmt.Errorf("what the copy in %s is kept on failed: %w; look at its log, or the kernel's; on a good disk the copy goes on when this is run again", r.to, err)
	}
	if fault, ok := errors.AsType[*eventlog.Fault](err); ok {
		return fmt.Errorf("the log of %s is not what was written: %w; the copy is whole up to the event before: restore that", r.from, fault)
	}
	return advise(err)
}

// damaged lists what could not be copied, and is the error that says so.
func (r copyRun) damaged(result backup.Result) error {
	if result.Damaged == 0 {
		return nil
	}
	for _, d := range result.Damages {
		fmt.Fprintf(r.notes, "damaged: %s, event %d, %s: %s\n", d.Subject, d.Sequence, r.from.place(d.Receipt), d.Problem)
	}
	if more := result.Damaged - len(result.Damages); more > 0 {
		fmt.Fprintf(r.notes, "damaged: %d more\n", more)
	}
	return fmt.Errorf("stored content of %s is missing or damaged, and so not in the copy (%d in all, named above); everything else is. "+
		"Remove a damaged %s, push its content again, and run the %s again", r.from, result.Damaged, r.from.object(), r.what)
}

// place says where bytes should be: in the data folder, or in the bucket.
func (h home) place(r fact.Receipt) string {
	switch {
	case r.Store == fact.Content:
		return "a row of the database"
	case h.Storage.Driver == config.InS3:
		return fmt.Sprintf("object %s of bucket %s", s3.Key(h.S3.Prefix, r.Locator), h.S3.Bucket)
	}
	return filepath.Join(storeName, filepath.FromSlash(filesystem.Name(r.Locator)))
}

// object is what one object is called where it is kept.
func (h home) object() string {
	if h.Storage.Driver == config.InS3 {
		return "object"
	}
	return "file"
}

func printResult(w io.Writer, r backup.Result, to string) error {
	_, err := fmt.Fprintf(w, "log %s: %d events, running hash %s\nCopied %d events, %d objects, %s. To restore: artifactstore serve --data %s\n",
		r.Head.Log, r.Head.Sequence, r.Head.Chain, r.Events, r.Objects, size(r.Bytes), to)
	return err
}

// resultJSON is what `artifactstore backup --json` prints.
type resultJSON struct {
	logEnd
	// Events, Objects and Bytes were copied by this run.
	Events  int   `json:"events"`
	Objects int   `json:"objects"`
	Bytes   int64 `json:"bytes"`
	// Damaged counts what could not be copied, Damages has the first of it.
	Damaged int          `json:"damaged"`
	Damages []damageJSON `json:"damages"`
}

type damageJSON struct {
	Subject  string `json:"subject"`
	Sequence uint64 `json:"sequence"`
	Store    string `json:"store"`
	Locator  string `json:"locator,omitempty"`
	Problem  string `json:"problem"`
}

func printResultJSON(w io.Writer, r backup.Result) error {
	out := resultJSON{
		logEnd: endOf(r.Head), Events: r.Events, Objects: r.Objects, Bytes: r.Bytes,
		Damaged: r.Damaged, Damages: []damageJSON{},
	}
	for _, d := range r.Damages {
		out.Damages = append(out.Damages, damageJSON{d.Subject, uint64(d.Sequence), d.Receipt.Store, d.Receipt.Locator, d.Problem})
	}
	return answer(w, true, out, "")
}
