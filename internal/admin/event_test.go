package admin_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/internal/inproc"
	"artifactstore/registry/fact"
)

// lines has the events of a log after a sequence as the API has to send them.
func (s *server) lines(after eventlog.Sequence, kinds ...string) (lines []string) {
	s.t.Helper()
	page, err := s.ledger.Events().Read(s.t.Context(), after, 10_000)
	must(s.t, err)
	for i := range page {
		if len(kinds) > 0 && !slices.Contains(kinds, string(page[i].Kind)) {
			continue
		}
		text, err := page[i].JSON()
		must(s.t, err)
		lines = append(lines, string(text))
	}
	return lines
}

func TestLogAsLines(t *testing.T) {
	s := newServer(t)
	s.get("/events").want(200).bytes(nil)
	s.pushImage("a", "v1", 1)
	s.pushImage("a", "v1", 2)
	head, err := s.ledger.Events().Head(t.Context())
	must(t, err)
	whole := s.lines(0)
	for query, want := range map[string][]string{
		"":                       whole,
		"?after=0":               whole,
		"?after=":                whole,
		"?n=3":                   whole[:3],
		"?n=3&after=2":           whole[2:5],
		"?n=18446744073709551":   whole,
		"?kind=v1.tag.moved":     s.lines(0, fact.KindTagMoved),
		"?kind=v1.tag.moved&n=1": s.lines(0, fact.KindTagMoved)[:1],
		"?kind=v1.tag.moved&kind=v1.manifest.put": s.lines(0, fact.KindTagMoved, fact.KindManifestPut),
		"?kind=v1.tag.deleted":                    nil,
		fmt.Sprintf("?after=%d", head.Sequence-1): whole[len(whole)-1:],
		fmt.Sprintf("?after=%d", head.Sequence):   nil,
	} {
		r := s.get("/events"+query).want(200, "Content-Type: application/x-ndjson", "Artifactstore-Log: "+head.Log,
			fmt.Sprintf("Artifactstore-Log-Head: %d", head.Sequence))
		text := ""
		for _, line := range want {
			text += line + "\n"
		}
		if string(r.body) != text {
			t.Errorf("%s: %s\nwant %s", query, r.body, text)
		}
	}
	s.get("/events", "Last-Event-ID: 4").want(200).bytes([]byte(strings.Join(whole[4:], "\n") + "\n"))
	s.get("/events?after=1", "Last-Event-ID: 4").want(200).bytes([]byte(strings.Join(whole[4:], "\n") + "\n"))
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		s.get(fmt.Sprintf("/events?after=%d", head.Sequence+1), "Accept: "+accept).refused(409, "CURSOR_UNKNOWN", "Artifactstore-Log:")
		s.get("/events", "Last-Event-ID: 9223372036854775807", "Accept: "+accept).refused(409, "CURSOR_UNKNOWN")
		s.get("/events", "Last-Event-ID: x", "Accept: "+accept).refused(400, "PARAMETER_INVALID")
		s.get("/events?after=-1", "Accept: "+accept).refused(400, "PARAMETER_INVALID")
	}
	s.do("HEAD", "/events", "Accept: text/event-stream").want(200, "Content-Type: text/event-stream")
}

func TestLogAsAStream(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	whole := s.lines(0)
	s.get(fmt.Sprintf("/events?n=%d", len(whole)), "Accept: text/event-stream").want(200, "Content-Type: text/event-stream", "X-Accel-Buffering: no")
	stream := s.stream("/events")
	for i, want := range whole {
		stream.next(i+1, want)
	}
	// What is appended comes by itself.
	s.pushImage("b", "v1", 2)
	for i, want := range s.lines(eventlog.Sequence(len(whole))) {
		stream.next(len(whole)+i+1, want)
	}
	moved := s.stream("/events?kind=v1.tag.moved&n=2", "Last-Event-ID: 1")
	for _, want := range s.lines(1, fact.KindTagMoved) {
		moved.next(0, want)
	}
	if _, err := moved.ReadByte(); err != io.EOF {
		t.Errorf("behind the last of n events comes %v", err)
	}
}

