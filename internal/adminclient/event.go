package adminclient

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"artifactstore/eventlog"
)

const (
	// maxLine bounds an event. A manifest of 10,000 descriptors has less.
	maxLine = 32 << 20
	// silence is how long a stream may say nothing: three heartbeats.
	silence = 45 * time.Second
	// The waits before a stream is asked for again; each is twice the one before.
	firstWait = 100 * time.Millisecond
	lastWait  = 10 * time.Second
)

// EventQuery says which events are wanted.
type EventQuery struct {
	After eventlog.Cursor // those behind this place
	Kinds []string        // of these kinds; empty means all
	Limit uint64          // at most so many; 0 means all
}

// Event is one event of the log.
type Event struct {
	Sequence uint64 `json:"sequence"`
	Time     string `json:"time"`
	Kind     string `json:"kind"`
	Actor    string `json:"actor"`
	Subject  string `json:"subject"`
	Chain    string `json:"chain"` // the log's running hash up to here
	// JSON is all of it, on one line. It is valid until the function that
	// got the event returns.
	JSON []byte `json:"-"`
}

// Cut is a reading of the log that broke off.
type Cut struct {
	After eventlog.Cursor // behind the last event that came
	Err   error
}

func (e *Cut) Error() string {
	return fmt.Sprintf("the log broke off after event %d: %v", e.After.Sequence, e.Err)
}

func (e *Cut) Unwrap() error { return e.Err }

// reading is the state of one reading of the log, over all connections.
type reading struct {
	client *Client
	query  EventQuery // After is the cursor, Limit what is left of it
	left   bool       // whether Limit is a limit
	log    string     // the id of the log, once it is known
	each   func(*Event) error
}

// Events calls each with the events that are there, in order. If the answer
// breaks off the error is a *Cut.
func (c *Client) Events(ctx context.Context, q EventQuery, each func(*Event) error) error {
	r := &reading{client: c, query: q, left: q.Limit > 0, log: q.After.Log, each: each}
	const mediaType = "application/x-ndjson"
	res, err := r.ask(ctx, mediaType)
	if err != nil {
		return err
	}
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	for err == nil {
		var line []byte
		if line, err = readLine(lines); err == nil {
			err = r.take(line, "")
		}
	}
	own, consumer := errors.AsType[*stopped](err)
	switch closed := res.Body.Close(); {
	case consumer:
		return own.error
	case err == io.EOF:
		return closed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return &Cut{r.query.After, err}
}

// Follow calls each with the events that are there and with those that come,
// in order and each once, until ctx is done, whose cause it returns, or the
// limit is reached. A connection that breaks is made again from where it was;
// notice is told why, and what will be waited. Only the first connection must
// succeed at once. A log that no longer has what was handed on, or was skipped
// for its kind, ends it.
func (c *Client) Follow(ctx context.Context, q EventQuery, notice func(error, time.Duration), each func(*Event) error) error {
	r := &reading{client: c, query: q, left: q.Limit > 0, log: q.After.Log, each: each}
	wait, begun := firstWait, false
	for {
		alive, err := r.stream(ctx)
		begun = begun || alive
		own, consumer := errors.AsType[*stopped](err)
		switch {
		case consumer:
			return own.error
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case r.done():
			return nil
		case !begun || !passing(err):
			return err
		}
		if alive {
			wait = firstWait
		}
		notice(err, wait)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(wait):
		}
		wait = min(2*wait, lastWait)
	}
}

// stopped is an error that no new connection helps against.
type stopped struct{ error }

func (e *stopped) Unwrap() error { return e.error }

func (r *reading) done() bool { return r.left && r.query.Limit == 0 }

// ask begins an answer from the cursor on.
func (r *reading) ask(ctx context.Context, mediaType string) (*http.Response, error) {
	query := url.Values{"kind": r.query.Kinds}
	if r.left {
		query.Set("n", strconv.FormatUint(r.query.Limit, 10))
	}
	header := http.Header{"Last-Event-Id": {r.query.After.String()}}
	res, err := r.client.do(ctx, http.MethodGet, "/events?"+query.Encode(), mediaType, header, nil)
	if err != nil {
		return nil, err
	}
	log := res.Header.Get("Artifactstore-Log")
	if r.log != "" && log != r.log {
		err := fmt.Errorf("the server now has log %.64s and had log %s before: it was given another store", log, r.log)
		return nil, errors.Join(&stopped{err}, res.Body.Close())
	}
	r.log = log
	return res, nil
}

