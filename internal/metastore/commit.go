package metastore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/canon"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// The limits of a batch: it takes no further change once one is reached.
const (
	maxChanges = 256
	maxBytes   = 8 << 20
	maxRows    = 20_000 // also of a single change
	maxCollect = 50 * time.Millisecond
)

// Update implements registry.Ledger. A panic of decide is an error of this
// call alone. Errors that wrap fact.ErrFull or fact.ErrBroken mean that
// nothing was changed; registry.ErrUnknown, that it may have been.
func (s *Store) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if s.queue == nil {
		return ErrReadOnly
	}
	if err := s.refuses(); err != nil {
		return err
	}
	return s.queue.do(ctx, keys, func(v *decision) (*change, error) {
		c, err := decide(v)
		if c == nil || err != nil {
			return nil, err
		}
		return &change{Change: *c, caller: caller}, nil
	})
}

// run commits one statement on working state.
func (s *Store) run(ctx context.Context, st statement, flush bool) error {
	if s.queue == nil {
		return ErrReadOnly
	}
	if err := s.refuses(); err != nil {
		return err
	}
	return s.queue.do(ctx, registry.Keys{}, func(*decision) (*change, error) {
		return &change{Change: registry.Change{Durable: flush}, statements: []statement{st}}, nil
	})
}

// commitAll is the committer: it serves the queue until that is closed.
func (s *Store) commitAll() {
	for {
		j := s.queue.next(true)
		if j == nil {
			return
		}
		s.writing.Lock()
		s.commit(j, func() *job { return s.queue.next(false) })
		if s.failed() == nil {
			_ = s.tidy()
		}
		s.writing.Unlock()
	}
}

// tidy does the upkeep of the writer, which the caller holds. An error that
// matters stops the store; the others will come again, where a caller is told.
// That nothing was due says nothing of the database.
func (s *Store) tidy() error {
	err := s.db.Writer().Tidy()
	if err == nil {
		return nil
	}
	return s.note(err)
}

// commit runs a batch that begins with a job, and takes more of them while
// there are any. If the batch fails in the database every job is run again by
// itself, so that one that cannot succeed spoils none of the others.
func (s *Store) commit(first *job, more func() *job) {
	b := &batch{store: s, jobs: []*job{first}, flush: s.lastFlush}
	err := b.run(more)
	if errors.Is(err, errMustFlush) {
		b = &batch{store: s, jobs: b.jobs, flush: true, settled: true}
		err = b.run(more)
	}
	if s.shared != nil {
		b, err = s.shared.persist(b, err)
	}
	s.lastFlush = b.flush
	b.tell(err)
	if err == nil {
		b.answer(nil)
		return
	}
	if len(b.jobs) > 1 && s.stopped() == nil && !isAway(err) && !errors.Is(err, registry.ErrUnknown) {
		for _, j := range b.jobs {
			s.commit(j, noMore)
		}
		return
	}
	b.answer(err)
}

func noMore() *job { return nil }

// errMustFlush: a batch was begun without flush, and a change needs it.
var errMustFlush = errors.New("the batch must be flushed")

// batch is one transaction of the committer.
type batch struct {
	store   *Store
	jobs    []*job
	flush   bool
	settled bool // flush cannot be changed any more: something was written
	began   time.Time
	head    eventlog.Head
	now     int64     // the time that the database gave, 0: it is the process's clock
	clock   int64     // what the clock of a shared database said
	read    time.Time // and ours, at that moment
	partial bool      // the views are being rebuilt by somebody
	ousted  bool      // another node keeps its objects as files now
	state   *working  // it ends with the batch, whatever becomes of it
	rows    int
	bytes   int
	events  int
	format  int    // that a writer of the events must know
	durable bool   // a change needs the flush
	lost    string // the mark of an attempt whose commit lost its answer
	found   bool   // and that mark is there
	looked  bool   // and that mark is not there
	mark    string // of this attempt, once its commit was begun
}