// stream is an open stream of events.
type stream struct {
	*bufio.Reader
	t testing.TB
}

func (s *server) stream(path string, fields ...string) *stream {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), "GET", s.admin.URL+admin.Prefix+path, nil)
	must(s.t, err)
	r.Header.Set("Accept", "text/event-stream")
	for _, field := range fields {
		name, value, _ := strings.Cut(field, ": ")
		r.Header.Set(name, value)
	}
	res, err := s.admin.Client().Do(r)
	must(s.t, err)
	if res.StatusCode != 200 {
		s.t.Fatalf("%s: %s", path, res.Status)
	}
	s.t.Cleanup(func() { res.Body.Close() })
	opened := &stream{bufio.NewReader(res.Body), s.t}
	if got := opened.block(); got != "retry: 1000\n\n" {
		s.t.Fatalf("the stream begins with %q", got)
	}
	return opened
}

// block reads up to an empty line.
func (s *stream) block() string {
	s.t.Helper()
	text, err := s.read()
	must(s.t, err)
	return text
}

func (s *stream) read() (text string, err error) {
	for err == nil && !strings.HasSuffix(text, "\n\n") {
		var line string
		line, err = s.ReadString('\n')
		text += line
	}
	return text, err
}

// next reads the message of an event; sequence 0 is any.
func (s *stream) next(sequence int, text string) {
	s.t.Helper()
	m := messages([]byte(s.block()))[0]
	c, err := eventlog.ParseCursor(m.id)
	must(s.t, err)
	if sequence > 0 && int(c.Sequence) != sequence || m.data != text || !strings.HasPrefix(text, fmt.Sprintf(`{"sequence":%d,`, c.Sequence)) ||
		!strings.Contains(text, fmt.Sprintf(`"kind":%q`, m.event)) || c.Log == "" || !strings.Contains(text, fmt.Sprintf(`"chain":"%s"`, c.Chain)) {
		s.t.Fatalf("message %+v, want event %d: %s", m, sequence, text)
	}
}

// fakeLog is a log in memory, of events without content.
type fakeLog struct {
	eventlog.Signal
	mu     sync.Mutex
	events []eventlog.Event
	size   int // of payloads
	pages  int // read so far
	ctx    ctx // of the last page
	// What events have, if it is not the default.
	payload []byte
	actor   string
}

// fakeLogID is the id of every fakeLog.
var fakeLogID = strings.Repeat("0", 32)

// head is Head while mu is held.
func (l *fakeLog) head() eventlog.Head {
	if len(l.events) == 0 {
		return eventlog.Origin(fakeLogID)
	}
	last := &l.events[len(l.events)-1]
	return eventlog.Head{Log: fakeLogID, Sequence: last.Sequence, Time: last.Time, Chain: last.Chain}
}

// restore makes the log end with an event, and goes on otherwise than before.
func (l *fakeLog) restore(last int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = slices.Clone(l.events[:last])
	l.actor = "b"
}

// cursor is the text of the place behind an event.
func (l *fakeLog) cursor(sequence int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.events[sequence-1]
	return eventlog.Cursor{Log: fakeLogID, Sequence: e.Sequence, Chain: e.Chain}.String()
}

func (l *fakeLog) append(kinds ...eventlog.Kind) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, kind := range kinds {
		payload := []byte{0xa0} // {}
		if l.size >= 1<<16 {    // {"n": text}
			payload = append([]byte{0xa1, 0x61, 'n', 0x7a, byte(l.size >> 24), byte(l.size >> 16), byte(l.size >> 8), byte(l.size)}, bytes.Repeat([]byte("x"), l.size)...)
		}
		if l.payload != nil {
			payload = l.payload
		}
		e := eventlog.Event{Kind: kind, ID: fmt.Sprintf("%032d", len(l.events)), Actor: l.actor, Payload: payload}
		if _, err := l.head().Seal(&e); err != nil {
			panic(err)
		}
		l.events = append(l.events, e)
	}
	l.Announce(eventlog.Sequence(len(l.events)))
}

