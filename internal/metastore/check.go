package metastore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/sqlite"
)

// Report is what Check found.
type Report struct {
	// Head is the end of the log as far as it was verified.
	Head eventlog.Head
	// Views has the rows that were compared, in the order of comparison.
	Views []ViewReport
	// Missing is the number of stored sequences whose bytes should be content
	// rows and are not there; FirstMissing is the event that the first of them
	// was written with. They do not make the check fail: whether bytes are
	// intact is not a matter of the log.
	Missing      int
	FirstMissing eventlog.Sequence
}

// ViewReport is the part of a Report about one view.
type ViewReport struct {
	Name string
	// Rows is how many were compared and found equal.
	Rows int
}

// Difference is proof that a view is not what the log says.
type Difference struct {
	View string
	// Key is the key of the first row that differs, as "column=value ...".
	Key string
	// Problem says how.
	Problem string
}

func (d *Difference) Error() string {
	return fmt.Sprintf("view %s: row %s: %s", d.View, d.Key, d.Problem)
}

// Check proves that replaying the log gives the views, byte for byte. It
// verifies every event, replays all into a temporary database, and compares
// all rows. It changes nothing, and runs beside the process that writes: it
// looks at the moment at which it starts.
//
// The error is an *eventlog.Fault if the log is not what was written, a
// *Difference if a view is not what the log says; the report then has what
// was compared before.
func (s *Store) Check(ctx context.Context, progress Progress) (report Report, err error) {
	if err := s.usable(); err != nil {
		return report, err
	}
	dir, err := os.MkdirTemp("", "artifactstore-check-")
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	scratch, err := sqlite.Open(ctx, filepath.Join(dir, "replay.db"), sqlite.Options{Scratch: true})
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, scratch.Close()) }()
	if err := s.prepare(scratch.Writer()); err != nil {
		return report, err
	}
	err = s.db.Read(ctx, func(c database.Conn) error {
		return check(ctx, c, scratch.Writer(), &report, progress)
	})
	return report, err
}

// prepare makes the tables of a database that is only replayed into, without
// the indexes that apply does not need.
func (s *Store) prepare(w database.Writer) error {
	all, err := s.migrations()
	if err != nil {
		return err
	}
	for _, m := range all {
		if err := m.run(w, 0); err != nil {
			return err
		}
	}
	indexes, err := texts(w, "SELECT name FROM sqlite_schema WHERE type = 'index' AND sql IS NOT NULL")
	if err != nil {
		return err
	}
	for _, name := range indexes {
		if err := w.Script("DROP INDEX " + name); err != nil {
			return err
		}
	}
	return nil
}

// check replays the log of one snapshot into an empty database and compares.
func check(ctx context.Context, c database.Conn, w database.Writer, report *Report, progress Progress) error {
	end, err := readHead(c)
	if err != nil {
		return err
	}
	if err := checkStart(c); err != nil {
		return err
	}
	report.Head = eventlog.Origin(end.Log)
	built := newWorking(w, 0)
	read := func(_ context.Context, after eventlog.Sequence) ([]eventlog.Event, error) {
		return readEvents(c, after, replayPage)
	}
	err = replay(ctx, read, report.Head, end, func(page []replayed) error {
		if err := replayPageInto(w, built, page); err != nil {
			return err
		}
		last := &page[len(page)-1].event
		report.Head.Sequence, report.Head.Time, report.Head.Chain = last.Sequence, last.Time, last.Chain
		progress.tell(last.Sequence, end.Sequence)
		return nil
	})
	if err != nil {
		return err
	}
	return compareAll(ctx, c, w, report)
}

// checkStart looks for rows before the first event, which no reader ever sees.
func checkStart(c database.Conn) error {
	first := int64(1)
	_, err := one(c, func(r database.Rows) error { first = r.Int(0); return nil },
		"SELECT sequence FROM events ORDER BY sequence LIMIT 1")
	if err == nil && first < 1 {
		return &eventlog.Fault{Problem: fmt.Sprintf("there is a row with sequence %d, before the first event", first)}
	}
	return err
}

func compareAll(ctx context.Context, c, w database.Conn, report *Report) error {
	for _, view := range views {
		rows, err := compare(ctx, view.table, c, w)
		report.Views = append(report.Views, ViewReport{Name: view.name, Rows: rows})
		if err != nil {
			return err
		}
	}
	return findMissing(c, report)
}

func replayPageInto(w database.Writer, s *working, page []replayed) error {
	if err := w.Begin(false); err != nil {
		return err
	}
	for i := range page {
		if _, err := apply(s, &page[i].event, page[i].fact); err != nil {
			return errors.Join(err, w.Rollback())
		}
	}
	if err := s.turn(page[len(page)-1].event.Sequence); err != nil {
		return errors.Join(err, w.Rollback())
	}
	return w.Commit()
}

// compare walks a view of two databases side by side in the order of its key,
// and returns how many rows are equal.
func compare(ctx context.Context, t *table, live, replayed database.Conn) (equal int, err error) {
	have, want := live.Query(t.scanSQL), replayed.Query(t.scanSQL)
	defer func() { err = errors.Join(err, have.Close(), want.Close()) }()
	for {
		if equal%1000 == 0 && ctx.Err() != nil {
			return equal, ctx.Err()
		}
		more, expected := have.Next(), want.Next()
		if !more && !expected {
			return equal, nil
		}
		// A cursor that broke off must not pass for a view that ended.
		if !more {
			if err := have.Close(); err != nil {
				return equal, err
			}
			return equal, &Difference{t.name, t.keyOf(t.values(want)), "is missing"}
		}
		if !expected {
			if err := want.Close(); err != nil {
				return equal, err
			}
			return equal, &Difference{t.name, t.keyOf(t.values(have)), "is there without cause"}
		}
		if d := t.differ(t.values(have), t.values(want)); d != nil {
			return equal, d
		}
		equal++
	}
}

func (t *table) values(r database.Rows) []any {
	values := make([]any, len(t.Columns))
	for i := range values {
		values[i] = r.Value(i)
	}
	return values
}

// differ returns how two rows differ that ought to be the same, or nil.
func (t *table) differ(have, want []any) error {
	for i, column := range t.Columns {
		if reflect.DeepEqual(have[i], want[i]) {
			continue
		}
		if i < t.Key {
			return &Difference{t.name, t.keyOf(have), "is where " + t.keyOf(want) + " should be"}
		}
		return &Difference{t.name, t.keyOf(have),
			fmt.Sprintf("%s is %#v, the log gives %#v", column, have[i], want[i])}
	}
	return nil
}

func (t *table) keyOf(values []any) string {
	parts := make([]string, t.Key)
	for i := range parts {
		parts[i] = fmt.Sprintf("%s=%v", t.Columns[i], values[i])
	}
	return strings.Join(parts, " ")
}

// findMissing looks for events whose content row is not there, or not whole.
func findMissing(c database.Conn, report *Report) error {
	return eachMissing(c, func(m Missing) error {
		if report.Missing == 0 {
			report.FirstMissing = m.Row
		}
		report.Missing++
		return nil
	})
}
