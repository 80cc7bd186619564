// Package backup makes a store the copy of another one, through the log: it is
// a replica that was brought up to one head, not a copy of files.
//
// Run takes the events that follow the copy's own head, batch by batch. It first
// copies the objects that a batch names, each verified by its digests in the one
// read that copies it, flushed and published under the same locator; then the
// copy's ledger receives the events, their content rows, and the views that
// follow from them, in one transaction. So whenever the process ends, by a
// kill or a power cut, the copy is a store that can be served: its log is a
// beginning of the source's, and the bytes that the log names are there, but
// for those that the source lost and got back elsewhere by a later event. What a
// crash leaves beside that, by the step after which it came:
//
//	the copy's ledger was made    an empty store with a log id of its own, which
//	                              the next Run replaces
//	an object was staged          a staged object that nothing names; the next
//	                              Run removes it, and so does a server
//	an object was published       an object that no event names yet; the next Run
//	                              finds it and does not copy it again
//	a batch was received          the copy, up to that batch, and perhaps objects
//	                              that were erased at the source, which the next
//	                              Run removes
//
// The source may be in use. It is read in short transactions, a page of events
// each, so that its own upkeep goes on, and nothing is written to it. Memory is
// bounded by one page, whatever the sizes: objects are streamed.
//
// Not copied is what is no part of the log: uploads that are not finished, and
// how far followers of the log have come.
package backup

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
)

// Objects reads the objects of one store. Every storagedriver.Driver does.
type Objects interface {
	Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error)
	Size(ctx context.Context, locator string) (int64, error)
}

// Source is the store to copy. Its ledger may be open to read only.
type Source struct {
	Ledger *metastore.Store
	// Objects are the stores of receipts, by their logical name.
	Objects map[string]Objects
}

// Target is the copy, which nobody else uses. Its ledger is open to write and
// migrated, and empty or the copy of an earlier Run.
type Target struct {
	Ledger *metastore.Store
	// Objects are stores of the same names, and of drivers that are
	// storagedriver.Placers: objects keep their locators.
	Objects map[string]storagedriver.Driver
}

// Errors that say that the copy cannot go on. Nothing was changed.
var (
	// ErrOtherLog: the copy holds events of another log.
	ErrOtherLog = errors.New("it holds another log")
	// ErrDiverged: the copy holds events of this log that the source does
	// not have: somebody pushed to the copy, or the source is an older state
	// that was restored.
	ErrDiverged = errors.New("its log is not a beginning of the log that is copied")
)

// Progress is how far a Run has come.
type Progress struct {
	// Done is the head of the copy, Total the one that it will have.
	Done, Total eventlog.Sequence
	// Objects were copied, or are being copied; Bytes are theirs, and
	// those of content rows.
	Objects int
	Bytes   int64
	// Checked is how many objects were looked for in the copy at the end.
	Checked int
}

// Damage is content that the copy's log names and that is not to be had from
// the source: missing there, or not what its digests say.
type Damage struct {
	// Subject is the SHA-256 of the content, or the event's subject where the
	// content is the descriptor of a referrer.
	Subject string
	// Receipt says where it should be. The sequence is that of the event
	// with which it was stored.
	Receipt  fact.Receipt
	Sequence eventlog.Sequence
	// Problem says what was found there.
	Problem string
}

// MaxDamages is how many damages a Result describes.
const MaxDamages = 1000

// Result is what a Run did.
type Result struct {
	// Head is that of the copy.
	Head eventlog.Head
	// Events, Objects and Bytes were copied by this Run; the bytes are
	// those of objects and of content rows.
	Events  int
	Objects int
	Bytes   int64
	// Damaged is how much of what the copy names is neither in the copy nor
	// to be had from the source; Damages describe the first of it. The next
	// Run tries all of it again.
	Damaged int
	Damages []Damage
}

// Run brings the copy up to the head that the source has now, or a little
// further: see Result. It is an error if that cannot be reached; what was copied
// until then stays, and the next Run goes on there. Content that is damaged at
// the source is none: everything else is copied, and the Result names it.
//
// The error is an *eventlog.Fault if the source's log is not what was written;
// the copy then has what is before it.
// It wraps fact.ErrFull or storagedriver.ErrFull if the copy has no room. ctx
// ends the Run between two writes.
//
// progress, if it is not nil, is called often, by one goroutine at a time.
func Run(ctx context.Context, from Source, to Target, progress func(Progress)) (Result, error) {
	c := &copier{from: from, to: to, progress: progress}
	end, err := c.begin(ctx)
	if err != nil {
		return c.result, err
	}
	err = c.run(ctx, end)
	return c.result, err
}