// run decides, writes and commits. Its error is that of the whole batch.
func (b *batch) run(more func() *job) error {
	s, w := b.store, b.store.db.Writer()
	b.began = time.Now()
	// It may have changed since the jobs were queued.
	if err := s.failed(); err != nil {
		return err
	}
	if s.shared != nil { // where flushing can be given up as late as in the commit
		b.flush, b.settled = true, true
	}
	err := w.Begin(b.flush)
	if err == nil {
		err = b.fill(more)
	}
	if errors.Is(err, errCommitted) {
		return s.note(s.shared.confirm(b))
	}
	if err != nil || b.rows == 0 {
		// Here a crash leaves nothing behind: no frame of the
		// transaction is marked as committed.
		return s.note(errors.Join(err, w.Rollback()))
	}
	if err := b.finish(); err != nil {
		return s.note(errors.Join(err, w.Rollback()))
	}
	// A crash before the flush in Commit leaves all of the batch or nothing,
	// and nobody was told; after it, all of the batch.
	if err := w.Commit(); err != nil {
		if errors.Is(err, database.ErrBroken) || errors.Is(err, database.ErrUnknown) {
			err = fmt.Errorf("%w: %w", registry.ErrUnknown, err)
		}
		return s.note(err)
	}
	if s.shared != nil {
		s.shared.last = b.mark
	}
	s.signal.Announce(b.head.Sequence)
	return s.note(nil)
}

// finish writes everything and the head.
func (b *batch) finish() error {
	if b.store.shared != nil {
		if err := b.store.shared.finish(b); err != nil {
			return err
		}
	}
	if err := b.state.write(); err != nil {
		return err
	}
	if b.events == 0 {
		return nil
	}
	return writeHead(b.store.db.Writer(), b.head.Sequence-eventlog.Sequence(b.events), b.head, b.format)
}

// fill runs the jobs of the batch, and then more until a limit is reached.
func (b *batch) fill(more func() *job) error {
	if b.store.shared != nil {
		return b.fillAtOnce(more)
	}
	if err := b.open(); err != nil {
		return err
	}
	for _, j := range b.jobs {
		if err := b.add(j); err != nil {
			return err
		}
	}
	for len(b.jobs) < maxChanges && b.bytes < maxBytes && b.rows < maxRows && time.Since(b.began) < maxCollect {
		j := more()
		if j == nil {
			return nil
		}
		b.jobs = append(b.jobs, j)
		if err := b.add(j); err != nil {
			return err
		}
	}
	return nil
}

// open reads the head, and begins the working set.
func (b *batch) open() (err error) {
	w := b.store.db.Writer()
	b.head, err = readHead(w)
	b.state = newWorking(w, b.head.Sequence)
	return err
}

// time is that of the next events.
func (b *batch) time() time.Time {
	now := b.reading()
	if last := micro(b.head.Time); now.Before(last) {
		now = last
	}
	return now
}

// add runs one job within the batch. A refusal is the job's alone; the error
// that add returns is the batch's.
func (b *batch) add(j *job) error {
	if err := b.unusable(); err != nil && !j.upkeep {
		j.err, j.changes = err, false
		return nil
	}
	now := b.time()
	var c *change
	c, j.err = b.decide(j, now)
	if errors.Is(j.err, database.ErrUnavailable) || errors.Is(j.err, database.ErrAborted) {
		return j.err // no refusal: the transaction has gone
	}
	if b.state.failed != nil {
		return b.state.failed // what was decided before is lost, whatever this decision has made of it
	}
	j.changes = j.err == nil && c != nil && !c.empty()
	if !j.changes {
		return nil
	}
	if err := b.choose(c.flush()); err != nil {
		return err
	}
	b.durable = b.durable || c.flush()
	return b.write(c, now.UnixMicro())
}

// unusable returns why nothing can be decided, or nil.
func (b *batch) unusable() error {
	switch {
	case b.partial:
		return ErrRebuild
	case b.ousted:
		return errOusted
	}
	return b.store.usable()
}

// decide runs the decision of a job, which fails alone if it panics.
func (b *batch) decide(j *job, now time.Time) (c *change, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			b.store.log.Error("a decision panicked", "panic", fmt.Sprint(cause), "stack", string(debug.Stack()))
			c, err = nil, fmt.Errorf("decision panicked: %v", cause)
		}
	}()
	return j.decide(newDecision(b, now))
}

// choose makes sure that the transaction has the durability that a change
// needs. Before anything is written it is begun anew if it is of the other kind.
func (b *batch) choose(flush bool) error {
	switch {
	case b.settled && (b.flush || !flush):
		return nil
	case b.settled:
		return errMustFlush
	}
	b.settled = true
	if b.flush == flush {
		return nil
	}
	b.flush = flush
	w := b.store.db.Writer()
	if err := w.Rollback(); err != nil {
		return err
	}
	return w.Begin(flush)
}

