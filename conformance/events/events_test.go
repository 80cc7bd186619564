// Package events_test reads the log over HTTP while it grows: whatever happens to
// a consumer's connections, it gets every event once and in order.
package events_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Environment variables of this package's tests.
const (
	cutsVariable = "CONFORMANCE_EVENTS_CUTS" // how often a connection is cut; default 100
	seedVariable = "CONFORMANCE_SEED"        // of all that is random; default from the clock
)

const (
	writers = 8
	// patience bounds what must happen soon, on a busy machine too.
	patience = time.Minute
)

// consumer follows the log as server-sent events. It keeps what it was sent and
// the cursor, which is the last id of a complete message, as a browser would.
type consumer struct {
	host   string
	query  string
	random *rand.Rand

	cursor string
	got    []string // data of the messages
	resume int      // connections so far
}

// connect opens a stream behind the cursor; the connection is the caller's to close.
func (c *consumer) connect() (net.Conn, *http.Response, error) {
	conn, err := net.Dial("tcp", c.host)
	if err != nil {
		return nil, nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	last := ""
	if c.cursor != "" {
		last = "Last-Event-ID: " + c.cursor + "\r\n"
	}
	c.resume++
	_, err = fmt.Fprintf(conn, "GET /admin/v1/events%s HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n%s\r\n", c.query, last)
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 1+c.random.IntN(100)), nil)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s", resp.Status)
	}
	if err != nil {
		return nil, nil, errors.Join(err, conn.Close())
	}
	return conn, resp, nil
}

// read takes the messages of one connection until it has read some bytes, or
// until enough says so, and then cuts it off, wherever that is.
func (c *consumer) read(bytes int, enough func() bool) error {
	conn, resp, err := c.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	var message []string
	lines := bufio.NewReader(io.LimitReader(resp.Body, int64(bytes)))
	for !enough() {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return nil // the rest of this message is lost, and sent again
		}
		if err != nil {
			return err
		}
		if line = strings.TrimSuffix(line, "\n"); line != "" {
			message = append(message, line)
			continue
		}
		if err := c.take(message); err != nil {
			return err
		}
		message = nil
	}
	return nil
}

// take reads a complete message, as section 9.2.6 of the HTML standard says.
func (c *consumer) take(message []string) error {
	for _, line := range message {
		switch field, value, _ := strings.Cut(line, ": "); field {
		case "id":
			c.cursor = value
		case "data":
			c.got = append(c.got, value)
		case "", "event", "retry":
		default:
			return fmt.Errorf("the stream has the line %.200q", line)
		}
	}
	return nil
}

// load has writers push small images, each into a repository of its own, until
// it is stopped. It counts what was acknowledged.
type load struct {
	pushed atomic.Int64
	cancel context.CancelFunc
	wait   sync.WaitGroup
	failed chan error
}

func startLoad(t *testing.T, s *harness.Server, seed uint64) *load {
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, failed: make(chan error, writers)}
	for w := range uint64(writers) {
		l.wait.Go(func() {
			c := s.Client()
			defer c.Close()
			for i := uint64(0); ctx.Err() == nil; i++ {
				image := harness.NewImage(seed<<20+w<<32+i, 1, 100)
				// A push that was begun is ended, so that no writer fails by being stopped.
				if err := image.Push(context.WithoutCancel(ctx), c, fmt.Sprintf("writer%d", w), fmt.Sprintf("v%d", i%3)); err != nil {
					l.failed <- err
					return
				}
				l.pushed.Add(1)
			}
		})
	}
	return l
}

// stop ends the load and returns how many images were pushed.
func (l *load) stop(t *testing.T) int64 {
	t.Helper()
	l.cancel()
	l.wait.Wait()
	close(l.failed)
	for err := range l.failed {
		t.Error(err)
	}
	return l.pushed.Load()
}

