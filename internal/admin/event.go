package admin

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

const (
	// eventPage is how many events are read from the log at once, at most.
	eventPage = 100
	// eventBytes is how many bytes of events a feed keeps while it sends them.
	// One that is longer comes alone, and has to ask for room.
	eventBytes = 64 << 10
	// heartbeat is the longest that a stream is silent.
	heartbeat = 15 * time.Second
	// pace is how often a stream at the end of the log is sent events, at most.
	pace = 50 * time.Millisecond
)

// feed is one reading of the log.
type feed struct {
	d      *door
	w      http.ResponseWriter
	head   eventlog.Head // the end of the log at the start
	stream bool          // of server-sent events, not lines of JSON
	kinds  []string
	left   uint64 // events that may still be sent

	cursor eventlog.Cursor // that the client gave
	at     eventlog.Head   // how far the log was read
	page   int             // how many events to read next
	behind bool            // there were more events than were read last
	begun  bool            // the header is written
	began  time.Time       // when events were read last
	sent   time.Time       // when the client was last sent something
}

// events streams the log from a cursor, which must be of this log. As lines of
// JSON it ends with the log as it was at the start; as server-sent events, where
// the last id that a client has seen is its cursor, it goes on with what is
// appended, as long as that continues what was sent.
func (d *door) events(w http.ResponseWriter, r *http.Request) error {
	f, err := d.feed(w, r)
	if err != nil {
		return err
	}
	if f.at, err = f.cursor.Find(r.Context(), d.Log); errors.Is(err, eventlog.ErrDiverged) {
		return &refusal{http.StatusConflict, "CURSOR_UNKNOWN", err.Error()}
	} else if err != nil {
		return err
	}
	head, err := d.Log.Head(r.Context())
	if err != nil {
		return err
	}
	f.head, f.stream = head, prefers(r, "text/event-stream", "application/x-ndjson")
	switch {
	case r.Method == http.MethodHead:
	case f.stream:
		err = f.follow(r.Context())
	default:
		err = f.until(r.Context(), head.Sequence)
	}
	if err != nil && f.begun {
		http.NewResponseController(w).Flush() // what was sent is good
		return errCutOff{err}
	}
	if err == nil {
		f.begin()
	}
	return err
}

// begin writes the header, once: not before there is something to send, so that
// what goes wrong until then has a proper answer.
func (f *feed) begin() {
	if f.begun {
		return
	}
	f.begun = true
	header := f.w.Header()
	header.Set("Vary", "Accept")
	header.Set("Artifactstore-Log", f.head.Log)
	header.Set("Artifactstore-Log-Head", number(f.head.Sequence))
	header.Set("Content-Type", "application/x-ndjson")
	if f.stream {
		header.Set("Content-Type", "text/event-stream")
		header.Set("X-Accel-Buffering", "no") // or nginx would keep events back
	}
	f.w.WriteHeader(http.StatusOK)
}

// feed reads the parameters: after (or Last-Event-ID), n and kind.
func (d *door) feed(w http.ResponseWriter, r *http.Request) (*feed, error) {
	q, err := parseQuery(r, "kind")
	if err != nil {
		return nil, err
	}
	if id := r.Header.Get("Last-Event-ID"); id != "" { // a client that comes back means this
		q.after = id
	}
	f := &feed{d: d, w: w, kinds: q.values["kind"], left: math.MaxUint64, page: eventPage}
	if f.cursor, err = eventlog.ParseCursor(q.after); err != nil {
		return nil, badRequest("after: " + err.Error())
	}
	if q.values.Has("n") { // which parseQuery found to be a number
		f.left, _ = strconv.ParseUint(q.values.Get("n"), 10, 64)
	}
	for _, kind := range f.kinds {
		if fact.New(kind) == nil {
			return nil, badRequest("this version knows no events of kind " + strconv.Quote(kind))
		}
	}
	return f, nil
}

// until sends the events up to a sequence as lines of JSON.
func (f *feed) until(ctx context.Context, end eventlog.Sequence) error {
	for f.at.Sequence < end && f.left > 0 {
		before := f.at.Sequence
		if err := f.next(ctx, int(min(uint64(f.page), uint64(end-before)))); err != nil {
			return err
		}
		if f.at.Sequence == before {
			return fmt.Errorf("the log ends with event %d, not with %d", before, end)
		}
	}
	return nil
}

// next reads some events behind the cursor, at most limit, sends those that the
// client wants, and moves the cursor behind all of them.
func (f *feed) next(ctx context.Context, limit int) error {
	page, err := f.d.Log.Read(ctx, f.at.Sequence, limit)
	if err != nil {
		return err
	}
	f.behind = len(page) == limit
	// The rest is not kept while the client takes its time, and read again.
	kept := fit(page, eventBytes)
	clear(page[kept:])
	page = page[:kept]
	f.page = min(eventPage, 2*max(1, kept))
	for i := range page {
		at, err := f.follows(&page[i])
		if err != nil {
			return err
		}
		if f.wants(page[i].Kind) {
			text, err := f.text(ctx, &page[i])
			if err != nil {
				return err
			}
			if err := f.send(entry{at: at, kind: page[i].Kind, text: text}); err != nil {
				return err
			}
		}
		f.at = at
	}
	return nil
}

