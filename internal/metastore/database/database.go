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
	// Write deletes and puts rows of tables, in this order. It may be put off
	// until the next statement or Commit, whose error is then that of Write.
	Write(edits []Edits) error
	// Later is Exec that may be put off like Write.
	Later(sql string, args ...any) error
	// Commit ends the transaction. After an error that wraps ErrBroken or
	// ErrUnknown its outcome is unknown; after any other, nothing was committed.
	Commit() error
	// Rollback drops the transaction, if there is one.
	Rollback() error
	// Tidy does the upkeep that need not happen within a commit, if any is due.
	Tidy() error
}

// Table is what a Writer must know of a table.
type Table struct {
	Name    string
	Columns []string // the first ones are the key
	Key     int      // number of columns in the key
}

// Edits are changes to rows of one table. No two are of the same key.
type Edits struct {
	Table *Table
	// Deletes are keys of rows to delete, if they are there.
	Deletes [][]any
	// Puts are whole rows, which replace those of the same key. If Insert is
	// true there must be none.
	Puts   [][]any
	Insert bool
	// Was has, unless it is nil, what there is of each of Puts now; nil if that
	// is not known. A Writer may make use of it.
	Was [][]any
}

// Query is a statement that returns rows.
type Query struct {
	SQL string
	// Args may be []string and []int64 too: arrays, for ANY and unnest.
	Args []any
	// Scan is called once, with the rows, which it need not close.
	Scan func(Rows) error
}

// Batcher is an ability of Writers whose database is a journey away: many
// statements for one round trip.
type Batcher interface {
	// Batch runs queries in order, each of which sees the state when it
	// begins. It sends everything first and reads then: what Begin and Write
	// have put off goes with it.
	Batch(queries []Query) error
}

// Listener is an ability of a DB that several processes have open.
type Listener interface {
	// Listen calls started once it hears, and then notified with the payload
	// of each NOTIFY on the channel, until ctx ends or the connection is lost;
	// it returns why it ended. What was notified between two Listens is lost.
	Listen(ctx context.Context, channel string, started func(), notified func(payload string)) error
}

// Quitter is an ability of a DB that is a journey away.
type Quitter interface {
	// Quit ends all attempts to connect, those to come too. What has a
	// connection goes on. It may be called concurrently with anything.
	Quit()
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

// ErrUnavailable is wrapped by errors that mean that the database cannot be
// reached, or has ended the connection. Nothing was committed, and it is worth
// trying again: Begin and Read connect anew.
var ErrUnavailable = errors.New("the database cannot be reached")

// ErrAborted is wrapped by errors that mean that a statement was not run because
// an earlier one of the transaction has failed, which can only be rolled back.
var ErrAborted = errors.New("an earlier statement of the transaction has failed")

// ErrUnknown is wrapped by errors of Commit that mean that the connection was
// lost before the answer came. Whoever begins the next transaction can look.
var ErrUnknown = errors.New("the connection to the database was lost in a commit")
