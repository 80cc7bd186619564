package metastore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// This file and prefetch.go are about a database that several processes have
// open, each with a committer, and that is a journey away. Its SQL is
// PostgreSQL's.
//
// A batch takes two journeys. The first begins the transaction, locks the head,
// and reads in later statements everything that the changes have named: what
// the locking statement itself read would be from before it had to wait. The
// second writes all rows and commits. Whoever holds the lock of the head is the
// only one who writes, whatever the others believe.
//
// When the answer to a commit is lost nobody knows whether it happened. Each
// commit leaves a mark in the table commits; the next transaction, once it has
// the lock, which the lost one has until it ends, looks for the mark. If it is
// there, the batch was committed. If not, it never will be, and the batch is run
// again in this transaction.

// defaultPatience is how long a batch is tried again while the database is away.
const defaultPatience = 15 * time.Second

// The pauses between attempts.
const (
	firstPause = 20 * time.Millisecond
	maxPause   = time.Second
)

// farewell is how long a store that is being closed waits for connections to a
// database that was there a moment ago.
const farewell = 3 * time.Second

// shared is what a Store is beside others on one database.
type shared struct {
	store *Store
	node  Node
	peers atomic.Pointer[peers]
	// awaySince is when the database was first found away, nil while it is
	// there. A clock that is set does not change how long ago that is.
	awaySince atomic.Pointer[time.Time]
	// last is the mark of the last commit that is known to have happened. It is
	// the committer's.
	last string
	// contended is for how many more batches a long wait for the lock is
	// expected. It is the committer's.
	contended int
	patience  time.Duration
	closing   atomic.Bool        // nothing is tried again
	stop      context.CancelFunc // of what runs beside the committer
	ended     chan struct{}
}

// isAway tells whether an error means that the database could not be reached.
func isAway(err error) bool {
	return errors.Is(err, database.ErrUnavailable) || errors.Is(err, database.ErrUnknown) || errors.Is(err, fact.ErrUnavailable)
}

// errCommitted ends an attempt that finds that the one before was committed.
var errCommitted = errors.New("the batch was committed before")

// persist tries a batch again while the database is away, and settles whether
// it was committed if the answer was lost. It returns the last attempt.
func (m *shared) persist(b *batch, err error) (*batch, error) {
	lost := ""
	m.lookedSince(b.began)
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		if b.looked {
			lost = "" // it never happened
		}
		if errors.Is(err, registry.ErrUnknown) {
			lost = b.mark
		}
		if !isAway(err) || !m.waits(pause) {
			break
		}
		again := &batch{store: b.store, jobs: b.jobs, lost: lost}
		err = again.run(noMore)
		if again.found {
			// What was committed is what the attempt before was.
			again.rows, again.events, again.flush, again.mark = b.rows, b.events, b.flush, b.mark
		}
		b = again
	}
	if err != nil && lost != "" && !errors.Is(err, registry.ErrUnknown) {
		err = fmt.Errorf("%w: %w", registry.ErrUnknown, err)
	}
	return b, err
}

// waits waits before another attempt, and tells whether there should be one.
func (m *shared) waits(pause time.Duration) bool {
	if m.lostPatience() || m.closing.Load() {
		return false
	}
	time.Sleep(pause)
	return true
}

// lostPatience tells whether the database has been away for too long to wait.
func (m *shared) lostPatience() bool {
	since := m.awaySince.Load()
	return since != nil && time.Since(*since) > m.patience
}

// noted keeps account of whether the database is there.
func (m *shared) noted(err error) {
	switch {
	case isAway(err):
		if now := time.Now(); m.awaySince.CompareAndSwap(nil, &now) {
			m.store.log.Warn("the database cannot be reached; changes wait", "error", err)
		}
	case m.awaySince.Swap(nil) != nil:
		m.store.log.Info("the database is there again")
	}
}

