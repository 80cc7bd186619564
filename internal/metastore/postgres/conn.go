package postgres

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"artifactstore/internal/metastore/database"
)

const (
	// maxStatements bounds the prepared statements that a connection keeps.
	maxStatements = 256
	// replanAfter is how long plans are kept: those that were made while
	// a table was small are bad once it has grown.
	replanAfter = 5 * time.Second
)

// binary is the format of all results.
var binary = []int16{1}

// conn is one connection with its prepared statements. It implements
// database.Conn. All of its work is pipelines: statements that are sent
// together and answered in order.
type conn struct {
	pg     *pgconn.PgConn
	stmts  map[string]*pgconn.StatementDescription
	names  int  // of statements that were given one
	writes bool // it is the writer's
	// limit bounds each pipeline, if it is not 0.
	limit time.Duration

	// first is what has been put off: it goes before the next statement.
	first []call
	// open are the rows that are being read.
	open *rows
	// batching: the rows of a batch are being read.
	batching bool
	// leaving is the end of a transaction whose answer nobody has waited for.
	leaving *pgconn.Pipeline
	// planned is when the plans were last dropped.
	planned time.Time
	// seen: a row was handed out.
	seen bool
	// committing: the server is not to be asked to give up what it is at, as
	// pgx does when an answer does not come. It would commit without the
	// synchronous standby that it waits for.
	committing atomic.Bool
	// unsynced: a commit was not awaited on the synchronous standbys.
	unsynced bool
	// lost is why the connection is of no use any more.
	lost error
}

// call is a statement with its arguments as they are sent.
type call struct {
	sql  string
	args arguments
}

// pipeline is a running pipeline.
type pipeline struct {
	c     *conn
	p     *pgconn.Pipeline
	calls []call
	named []bool // which calls are prepared in it
	names []string
	at    int
}

// send sends calls, as one. If it fails nothing is running.
func (c *conn) send(calls []call) (*pipeline, error) {
	if err := c.ready(); err != nil {
		return nil, err
	}
	if c.limit > 0 {
		_ = c.pg.Conn().SetDeadline(time.Now().Add(c.limit)) // one that is closed fails below
	}
	r := &pipeline{c: c, p: c.pg.StartPipeline(context.Background()), calls: calls,
		named: make([]bool, len(calls)), names: make([]string, len(calls))}
	fresh := map[string]string{}
	for i, call := range calls {
		name := fresh[call.sql]
		switch d := c.stmts[call.sql]; {
		case d != nil:
			r.p.SendQueryStatement(d, call.args.values, call.args.formats, binary)
			continue
		case name == "" && len(c.stmts)+len(fresh) >= maxStatements:
			r.p.SendQueryParams(call.sql, call.args.values, nil, call.args.formats, binary)
			continue
		case name == "":
			c.names++
			name = "s" + strconv.Itoa(c.names)
			fresh[call.sql] = name
			r.named[i], r.names[i] = true, name
			r.p.SendPrepare(name, call.sql, nil)
		}
		r.p.SendQueryPrepared(name, call.args.values, call.args.formats, binary)
	}
	if err := r.p.Sync(); err != nil {
		return nil, c.fail(err)
	}
	return r, nil
}

// ready makes the connection free for the next statement.
func (c *conn) ready() error {
	if c.batching {
		return errors.New("a statement was begun while the rows of a batch are read")
	}
	if c.open != nil {
		if err := c.open.detach(); err != nil {
			return err
		}
	}
	if c.leaving != nil {
		err := c.leaving.Close()
		c.leaving = nil
		if err != nil {
			return c.fail(err)
		}
	}
	if c.lost == nil && c.pg.IsClosed() {
		c.lost = errLost
	}
	return c.lost
}

// next returns the answer to the next call.
func (r *pipeline) next() (*pgconn.ResultReader, error) {
	i := r.at
	r.at++
	if r.named[i] {
		result, err := r.p.GetResults()
		if err != nil {
			return nil, err
		}
		d, ok := result.(*pgconn.StatementDescription)
		if !ok {
			return nil, fmt.Errorf("answer to a statement to prepare: %T", result)
		}
		d.Name, d.SQL = r.names[i], r.calls[i].sql
		r.c.stmts[d.SQL] = d
	}
	result, err := r.p.GetResults()
	if err != nil {
		return nil, err
	}
	reader, ok := result.(*pgconn.ResultReader)
	if !ok {
		return nil, fmt.Errorf("answer to a statement: %T", result)
	}
	return reader, nil
}