// take hands on an event, and moves the cursor behind it. id is that of its
// message, or empty if it is a line.
func (r *reading) take(line []byte, id string) error {
	e := Event{JSON: line}
	if err := json.Unmarshal(line, &e); err != nil || e.Sequence == 0 {
		return fmt.Errorf("%.100q is no event", line)
	}
	switch next := uint64(r.query.After.Sequence) + 1; {
	case e.Sequence < next:
		return nil // it was here before
	case e.Sequence > next && len(r.query.Kinds) == 0:
		return &stopped{fmt.Errorf("after event %d comes event %d: the log has a hole", next-1, e.Sequence)}
	}
	place, err := r.place(&e, id)
	if err != nil {
		return err
	}
	if err := r.each(&e); err != nil {
		return &stopped{err}
	}
	r.query.After = place
	if r.left {
		r.query.Limit--
	}
	return nil
}

// place is the cursor behind an event: the id of its message, which is only a
// sequence if the server is of an older version; that of a line is made of what
// is known.
func (r *reading) place(e *Event, id string) (eventlog.Cursor, error) {
	if id == "" {
		id = r.log + ":" + strconv.FormatUint(e.Sequence, 10) + ":" + e.Chain
	}
	c, err := eventlog.ParseCursor(id)
	if err != nil { // there is no chain, or no log
		return eventlog.Cursor{Sequence: eventlog.Sequence(e.Sequence)}, nil
	}
	if uint64(c.Sequence) != e.Sequence || c.Log != "" && (c.Chain.String() != e.Chain || r.log != "" && c.Log != r.log) {
		return c, fmt.Errorf("event %d has the cursor %.200q, which is that of another", e.Sequence, id)
	}
	return c, nil
}

// stream reads server-sent events until the connection ends, which is an error
// also if it was in good order. alive tells whether it began well.
func (r *reading) stream(ctx context.Context) (alive bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the server said nothing for %v", silence)) })
	defer watch.Stop()
	res, err := r.ask(ctx, "text/event-stream")
	if err != nil {
		return false, err
	}
	lines := bufio.NewReaderSize(res.Body, 64<<10)
	var m message
	for !r.done() {
		var line []byte
		if line, err = readLine(lines); err != nil {
			break
		}
		watch.Reset(silence)
		if complete := m.add(line); !complete && len(m.data) <= maxLine {
			continue
		}
		if err = r.message(&m); err != nil {
			break
		}
		m = message{}
	}
	_ = res.Body.Close() // it was read as far as it is wanted
	if _, ok := errors.AsType[*stopped](err); !ok && ctx.Err() != nil {
		err = context.Cause(ctx)
	} else if err == io.EOF {
		err = errors.New("the server closed the connection")
	}
	return true, err
}

// message takes a message that is complete. One without data only moves the
// cursor: behind it are no events that are wanted.
func (r *reading) message(m *message) error {
	if len(m.data) > maxLine {
		return fmt.Errorf("an event is longer than %d MiB", maxLine>>20)
	}
	if len(m.data) > 0 {
		return r.take(m.data, m.id)
	}
	if m.id == "" {
		return nil
	}
	c, err := eventlog.ParseCursor(m.id)
	if err != nil {
		return fmt.Errorf("%.200q is no cursor", m.id)
	}
	if c.Sequence >= r.query.After.Sequence && (c.Log != "" || c.Sequence > r.query.After.Sequence) {
		r.query.After = c
	}
	return nil
}

// message is a server-sent event, of the HTML standard.
type message struct {
	id   string
	data []byte
}

// add adds a line, and tells whether the message is complete.
func (m *message) add(line []byte) (complete bool) {
	name, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(name) {
	case "id":
		m.id = string(value)
	case "data":
		if m.data != nil {
			m.data = append(m.data, '\n')
		}
		m.data = append(m.data, value...)
	}
	return len(line) == 0
}

// readLine returns a line without its end. It is io.EOF only between lines.
func readLine(r *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxLine:
			return nil, fmt.Errorf("a line is longer than %d MiB", maxLine>>20)
		case err == nil:
			return bytes.TrimSuffix(line[:len(line)-1], []byte("\r")), nil
		case err == bufio.ErrBufferFull:
			continue
		case err == io.EOF && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		}
		return nil, err
	}
}