func (l *fakeLog) Head(ctx) (eventlog.Head, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head(), nil
}

func (l *fakeLog) Read(ctx ctx, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pages, l.ctx = l.pages+1, ctx
	rest := l.events[min(int(after), len(l.events)):]
	return slices.Clone(rest[:min(limit, len(rest))]), nil
}

func (l *fakeLog) read() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pages
}

// bubble opens a stream of a log within a synctest bubble.
func bubble(t testing.TB, o admin.Options, query string) (*stream, func()) {
	t.Helper()
	return follow(t, inproc.Transport(admin.New(o)), query)
}

// follow opens a stream of a door.
func follow(t testing.TB, door http.RoundTripper, query string) (*stream, func()) {
	t.Helper()
	client := &http.Client{Transport: door}
	r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost"+admin.Prefix+"/events"+query, nil)
	must(t, err)
	r.Header.Set("Accept", "text/event-stream")
	res, err := client.Do(r)
	must(t, err)
	s := &stream{bufio.NewReader(res.Body), t}
	if got := s.block(); got != "retry: 1000\n\n" {
		t.Fatalf("the stream begins with %q", got)
	}
	return s, func() { must(t, res.Body.Close()) }
}

func TestStreamIsNeverSilentForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(fakeLog)
		log.append(fact.KindTagMoved)
		began := time.Now()
		s, done := bubble(t, admin.Options{Log: log}, "?kind=v1.tag.moved")
		defer done()
		expect := func(want string, sequence int, at time.Duration) {
			t.Helper()
			got := s.block()
			want = strings.ReplaceAll(want, "CURSOR", log.cursor(sequence))
			if got, _, _ = strings.Cut(got, "\ndata"); got != want || time.Since(began) != at {
				t.Fatalf("%q after %v, want %q after %v", got, time.Since(began), want, at)
			}
		}
		const event, waiting = "id: CURSOR\nevent: v1.tag.moved", ": waiting\nid: CURSOR\n\n"
		expect(event, 1, 0)
		expect(waiting, 1, admin.Heartbeat)
		// Events that the client does not want are no sign of life, but they
		// move its cursor.
		go func() {
			time.Sleep(time.Second / 2)
			for range 40 {
				log.append(fact.KindBlobStored)
				time.Sleep(time.Second)
			}
			log.append(fact.KindTagMoved)
		}()
		synctest.Wait()
		expect(waiting, 16, 2*admin.Heartbeat)
		expect(waiting, 31, 3*admin.Heartbeat)
		expect(event, 42, admin.Heartbeat+40500*time.Millisecond)
		expect(waiting, 42, 2*admin.Heartbeat+40500*time.Millisecond)
	})
}

func TestStreamEndsWhenTheServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log, closing := new(fakeLog), make(chan struct{})
		log.append(fact.KindTagMoved)
		s, done := bubble(t, admin.Options{Log: log, Closing: closing}, "")
		defer done()
		began := time.Now()
		s.block()
		close(closing)
		if _, err := s.ReadByte(); err != io.EOF || time.Since(began) != 0 {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

// A reader that stops reading costs a few pages and is cut off.
func TestReaderThatStopsIsCutOff(t *testing.T) {
	for name, accept := range map[string]string{"lines": "application/x-ndjson", "a stream": "text/event-stream"} {
		t.Run(name, func(t *testing.T) {
			log := &fakeLog{size: 1 << 16}
			log.append(slices.Repeat([]eventlog.Kind{fact.KindTagMoved}, 500)...) // 32 MiB
			s := newServer(t, func(o *settings) {
				o.reader = func(eventlog.Reader) eventlog.Reader { return log }
				o.web.Grace, o.web.MinRate = 200*time.Millisecond, 1<<30
			})
			c, err := net.Dial("tcp", strings.TrimPrefix(s.admin.URL, "http://"))
			must(t, err)
			defer c.Close()
			must(t, c.(*net.TCPConn).SetReadBuffer(64<<10))
			_, err = fmt.Fprintf(c, "GET /admin/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: %s\r\n\r\n", accept)
			must(t, err)
			res, err := http.ReadResponse(bufio.NewReader(c), nil)
			must(t, err)
			log.mu.Lock()
			request := log.ctx
			log.mu.Unlock()
			if request == nil { // the header of a stream comes before the first page
				must(t, discard(res.Body, 1<<10))
				log.mu.Lock()
				request = log.ctx
				log.mu.Unlock()
			}
			<-request.Done() // the handler has returned
			if n := log.read(); n > 250 {
				t.Errorf("%d pages were read for somebody who does not read", n)
			}
			if err := discard(res.Body, 64<<20); err == nil {
				t.Error("the answer looks complete")
			}
		})
	}
}

// discard reads at most n bytes.
func discard(r io.Reader, n int64) error {
	_, err := io.CopyN(io.Discard, r, n)
	if err == io.EOF {
		return nil
	}
	return err
}

// An idle stream costs its connection, three goroutines and little memory.
func TestManyOpenStreamsCostLittle(t *testing.T) {
	const streams = 200
	log := new(fakeLog)
	s := newServer(t, func(o *settings) { o.reader = func(eventlog.Reader) eventlog.Reader { return log } })
	goroutines, memory := runtime.NumGoroutine(), inUse()
	var readers []*bufio.Reader
	for range streams {
		c, err := net.Dial("tcp", strings.TrimPrefix(s.admin.URL, "http://"))
		must(t, err)
		defer c.Close()
		_, err = io.WriteString(c, "GET /admin/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
		must(t, err)
		readers = append(readers, bufio.NewReaderSize(c, 512))
	}
	read := func(want string) {
		t.Helper()
		for _, r := range readers {
			for {
				line, err := r.ReadString('\n')
				must(t, err)
				if strings.HasPrefix(line, want) {
					break
				}
			}
		}
	}
	read("retry: 1000")
	if n := runtime.NumGoroutine() - goroutines; n > 3*streams+10 {
		t.Errorf("%d streams have %d goroutines", streams, n)
	}
	each := (inUse() - memory) / streams
	t.Logf("%d bytes of memory for each stream", each)
	if each > 64<<10 && !underRace {
		t.Errorf("%d bytes for each stream", each)
	}
	log.append(fact.KindTagMoved)
	read("id: " + fakeLogID + ":1:")
}

// inUse is the memory of heap and stacks after a collection.
func inUse() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc + m.StackInuse)
}

// Followers that are at different places of a growing log, some of whose events
// are long, get every event once and in order.
func TestFollowersAtManyPlaces(t *testing.T) {
	const before, behind = 1000, 1500
	log := new(fakeLog)
	grow := func(to int) {
		for i := len(log.events); i < to; i++ {
			if log.size = 0; i%97 == 0 {
				log.size = 1 << 16
			}
			log.append(fact.KindTagMoved)
		}
	}
	grow(before)
	s := newServer(t, func(o *settings) { o.reader = func(eventlog.Reader) eventlog.Reader { return log } })
	var followers sync.WaitGroup
	for i, after := range []int{0, 0, 1, 500, 899, 950, 998, 999, 1000, 1000} {
		f := s.stream(fmt.Sprintf("/events?after=%d&n=%d", after, behind-after))
		followers.Go(func() {
			for want := after + 1; want <= behind; want++ {
				text, err := f.read()
				if err != nil || !strings.HasPrefix(text, fmt.Sprintf("id: %s:%d:", fakeLogID, want)) {
					t.Errorf("follower %d: %.100q and %v, want %d", i, text, err, want)
					return
				}
			}
			if _, err := f.ReadByte(); err != io.EOF {
				t.Errorf("follower %d: %v at the end", i, err)
			}
		})
	}
	for i := before; i <= behind; i += 7 {
		grow(min(i, behind))
		runtime.Gosched()
	}
	grow(behind)
	followers.Wait()
}