// TestConsumerThatIsCutOffMissesNothing: two consumers are cut off at random, in
// the middle of messages as well, while writers push; a third never reads.
func TestConsumerThatIsCutOffMissesNothing(t *testing.T) {
	cuts := int(harness.Setting(t, cutsVariable, 100))
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano())&0xffff)
	t.Logf("%s=%d", seedVariable, seed)
	s := harness.Start(t)
	host := strings.TrimPrefix(s.AdminURL(), "http://")

	stalled := &consumer{host: host, random: rand.New(rand.NewPCG(seed, 3))}
	conn, _, err := stalled.connect()
	harness.Must(t, err)
	defer conn.Close()

	l := startLoad(t, s, seed)
	began := time.Now()
	whole := &consumer{host: host, random: rand.New(rand.NewPCG(seed, 1))}
	moves := &consumer{host: host, query: "?kind=v1.tag.moved", random: rand.New(rand.NewPCG(seed, 2))}
	var both sync.WaitGroup
	for _, c := range []*consumer{whole, moves} {
		both.Go(func() {
			for range cuts {
				// A part of a message, or as much as takes the consumer to the end of
				// the log, where it waits.
				bytes := c.random.IntN(1 << (8 + c.random.IntN(8)))
				if err := c.read(bytes, func() bool { return false }); err != nil {
					t.Errorf("%s: %v", c.query, err)
					return
				}
			}
		})
	}
	both.Wait()
	pushed := l.stop(t)
	t.Logf("%d images pushed in %v", pushed, time.Since(began).Round(time.Millisecond))
	if t.Failed() {
		return
	}

	events, err := s.Events(0)
	harness.Must(t, err)
	lines := ndjson(t, s)
	harness.Must(t, whole.read(1<<40, func() bool { return len(whole.got) >= len(events) }))
	var wanted []string
	for i, e := range events {
		if e.Kind == "v1.tag.moved" {
			wanted = append(wanted, lines[i])
		}
	}
	harness.Must(t, moves.read(1<<40, func() bool { return len(moves.got) >= len(wanted) }))

	t.Logf("%d events by %d connections, %d moves of tags by %d", len(events), whole.resume, len(wanted), moves.resume)
	if len(events) < int(pushed) || whole.resume != cuts+1 {
		t.Errorf("%d events of %d images, %d connections", len(events), pushed, whole.resume)
	}
	same(t, events, whole.got)
	if !slices.Equal(lines, whole.got) {
		t.Error("the stream and the lines of JSON differ")
	}
	if !slices.Equal(wanted, moves.got) {
		t.Errorf("%d moves of tags, want %d", len(moves.got), len(wanted))
	}
	if peak := memory(t, s); peak > 200<<20 {
		t.Errorf("the server used %d MiB", peak>>20)
	} else {
		t.Logf("the server used %d MiB at most", peak>>20)
	}
}

// same fails unless the data of messages are exactly these events.
func same(t *testing.T, events []harness.Event, data []string) {
	t.Helper()
	if len(events) != len(data) {
		t.Fatalf("%d messages of %d events", len(data), len(events))
	}
	for i, want := range events {
		var got harness.Event
		harness.Must(t, json.Unmarshal([]byte(data[i]), &got))
		if !reflect.DeepEqual(got, want) {
			t.Fatalf("message %d is %+v, want %+v", i, got, want)
		}
	}
}

// ndjson reads the whole log as lines of JSON.
func ndjson(t *testing.T, s *harness.Server) (lines []string) {
	t.Helper()
	reply, err := harness.NewClient(s.AdminURL()).Get(t.Context(), "/admin/v1/events")
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	for line := range bytes.Lines(reply.Body) {
		lines = append(lines, strings.TrimSuffix(string(line), "\n"))
	}
	if head := reply.Header.Get("Artifactstore-Log-Head"); head != strconv.Itoa(len(lines)) {
		t.Errorf("%d lines of a log that ends with %s", len(lines), head)
	}
	return lines
}

// memory is the most that the server's process has used.
func memory(t *testing.T, s *harness.Server) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.PID()))
	if err != nil {
		t.Logf("memory is not checked: %v", err)
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmHWM:")
	var kib int64
	_, err = fmt.Sscanf(rest, "%d kB", &kib)
	harness.Must(t, err)
	return kib << 10
}

// TestServerStopsAlthoughStreamsAreOpen: they end at once, as complete answers,
// and go on where they were after the next start.
func TestServerStopsAlthoughStreamsAreOpen(t *testing.T) {
	s := harness.Start(t)
	host := strings.TrimPrefix(s.AdminURL(), "http://")
	client := s.Client()
	harness.Must(t, harness.NewImage(1, 1, 100).Push(t.Context(), client, "a", "v1"))
	before, err := s.Events(0)
	harness.Must(t, err)

	var open []net.Conn
	var bodies []io.Reader
	c := &consumer{host: host, random: rand.New(rand.NewPCG(1, 1))}
	harness.Must(t, c.read(1<<20, func() bool { return len(c.got) == len(before) }))
	for range 20 {
		conn, resp, err := c.connect()
		harness.Must(t, err)
		open, bodies = append(open, conn), append(bodies, resp.Body)
	}
	began := time.Now()
	harness.Must(t, s.Stop()) // which must end with status 0: nothing was cut off
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the server took %v to stop", took)
	}
	for i, body := range bodies {
		if _, err := io.Copy(io.Discard, body); err != nil {
			t.Errorf("stream %d ended with %v", i, err)
		}
		harness.Must(t, open[i].Close())
	}

	harness.Must(t, s.Start())
	harness.Must(t, harness.NewImage(2, 1, 100).Push(t.Context(), client, "a", "v1"))
	after, err := s.Events(0)
	harness.Must(t, err)
	harness.Must(t, c.read(1<<20, func() bool { return len(c.got) == len(after) }))
	same(t, after, c.got)
}
