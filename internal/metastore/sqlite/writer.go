package sqlite

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ncruces/go-sqlite3"

	"artifactstore/internal/metastore/database"
)

// writer implements database.Writer.
type writer struct {
	*conn
	readers chan struct{} // the slots of the DB
	scratch bool
	flush   bool // synchronous is FULL
	wal     int  // pages in the WAL after the last commit
	tidy    int  // pages in the WAL from which Tidy moves it
	moved   int  // pages in the WAL when Tidy last did
	restart int  // pages in the WAL from which Tidy holds up readers; 0: the default

	spellings map[*database.Table]spelling
}

func (db *DB) openWriter(ctx context.Context) (*writer, error) {
	pragmas := []string{
		// Both must come before the first table.
		"page_size=4096", "auto_vacuum=INCREMENTAL",
		"journal_mode=WAL", "synchronous=FULL",
		// What is deleted is overwritten.
		"secure_delete=ON",
		"journal_size_limit=67108864", "foreign_keys=OFF", "temp_store=MEMORY",
		"cache_size=-8000",
		// Tidy does it, after those who wait for a commit were answered.
		"wal_autocheckpoint=0",
	}
	if db.options.Scratch {
		pragmas = []string{"page_size=4096", "journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE",
			"temp_store=MEMORY", "cache_size=-65536"}
	}
	c, err := db.open(ctx, sqlite3.OPEN_READWRITE|sqlite3.OPEN_CREATE, pragmas...)
	if err != nil {
		return nil, err
	}
	w := &writer{conn: c, readers: db.slots, scratch: db.options.Scratch, flush: true, tidy: tidyPages}
	if size := diskSize(db.path); size > 0 {
		w.tidy = int(min(tidyPages, size/pageSize/8))
	}
	if !w.scratch {
		if err := w.checkMode(); err != nil {
			return nil, errors.Join(err, c.close())
		}
		c.db.WALHook(func(_ *sqlite3.Conn, _ string, pages int) error {
			if pages < w.wal { // it was begun anew
				w.moved, w.restart = 0, 0
			}
			w.wal = pages
			return nil
		})
	}
	return w, nil
}

// checkMode makes sure that the file is in WAL mode: a file system without
// shared memory silently stays in another one.
func (w *writer) checkMode() error {
	rows := w.Query("PRAGMA journal_mode")
	mode := ""
	if rows.Next() {
		mode = rows.Text(0)
	}
	if err := rows.Close(); err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("journal mode is %q, not WAL: the file system does not support it", mode)
	}
	return nil
}

// Begin implements database.Writer.
func (w *writer) Begin(flush bool) error {
	if flush != w.flush && !w.scratch {
		mode := "PRAGMA synchronous=NORMAL"
		if flush {
			mode = "PRAGMA synchronous=FULL"
		}
		if err := w.Script(mode); err != nil {
			return err
		}
		w.flush = flush
	}
	return w.Exec("BEGIN IMMEDIATE")
}

// Commit implements database.Writer.
func (w *writer) Commit() error {
	err := w.Exec("COMMIT")
	if err == nil {
		return nil
	}
	rollback := w.Rollback()
	if errors.Is(err, database.ErrFull) && rollback == nil {
		return err // the frame that commits was not written
	}
	return fmt.Errorf("%w: commit: %w", database.ErrBroken, errors.Join(err, rollback))
}

// Rollback implements database.Writer.
func (w *writer) Rollback() error {
	if w.db.GetAutocommit() {
		return nil // SQLite rolled back by itself
	}
	return w.Exec("ROLLBACK")
}

// Tidy implements database.Writer: when the WAL has grown it moves it into the
// database, as far as no reader still needs it, and gives pages that are no
// longer used back to the file system.
func (w *writer) Tidy() error {
	if w.scratch || w.wal-w.moved < w.tidy {
		return nil
	}
	w.moved = w.wal
	if err := w.checkpoint(); err != nil {
		if errors.Is(err, sqlite3.BUSY) {
			return nil // the next Tidy goes on
		}
		return classify(err)
	}
	rows := w.Query("PRAGMA freelist_count")
	free := rows.Next() && rows.Int(0) > sparePages
	if err := rows.Close(); err != nil || !free {
		return err
	}
	return w.Script(fmt.Sprintf("PRAGMA incremental_vacuum(%d)", sparePages/8))
}

