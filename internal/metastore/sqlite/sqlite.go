// Package sqlite is the SQLite dialect of the metastore: how the file is
// opened, one connection that writes, few that read, and what a commit
// promises.
//
// The database is in WAL mode. A commit that flushes runs with
// synchronous=FULL: it has returned when its WAL frames are on the disk (one
// fdatasync). One that does not runs with synchronous=NORMAL: a power cut may
// undo it and what came after, and never damages the file.
package sqlite

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/ncruces/go-sqlite3"

	"artifactstore/internal/metastore/database"
)

const (
	maxReaders  = 4
	idleReaders = time.Minute // after which a reader is closed; each costs about 2 MB
	busyTimeout = 10 * time.Second
	pageSize    = 4096
	// tidyPages is the size of the WAL from which Tidy moves it into the
	// database, in pages. The data plane keeps twice as much free, so that
	// there is room to write it and to move it; of a disk so small that this
	// is a quarter of it, the WAL gets an eighth.
	tidyPages = 1000
	// restartAfter is how many times that the WAL grows before Tidy holds up
	// readers, and restartPatience for how long it waits for those of this
	// process, othersPatience for the others. Changes wait meanwhile.
	restartAfter    = 4
	restartPatience = 100 * time.Millisecond
	othersPatience  = 5 * time.Millisecond
	// sparePages is how many unused pages the file keeps for new rows.
	sparePages = 8192
)

// Options say how to open a file. The zero value is a file to read and write.
type Options struct {
	// ReadOnly opens an existing file beside its owner, without a writer.
	ReadOnly bool
	// Scratch gives up all durability, for a file that is thrown away.
	Scratch bool
	// VFS names a registered VFS of the driver to use instead of the
	// operating system's; tests inject faults with it.
	VFS string
	// Watch, if it is not nil, is told the cost of every statement on the
	// goroutine that ran it.
	Watch func(database.Cost)
}

// DB is an open SQLite database. It implements database.DB.
type DB struct {
	path    string
	options Options
	writer  *writer
	slots   chan struct{} // one per reader that may run

	mu     sync.Mutex
	closed bool
	idle   []idleConn // the most recently used last
	timer  *time.Timer
}

type idleConn struct {
	*conn
	since time.Time
}

// Open opens the file, creating it unless it is opened for reading. No two
// processes may have one file open to write; a lock of the caller's must see
// to it. The file gets mode 0640 at most; those of its companions -wal and
// -shm are up to the process's umask.
func Open(ctx context.Context, path string, options Options) (*DB, error) {
	db := &DB{path: path, options: options, slots: make(chan struct{}, maxReaders)}
	if options.ReadOnly {
		// The first reader tells whether the file can be read at all.
		if err := db.Read(ctx, func(c database.Conn) error { return c.Script("SELECT 1 FROM sqlite_schema LIMIT 1") }); err != nil {
			return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close())
		}
		return db, nil
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o640)
	if err != nil {
		return nil, err
	}
	if err := file.Close(); err != nil {
		return nil, err
	}
	db.writer, err = db.openWriter(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return db, nil
}

// open opens one connection and runs the pragmas on it.
func (db *DB) open(ctx context.Context, flags sqlite3.OpenFlag, pragmas ...string) (*conn, error) {
	use := db.options.VFS
	if use == "" {
		registerVFS()
		use = fullName
	}
	name := "file:" + (&url.URL{Path: db.path}).EscapedPath() + "?vfs=" + url.QueryEscape(use)
	handle, err := sqlite3.OpenFlags(name, flags|sqlite3.OPEN_URI)
	if err != nil {
		return nil, classify(err)
	}
	c := &conn{db: handle, stmts: map[string]*stmt{}, watch: db.options.Watch}
	handle.SetInterrupt(ctx)
	err = handle.BusyTimeout(busyTimeout)
	for _, pragma := range pragmas {
		if err == nil {
			err = handle.Exec("PRAGMA " + pragma)
		}
	}
	handle.SetInterrupt(context.Background())
	if err != nil {
		return nil, errors.Join(classify(err), c.close())
	}
	giveAway(db.path)
	return c, nil
}

func (db *DB) openReader(ctx context.Context) (*conn, error) {
	return db.open(ctx, sqlite3.OPEN_READONLY, "query_only=ON", "cache_size=-2000", "temp_store=MEMORY",
		"schema_version") // reads, for which the companions are made
}

// Read implements database.DB.
func (db *DB) Read(ctx context.Context, query func(database.Conn) error) error {
	select {
	case db.slots <- struct{}{}:
		defer func() { <-db.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	c, err := db.take(ctx)
	if err != nil {
		return err
	}
	c.db.SetInterrupt(ctx)
	returned := false
	defer func() {
		c.db.SetInterrupt(context.Background())
		// A connection that query panicked on, or whose transaction cannot
		// be ended, is not used again.
		if err := c.db.Exec("ROLLBACK"); err != nil || !returned || !db.keep(c) {
			_ = c.close()
		}
	}()
	if err := c.db.Exec("BEGIN"); err != nil {
		return classify(err)
	}
	err = query(c)
	returned = true
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// take returns an idle reader, or opens one.
func (db *DB) take(ctx context.Context) (*conn, error) {
	db.mu.Lock()
	if db.closed {
		db.mu.Unlock()
		return nil, os.ErrClosed
	}
	if n := len(db.idle); n > 0 {
		c := db.idle[n-1].conn
		db.idle = db.idle[:n-1]
		db.mu.Unlock()
		return c, nil
	}
	db.mu.Unlock()
	return db.openReader(ctx)
}

// keep puts a reader aside for the next Read, and has it closed when it has
// not been used for a while.
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

// expire closes the readers that were idle for too long.
func (db *DB) expire() {
	db.mu.Lock()
	defer db.mu.Unlock()
	n := 0
	for n < len(db.idle) && time.Since(db.idle[n].since) >= idleReaders {
		_ = db.idle[n].close() // it has nothing to lose
		n++
	}
	db.idle = append(db.idle[:0], db.idle[n:]...)
	db.timer = nil
	if len(db.idle) > 0 && !db.closed {
		db.timer = time.AfterFunc(idleReaders-time.Since(db.idle[0].since), db.expire)
	}
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

	for range maxReaders { // wait for those that run
		db.slots <- struct{}{}
	}
	defer func() {
		for range maxReaders {
			<-db.slots
		}
	}()
	var all []error
	for _, c := range idle {
		all = append(all, c.close())
	}
	if db.writer != nil {
		// The last connection to close moves the WAL into the database.
		all = append(all, db.writer.close())
	}
	return errors.Join(all...)
}

// Writer implements database.DB.
func (db *DB) Writer() database.Writer {
	if db.writer == nil {
		return nil
	}
	return db.writer
}