// maxRounds bounds how often a Run follows a source on which content that is
// missing is being pushed again.
const maxRounds = 5

// copier is one Run.
type copier struct {
	from     Source
	to       Target
	progress func(Progress)

	mu     sync.Mutex // guards what follows while workers run
	result Result
	at     Progress
}

// begin makes sure that the copy is a beginning of the source's log, and
// returns the source's head.
func (c *copier) begin(ctx context.Context) (end eventlog.Head, err error) {
	if end, err = c.from.Ledger.Events().Head(ctx); err != nil {
		return end, fmt.Errorf("read the head of the source: %w", err)
	}
	have, err := c.to.Ledger.Events().Head(ctx)
	if err != nil {
		return end, fmt.Errorf("read the head of the copy: %w", err)
	}
	empty, instead := have.Sequence == 0, ""
	switch {
	case empty:
		instead = have.Log // which is nothing but a name
		have = eventlog.Origin(end.Log)
	case have.Log != end.Log:
		err = fmt.Errorf("%w: %s, not %s", ErrOtherLog, have.Log, end.Log)
	case have.Sequence > end.Sequence:
		err = fmt.Errorf("%w: it ends with event %d, the other with event %d", ErrDiverged, have.Sequence, end.Sequence)
	default:
		err = c.agrees(ctx, have)
	}
	if err == nil {
		err = c.own(ctx, end.Log, instead)
	}
	if err == nil && empty {
		err = c.adopt(ctx)
	}
	if err != nil {
		return end, err
	}
	c.result.Head = have
	if err := c.sweep(ctx); err != nil {
		return end, err
	}
	return end, c.eraseLast(ctx)
}

// own makes the objects of the copy those of a log, if they are nobody's or
// those of the log instead.
func (c *copier) own(ctx context.Context, log, instead string) error {
	for name, driver := range c.to.Objects {
		owned, ok := storagedriver.Find[storagedriver.Owned](driver)
		if !ok {
			continue
		}
		owner, err := owned.Own(ctx, log, instead)
		if err != nil {
			return fmt.Errorf("own the objects in store %s of the copy: %w", name, err)
		}
		if owner != log {
			return fmt.Errorf("%w: its objects are those of log %s, not %s", ErrOtherLog, owner, log)
		}
	}
	return nil
}

func (c *copier) adopt(ctx context.Context) error {
	founding, err := c.from.Ledger.Founding(ctx)
	if err != nil {
		return fmt.Errorf("read the founding of the source: %w", err)
	}
	return c.to.Ledger.Adopt(founding)
}

// agrees compares the running hashes of both logs at the copy's end. The hash
// covers everything before it.
func (c *copier) agrees(ctx context.Context, have eventlog.Head) error {
	page, err := c.from.Ledger.Events().Read(ctx, have.Sequence-1, 1)
	if err != nil {
		return fmt.Errorf("read event %d of the source: %w", have.Sequence, err)
	}
	if len(page) == 0 || page[0].Sequence != have.Sequence {
		return &eventlog.Fault{Sequence: have.Sequence, Problem: "missing"}
	}
	if page[0].Chain != have.Chain {
		return fmt.Errorf("%w: they differ in event %d or before it", ErrDiverged, have.Sequence)
	}
	return nil
}

// sweep removes what a Run that was killed left staged.
func (c *copier) sweep(ctx context.Context) error {
	for name, driver := range c.to.Objects {
		lister, ok := storagedriver.Find[storagedriver.Lister](driver)
		if !ok {
			continue
		}
		ids, err := lister.Staged(ctx)
		if err != nil {
			return fmt.Errorf("list what is staged in store %s of the copy: %w", name, err)
		}
		for _, id := range ids {
			if err := driver.Discard(ctx, id, nil); err != nil {
				return fmt.Errorf("remove what is staged in store %s of the copy: %w", name, err)
			}
		}
	}
	return nil
}

// eraseLast removes what a Run that was killed has received the events of and not
// removed any more.
func (c *copier) eraseLast(ctx context.Context) error {
	for at, end := max(c.result.Head.Sequence, pageEvents)-pageEvents, c.result.Head.Sequence; at < end; {
		page, err := c.to.Ledger.Events().Read(ctx, at, int(end-at))
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			if err := c.erase(ctx, &page[i]); err != nil {
				return err
			}
		}
		at = page[len(page)-1].Sequence
	}
	return nil
}

