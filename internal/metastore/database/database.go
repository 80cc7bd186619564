// Package database is the port between the metastore and an SQL database:
// what a dialect has to offer. The SQL that goes through it is the metastore's
// own, with placeholders $1, $2, ... that occur in this order.
package database

import (
	"context"
	"errors"
)

// DB is an open database: one writer, and readers that run beside it.
type DB interface {
	// Read runs query on a connection of its own within one snapshot. It may
	// be called concurrently; ctx interrupts the statements of query.
	Read(ctx context.Context, query func(Conn) error) error
	// Writer returns the connection that writes; it is always the same one,
	// and not safe for concurrent use. A database that was opened for
	// reading has none: nil.
	Writer() Writer
	// Close waits for the readers, then closes all connections. Nobody may
	// be using the writer.
	Close() error
}

// Conn runs statements.
type Conn interface {
	// Query runs a statement and returns its rows. Arguments are string,
	// int64, []byte or nil. The rows must be closed before the transaction ends.
	Query(sql string, args ...any) Rows
	// Exec runs a statement that returns no rows.
	Exec(sql string, args ...any) error
	// Script runs several statements without arguments.
	Script(sql string) error
	// HasTable tells whether there is a table of this name.
	HasTable(name string) (bool, error)
}

// Rows are the results of a statement, of which one is current after each
// call of Next that returned true. Columns count from 0.
type Rows interface {
	Next() bool
	Int(column int) int64
	// Text returns "" for NULL.
	Text(column int) string
	// Bytes returns a copy; only NULL is nil.
	Bytes(column int) []byte
	// Value returns the column as int64, string, []byte or nil.
	Value(column int) any
	// Close ends the statement and returns the first error that it met.
	Close() error
}

// Writer is the connection of the one writer.
type Writer interface {
	Conn
	// Begin starts a transaction. If flush is true it will be on the disk
	// when Commit has returned; otherwise a power cut may undo it, together
	// with later ones only.
	Begin(flush bool) error
	// Commit ends the transaction. After an error that wraps ErrBroken its
	// outcome is unknown; after any other, nothing was committed.
	Commit() error
	// Rollback drops the transaction, if there is one.
	Rollback() error
	// Tidy does the upkeep that need not happen within a commit, if any is due.
	Tidy() error
}

// Cost is what one execution of a statement took, for those who watch.
type Cost struct {
	SQL   string
	Steps int // instructions of the database's machine; each row takes some
	Scans int // steps through a table without an index
	Sorts int // sorts of a result that no index had in order
}

// ErrBroken is wrapped by errors that mean that the database can no longer be
// trusted to keep what it is given: a write or a flush failed.
var ErrBroken = errors.New("the database failed to write")

// ErrFull is wrapped by errors that mean that there is no room on the disk.
// Nothing was committed.
var ErrFull = errors.New("no room for the database")

// ErrCorrupt is wrapped by errors that mean that the file is damaged.
var ErrCorrupt = errors.New("the database is damaged")
