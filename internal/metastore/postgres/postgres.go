// Package postgres is the PostgreSQL dialect of the metastore: how connections
// are made and pooled, one that writes, several that read, and what a commit
// promises.
//
// A commit that flushes has returned when the server has it on its disk, and on
// those of its synchronous standbys if it has any. One that does not flush runs
// with synchronous_commit=off: a crash of the server may undo it and what came
// after. Everything that can wait is sent with what cannot: a transaction of
// the writer that reads once and writes once takes two round trips.
package postgres

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"artifactstore/internal/metastore/database"
)

const (
	// besideReaders are the connections that are not for reading: the
	// writer's, and the one that listens.
	besideReaders = 2
	defaultMax    = 16
	idleReaders   = time.Minute // after which a reader's connection is closed
	// closeTimeout bounds the farewell to a server that does not answer.
	closeTimeout = 2 * time.Second
)

// Options say where a database is and how to use it.
type Options struct {
	// DSN is a URL (postgres://...) or a list of keywords (host=... dbname=...).
	// With several hosts the one that takes writes is used.
	DSN string
	// MaxConnections is how many connections there are at most, 16 if it is 0.
	MaxConnections int
	// ConnectTimeout bounds how long a transaction waits for a connection,
	// also for one that others use, 10 s if it is 0.
	ConnectTimeout time.Duration
	// StatementTimeout bounds a statement of the writer; 0 is no bound. Those
	// of readers are bounded by their context.
	StatementTimeout time.Duration
	// ReadOnly opens the database without a writer; a standby will do.
	ReadOnly bool
	// Name is how the server lists the connections: application_name.
	Name string
	// Log receives what no caller is told; slog.Default() if it is nil.
	Log *slog.Logger
}

// DB is an open PostgreSQL database. It implements database.DB and
// database.Listener.
type DB struct {
	options Options
	config  *pgconn.Config
	log     *slog.Logger
	writer  *writer
	slots   chan struct{} // one per reader that may run
	ending  sync.WaitGroup
	quit    chan struct{} // closed by Quit
	hurry   sync.Once

	mu     sync.Mutex
	closed bool
	idle   []idleConn // the most recently used last
	timer  *time.Timer
}

type idleConn struct {
	*conn
	since time.Time
}

var (
	_ database.DB       = (*DB)(nil)
	_ database.Listener = (*DB)(nil)
	_ database.Quitter  = (*DB)(nil)
)