// erase removes the object of the copy that an event says is gone. The copy has
// received the event, and no later one names the object.
func (c *copier) erase(ctx context.Context, e *eventlog.Event) error {
	if e.Kind != fact.KindBlobErased {
		return nil
	}
	f := new(fact.BlobErased)
	if err := e.Decode(f); err != nil {
		return fmt.Errorf("event %d: %w", e.Sequence, err)
	}
	driver := c.to.Objects[f.Receipt.Store]
	if driver == nil {
		return nil
	}
	if err := driver.Delete(ctx, f.Receipt.Locator); err != nil {
		return fmt.Errorf("remove object %s, which was erased by event %d, from the copy: %w", f.Receipt.Locator, e.Sequence, err)
	}
	return nil
}

// run follows the log to its end, and then makes the copy complete. Where
// something is missing at the source because a later event brought it to
// another place, it goes on to that event.
func (c *copier) run(ctx context.Context, end eventlog.Head) error {
	for range maxRounds {
		if err := c.follow(ctx, end); err != nil {
			return err
		}
		moved, err := c.complete(ctx)
		if err != nil || !moved {
			return err
		}
		if end, err = c.from.Ledger.Events().Head(ctx); err != nil {
			return fmt.Errorf("read the head of the source: %w", err)
		}
	}
	return nil
}

// pageEvents is how many events are read at once. A page is also bounded in
// bytes: see metastore.Store.Recorded.
const pageEvents = 5000

// follow copies the log up to a head.
func (c *copier) follow(ctx context.Context, end eventlog.Head) error {
	c.tell(func(p *Progress) { p.Done, p.Total = c.result.Head.Sequence, end.Sequence })
	for at := c.result.Head; at.Sequence < end.Sequence; at = c.result.Head {
		limit := min(pageEvents, end.Sequence-at.Sequence)
		page, err := c.from.Ledger.Recorded(ctx, at.Sequence, int(limit))
		if err != nil {
			return fmt.Errorf("read the source: %w", err)
		}
		if len(page) == 0 {
			return at.Ends(end)
		}
		for len(page) > 0 {
			var b batch
			if b, page, err = cut(page); err != nil {
				return err
			}
			if err := c.take(ctx, b); err != nil {
				return err
			}
		}
	}
	return c.result.Head.Ends(end)
}

// take copies one batch: bytes before events.
func (c *copier) take(ctx context.Context, b batch) error {
	// What cannot be had now is no failure yet: complete tells.
	if err := c.copyAll(ctx, b.objects); err != nil {
		return err
	}
	err := c.append(ctx, b.events)
	if fault, ok := errors.AsType[*eventlog.Fault](err); ok {
		// What is before the fault is saved: there will be no more.
		intact := slices.IndexFunc(b.events, func(r metastore.Recorded) bool { return r.Event.Sequence >= fault.Sequence })
		err = errors.Join(err, c.append(ctx, b.events[:max(intact, 0)]))
	}
	return err
}

// append appends events to the copy's log.
func (c *copier) append(ctx context.Context, events []metastore.Recorded) error {
	if len(events) == 0 {
		return nil
	}
	if err := c.to.Ledger.Receive(ctx, events); err != nil {
		return fmt.Errorf("append to the copy: %w", c.disturbed(ctx, err))
	}
	bytes := int64(0)
	for i := range events {
		bytes += int64(len(events[i].Content))
	}
	last := &events[len(events)-1].Event
	c.result.Head = eventlog.Head{Log: c.result.Head.Log, Sequence: last.Sequence, Time: last.Time, Chain: last.Chain}
	c.result.Events += len(events)
	c.result.Bytes += bytes
	c.tell(func(p *Progress) { p.Done, p.Bytes = last.Sequence, p.Bytes+bytes })
	for i := range events {
		if err := c.erase(ctx, &events[i].Event); err != nil {
			return err
		}
	}
	return nil
}

// disturbed tells a log that was not what it should be from a copy to which
// somebody else has written meanwhile.
func (c *copier) disturbed(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*eventlog.Fault](err); !ok {
		return err
	}
	if have, failed := c.to.Ledger.Events().Head(ctx); failed == nil && have != c.result.Head {
		return fmt.Errorf("%w: somebody else has written to it while it was copied to", ErrDiverged)
	}
	return err
}

// tell changes the progress and passes it on.
func (c *copier) tell(change func(*Progress)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(&c.at)
	if c.progress != nil {
		c.progress(c.at)
	}
}