// follows returns the place behind an event. In a stream the event must go on
// with what was read before: the log may be replaced meanwhile. As lines also a
// damaged log can be looked at.
func (f *feed) follows(e *eventlog.Event) (eventlog.Head, error) {
	if f.stream {
		return f.at.Follows(e)
	}
	return eventlog.Head{Log: f.at.Log, Sequence: e.Sequence, Time: e.Time, Chain: e.Chain}, nil
}

// fit is how many events of a page amount to a number of bytes: at least one,
// if there is one.
func fit(page []eventlog.Event, bytes int) int {
	for i := range page {
		if bytes -= len(page[i].Payload) + len(page[i].Private); bytes < 0 {
			return max(1, i)
		}
	}
	return len(page)
}

// wants tells whether the client may be sent one more event, and of this kind.
func (f *feed) wants(kind eventlog.Kind) bool {
	return f.left > 0 && (len(f.kinds) == 0 || slices.Contains(f.kinds, string(kind)))
}

// text is an event in JSON. A long one is not kept while there is no room to take
// it apart, and read again; its parts are dropped then: the text has all of them.
func (f *feed) text(ctx context.Context, e *eventlog.Event) ([]byte, error) {
	if size := int64(len(e.Payload)); size > freeAnswer {
		e.Payload, e.Private = nil, nil
		release, err := f.d.reserve(ctx, size)
		if err != nil {
			return nil, err
		}
		defer release()
		again, err := f.d.Log.Read(ctx, e.Sequence-1, 1)
		if err != nil {
			return nil, err
		}
		if len(again) == 0 || again[0].Sequence != e.Sequence {
			return nil, fmt.Errorf("event %d of the log is gone", e.Sequence)
		}
		return again[0].JSON()
	}
	return e.JSON()
}

// send sends an event: as a line, or in the form of the HTML standard, section
// "Server-sent events". A JSON text has no line breaks.
func (f *feed) send(e entry) error {
	release, err := f.d.hold(int64(len(e.text)))
	if err != nil {
		return err
	}
	defer release()
	f.left--
	if !f.stream {
		return f.write(e.text, []byte("\n"))
	}
	return f.write(fmt.Appendf(nil, "id: %s\nevent: %s\ndata: ", e.at.Cursor(), e.kind), e.text, []byte("\n\n"))
}

func (f *feed) write(parts ...[]byte) error {
	f.begin()
	f.sent = time.Now()
	for _, part := range parts {
		if f.stream && f.closing() {
			return errClosing // an event that is not complete comes again
		}
		if _, err := f.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

func (f *feed) closing() bool {
	select {
	case <-f.d.Closing:
		return true
	default:
		return false
	}
}

// errClosing ends a stream because the server stops.
var errClosing = errors.New("the server is stopping")

// farewell is how long a client that does not read may keep a stopping server.
const farewell = time.Second

// follow sends events until the client goes, the server stops, or n are sent.
func (f *feed) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() {
		select {
		case <-f.d.Closing:
			cancel(errClosing)
			// For a write that is under way; without deadlines there is none that waits.
			_ = http.NewResponseController(f.w).SetWriteDeadline(time.Now().Add(farewell))
		case <-ctx.Done():
		}
	})
	err := f.write([]byte("retry: 1000\n\n")) // at once, so that the client sees the stream open
	for err == nil && f.left > 0 {
		err = f.step(ctx)
	}
	if errors.Is(err, errClosing) || errors.Is(context.Cause(ctx), errClosing) {
		return nil // the client comes back, and goes on where it was
	}
	return err
}

// step waits for events and sends some. A client that has not been sent anything
// for a while is told that the stream lives, and how far it has come: events of
// other kinds are not sent, and need not be read again.
func (f *feed) step(ctx context.Context) error {
	if err := http.NewResponseController(f.w).Flush(); err != nil {
		return err
	}
	err := f.wait(ctx)
	if err == nil {
		err = f.round(ctx)
	} else if ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
		err = nil
	}
	if err == nil && time.Since(f.sent) >= heartbeat {
		// That the log cannot be read now is for the next event to find.
		if _, err := f.at.Cursor().Find(ctx, f.d.Log); errors.Is(err, eventlog.ErrDiverged) {
			return err
		}
		err = f.write(fmt.Appendf(nil, ": waiting\nid: %s\n\n", f.at.Cursor()))
	}
	return err
}

// wait waits for events, until it is time for a sign of life. Where the log
// grows all the time it lets some of it come together.
func (f *feed) wait(ctx context.Context) error {
	until, cancel := context.WithDeadline(ctx, f.sent.Add(heartbeat))
	defer cancel()
	if err := f.d.Log.Wait(until, f.at.Sequence); err != nil || f.behind {
		return err
	}
	select {
	case <-time.After(pace - time.Since(f.began)):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// round sends some events: from the tail that all streams share, if the cursor
// is near enough to the end of the log and the tail goes on from it.
func (f *feed) round(ctx context.Context) error {
	f.began = time.Now()
	entries, last, err := f.d.tail.after(ctx, f.at)
	if err != nil {
		return err
	}
	if entries == nil {
		return f.next(ctx, f.page)
	}
	for _, e := range entries {
		if f.wants(e.kind) {
			if err := f.send(e); err != nil {
				return err
			}
		}
		f.at = e.at
	}
	f.behind = f.at.Sequence < last
	return nil
}