// Open connects once, to see whether the database can be used at all: its
// version, its encoding, and that it takes writes unless it is opened for
// reading. The DSN's password is in no error.
func Open(ctx context.Context, o Options) (*DB, error) {
	if o.MaxConnections == 0 {
		o.MaxConnections = defaultMax
	}
	if o.MaxConnections <= besideReaders {
		return nil, fmt.Errorf("%d connections to the database are too few: one writes, one listens, the others read", o.MaxConnections)
	}
	if o.ConnectTimeout == 0 {
		o.ConnectTimeout = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	config, err := parse(o)
	if err != nil {
		return nil, err
	}
	db := &DB{options: o, config: config, log: o.Log, slots: make(chan struct{}, o.MaxConnections-besideReaders),
		quit: make(chan struct{})}
	ctx, cancel := context.WithTimeout(ctx, o.ConnectTimeout)
	defer cancel()
	c, err := db.connectOnce(ctx)
	if err != nil {
		return nil, err
	}
	unwatch := context.AfterFunc(ctx, c.interrupt)
	err = db.inspect(c)
	if !unwatch() {
		err = errors.Join(err, ctx.Err())
	}
	if err != nil {
		db.drop(c)
		db.ending.Wait()
		return nil, err
	}
	db.keep(c)
	if !o.ReadOnly {
		db.writer = &writer{db: db}
	}
	return db, nil
}

// Read implements database.DB. When the connection turns out to be dead before
// query has seen a row, as the first one does after a restart of the server,
// query runs again on a new one; so it may run more than once.
func (db *DB) Read(ctx context.Context, query func(database.Conn) error) error {
	if err := db.enter(ctx); err != nil {
		return err
	}
	defer func() { <-db.slots }()
	deadline := time.Now().Add(db.options.ConnectTimeout)
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		seen, err := db.readOnce(ctx, deadline, query)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case seen || !errors.Is(err, errLost) || time.Now().Add(pause).After(deadline):
			return err
		}
		if err := sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// enter waits until there may be one more reader.
func (db *DB) enter(ctx context.Context) error {
	select {
	case db.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(db.options.ConnectTimeout)
	defer timer.Stop()
	select {
	case db.slots <- struct{}{}:
		return nil
	case <-timer.C:
		return fmt.Errorf("%w: all of its %d connections for reading are in use (database.max_connections)", database.ErrUnavailable, cap(db.slots))
	case <-ctx.Done():
		return ctx.Err()
	}
}

// readOnce runs query in a transaction, and tells whether it saw a row.
func (db *DB) readOnce(ctx context.Context, deadline time.Time, query func(database.Conn) error) (seen bool, err error) {
	c, err := db.take(ctx, deadline)
	if err != nil {
		return false, err
	}
	// One watch for all statements of the transaction.
	unwatch := context.AfterFunc(ctx, c.interrupt)
	returned := false
	defer func() {
		interrupted := !unwatch()
		// A connection that query panicked on, or left rows open on, is not
		// used again.
		if !returned || interrupted || c.lost != nil || !c.leave() || !db.keep(c) {
			db.drop(c)
		}
	}()
	c.seen = false
	c.first = []call{{sql: "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"}}
	err = query(c)
	returned = true
	if err == nil && c.lost != nil {
		err = c.lost // query did not look at the errors of its rows
	}
	return c.seen, err
}

// take returns an idle connection, or a new one.
func (db *DB) take(ctx context.Context, deadline time.Time) (*conn, error) {
	for {
		db.mu.Lock()
		if db.closed {
			db.mu.Unlock()
			return nil, os.ErrClosed
		}
		n := len(db.idle)
		if n == 0 {
			db.mu.Unlock()
			return db.connect(ctx, deadline)
		}
		c := db.idle[n-1].conn
		db.idle = db.idle[:n-1]
		db.mu.Unlock()
		if c.usable() {
			return c, nil
		}
		db.drop(c)
	}
}

// keep puts a connection aside for the next Read, and has it closed when it
// has not been used for a while.
func (db *DB) keep(c *conn) bool {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closed {
		return false
	}
	db.idle = append(db.idle, idleConn{c, time.Now()})
	if db.timer == nil {
		db.timer = time.AfterFunc(idleReaders, db.expire)
	}
	return true
}

// expire closes the connections that were idle for too long.
func (db *DB) expire() {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := 0
	for n < len(db.idle) && time.Since(db.idle[n].since) >= idleReaders {
		db.drop(db.idle[n].conn)
		n++
	}
	db.idle = append(db.idle[:0], db.idle[n:]...)
	db.timer = nil
	if len(db.idle) > 0 && !db.closed {
		db.timer = time.AfterFunc(idleReaders-time.Since(db.idle[0].since), db.expire)
	}
}

// drop closes a connection, whatever state it is in, without waiting for it.
func (db *DB) drop(c *conn) {
	db.ending.Go(c.close)
}

// Close implements database.DB.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil
	}
	db.closed = true
	if db.timer != nil {
		db.timer.Stop()
	}
	idle := db.idle
	db.idle = nil
	db.mu.Unlock()

	for range cap(db.slots) { // wait for those that run
		db.slots <- struct{}{}
	}
	defer func() {
		for range cap(db.slots) {
			<-db.slots
		}
	}()
	for _, c := range idle {
		db.drop(c.conn)
	}
	if db.writer != nil {
		db.writer.disconnect()
	}
	db.ending.Wait()
	return nil
}

// Quit implements database.Quitter.
func (db *DB) Quit() { db.hurry.Do(func() { close(db.quit) }) }

// Writer implements database.DB.
func (db *DB) Writer() database.Writer {
	if db.writer == nil {
		return nil
	}
	return db.writer
}

// Listen implements database.Listener, on a connection of its own.
func (db *DB) Listen(ctx context.Context, channel string, started func(), notified func(payload string)) error {
	config := db.config.Copy()
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) { notified(n.Payload) }
	connectCtx, cancel := context.WithTimeout(ctx, db.options.ConnectTimeout)
	defer cancel()
	pg, err := pgconn.ConnectConfig(connectCtx, config)
	if err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return db.connectError(err)
	}
	defer db.ending.Go((&conn{pg: pg}).close)
	_, err = pg.Exec(ctx, "LISTEN "+quote(channel)).ReadAll()
	if err == nil {
		started()
	}
	for err == nil {
		err = pg.WaitForNotification(ctx)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if pg.IsClosed() {
		err = fmt.Errorf("%w: %w", errLost, err)
	}
	return fmt.Errorf("listen to %s: %w", channel, classify(err))
}
