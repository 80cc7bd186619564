package metastore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// recordedBytes bounds the content rows of one page of Recorded, as
// eventlog.PageBytes does the events.
const recordedBytes = 8 << 20

// ErrOtherLog: the store has events, and they are of another log.
var ErrOtherLog = errors.New("the store holds another log")

// Recorded is an event of a log, with the content row that was written with it.
type Recorded struct {
	Event eventlog.Event
	// Content is nil if the event has no content row, or has it no more.
	Content []byte
}

// Recorded returns at most limit events after a sequence, in order, without
// holes, each with its content row: all of one moment. Beside limit a page is
// bounded in bytes, but has at least one event if there is one.
//
// Like the log it can be read while the views are incomplete.
func (s *Store) Recorded(ctx context.Context, after eventlog.Sequence, limit int) ([]Recorded, error) {
	var page []Recorded
	err := events{s}.read(ctx, func(c database.Conn) error {
		all, err := readEvents(c, after, limit)
		if err != nil || len(all) == 0 {
			return err
		}
		page = make([]Recorded, len(all))
		for i := range all {
			page[i].Event = all[i]
		}
		page, err = readContents(c, page)
		return err
	})
	return page, err
}

// readContents adds the content rows of a page, and cuts the page where they
// become too many bytes.
func readContents(c database.Conn, page []Recorded) ([]Recorded, error) {
	first, last := page[0].Event.Sequence, page[len(page)-1].Event.Sequence
	size, at := 0, 0
	full := errors.New("page is full")
	err := each(c, func(r database.Rows) error {
		sequence := eventlog.Sequence(r.Int(0))
		for at < len(page) && page[at].Event.Sequence < sequence {
			at++
		}
		if at == len(page) || page[at].Event.Sequence != sequence {
			return nil // the log has a gap, which is for Receive to find
		}
		page[at].Content = r.Bytes(1)
		if size += len(page[at].Content); size >= recordedBytes {
			return full
		}
		return nil
	}, "SELECT sequence, bytes FROM objects WHERE sequence >= $1 AND sequence <= $2 ORDER BY sequence", int64(first), int64(last))
	if errors.Is(err, full) {
		return page[:at+1], nil
	}
	return page, err
}

// Founding is what a store has before its first event and is no part of the
// log: the log's id, and the root of all secrets.
type Founding struct {
	Log  string
	root []byte
}

// Founding returns that of the store.
func (s *Store) Founding(ctx context.Context) (Founding, error) {
	var f Founding
	err := events{s}.read(ctx, func(c database.Conn) error {
		head, err := readHead(c)
		if err != nil {
			return err
		}
		f.Log = head.Log
		f.root, err = readSecret(c)
		return err
	})
	return f, err
}

// Adopt makes a store without events the beginning of another store's log, so
// that Receive can append to it. It does nothing if it is that already, and
// fails with ErrOtherLog if the store has events of its own. It has reached the
// disk when it returns. Nobody else may use the store meanwhile.
func (s *Store) Adopt(f Founding) error {
	if s.queue == nil {
		return ErrReadOnly
	}
	if err := s.Healthy(); err != nil {
		return err
	}
	if len(f.root) == 0 {
		return errors.New("adopt a log: its founding is empty")
	}
	err := s.write(true, func(w database.Writer) error {
		head, err := readHead(w)
		switch {
		case err != nil:
			return err
		case head.Log == f.Log && bytes.Equal(s.secret, f.root):
			return nil
		case head.Sequence > 0:
			return ErrOtherLog
		}
		origin := eventlog.Origin(f.Log)
		if err := w.Exec("UPDATE head SET log = $1, chain = $2", origin.Log, origin.Chain[:]); err != nil {
			return err
		}
		return w.Exec("UPDATE secrets SET value = $1 WHERE name = $2", f.root, rootSecret)
	})
	if err != nil {
		return fmt.Errorf("adopt log %s: %w", f.Log, err)
	}
	s.secret = slices.Clone(f.root)
	return nil
}

// Receive appends the next events of the same log, read from another store,
// verbatim: their rows, their content rows, and what the views make of them, in
// one transaction that has reached the disk when it returns. Every event is
// checked to be the one that follows; its error is an *eventlog.Fault if one
// is not. Content rows that are lost with an event go with it. After any error nothing was appended, except that the outcome is
// unknown if it wraps fact.ErrBroken: the head tells, once the store was opened
// anew.
//
// Content rows are taken as they are: the caller has checked them. ctx can give
// up until the events are committed.
func (s *Store) Receive(ctx context.Context, page []Recorded) error {
	if s.queue == nil {
		return ErrReadOnly
	}
	if err := s.Healthy(); err != nil {
		return err
	}
	s.writing.Lock()
	defer s.writing.Unlock()
	var head eventlog.Head
	err := s.transact(true, func(w database.Writer) (err error) {
		head, err = receive(ctx, w, page)
		return err
	})
	if err != nil {
		return err
	}
	s.signal.Announce(head.Sequence)
	_ = s.tidy()
	return nil
}

