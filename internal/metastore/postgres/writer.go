package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"artifactstore/internal/metastore/database"
)

// writer implements database.Writer and database.Batcher on a connection that
// is made when it is needed.
type writer struct {
	db     *DB
	c      *conn // nil if there is none
	tables map[string]*tableSQL
	again  bool // it had a connection before
	active bool // between Begin and Commit or Rollback
	// opening is how many statements begin the transaction.
	opening int
	// sent: the server knows of the transaction.
	sent bool
	// ended is why the transaction cannot go on, if it cannot.
	ended error
}

var _ database.Batcher = (*writer)(nil)

// beginnings are what Begin puts off, by whether the commit flushes.
var beginnings = map[bool][]call{
	true: {{sql: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"}},
	false: {{sql: "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"},
		{sql: "SET LOCAL synchronous_commit = off"}},
}

// Begin implements database.Writer. It is sent with the first statement. The
// statements of a transaction see what others have committed before each began.
func (w *writer) Begin(flush bool) error {
	if w.active {
		return errors.New("a transaction was begun within another one")
	}
	if err := w.connect(); err != nil {
		return err
	}
	w.active, w.sent, w.ended = true, false, nil
	w.c.first = slices.Clone(beginnings[flush])
	if now := time.Now(); now.Sub(w.c.planned) > replanAfter {
		w.c.planned = now
		w.c.first = append(w.c.first, call{sql: "DISCARD PLANS"})
	}
	w.opening = len(w.c.first)
	return nil
}

// connect makes sure that there is a connection that stands, as far as can be
// seen from here.
func (w *writer) connect() error {
	if w.c != nil && w.c.usable() {
		return nil
	}
	w.disconnect()
	deadline := time.Now().Add(w.db.options.ConnectTimeout)
	c, err := w.db.connect(context.Background(), deadline)
	if err != nil {
		return err
	}
	c.writes, c.limit = true, w.db.limit()
	if err := w.db.setUp(c, deadline); err != nil {
		w.db.drop(c)
		return err
	}
	w.c, w.tables = c, map[string]*tableSQL{}
	if w.again {
		w.db.log.Info("the writer has connected to the database again")
	}
	w.again = true
	return nil
}

// limit is how long the writer waits for an answer. The server has given up by
// then, or is gone; or a synchronous standby is.
func (db *DB) limit() time.Duration {
	if db.options.StatementTimeout == 0 {
		return 0
	}
	return db.options.StatementTimeout + db.options.ConnectTimeout
}

func (w *writer) disconnect() {
	if w.c != nil {
		w.db.drop(w.c)
		w.c = nil
	}
}

// use returns the connection for a statement. Outside of a transaction there
// is one for each statement.
func (w *writer) use() (*conn, error) {
	if !w.active {
		err := w.connect()
		return w.c, err
	}
	if w.ended != nil {
		return nil, w.ended
	}
	w.sent = true
	return w.c, nil
}

// check notes that a transaction cannot go on.
func (w *writer) check(err error) error {
	if err != nil && w.c != nil && w.c.lost != nil && w.ended == nil {
		w.ended = w.c.lost
		w.db.log.Warn("the writer has lost its connection to the database", "error", w.c.lost)
	}
	return err
}

// Query implements database.Conn.
func (w *writer) Query(sql string, args ...any) database.Rows {
	if _, err := w.use(); err != nil {
		return &rows{err: err}
	}
	return w.c.Query(sql, args...)
}

// Exec implements database.Conn.
func (w *writer) Exec(sql string, args ...any) error {
	if _, err := w.use(); err != nil {
		return err
	}
	return w.check(w.c.Exec(sql, args...))
}

// Script implements database.Conn. Scripts are migrations: no timeout ends them.
func (w *writer) Script(sql string) error {
	if _, err := w.use(); err != nil {
		return err
	}
	clear(w.tables)
	if w.active {
		w.c.first = append(w.c.first, call{sql: "SET LOCAL statement_timeout = 0"})
	}
	return w.check(w.c.Script(sql))
}

// HasTable implements database.Conn.
func (w *writer) HasTable(name string) (bool, error) {
	if _, err := w.use(); err != nil {
		return false, err
	}
	found, err := w.c.HasTable(name)
	return found, w.check(err)
}

// Write implements database.Writer. It is put off.
func (w *writer) Write(edits []database.Edits) error {
	if !w.active {
		return errors.New("rows are written outside of a transaction")
	}
	if w.ended != nil {
		return w.ended
	}
	for i := range edits {
		e := &edits[i]
		if len(e.Deletes) == 0 && len(e.Puts) == 0 {
			continue
		}
		table, err := w.table(e.Table)
		if err != nil {
			return w.check(err)
		}
		calls, err := table.calls(e)
		if err != nil {
			return fmt.Errorf("table %s: %w", e.Table.Name, err)
		}
		w.c.first = append(w.c.first, calls...)
	}
	return nil
}

// Later implements database.Writer. It is put off.
func (w *writer) Later(sql string, args ...any) error {
	switch {
	case !w.active:
		return errors.New("a statement is put off outside of a transaction")
	case w.ended != nil:
		return w.ended
	}
	encoded, err := encode(args)
	if err == nil {
		w.c.first = append(w.c.first, call{sql, encoded})
	}
	return err
}

// Batch implements database.Batcher.
func (w *writer) Batch(queries []database.Query) error {
	c, err := w.use()
	if err != nil {
		return err
	}
	calls := c.first
	before := len(calls)
	for i := range queries {
		args, err := encode(queries[i].Args)
		if err != nil {
			return err
		}
		calls = append(calls, call{queries[i].SQL, args})
	}
	c.first = nil
	r, err := c.send(calls)
	if err != nil {
		return w.check(err)
	}
	if err := r.skip(before); err != nil {
		return w.check(r.end(err))
	}
	var scanned error
	for i := range queries {
		reader, err := r.next()
		if err == nil {
			scanned, err = c.scan(reader, queries[i].Scan)
		}
		if err != nil {
			return w.check(r.end(err))
		}
		if scanned != nil {
			break
		}
	}
	// What is left of the answers is read and dropped.
	if err := w.check(r.end(nil)); err != nil {
		return err
	}
	return scanned
}

// scan hands out the rows of a query of a batch, and returns the error of the
// one who scans apart from that of the database.
func (c *conn) scan(reader *pgconn.ResultReader, scan func(database.Rows) error) (scanned, err error) {
	result := &rows{c: c, reader: reader}
	result.describe()
	c.batching = true
	defer func() { c.batching = false }()
	scanned = scan(result)
	err = result.finish()
	if scanned == nil {
		scanned = result.err
	}
	return scanned, err
}

// Commit implements database.Writer.
func (w *writer) Commit() error {
	switch {
	case !w.active:
		return errors.New("there is no transaction to commit")
	case w.ended != nil:
		return errors.Join(w.ended, w.Rollback())
	}
	calls := w.c.first
	if !w.sent && len(calls) == w.opening {
		return w.Rollback() // nothing has happened
	}
	w.c.first, w.sent = nil, true
	if err := w.commit(append(calls, call{sql: "COMMIT"})); err != nil {
		_ = w.check(err) // err is what is told
		return errors.Join(err, w.Rollback())
	}
	w.active = false
	return nil
}

// commit sends what was put off with the COMMIT and waits for all answers. The
// connection may be lost at each of three points: before anything has left,
// nothing was committed; when the server's last word is about a statement
// before the COMMIT, neither; after that the outcome is unknown.
func (w *writer) commit(calls []call) error {
	c := w.c
	if err := c.ready(); err != nil {
		return err
	}
	if !c.alive() {
		c.lost = fmt.Errorf("%w before the commit", errLost)
		return c.lost
	}
	c.unsynced = false
	c.committing.Store(true)
	defer func() {
		// Of a connection that is lost it stays: pgx is closing it.
		if c.lost == nil {
			c.committing.Store(false)
		}
	}()
	r, err := c.send(calls)
	if err != nil {
		if pgconn.SafeToRetry(err) {
			return err
		}
		return c.unknown(err)
	}
	last := len(calls) - 1
	if err := r.skip(last); err != nil {
		answer := new(pgconn.PgError)
		answered := errors.As(err, &answer)
		if err = r.end(err); answered {
			return err
		}
		return c.unknown(err)
	}
	reader, err := r.next()
	var tag pgconn.CommandTag
	if err == nil {
		tag, err = reader.Close()
	}
	if err != nil {
		var answer *pgconn.PgError
		answered := errors.As(err, &answer)
		// The server ended an idle transaction before the COMMIT reached it.
		idle := answered && answer.Code == "25P03"
		if err = r.end(err); answered && c.lost == nil || idle {
			return err
		}
		return c.unknown(err)
	}
	if c.unsynced {
		err := errors.New("the server gave up waiting for its synchronous standby")
		return c.unknown(errors.Join(err, r.end(nil)))
	}
	if tag.String() != "COMMIT" {
		return errors.Join(fmt.Errorf("the transaction was not committed: an error came before (%s)", tag), r.end(nil))
	}
	if err := r.end(nil); err != nil {
		_ = w.check(err) // it is committed; the next transaction connects anew
	}
	return nil
}

// unknown gives the connection up and returns the error of a commit whose
// outcome is not known. It must not be taken for one of those after which
// nothing was committed.
func (c *conn) unknown(err error) error {
	if c.lost == nil {
		c.lost = fmt.Errorf("%w: %w", errLost, err)
	}
	return fmt.Errorf("%w: %v", database.ErrUnknown, err)
}

// Rollback implements database.Writer. Of a connection that is lost the server
// drops the transaction.
func (w *writer) Rollback() error {
	if !w.active {
		return nil
	}
	w.active = false
	if w.c == nil {
		return nil
	}
	if w.c.batching {
		return errors.New("a transaction was ended while the rows of a batch are read")
	}
	w.c.first = nil
	if w.c.lost == nil && w.sent {
		if err := w.c.run(call{sql: "ROLLBACK"}); err != nil && w.c.lost == nil {
			w.c.lost = fmt.Errorf("%w: roll back: %w", errLost, err)
		}
	}
	if w.c.lost != nil {
		w.disconnect()
	}
	return nil
}

// Tidy implements database.Writer: the server tidies up by itself.
func (w *writer) Tidy() error { return nil }
