package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"slices"
	"strconv"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// eventPage is how many events are read from the log at once.
const eventPage = 100

// feed is one reading of the log.
type feed struct {
	d     *door
	w     http.ResponseWriter
	after eventlog.Sequence
	kinds []string
	left  uint64 // events that may still be sent
}

// events streams the log from a cursor. As lines of JSON it ends with the log
// as it was at the start; as server-sent events, where the last id that a
// client has seen is its cursor, it goes on with what is appended.
func (d *door) events(w http.ResponseWriter, r *http.Request) error {
	f, err := d.feed(w, r)
	if err != nil {
		return err
	}
	head, err := d.Log.Head(r.Context())
	if err != nil {
		return err
	}
	if f.after > head.Sequence {
		return &refusal{http.StatusConflict, "CURSOR_UNKNOWN", fmt.Sprintf(
			"the log ends with event %d: this cursor is of another log, or of one that was restored", head.Sequence)}
	}
	header := w.Header()
	header.Set("Vary", "Accept")
	header.Set("Artifactstore-Log", head.Log)
	header.Set("Artifactstore-Log-Head", number(head.Sequence))
	stream := accepts(r, "text/event-stream")
	header.Set("Content-Type", "application/x-ndjson")
	if stream {
		header.Set("Content-Type", "text/event-stream")
	}
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	if stream {
		err = f.follow(r.Context())
	} else {
		err = f.until(r.Context(), head.Sequence, f.line)
	}
	if err != nil {
		return errCutOff{err}
	}
	return nil
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
	f := &feed{d: d, w: w, kinds: q.values["kind"], left: math.MaxUint64}
	if f.after, err = q.sequence(); err != nil {
		return nil, err
	}
	if q.values.Has("n") {
		if f.left, err = strconv.ParseUint(q.values.Get("n"), 10, 64); err != nil {
			return nil, badRequest("n must be a number of events")
		}
	}
	for _, kind := range f.kinds {
		if fact.New(kind) == nil {
			return nil, badRequest("this version knows no events of kind " + strconv.Quote(kind))
		}
	}
	return f, nil
}

// until sends the events up to a sequence.
func (f *feed) until(ctx context.Context, end eventlog.Sequence, send func(*eventlog.Event) error) error {
	for f.after < end && f.left > 0 {
		page, err := f.d.Log.Read(ctx, f.after, int(min(eventPage, uint64(end-f.after))))
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return fmt.Errorf("the log ends with event %d, not with %d", f.after, end)
		}
		for i := range page {
			if f.left == 0 {
				return nil
			}
			f.after = page[i].Sequence
			if len(f.kinds) > 0 && !slices.Contains(f.kinds, string(page[i].Kind)) {
				continue
			}
			f.left--
			if err := send(&page[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (f *feed) line(e *eventlog.Event) error {
	text, err := e.JSON()
	if err != nil {
		return err
	}
	_, err = f.w.Write(append(text, '\n'))
	return err
}

// message sends an event in the form of the HTML standard, section "Server-sent
// events". A JSON text has no line breaks.
func (f *feed) message(e *eventlog.Event) error {
	text, err := e.JSON()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f.w, "id: %d\nevent: %s\ndata: %s\n\n", e.Sequence, e.Kind, text)
	return err
}

// errClosing ends a stream because the server stops.
var errClosing = errors.New("the server is stopping")

// follow sends events until the client goes, the server stops, or n are sent.
func (f *feed) follow(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case <-f.d.Closing:
			cancel(errClosing)
		case <-ctx.Done():
		}
	}()
	control := http.NewResponseController(f.w)
	if _, err := io.WriteString(f.w, "retry: 1000\n\n"); err != nil {
		return err
	}
	for f.left > 0 {
		if err := control.Flush(); err != nil {
			return err
		}
		if err := f.wait(ctx); err != nil {
			if context.Cause(ctx) == errClosing {
				return nil // the client comes back, and goes on where it was
			}
			return err
		}
		head, err := f.d.Log.Head(ctx)
		if err == nil {
			err = f.until(ctx, head.Sequence, f.message)
		}
		if err != nil && context.Cause(ctx) == errClosing {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wait returns when there are events behind the cursor. While there are none it
// tells the client now and then that it is still there, and how far it has
// come: events of other kinds are not sent, and need not be read again.
func (f *feed) wait(ctx context.Context) error {
	for {
		beat, cancel := context.WithTimeout(ctx, heartbeat)
		err := f.d.Log.Wait(beat, f.after)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
		if _, err := fmt.Fprintf(f.w, ": waiting\nid: %d\n\n", f.after); err != nil {
			return err
		}
		if err := http.NewResponseController(f.w).Flush(); err != nil {
			return err
		}
	}
}
