package admin_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/internal/budget"
	"artifactstore/internal/inproc"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// A client that does not read does not keep a server that stops.
func TestStreamThatIsNotReadEndsWhenTheServerStops(t *testing.T) {
	log, closing, ended := &fakeLog{size: 16 << 20}, make(chan struct{}), make(chan struct{})
	log.append(fact.KindTagMoved)
	s := newServer(t, func(o *settings) {
		o.reader = func(eventlog.Reader) eventlog.Reader { return log }
		o.admin.Closing = closing
	})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		s.handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	c, err := net.Dial("tcp", strings.TrimPrefix(front.URL, "http://"))
	must(t, err)
	defer c.Close()
	must(t, c.(*net.TCPConn).SetReadBuffer(64<<10))
	_, err = io.WriteString(c, "GET /admin/v1/events HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\n\r\n")
	must(t, err)
	for r := bufio.NewReader(c); ; { // until the event has begun
		if _, err := r.ReadSlice('\n'); err == bufio.ErrBufferFull {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	close(closing)
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("it is still written to after 10 s")
	}
}

// Streams that wait for room to take a long event apart do not keep it meanwhile.
func TestStreamsThatWaitForRoomKeepNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const streams, size = 50, 1 << 20
		log := &fakeLog{size: size}
		log.append(fact.KindTagMoved)
		memory := budget.New(64 << 20)
		reg, err := registry.New(t.Context(), noLedger{}, nil, registry.Options{Budget: memory})
		must(t, err)
		all, err := memory.Acquire(t.Context(), memory.Size())
		must(t, err)
		before := inUse()
		var open []*stream
		for range streams {
			s, closed := bubble(t, admin.Options{Registry: reg, Log: copies{log}}, "")
			defer closed()
			open = append(open, s)
		}
		synctest.Wait()
		if kept := inUse() - before; kept > streams*size/4 {
			t.Errorf("%d streams keep %d bytes", streams, kept)
		}
		all()
		for _, s := range open {
			if text := s.block(); !strings.HasPrefix(text, "id: "+fakeLogID+":1:") || len(text) < size {
				t.Errorf("got %.100q of %d bytes", text, len(text))
			}
		}
	})
}

// However many follow the log, what clients push is taken apart in its turn.
func TestPushesDoNotStandBehindAllFollowers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{size: 1 << 20}
		log.append(fact.KindTagMoved)
		memory := budget.New(8 << 20)
		reg, err := registry.New(t.Context(), noLedger{}, nil, registry.Options{Budget: memory})
		must(t, err)
		busy, err := memory.Acquire(t.Context(), memory.Size())
		must(t, err)
		door := inproc.Transport(admin.New(admin.Options{Registry: reg, Log: log}))
		var served atomic.Int32
		for range 20 {
			s, closed := follow(t, door, "")
			defer closed()
			go func() {
				s.block()
				served.Add(1)
			}()
		}
		synctest.Wait()
		go func() {
			if push, err := memory.Acquire(t.Context(), memory.Size()); err == nil {
				time.Sleep(time.Minute)
				push()
			}
		}()
		synctest.Wait()
		busy()
		synctest.Wait() // now the push has its turn
		if n := served.Load(); n > 1 {
			t.Errorf("%d of 20 followers came first", n)
		}
		time.Sleep(2 * time.Minute)
		if n := served.Load(); n != 20 {
			t.Errorf("%d of 20 followers were served in the end", n)
		}
	})
}

// noLedger has no secrets.
type noLedger struct{ registry.Ledger }

func (noLedger) Read(ctx, func(registry.View) error) error { return nil }

// copies is a log that gives every reader bytes of its own, as a database does.
type copies struct{ *fakeLog }

func (l copies) Read(ctx ctx, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	page, err := l.fakeLog.Read(ctx, after, limit)
	for i := range page {
		page[i].Payload = slices.Clone(page[i].Payload)
	}
	return page, err
}