// skip waits for the answers to the next calls, which have no rows of interest.
func (r *pipeline) skip(calls int) error {
	for range calls {
		reader, err := r.next()
		if err == nil {
			_, err = reader.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// end waits for the end of the pipeline and makes err, if there is one, an
// error of package database.
func (r *pipeline) end(err error) error {
	if last := r.p.Close(); err == nil {
		err = last
	}
	if err != nil {
		return r.c.fail(err)
	}
	return nil
}

// fail translates an error, and notes when the connection is of no use any more.
func (c *conn) fail(err error) error {
	var answer *pgconn.PgError
	is := errors.As(err, &answer)
	switch {
	case c.lost != nil:
	case is && (final(answer) || stale(answer) || c.writes && answer.Code == "25006"):
		// 25006: it is read-only, so what was the primary is none any more.
		c.lost = classify(fmt.Errorf("%w: %w", errLost, err))
	case c.pg.IsClosed() && timedOut(err):
		c.lost = fmt.Errorf("%w: no answer in time: %w", errLost, err)
	case c.pg.IsClosed():
		c.lost = fmt.Errorf("%w: %w", errLost, err)
	}
	if c.lost != nil {
		return c.lost
	}
	return classify(err)
}

// run sends what was put off and a statement, and waits for the answers.
func (c *conn) run(calls ...call) error {
	calls = append(c.first, calls...)
	c.first = nil
	if len(calls) == 0 {
		return nil
	}
	r, err := c.send(calls)
	if err != nil {
		return err
	}
	return r.end(r.skip(len(calls)))
}

// Query implements database.Conn.
func (c *conn) Query(sql string, args ...any) database.Rows {
	encoded, err := encode(args)
	if err != nil {
		return &rows{err: err}
	}
	calls := append(c.first, call{sql, encoded})
	c.first = nil
	r, err := c.send(calls)
	if err != nil {
		return &rows{err: err}
	}
	var reader *pgconn.ResultReader
	if err = r.skip(len(calls) - 1); err == nil {
		reader, err = r.next()
	}
	if err != nil {
		return &rows{err: r.end(err)}
	}
	result := &rows{c: c, reader: reader, pipeline: r}
	result.describe()
	c.open = result
	return result
}

// Exec implements database.Conn.
func (c *conn) Exec(sql string, args ...any) error {
	encoded, err := encode(args)
	if err != nil {
		return err
	}
	return c.run(call{sql, encoded})
}

// Script implements database.Conn. The text is in SQLite's words, see translate.
func (c *conn) Script(sql string) error {
	if err := c.run(); err != nil {
		return err
	}
	return c.simple(translate(sql), time.Time{}) // it takes as long as it takes
}

// simple runs statements without arguments, of which nothing is kept, until a
// moment, or without end if it is zero.
func (c *conn) simple(sql string, end time.Time) error {
	if err := c.ready(); err != nil {
		return err
	}
	_ = c.pg.Conn().SetDeadline(end) // one that is closed fails below
	if _, err := c.pg.Exec(context.Background(), sql).ReadAll(); err != nil {
		return c.fail(err)
	}
	return nil
}

// HasTable implements database.Conn.
func (c *conn) HasTable(name string) (bool, error) {
	rows := c.Query(`SELECT 1 FROM pg_catalog.pg_class
		WHERE relname = $1 AND relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')`, name)
	found := rows.Next()
	return found, rows.Close()
}

// leave ends a transaction that only read, without waiting for the answer, and
// tells whether the connection can be used again.
func (c *conn) leave() bool {
	if c.open != nil || c.batching {
		return false
	}
	if c.first != nil { // it did not begin
		c.first = nil
		return true
	}
	if c.ready() != nil {
		return false
	}
	p := c.pg.StartPipeline(context.Background())
	p.SendQueryParams("COMMIT", nil, nil, nil, nil)
	if now := time.Now(); now.Sub(c.planned) > replanAfter {
		p.SendQueryParams("DISCARD PLANS", nil, nil, nil, nil)
		c.planned = now
	}
	if p.Sync() != nil {
		return false
	}
	c.leaving = p
	return true
}

// interrupt ends whatever the connection is at. It may be called from another
// goroutine than that which uses the connection.
func (c *conn) interrupt() { _ = c.pg.Conn().SetDeadline(time.Unix(1, 0)) }

// alive tells whether the connection still stands, as far as that can be seen here.
func (c *conn) alive() bool {
	standing, _ := c.look()
	return standing
}

// usable is alive for a connection that nothing is asked of. What the server
// says then of its own accord is, as a rule, its farewell.
func (c *conn) usable() bool {
	standing, said := c.look()
	return standing && (!said || c.leaving != nil || c.open != nil)
}

func (c *conn) look() (standing, said bool) {
	if c.lost != nil || c.pg.IsClosed() || c.pg.Conn().SetDeadline(time.Time{}) != nil {
		return false, false
	}
	return peek(c.pg.Conn())
}

// close ends the connection and waits until nothing of it is left.
func (c *conn) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if c.pg.IsClosed() {
		// pgx is asking the server to give up the statement.
		select {
		case <-c.pg.CleanupDone():
		case <-ctx.Done():
			_ = c.pg.Conn().Close()
			<-c.pg.CleanupDone()
		}
		return
	}
	_ = c.pg.Close(ctx) // it has nothing to lose
}

// notice is what the server says beside its answers.
func (c *conn) notice(n *pgconn.PgError) {
	// The message depends on the server's language. "The transaction has
	// already committed locally, but might not have been replicated."
	if n.Routine == "SyncRepWaitForLSN" {
		c.unsynced = true
	}
}
