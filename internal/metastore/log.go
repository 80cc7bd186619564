package metastore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// format is the newest format of records that this program knows. A new log has
// oldFormat, and the head's rises with the first event that needs a newer one.
const (
	format    = fact.NewestFormat
	oldFormat = 1
)

// pollInterval is how often a process that only reads looks for new events.
const pollInterval = 250 * time.Millisecond

// eventsTable and objectsTable only grow.
var (
	eventsTable = newTable("events", "events", 1, 1, nil,
		"sequence", "id", "time", "kind", "subject", "actor", "request",
		"payload", "payload_digest", "private", "private_digest", "chain")
	objectsTable = newTable("objects", "objects", 1, 1, nil, "sequence", "bytes")
)

const eventColumns = `sequence, id, time, kind, subject, actor, request,
	payload, payload_digest, private, private_digest, chain`

func readHead(c database.Conn) (eventlog.Head, error) {
	var h eventlog.Head
	found, err := one(c, func(r database.Rows) (err error) { h, err = scanHead(r); return err },
		"SELECT "+headColumns+newestHead)
	if err == nil && !found {
		err = errNoHead
	}
	return h, err
}

const (
	headColumns = "log, sequence, time, chain, format"
	// newestHead is the one row of the head, found by the end of an index:
	// dead versions of it, which others may still see, are passed over.
	newestHead = " FROM head ORDER BY sequence DESC LIMIT 1"
)

var errNoHead = &eventlog.Fault{Problem: "the head is missing"}

// scanHead reads headColumns. A log that only newer programs may write is ErrNewer.
func scanHead(r database.Rows) (h eventlog.Head, err error) {
	if r.Int(4) > format {
		return h, fmt.Errorf("%w: its log has the format %d, this program knows %d", ErrNewer, r.Int(4), format)
	}
	chain := r.Bytes(3)
	if len(chain) != len(h.Chain) {
		return h, &eventlog.Fault{Sequence: eventlog.Sequence(r.Int(1)), Problem: "the head's running hash is malformed"}
	}
	return eventlog.Head{Log: r.Text(0), Sequence: eventlog.Sequence(r.Int(1)), Time: r.Int(2), Chain: eventlog.Hash(chain)}, nil
}

// writeHead moves the head from a sequence. needs is the format that the new
// events need.
func writeHead(w database.Writer, from eventlog.Sequence, h eventlog.Head, needs int) error {
	return w.Later(`UPDATE head SET sequence = $1, time = $2, chain = $3,
		format = CASE WHEN format < $4 THEN $5 ELSE format END WHERE sequence = $6`,
		int64(h.Sequence), h.Time, h.Chain[:], int64(needs), int64(needs), int64(from))
}

// insertEvent writes a new event and its content row, if it has one.
func (s *working) insertEvent(e *eventlog.Event, content []byte) {
	var private any
	if e.Private != nil {
		private = e.Private
	}
	s.insert(eventsTable, int64(e.Sequence), e.ID, e.Time, string(e.Kind), e.Subject, e.Actor, e.Request,
		e.Payload, e.PayloadDigest.String(), private, e.PrivateDigest.String(), e.Chain[:])
	if content != nil {
		s.insert(objectsTable, int64(e.Sequence), content)
	}
}

func scanEvent(r database.Rows) (eventlog.Event, error) {
	e := eventlog.Event{
		Sequence: eventlog.Sequence(r.Int(0)), ID: r.Text(1), Time: r.Int(2), Kind: eventlog.Kind(r.Text(3)),
		Subject: r.Text(4), Actor: r.Text(5), Request: r.Text(6), Payload: r.Bytes(7), Private: r.Bytes(9),
	}
	fault := func(what string) error {
		return &eventlog.Fault{Sequence: e.Sequence, Problem: what + " is malformed"}
	}
	var err error
	if e.PayloadDigest, err = identity.Parse(r.Text(8)); err != nil {
		return e, fault("its payload digest")
	}
	if e.PrivateDigest, err = identity.Parse(r.Text(10)); err != nil {
		return e, fault("its private digest")
	}
	chain := r.Bytes(11)
	if len(chain) != len(e.Chain) {
		return e, fault("its running hash")
	}
	e.Chain = eventlog.Hash(chain)
	return e, nil
}

// readEvents returns a page of the log. When a row is malformed it returns
// the events before it, and the fault only if there are none.
func readEvents(c database.Conn, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	var page []eventlog.Event
	size := 0
	full := errors.New("page is full")
	err := each(c, func(r database.Rows) error {
		e, err := scanEvent(r)
		if err != nil {
			return err
		}
		page = append(page, e)
		if size += len(e.Payload) + len(e.Private); size >= eventlog.PageBytes {
			return full
		}
		return nil
	}, "SELECT "+eventColumns+" FROM events WHERE sequence > $1 ORDER BY sequence LIMIT $2", int64(after), int64(limit))
	var fault *eventlog.Fault
	if errors.Is(err, full) || errors.As(err, &fault) && len(page) > 0 {
		err = nil
	}
	return page, err
}

// Reasons implements registry.LifeView.
func (v *view) Reasons(of []eventlog.Sequence) (map[eventlog.Sequence]string, error) {
	reasons := map[eventlog.Sequence]string{}
	for some := range slices.Chunk(of, listed) {
		args := make([]any, listed)
		for i := range args {
			args[i] = int64(some[min(i, len(some)-1)])
		}
		err := each(v.conn, func(r database.Rows) error {
			e := eventlog.Event{Private: r.Bytes(1)}
			if reason := e.Reason(); reason != "" {
				reasons[eventlog.Sequence(r.Int(0))] = reason
			}
			return nil
		}, "SELECT sequence, private FROM events WHERE sequence IN ("+marks(1)+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return reasons, nil
}

// Events returns the log of the store.
func (s *Store) Events() eventlog.Reader { return events{s} }

// events implements eventlog.Reader.
type events struct{ store *Store }

func (l events) Head(ctx context.Context) (eventlog.Head, error) {
	var head eventlog.Head
	err := l.read(ctx, func(c database.Conn) (err error) { head, err = readHead(c); return err })
	return head, err
}

func (l events) Read(ctx context.Context, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	var page []eventlog.Event
	err := l.read(ctx, func(c database.Conn) (err error) { page, err = readEvents(c, after, limit); return err })
	return page, err
}

// read does not mind views that are incomplete.
func (l events) read(ctx context.Context, query func(database.Conn) error) error {
	if err := l.store.usable(); errors.Is(err, ErrOutdated) {
		return err
	}
	if err := l.store.read(ctx, query); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	return nil
}

// Wait is woken by the committer. A store that was opened for reading has
// none in its process and looks again and again.
func (l events) Wait(ctx context.Context, after eventlog.Sequence) error {
	if l.store.queue != nil {
		return l.store.signal.Wait(ctx, after)
	}
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		head, err := l.Head(ctx)
		if err != nil || head.Sequence > after {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}
