package metastore

import (
	"context"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
)

// Batch is one transaction of the committer, for those who observe.
type Batch struct {
	// Changes were committed together; refusals do not count.
	Changes int
	Events  int
	Rows    int
	// Flushed: the transaction had to reach the disk.
	Flushed bool
	// Began is when the first decision was taken from the queue, Duration
	// the time from then to the end of the commit.
	Began    time.Time
	Duration time.Duration
	// Err is why the batch was not committed; registry.ErrUnknown if that
	// is not certain. If it had several changes each is tried again, in a
	// batch of its own, unless the store has stopped taking changes.
	Err error
}

type batchKey struct{}

// WithBatch returns a context whose Update fills in b, with the batch that the
// change of the Update was in, before it returns; b stays as it is if the
// change was not tried. One Update at a time uses the context.
func WithBatch(ctx context.Context, b *Batch) context.Context {
	return context.WithValue(ctx, batchKey{}, b)
}

// tell tells the observer and the jobs what became of the batch.
func (b *batch) tell(err error) {
	told := Batch{
		Events: b.events, Rows: b.rows, Flushed: b.flush,
		Began: b.began, Duration: time.Since(b.began), Err: err,
	}
	for _, j := range b.jobs {
		if j.changes {
			told.Changes++
		}
	}
	for _, j := range b.jobs {
		j.batch = told
	}
	if b.store.observe != nil && (b.rows > 0 || err != nil) {
		b.store.observe(told)
	}
}

// Queued returns how many changes wait for the committer now. It asks no
// database.
func (s *Store) Queued() int {
	if s.queue == nil {
		return 0
	}
	return s.queue.length()
}

// Sequence returns the sequence of the last event, as far as this process
// knows: a store that was opened for reading does not learn of new ones. It
// asks no database.
func (s *Store) Sequence() eventlog.Sequence { return s.signal.Last() }

// OpenUploads counts the upload sessions that are neither finished nor cancelled.
func (s *Store) OpenUploads(ctx context.Context) (int64, error) {
	if err := s.usable(); err != nil {
		return 0, err
	}
	var n int64
	err := s.read(ctx, func(c database.Conn) error {
		_, err := one(c, func(r database.Rows) error { n = r.Int(0); return nil },
			"SELECT count(*) FROM uploads WHERE state = $1", registry.UploadOpen)
		return err
	})
	return n, err
}

// Quarantined counts the stored byte sequences that were found damaged, and
// their bytes.
func (s *Store) Quarantined(ctx context.Context) (number, bytes int64, err error) {
	if err := s.usable(); err != nil {
		return 0, 0, err
	}
	err = s.read(ctx, func(c database.Conn) error {
		_, err := one(c, func(r database.Rows) error { number, bytes = r.Int(0), r.Int(1); return nil },
			"SELECT count(*), coalesce(sum(size), 0) FROM blobs WHERE damaged <> 0")
		return err
	})
	return number, bytes, err
}
