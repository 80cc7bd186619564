package sqlite

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ncruces/go-sqlite3"

	"artifactstore/internal/metastore/database"
)

// maxStatements bounds the prepared statements that a connection keeps.
const maxStatements = 128

// conn is one connection with its prepared statements.
type conn struct {
	db    *sqlite3.Conn
	stmts map[string]*stmt
	watch func(database.Cost)
}

type stmt struct {
	*sqlite3.Stmt
	conn *conn
	busy bool // rows of it are open
	kept bool // it is in conn.stmts
}

func (c *conn) prepare(sql string) (*stmt, error) {
	if s := c.stmts[sql]; s != nil && !s.busy {
		s.busy = true
		return s, nil
	}
	_, exists := c.stmts[sql]
	keep := !exists && len(c.stmts) < maxStatements
	var flags sqlite3.PrepareFlag
	if keep {
		flags = sqlite3.PREPARE_PERSISTENT
	}
	prepared, tail, err := c.db.PrepareFlags(sql, flags)
	if err != nil {
		return nil, err
	}
	if prepared == nil || tail != "" {
		return nil, errors.Join(fmt.Errorf("not one statement: %q", sql), prepared.Close())
	}
	s := &stmt{Stmt: prepared, conn: c, busy: true, kept: keep}
	if keep {
		c.stmts[sql] = s
	}
	return s, nil
}

// release ends a statement and returns the error of its execution.
func (s *stmt) release() error {
	if s.conn.watch != nil {
		s.conn.watch(database.Cost{
			SQL:   s.SQL(),
			Steps: s.Status(sqlite3.STMTSTATUS_VM_STEP, true),
			Scans: s.Status(sqlite3.STMTSTATUS_FULLSCAN_STEP, true),
			Sorts: s.Status(sqlite3.STMTSTATUS_SORT, true),
		})
	}
	if !s.kept {
		return s.Close()
	}
	s.busy = false
	err := s.Reset()
	return errors.Join(err, s.ClearBindings())
}

func (s *stmt) bind(args []any) error {
	for i, arg := range args {
		var err error
		switch v := arg.(type) {
		case int64:
			err = s.BindInt64(i+1, v)
		case string:
			err = s.BindText(i+1, v)
		case []byte:
			err = s.BindBlob(i+1, v)
		case nil:
			err = s.BindNull(i + 1)
		default:
			err = fmt.Errorf("argument %d has the type %T", i+1, arg)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Exec implements database.Conn.
func (c *conn) Exec(sql string, args ...any) error {
	s, err := c.prepare(sql)
	if err != nil {
		return classify(err)
	}
	if err := s.bind(args); err != nil {
		return errors.Join(classify(err), s.release())
	}
	err = s.Stmt.Exec()
	if again := s.release(); err == nil {
		err = again
	}
	return classify(err)
}

// Script implements database.Conn.
func (c *conn) Script(sql string) error { return classify(c.db.Exec(sql)) }

// HasTable implements database.Conn.
func (c *conn) HasTable(name string) (bool, error) {
	rows := c.Query("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = $1", name)
	found := rows.Next()
	return found, rows.Close()
}

// Query implements database.Conn.
func (c *conn) Query(sql string, args ...any) database.Rows {
	s, err := c.prepare(sql)
	if err != nil {
		return &rows{err: err}
	}
	if err := s.bind(args); err != nil {
		return &rows{err: errors.Join(err, s.release())}
	}
	return &rows{stmt: s}
}

func (c *conn) close() error {
	var all []error
	for _, s := range slices.Collect(c.db.Stmts()) { // those of abandoned rows too
		all = append(all, s.Close())
	}
	c.stmts = nil
	return errors.Join(append(all, c.db.Close())...)
}

// rows implements database.Rows.
type rows struct {
	stmt *stmt
	err  error
}

func (r *rows) Next() bool {
	if r.err != nil || r.stmt == nil {
		return false
	}
	if r.stmt.Step() {
		return true
	}
	r.err = r.stmt.Err()
	return false
}

func (r *rows) Int(column int) int64   { return r.stmt.ColumnInt64(column) }
func (r *rows) Text(column int) string { return r.stmt.ColumnText(column) }

func (r *rows) Bytes(column int) []byte {
	raw := r.stmt.ColumnRawBlob(column)
	if raw == nil && r.stmt.ColumnType(column) == sqlite3.NULL {
		return nil
	}
	return append([]byte{}, raw...)
}

func (r *rows) Value(column int) any {
	switch r.stmt.ColumnType(column) {
	case sqlite3.INTEGER:
		return r.Int(column)
	case sqlite3.TEXT:
		return r.Text(column)
	case sqlite3.BLOB:
		return r.Bytes(column)
	case sqlite3.FLOAT:
		return fmt.Sprint(r.stmt.ColumnFloat(column))
	}
	return nil
}

func (r *rows) Close() error {
	if r.stmt != nil {
		err := r.stmt.release()
		r.stmt = nil
		if r.err == nil {
			r.err = err
		}
	}
	return classify(r.err)
}

// classify wraps an error of SQLite in the one of package database that it
// means, if any.
func classify(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, sqlite3.FULL):
		return fmt.Errorf("%w: %w", database.ErrFull, err)
	case errors.Is(err, sqlite3.IOERR):
		return fmt.Errorf("%w: %w", database.ErrBroken, err)
	case errors.Is(err, sqlite3.CORRUPT), errors.Is(err, sqlite3.NOTADB):
		return fmt.Errorf("%w: %w", database.ErrCorrupt, err)
	case errors.Is(err, sqlite3.INTERRUPT):
		return fmt.Errorf("%w: %w", context.Canceled, err)
	}
	return err
}
