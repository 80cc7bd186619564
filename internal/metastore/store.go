// Package metastore keeps the event log, the views that follow from it, small
// content and working state in one SQL database. It implements the registry's
// Ledger and the log's Reader.
//
// All changes go through one committer: it runs the waiting decisions in
// order, writes their events and the rows that the events imply, and commits
// many of them at once. The views are a function of the log: Rebuild makes
// them anew, and Check proves that they are what the log says.
package metastore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/internal/metastore/sqlite"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// Options configure a Store. The zero value reads and writes by the system's clock.
type Options struct {
	// ReadOnly opens the store beside the process that owns it. Nothing is
	// written; Update and everything else that writes fails.
	ReadOnly bool
	// Now is the clock; time.Now if it is nil.
	Now func() time.Time
	// Log receives what no caller is told; slog.Default() if it is nil.
	Log *slog.Logger
	// VFS is for tests that inject faults: see sqlite.Options.
	VFS string
	// Watch, if it is not nil, is told the cost of every statement, on
	// whatever goroutine runs it.
	Watch func(database.Cost)
	// Observe, if it is not nil, is told of every batch, on the committer's
	// goroutine, before those who wait for the batch are answered.
	Observe func(Batch)
	// Refill, if it is not nil, is told how far Migrate has come with the views.
	Refill Refilling
	// Patience is how long a change is tried again while a database that is a
	// journey away cannot be reached; 15 s if it is 0.
	Patience time.Duration

	// schema has the migrations; those of this program if it is nil.
	schema fs.FS
}

// Errors that tell in which state the store is.
var (
	// ErrOutdated: migrations have to run before the store can be used.
	ErrOutdated = errors.New("the store is of an older version and must be migrated")
	// ErrEmpty is an ErrOutdated: there is nothing yet, migrations make it.
	ErrEmpty error = emptyError{}
	// ErrNewer: a newer version of the program has written the store.
	ErrNewer error = unusableError("the store is of a newer version than this program")
	// ErrRebuild: the views are incomplete until Rebuild has finished.
	ErrRebuild error = unusableError("the views are incomplete and must be rebuilt")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("the store is closed")
	// ErrReadOnly: the store was opened for reading.
	ErrReadOnly = errors.New("the store was opened for reading")
	// ErrTooLarge: a change has more rows than one transaction may have.
	ErrTooLarge = errors.New("the change is too large for one transaction")
)

// unusableError is a fact.ErrUnusable.
type unusableError string

func (e unusableError) Error() string { return string(e) }

func (unusableError) Unwrap() error { return fact.ErrUnusable }

// Store is an open metastore. It is safe for concurrent use.
type Store struct {
	db  database.DB
	log *slog.Logger
	now func() time.Time
	// ownClock: a shared database's clock may be used instead of now.
	ownClock bool
	observe  func(Batch) // may be nil
	// refilling may be nil.
	refilling Refilling
	schema    fs.FS
	signal    eventlog.Signal
	queue     *queue  // nil if ReadOnly
	shared    *shared // nil if no other process writes to the database
	done      chan struct{}

	// writing is held by whoever uses the writer.
	writing sync.Mutex
	// rebuilds: this process rebuilds the views, or has begun to.
	rebuilds bool
	// rebuilding is held by the one Rebuild that runs.
	rebuilding sync.Mutex
	// secret is the root of View.Secret.
	secret  []byte
	unclean bool
	// inUse is set once the store is marked as open.
	inUse bool
	// limit is how long a read of a request may take; 0 is no bound.
	limit time.Duration
	// lastFlush is whether the last batch was flushed: the guess for the next.
	lastFlush bool

	// blocked is why the store cannot be used: ErrOutdated, ErrRebuild, or nil.
	blocked atomic.Pointer[error]
	// broken is the first failure after which nothing is written any more.
	broken atomic.Pointer[error]
}

var _ registry.Ledger = (*Store)(nil)

// Open opens the store at path, and creates it unless it is opened for
// reading; a new one must be migrated first. The caller has made sure that no
// other process has it open to write. A store that was written by a newer
// version is refused with ErrNewer.
//
// Open starts the goroutine of the committer; Close ends it.
func Open(ctx context.Context, path string, o Options) (*Store, error) {
	db, err := sqlite.Open(ctx, path, sqlite.Options{ReadOnly: o.ReadOnly, VFS: o.VFS, Watch: o.Watch})
	if err != nil {
		return nil, err
	}
	return newStore(db, o).started(ctx)
}