// checkpoint moves the WAL into the database. The WAL is begun anew only at a
// moment in which nobody reads from it; where one reader follows the other without
// a gap that never comes. It would grow without end then, and make every read
// slower. So once it is large new readers have to wait until those that read are
// done, for a while.
func (w *writer) checkpoint() error {
	if _, _, err := w.db.WALCheckpoint("", sqlite3.CHECKPOINT_PASSIVE); err != nil {
		return err
	}
	if w.restart == 0 {
		w.restart = restartAfter * w.tidy
	}
	if w.wal < w.restart {
		return nil
	}
	// If somebody reads for long, a verb beside the server maybe, it is tried
	// again when the WAL has grown as much again.
	w.restart = w.wal + restartAfter*w.tidy
	release, ok := w.holdReaders(restartPatience)
	defer release()
	if !ok {
		return nil
	}
	if err := w.db.BusyTimeout(othersPatience); err != nil {
		return err
	}
	_, _, err := w.db.WALCheckpoint("", sqlite3.CHECKPOINT_RESTART)
	return errors.Join(err, w.db.BusyTimeout(busyTimeout))
}

// holdReaders waits until nobody reads by way of this DB, and keeps it so until
// release is called. ok is false if somebody went on reading.
func (w *writer) holdReaders(patience time.Duration) (release func(), ok bool) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	held := 0
	release = func() {
		for range held {
			<-w.readers
		}
	}
	for ; held < cap(w.readers); held++ {
		select {
		case w.readers <- struct{}{}:
		case <-timer.C:
			return release, false
		}
	}
	return release, true
}

// Write implements database.Writer.
func (w *writer) Write(edits []database.Edits) error {
	for _, e := range edits {
		s := w.spelled(e.Table)
		for _, key := range e.Deletes {
			if err := w.Exec(s.remove, key...); err != nil {
				return fmt.Errorf("table %s: %w", e.Table.Name, err)
			}
		}
		put := s.put
		if e.Insert {
			put = s.insert
		}
		for i, row := range e.Puts {
			var err error
			if i < len(e.Was) && e.Was[i] != nil {
				err = w.update(e.Table, e.Was[i], row)
			} else {
				err = w.Exec(put, row...)
			}
			if err != nil {
				return fmt.Errorf("table %s: %w", e.Table.Name, err)
			}
		}
	}
	return nil
}

// update changes the columns of a row that are not what they were. SQLite writes
// all indexes of the columns that a statement names, whether they change or not.
func (w *writer) update(t *database.Table, was, row []any) error {
	var changed uint64 // a bit for each column
	args := make([]any, 0, len(row))
	for i := t.Key; i < len(row); i++ {
		if !same(was[i], row[i]) {
			changed |= 1 << i
			args = append(args, row[i])
		}
	}
	if changed == 0 {
		return nil
	}
	return w.Exec(w.spelledUpdate(t, changed), append(args, row[:t.Key]...)...)
}

// same tells whether two values are one.
func same(a, b any) bool {
	x, isBytes := a.([]byte)
	y, areBytes := b.([]byte)
	if isBytes && areBytes {
		return (x == nil) == (y == nil) && bytes.Equal(x, y)
	}
	return !isBytes && !areBytes && a == b
}

func (w *writer) spelledUpdate(t *database.Table, changed uint64) string {
	s := w.spelled(t)
	if sql, ok := s.updates[changed]; ok {
		return sql
	}
	var sets, conditions []string
	for i, column := range t.Columns {
		if changed&(1<<i) != 0 {
			sets = append(sets, fmt.Sprintf("%s = $%d", column, len(sets)+1))
		}
	}
	for i, column := range t.Columns[:t.Key] {
		conditions = append(conditions, fmt.Sprintf("%s = $%d", column, len(sets)+i+1))
	}
	s.updates[changed] = fmt.Sprintf("UPDATE %s SET %s WHERE %s", t.Name, strings.Join(sets, ", "), strings.Join(conditions, " AND "))
	return s.updates[changed]
}

// Later implements database.Writer.
func (w *writer) Later(sql string, args ...any) error { return w.Exec(sql, args...) }

// spelling are the statements that write rows of a table.
type spelling struct {
	insert, put, remove string
	updates             map[uint64]string // by the columns that change
}

func (w *writer) spelled(t *database.Table) spelling {
	if s, ok := w.spellings[t]; ok {
		return s
	}
	marks := make([]string, len(t.Columns))
	var conditions, updates []string
	for i, column := range t.Columns {
		marks[i] = fmt.Sprintf("$%d", i+1)
		if i < t.Key {
			conditions = append(conditions, column+" = "+marks[i])
		} else {
			updates = append(updates, column+" = excluded."+column)
		}
	}
	conflict := "DO NOTHING"
	if len(updates) > 0 {
		conflict = "DO UPDATE SET " + strings.Join(updates, ", ")
	}
	s := spelling{updates: map[uint64]string{}, insert: fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s)", t.Name, strings.Join(t.Columns, ", "), strings.Join(marks, ", "))}
	s.put = fmt.Sprintf("%s ON CONFLICT (%s) %s", s.insert, strings.Join(t.Columns[:t.Key], ", "), conflict)
	s.remove = fmt.Sprintf("DELETE FROM %s WHERE %s", t.Name, strings.Join(conditions, " AND "))
	if w.spellings == nil {
		w.spellings = map[*database.Table]spelling{}
	}
	w.spellings[t] = s
	return s
}