// lookedSince makes the time that the database is away begin when an attempt
// did, and not when that gave up.
func (m *shared) lookedSince(began time.Time) {
	if at := m.awaySince.Load(); at != nil && at.After(began) {
		m.awaySince.CompareAndSwap(at, &began)
	}
}

// away returns why the database cannot be used now, nil if it can.
func (m *shared) away() error {
	if m.awaySince.Load() == nil {
		return nil
	}
	return fmt.Errorf("%w: the database does not answer", fact.ErrUnavailable)
}

// refuses returns why a change is not even tried, or nil.
func (m *shared) refuses() error {
	if m.lostPatience() {
		return m.away()
	}
	if p := m.peers.Load(); p != nil && p.files != nil {
		return fmt.Errorf("%w: %w", fact.ErrUnavailable, p.files)
	}
	return nil
}

// hurry makes sure that the end of the store is not held up by a database that
// is away. The function that it returns is called once the store has ended.
func (m *shared) hurry() (ended func()) {
	m.closing.Store(true)
	q, ok := m.store.db.(database.Quitter)
	if !ok {
		return func() {}
	}
	if m.away() != nil {
		q.Quit()
	}
	timer := time.AfterFunc(farewell, q.Quit)
	return func() { timer.Stop() }
}

// fillAtOnce takes all jobs that wait, reads what they have named together, and
// runs them.
func (b *batch) fillAtOnce(more func() *job) error {
	b.gather(more)
	if err := b.openShared(more); err != nil {
		return err
	}
	locked := time.Now()
	for i, j := range b.jobs {
		if b.bytes >= maxBytes || b.rows >= maxRows || i > 0 && time.Since(locked) >= maxCollect {
			b.postpone(i)
			break
		}
		if err := b.add(j); err != nil {
			return err
		}
	}
	return nil
}

// gather takes jobs that wait into the batch.
func (b *batch) gather(more func() *job) {
	for len(b.jobs) < maxChanges {
		j := more()
		if j == nil {
			return
		}
		b.jobs = append(b.jobs, j)
	}
}

// longWait is how long a node waits for the lock that nobody else has, at most:
// a journey and what the database takes.
const longWait = 2 * time.Millisecond

// waited notes how long the lock was waited for. After a long wait the next
// batches expect another one.
func (m *shared) waited(d time.Duration) {
	const batches = 16
	if d > longWait {
		m.contended = batches
	} else if m.contended > 0 {
		m.contended--
	}
}

// postpone leaves the jobs from one on to the next batch.
func (b *batch) postpone(from int) {
	b.store.queue.putBack(b.jobs[from:])
	b.jobs = b.jobs[:from]
}

// openShared locks the head, looks for the mark of a commit whose answer was
// lost, and reads what the jobs have named: one journey.
//
// Where others hold the lock often, there are three journeys: what queues up
// while this node waits for the lock comes along, or batches would be small and
// many.
func (b *batch) openShared(more func() *job) error {
	w := b.store.db.Writer()
	batcher, ok := w.(database.Batcher)
	if !ok {
		return errors.New("the database cannot be shared")
	}
	b.state = newWorking(w, 0)
	m, begun := b.store.shared, time.Now()
	lock := database.Query{SQL: lockHead.SQL, Scan: func(r database.Rows) error {
		m.waited(time.Since(begun))
		return lockHead.Scan(r)
	}}
	if m.contended > 0 {
		if err := batcher.Batch([]database.Query{lock}); err != nil {
			return err
		}
		b.gather(more)
		lock = database.Query{}
	}
	queries := []database.Query{
		{SQL: sharedHead, Scan: b.scanHead},
		{SQL: "SELECT 1 FROM state WHERE name IN ($1, $2)", Args: []any{flagRebuild, flagRefill},
			Scan: func(r database.Rows) error { b.partial = r.Next(); return nil }},
	}
	found := false
	if b.lost != "" {
		queries = append(queries, database.Query{SQL: "SELECT 1 FROM commits WHERE mark = $1", Args: []any{b.lost},
			Scan: func(r database.Rows) error { found = r.Next(); return nil }})
	}
	if files := b.store.shared.node.Files; files != "" {
		queries = append(queries, database.Query{SQL: "SELECT 1 FROM leases WHERE name = $1 AND holder <> $2", Args: []any{filesLease, files},
			Scan: func(r database.Rows) error { b.ousted = r.Next(); return nil }})
	}
	if lock.SQL != "" {
		queries = append([]database.Query{lock}, queries...)
	}
	wanted := newWanted(b.jobs)
	if err := batcher.Batch(append(queries, wanted.queries(b.state)...)); err != nil {
		return err
	}
	if found {
		b.found = true
		return errCommitted
	}
	b.looked = true
	b.store.noticeRebuild(b.partial)
	b.state.known = int64(b.head.Sequence)
	wanted.settle(b.state)
	return nil
}