func receive(ctx context.Context, w database.Writer, page []Recorded) (eventlog.Head, error) {
	head, err := readHead(w)
	if err != nil {
		return head, err
	}
	from, views, needs := head.Sequence, newWorking(w, head.Sequence), oldFormat
	for i := range page {
		if err := ctx.Err(); err != nil {
			return head, err
		}
		if head, err = head.Follows(&page[i].Event); err != nil {
			return head, err
		}
		needs = max(needs, fact.Format(string(page[i].Event.Kind)))
		if err := receiveOne(views, &page[i]); err != nil {
			return head, err
		}
	}
	if err := views.write(); err != nil {
		return head, err
	}
	return head, writeHead(w, from, head, needs)
}

func receiveOne(views *working, r *Recorded) error {
	f, err := decode(&r.Event)
	if err != nil {
		return err
	}
	lost, err := views.lostContents(f)
	if err != nil {
		return fmt.Errorf("event %d: %w", r.Event.Sequence, err)
	}
	for _, sequence := range lost {
		views.remove(objectsTable, []any{sequence})
	}
	views.insertEvent(&r.Event, r.Content)
	_, err = apply(views, &r.Event, f)
	return err
}

// lostContents are the events whose content rows went with an event where it was
// committed first: see registry.Change.Forget. The views are as they were before it.
func (s *working) lostContents(f fact.Fact) ([]int64, error) {
	switch f := f.(type) {
	case *fact.BlobForgotten:
		return s.contentOfBlob(f.Blob)
	case *fact.BlobMoved:
		return s.contentOfBlob(f.Blob)
	case *fact.ManifestPut:
		return s.descriptorsOf(f.Repository, f.Manifest, graves)
	case *fact.ManifestForgotten:
		return s.descriptorsOf(f.Repository, f.Manifest, manifests, graves)
	}
	return nil, nil
}

func (s *working) contentOfBlob(d identity.Digest) ([]int64, error) {
	row, err := s.blobRow(d)
	if err != nil || row.content == 0 {
		return nil, err
	}
	return []int64{row.content}, nil
}

// descriptorsOf are the events that put a manifest, there or deleted, if it has a
// subject.
func (s *working) descriptorsOf(repository string, d identity.Digest, of ...*table) (all []int64, err error) {
	r, b, err := s.both(repository, d)
	for _, t := range of {
		var row []any
		if err == nil {
			row, err = s.row(t, r, b)
		}
		if row != nil && row[columnSubject] != nil {
			all = append(all, row[columnID].(int64))
		}
	}
	return all, err
}

// Stored is a stored byte sequence that is an object of a store.
type Stored struct {
	Sequence eventlog.Sequence // of the event that stored it
	Digests  identity.DigestSet
	Size     int64
	Receipt  fact.Receipt
}

// Objects returns at most limit of the byte sequences that are objects of a
// store, by the views, with sequences after one, in order.
func (s *Store) Objects(ctx context.Context, after eventlog.Sequence, limit int) ([]Stored, error) {
	if err := s.usable(); err != nil {
		return nil, err
	}
	var page []Stored
	err := s.read(ctx, func(c database.Conn) error {
		return each(c, func(r database.Rows) error {
			b, err := scanBlob(r)
			page = append(page, Stored{eventlog.Sequence(b.id), b.digests, b.size, b.receipt})
			return err
		}, "SELECT "+blobColumns+" FROM blobs b WHERE b.id > $1 AND b.store <> $2 ORDER BY b.id LIMIT $3",
			int64(after), fact.Content, int64(limit))
	})
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	return page, nil
}

// Missing is a content row that an event implies and that is not there, or not whole.
type Missing struct {
	// Row is the sequence of the event whose content row it is.
	Row eventlog.Sequence
	// Blob is the SHA-256 of the stored bytes. It is zero if they are the
	// descriptor of a referrer.
	Blob identity.Digest
	// Subject is what the event is about.
	Subject string
}

// MissingContent hands on what is missing, by the views, in the order of
// rows. visit must not use the store; its error ends the call.
func (s *Store) MissingContent(ctx context.Context, visit func(Missing) error) error {
	if err := s.usable(); err != nil {
		return err
	}
	return s.readAll(ctx, func(c database.Conn) error { return eachMissing(c, visit) })
}

func eachMissing(c database.Conn, visit func(Missing) error) error {
	return each(c, func(r database.Rows) error {
		blob, err := parseDigest(r.Text(1))
		if err != nil {
			return err
		}
		return visit(Missing{Row: eventlog.Sequence(r.Int(0)), Blob: blob, Subject: r.Text(2)})
	}, `SELECT b.content, b.sha256, b.blake3 FROM blobs b LEFT JOIN objects o ON o.sequence = b.content
		WHERE b.store = $1 AND (o.sequence IS NULL OR length(o.bytes) <> b.size)
		UNION ALL
		SELECT r.manifest_id, NULL, e.subject FROM referrers r
		LEFT JOIN events e ON e.sequence = r.manifest_id
		LEFT JOIN objects o ON o.sequence = r.manifest_id
		WHERE o.sequence IS NULL ORDER BY 1`, fact.Content)
}