// A long event is sent by itself, when there is room for it.
func TestLongEventsTakeRoom(t *testing.T) {
	log := &fakeLog{size: 1 << 20}
	log.append(fact.KindTagMoved, fact.KindTagMoved)
	share := newShare(2 << 20)
	s := newServer(t, func(o *settings) {
		o.reader = func(eventlog.Reader) eventlog.Reader { return log }
		o.admin.Held = share
	})
	if r := s.send(s.admin, "GET", admin.Prefix+"/events", nil); r.status != 200 || bytes.Count(r.body, []byte("\n")) != 2 {
		t.Errorf("%d lines", bytes.Count(r.body, []byte("\n")))
	}
	if share.most > 1<<20+1000 || share.most < 1<<20 || share.held != 0 {
		t.Errorf("at most %d bytes were held, %d are still", share.most, share.held)
	}
	release, _ := share.TryAcquire(3 << 19)
	defer release()
	s.get("/events").refused(429, "TOOMANYREQUESTS")
	// When it has begun it can only be cut off.
	log.events[0].Payload = []byte{0xa0}
	res, err := s.admin.Client().Get(s.admin.URL + admin.Prefix + "/events")
	must(t, err)
	defer res.Body.Close()
	if err := discard(res.Body, 64<<20); res.StatusCode != 200 || err == nil {
		t.Errorf("%s and %v", res.Status, err)
	}
	share.size = 8 << 20
	if s.stream("/events?n=2", "Last-Event-ID: 1").block(); share.most > 4<<20 {
		t.Errorf("%d bytes were held", share.most)
	}
}

func TestDamagedLogIsNeverACompleteAnswer(t *testing.T) {
	broken := &eventlog.Fault{Sequence: 3, Problem: "its payload is malformed"}
	s := newServer(t, func(o *settings) {
		o.reader = func(r eventlog.Reader) eventlog.Reader { return failing{r, 2, broken} }
	})
	s.pushImage("a", "v1", 1)
	for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
		r, err := http.NewRequestWithContext(t.Context(), "GET", s.admin.URL+admin.Prefix+"/events", nil)
		must(t, err)
		r.Header.Set("Accept", accept)
		res, err := s.admin.Client().Do(r)
		must(t, err)
		if err := discard(res.Body, 1<<20); res.StatusCode != 200 || err == nil {
			t.Errorf("%s: %s and %v", accept, res.Status, err)
		}
		must(t, res.Body.Close())
	}
	s.get("/events?after=2").refused(500, "UNKNOWN")
	if !strings.Contains(s.log.String(), "its payload is malformed") {
		t.Errorf("logged %s", s.log)
	}
}

// failing is a log that can be read up to a sequence.
type failing struct {
	eventlog.Reader
	last eventlog.Sequence
	err  error
}

func (l failing) Read(ctx ctx, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	if after >= l.last {
		return nil, l.err
	}
	return l.Reader.Read(ctx, after, min(limit, int(l.last-after)))
}

// countedShare tells how much was held.
type countedShare struct{ size, held, most int64 }

func newShare(size int64) *countedShare { return &countedShare{size: size} }

func (s *countedShare) TryAcquire(n int64) (release func(), ok bool) {
	if s.held+n > s.size {
		return nil, false
	}
	s.held += n
	s.most = max(s.most, s.held)
	return func() { s.held -= n }, true
}