// errOusted: this node was silent for so long that another one has taken its
// place, whose files are not these.
var errOusted = fmt.Errorf("%w: %w: another node keeps its objects as files now", fact.ErrUnavailable, ErrInUse)

// noticeRebuild learns whether some process is rebuilding the views, or has died
// doing it. The caller holds the writer.
func (s *Store) noticeRebuild(partial bool) {
	switch reason := s.usable(); {
	case s.rebuilds:
	case partial && reason == nil:
		s.block(ErrRebuild)
	case !partial && errors.Is(reason, ErrRebuild):
		s.block(nil)
	}
}

// lockHead makes this transaction the only one that writes. It must be a
// statement of its own.
var lockHead = database.Query{
	SQL:  "SELECT one" + newestHead + " FOR UPDATE",
	Scan: func(r database.Rows) error { r.Next(); return nil },
}

// lockMigrations keeps those who migrate, rebuild and copy apart. It comes before
// the first table.
var lockMigrations = database.Query{
	SQL:  "SELECT pg_advisory_xact_lock(7235927712)", // chosen at random
	Scan: func(r database.Rows) error { r.Next(); return nil },
}

// sharedHead reads the head and the database's clock, in microseconds.
const sharedHead = "SELECT " + headColumns + ", (extract(epoch FROM clock_timestamp()) * 1000000)::bigint" + newestHead

func (b *batch) scanHead(r database.Rows) (err error) {
	if !r.Next() {
		return errNoHead
	}
	b.head, err = scanHead(r)
	b.clock, b.read = r.Int(5), b.store.now()
	if b.store.ownClock {
		b.now = b.clock
	}
	return err
}

// confirm acknowledges a batch that turned out to be committed. It may not have
// reached the synchronous standbys: a small commit that waits for them does.
func (m *shared) confirm(b *batch) error {
	w := m.store.db.Writer()
	err := w.Later("UPDATE commits SET time = $1 WHERE mark = $2", b.time().UnixMicro(), b.lost)
	if err == nil {
		err = w.Commit()
	}
	if err != nil {
		return errors.Join(err, w.Rollback())
	}
	m.last = b.lost
	m.store.signal.Announce(b.head.Sequence)
	return nil
}

// finish adds to a batch what tells others of it, before its last journey.
func (m *shared) finish(b *batch) error {
	w := m.store.db.Writer()
	b.mark = rand.Text()
	b.state.put(commits, []any{b.mark, m.node.ID, b.time().UnixMicro()})
	if m.last != "" {
		b.state.remove(commits, []any{m.last})
	}
	if !b.durable {
		b.flush = false
		if err := w.Later("SET LOCAL synchronous_commit = off"); err != nil {
			return err
		}
	}
	if b.events == 0 {
		return nil
	}
	return w.Later("SELECT pg_notify($1, $2)", channel, strconv.FormatUint(uint64(b.head.Sequence), 10))
}

// channel is where commits are announced, with the sequence of the head.
const channel = "artifactstore_log"

// commits has the mark of each node's last commit: working state.
var commits = newTable("commits", "commits", 1, 0, nil, "mark", "node", "time")