// write adds the rows of a change to the working set.
func (b *batch) write(c *change, now int64) error {
	before := b.rows
	if err := b.noteJump(c, now); err != nil {
		return err
	}
	for i := range c.Entries {
		if err := b.writeEntry(c, &c.Entries[i], now); err != nil {
			return err
		}
		if b.rows-before > maxRows {
			return ErrTooLarge
		}
	}
	for i := range c.Puts {
		row, err := rowOfUpload(&c.Puts[i])
		if err != nil {
			return err
		}
		b.state.put(uploads, row)
		b.bytes += len(row[5].([]byte))
	}
	for _, id := range c.Drops {
		b.state.remove(uploads, []any{id})
	}
	for _, sequence := range c.Forget {
		b.state.remove(objectsTable, []any{int64(sequence)})
	}
	statements := append(c.statements, writeWorking(&c.Working, now)...)
	for _, st := range statements {
		if err := b.state.all().Exec(st.sql, st.args...); err != nil {
			return err
		}
	}
	b.rows += len(c.Puts) + len(c.Drops) + len(c.Forget) + len(statements) + c.rows
	return nil
}

// writeEntry adds an event, its content row, and what the views make of it.
func (b *batch) writeEntry(c *change, entry *registry.Entry, now int64) error {
	content, err := contentOf(entry)
	if err != nil {
		return err
	}
	e, err := newEvent(entry, c.caller, now)
	if err != nil {
		return err
	}
	if b.head, err = b.head.Seal(e); err != nil {
		return err
	}
	b.state.insertEvent(e, content)
	b.format = max(b.format, fact.Format(string(e.Kind)))
	b.rows++
	b.events++
	b.bytes += len(e.Payload) + len(e.Private) + len(content)
	if content != nil {
		b.rows++
	}
	f, err := decode(e)
	if err != nil {
		return err
	}
	rows, err := apply(b.state, e, f)
	b.rows += rows
	return err
}

// contentOf returns the content row of an entry, nil for none.
func contentOf(entry *registry.Entry) ([]byte, error) {
	if f, ok := entry.Fact.(*fact.BlobMoved); ok && f.To.Store == fact.Content && entry.Content == nil {
		return []byte{}, nil
	}
	f, ok := entry.Fact.(*fact.BlobStored)
	if !ok || f.Receipt.Store != fact.Content {
		return entry.Content, nil
	}
	if int64(len(entry.Content)) != f.Size {
		return nil, fmt.Errorf("store blob %s: content of %d bytes, its size is %d", f.Subject(), len(entry.Content), f.Size)
	}
	if entry.Content == nil {
		return []byte{}, nil // no bytes are bytes too
	}
	return entry.Content, nil
}

// newEvent makes an event of an entry, as far as that does not depend on the
// log before it.
func newEvent(entry *registry.Entry, caller registry.Caller, now int64) (*eventlog.Event, error) {
	var random [32]byte
	_, _ = rand.Read(random[:]) // never fails
	payload, err := canon.Marshal(entry.Fact)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", entry.Fact.Kind(), err)
	}
	private, err := canon.Marshal(eventlog.Private{Salt: random[16:], Reason: entry.Reason})
	if err != nil {
		return nil, fmt.Errorf("encode private part of %s: %w", entry.Fact.Kind(), err)
	}
	return &eventlog.Event{
		ID: hex.EncodeToString(random[:16]), Time: now,
		Kind: eventlog.Kind(entry.Fact.Kind()), Subject: entry.Fact.Subject(),
		Actor: caller.Actor, Request: caller.Request,
		Payload: payload, Private: private,
	}, nil
}

// answer tells every job of the batch its outcome.
func (b *batch) answer(err error) {
	for _, j := range b.jobs {
		switch {
		case err == nil:
		case errors.Is(err, registry.ErrUnknown) && !j.changes:
			// It changes nothing, but may have seen what does not last.
			j.err = fmt.Errorf("%w: the batch was not committed", b.store.unusable())
		default:
			j.err = err
		}
		close(j.done)
	}
}