// OpenPostgres opens the store in a PostgreSQL database, which other nodes may
// have open, too; a new one must be migrated first. Unless it only reads, the
// process becomes one of the nodes until Close.
//
// While the database is away changes wait for a while, and then fail with an
// error that wraps fact.ErrUnavailable.
func OpenPostgres(ctx context.Context, d postgres.Options, node Node, o Options) (*Store, error) {
	d.ReadOnly = o.ReadOnly
	if d.Log == nil {
		d.Log = o.Log
	}
	db, err := postgres.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	s := newStore(db, o)
	if d.StatementTimeout > 0 {
		s.limit = d.StatementTimeout + d.ConnectTimeout
	}
	if s.queue != nil {
		s.shared = &shared{store: s, node: node, patience: cmp.Or(o.Patience, defaultPatience)}
	}
	return s.started(ctx)
}

// started takes the store into use, or closes it.
func (s *Store) started(ctx context.Context) (*Store, error) {
	if err := s.start(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func newStore(db database.DB, o Options) *Store {
	s := &Store{db: db, log: o.Log, now: o.Now, observe: o.Observe, refilling: o.Refill, schema: o.schema, done: make(chan struct{})}
	if s.schema == nil {
		s.schema = schema
	}
	if s.log == nil {
		s.log = slog.Default()
	}
	if s.now == nil {
		s.now, s.ownClock = time.Now, true
	}
	if o.ReadOnly {
		close(s.done)
		return s
	}
	s.queue = newQueue()
	go func() {
		defer close(s.done)
		s.commitAll()
	}()
	return s
}

// start looks at what was opened, and takes it into use if it can be.
func (s *Store) start(ctx context.Context) error {
	pending, err := s.pending(ctx)
	switch {
	case err != nil:
		return err
	case len(pending) > 0 && pending[0].Version == 1:
		s.block(ErrEmpty)
		return nil
	case len(pending) > 0:
		s.block(ErrOutdated)
		return nil
	}
	return s.use(ctx)
}

// use takes a migrated store into use.
func (s *Store) use(ctx context.Context) error {
	var head eventlog.Head
	var flags map[string]int64
	err := s.db.Read(ctx, func(c database.Conn) (err error) {
		if head, err = readHead(c); err != nil {
			return err
		}
		if s.secret, err = readSecret(c); err != nil {
			return err
		}
		flags, err = readFlags(c)
		return err
	})
	if err != nil {
		return fmt.Errorf("read the state of the store: %w", err)
	}
	s.signal.Announce(head.Sequence)
	s.block(incomplete(flags))
	if s.shared != nil {
		return s.shared.join(ctx)
	}
	if s.queue != nil {
		clean, known := flags[flagClean]
		s.unclean = known && clean == 0
		if err := s.write(true, func(w database.Writer) error { return setFlag(w, flagClean, 0) }); err != nil {
			return err
		}
		s.inUse = true
	}
	return nil
}

// write runs one transaction of upkeep on the writer.
func (s *Store) write(flush bool, change func(database.Writer) error) error {
	if s.queue == nil {
		return ErrReadOnly
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	err := s.transact(flush, change)
	if err == nil {
		err = s.tidy()
	}
	return err
}

// transact runs one transaction on the writer, which the caller holds.
func (s *Store) transact(flush bool, change func(database.Writer) error) error {
	if err := s.failed(); err != nil {
		return err
	}
	w := s.db.Writer()
	if err := w.Begin(flush); err != nil {
		return s.note(err)
	}
	if err := s.lock(w); err != nil {
		return s.note(errors.Join(err, w.Rollback()))
	}
	if err := change(w); err != nil {
		return s.note(errors.Join(err, w.Rollback()))
	}
	return s.note(w.Commit())
}

type emptyError struct{}

func (emptyError) Error() string { return "the database holds no store yet" }

func (emptyError) Unwrap() error { return ErrOutdated }

// note remembers a failure after which nothing may be written any more, and
// returns err in the registry's words.
func (s *Store) note(err error) error {
	switch {
	case err == nil:
		if s.shared != nil {
			s.shared.noted(nil)
		}
		return nil
	case errors.Is(err, ErrNewer): // another process has migrated
		s.block(err)
		return err
	case isAway(err):
		if s.shared != nil {
			s.shared.noted(err)
		}
		return fmt.Errorf("%w: %w", fact.ErrUnavailable, err)
	case errors.Is(err, database.ErrFull):
		return fmt.Errorf("%w: %w", fact.ErrFull, err)
	case errors.Is(err, database.ErrBroken), errors.Is(err, database.ErrCorrupt):
		if s.broken.CompareAndSwap(nil, &err) {
			s.log.Error("the store stops taking changes", "error", err)
		}
		return fmt.Errorf("%w: %w", fact.ErrBroken, err)
	}
	return err
}

// failed returns the error of a store that no longer takes changes.
func (s *Store) failed() error {
	if cause := s.broken.Load(); cause != nil {
		// Its text alone: that change's outcome may be unknown, that of
		// the caller's is not.
		return fmt.Errorf("%w: %v", fact.ErrBroken, *cause)
	}
	return nil
}

func (s *Store) block(reason error) { s.blocked.Store(&reason) }

// usable returns why the views cannot be used, or nil.
func (s *Store) usable() error {
	if reason := s.blocked.Load(); reason != nil {
		return *reason
	}
	return nil
}

// Healthy returns nil if the store takes changes, and otherwise why not:
// ErrOutdated, ErrRebuild, ErrNewer, an error that wraps fact.ErrBroken when an
// earlier write failed (only opening the store again helps then), or one that
// wraps fact.ErrUnavailable while the database is away.
func (s *Store) Healthy() error {
	if err := s.stopped(); err != nil {
		return err
	}
	if s.shared != nil {
		return s.shared.away()
	}
	return nil
}

// stopped returns why the store takes no changes for long, or nil.
func (s *Store) stopped() error {
	if err := s.failed(); err != nil {
		return err
	}
	return s.usable()
}

// refuses returns why a change is not even tried, or nil: a database that has
// been away for long is not waited for by everybody.
func (s *Store) refuses() error {
	if err := s.stopped(); err != nil {
		return err
	}
	if s.shared != nil {
		return s.shared.refuses()
	}
	return nil
}

// unusable is the error of what was not committed, for a reason that is told
// to others.
func (s *Store) unusable() error {
	if s.shared != nil {
		return fact.ErrUnavailable
	}
	return fact.ErrBroken
}

// lock makes the transaction the only one that writes, where there may be others.
func (s *Store) lock(w database.Writer) error {
	b, ok := w.(database.Batcher)
	if !ok {
		return nil
	}
	queries := []database.Query{lockMigrations}
	if !errors.Is(s.usable(), ErrOutdated) {
		queries = append(queries, lockHead)
	}
	return b.Batch(queries)
}

// UncleanStart tells whether the process that had the store open to write
// before did not close it.
func (s *Store) UncleanStart() bool { return s.unclean }

// Close commits what is waiting, refuses everything else with ErrClosed, and
// closes the database once those who read are done. It does not wait for a
// database that is away.
func (s *Store) Close() error {
	if s.queue == nil {
		return s.db.Close()
	}
	if s.shared != nil {
		defer s.shared.hurry()()
		s.shared.leave()
	}
	if !s.queue.close() {
		return nil // it was closed before
	}
	<-s.done
	var err error
	if s.inUse && s.failed() == nil {
		err = s.write(true, func(w database.Writer) error { return setFlag(w, flagClean, 1) })
	}
	return errors.Join(err, s.db.Close())
}

// Read implements registry.Ledger.
func (s *Store) Read(ctx context.Context, query func(registry.View) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.read(ctx, func(c database.Conn) error {
		return query(&view{conn: c, now: s.clock(), secret: s.secret})
	})
}

// read runs a query of a request. Its error wraps fact.ErrUnavailable if the
// database cannot be reached, or does not answer in time.
func (s *Store) read(ctx context.Context, query func(database.Conn) error) error {
	if s.limit == 0 {
		return s.readAll(ctx, query)
	}
	limited, cancel := context.WithTimeout(ctx, s.limit)
	defer cancel()
	err := s.readAll(limited, query)
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil {
		return fmt.Errorf("%w: the database has not answered for %v (database.statement_timeout and database.connect_timeout)", fact.ErrUnavailable, s.limit)
	}
	return err
}

// readAll is read for what takes as long as the store is large.
func (s *Store) readAll(ctx context.Context, query func(database.Conn) error) error {
	err := s.db.Read(ctx, query)
	if errors.Is(err, database.ErrUnavailable) {
		return fmt.Errorf("%w: %w", fact.ErrUnavailable, err)
	}
	return err
}

// clock returns the time in the resolution of events.
func (s *Store) clock() time.Time { return s.now().UTC().Truncate(time.Microsecond) }
