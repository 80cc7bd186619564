package metastore

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"artifactstore/registry"
)

// job is a change that waits for the committer.
type job struct {
	keys   registry.Keys // that decide asks for
	upkeep bool          // it needs no views
	decide func(*decision) (*change, error)
	taken  atomic.Bool   // by the committer, or by the caller who gave up
	done   chan struct{} // closed when err is final

	// The committer's until done is closed.
	err     error
	changes bool // its change is part of the batch
	batch   Batch
}

// change is what a decision comes to.
type change struct {
	registry.Change
	caller     registry.Caller
	statements []statement // on working state
	rows       int         // that decide has put into the working set itself
}

// statement is one SQL statement with its arguments.
type statement struct {
	sql  string
	args []any
}

// flush tells whether the change must have reached the disk. A heartbeat may
// bring an event with it.
func (c *change) flush() bool { return c.Durable || len(c.Entries) > 0 || c.Working.Heartbeat }

// empty tells whether there is nothing to commit.
func (c *change) empty() bool {
	w := &c.Working
	return len(c.Entries)+len(c.Puts)+len(c.Drops)+len(c.Forget)+len(c.statements)+c.rows == 0 &&
		len(w.Passes)+len(w.Plans)+len(w.PlanItems)+len(w.DropItems)+len(w.DropPlans)+len(w.Contents) == 0 && !w.Heartbeat
}

// queue holds the jobs that wait, in order. Its length is bounded by the
// number of callers: each waits for its job.
type queue struct {
	mu   sync.Mutex
	more *sync.Cond // there is a job, or the queue was closed
	jobs []*job
	// returned are jobs that were taken, and are to be taken again first.
	returned []*job
	closed   bool
}

func newQueue() *queue {
	q := &queue{}
	q.more = sync.NewCond(&q.mu)
	return q
}

func (q *queue) add(j *job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	q.jobs = append(q.jobs, j)
	q.more.Signal()
	return nil
}

// close makes add fail, and tells whether it had not been called before.
func (q *queue) close() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	first := !q.closed
	q.closed = true
	q.more.Signal()
	return first
}

func (q *queue) isClosed() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.closed
}

// putBack makes jobs that were taken the next ones again.
func (q *queue) putBack(jobs []*job) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.returned = append(slices.Clone(jobs), q.returned...)
}

// next returns the next job that its caller did not give up. With wait it
// blocks until there is one, and returns nil when the queue is closed and
// empty; without, nil means that there is none now.
func (q *queue) next(wait bool) *job {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		if len(q.returned) > 0 {
			j := q.returned[0]
			q.returned = q.returned[1:]
			return j
		}
		for len(q.jobs) > 0 {
			j := q.jobs[0]
			q.jobs[0] = nil
			q.jobs = q.jobs[1:]
			if j.taken.CompareAndSwap(false, true) {
				return j
			}
		}
		if !wait || q.closed {
			return nil
		}
		q.more.Wait()
	}
}

// do queues a decision and waits for its outcome. ctx can give up only before
// the committer has taken it.
func (q *queue) do(ctx context.Context, keys registry.Keys, decide func(*decision) (*change, error)) error {
	return q.await(ctx, &job{keys: keys, decide: decide})
}

// upkeep is do for what a store does for itself, in whatever state its views are.
func (q *queue) upkeep(ctx context.Context, decide func(*decision) (*change, error)) error {
	return q.await(ctx, &job{upkeep: true, decide: decide})
}

func (q *queue) await(ctx context.Context, j *job) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	j.done = make(chan struct{})
	if err := q.add(j); err != nil {
		return err
	}
	select {
	case <-j.done:
	case <-ctx.Done():
		if j.taken.CompareAndSwap(false, true) {
			return ctx.Err()
		}
		<-j.done
	}
	if told, ok := ctx.Value(batchKey{}).(*Batch); ok {
		*told = j.batch
	}
	return j.err
}

// length is the number of jobs that wait.
func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) + len(q.returned)
}
