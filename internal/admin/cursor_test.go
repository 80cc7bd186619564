package admin_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
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

func TestCursorsAreHeldToTheLog(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	head, err := s.ledger.Events().Head(t.Context())
	must(t, err)
	page, err := s.ledger.Events().Read(t.Context(), 0, 100)
	must(t, err)
	whole := s.lines(0)
	at := func(sequence int, edit func(*eventlog.Cursor)) string {
		c := eventlog.Origin(head.Log).Cursor()
		if sequence > 0 {
			c.Sequence, c.Chain = page[sequence-1].Sequence, page[sequence-1].Chain
		}
		edit(&c)
		return c.String()
	}
	same := func(*eventlog.Cursor) {}
	for _, sequence := range []int{0, 1, 3, len(whole)} {
		want := ""
		for _, line := range whole[sequence:] {
			want += line + "\n"
		}
		cursor := at(sequence, same)
		s.get("/events?after=" + cursor).want(200).bytes([]byte(want))
		s.get("/events", "Last-Event-ID: "+cursor).want(200).bytes([]byte(want))
		if sequence < len(whole) {
			s.stream("/events", "Last-Event-ID: "+cursor).next(sequence+1, whole[sequence])
		}
	}
	for name, cursor := range map[string]string{
		"another hash":          at(3, func(c *eventlog.Cursor) { c.Chain[0] ^= 1 }),
		"another log":           at(3, func(c *eventlog.Cursor) { c.Log = strings.Repeat("0", 32) }),
		"the hash of the end":   at(len(whole), func(c *eventlog.Cursor) { c.Chain[0] ^= 1 }),
		"the hash of the start": at(0, func(c *eventlog.Cursor) { c.Chain[0] ^= 1 }),
		"behind the end":        at(3, func(c *eventlog.Cursor) { c.Sequence = 10_000 }),
	} {
		for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
			for _, r := range []*reply{
				s.get("/events?after="+cursor, "Accept: "+accept),
				s.get("/events", "Last-Event-ID: "+cursor, "Accept: "+accept),
				s.get("/events?kind=v1.tag.moved&n=1&after="+cursor, "Accept: "+accept),
			} {
				r.refused(409, "CURSOR_UNKNOWN", "Artifactstore-Log:")
				if !bytes.Contains(r.body, []byte("start anew")) {
					t.Errorf("%s: %s", name, r.body)
				}
			}
		}
	}
	for _, text := range []string{at(3, same) + "0", at(3, same)[1:], head.Log + ":3", "3:" + page[2].Chain.String()} {
		s.get("/events?after="+text).refused(400, "PARAMETER_INVALID")
	}
}

// ended reads a stream to its end, and returns the sequences that came.
func (s *stream) ended() (seen []eventlog.Sequence) {
	s.t.Helper()
	for {
		text, err := s.read()
		if err != nil {
			return seen
		}
		c, err := eventlog.ParseCursor(messages([]byte(text))[0].id)
		must(s.t, err)
		seen = append(seen, c.Sequence)
	}
}

// TestStreamEndsWhenTheLogIsReplaced: what the log has instead is not sent, and
// the client is told when it comes back.
func TestStreamEndsWhenTheLogIsReplaced(t *testing.T) {
	for _, query := range []string{"", "?kind=v1.tag.moved"} {
		for name, grow := range map[string]int{"and has gone on": 4, "and is shorter": 0, "and is as long": 3} {
			t.Run(query+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					log := new(fakeLog)
					door := inproc.Transport(admin.New(admin.Options{Log: log}))
					log.append(fact.KindTagMoved, fact.KindTagMoved, fact.KindBlobStored, fact.KindBlobStored)
					s, closed := follow(t, door, query)
					defer closed()
					s.block()
					s.block()
					time.Sleep(admin.Heartbeat) // the filtered one has come past the others
					log.restore(1)
					for range grow {
						log.append(fact.KindTagMoved)
					}
					began := time.Now()
					for _, sequence := range s.ended() {
						if sequence > 4 {
							t.Errorf("event %d of another log came", sequence)
						}
					}
					if time.Since(began) > 2*admin.Heartbeat {
						t.Errorf("the stream ended after %v", time.Since(began))
					}
				})
			})
		}
	}
}

// TestFilteredStreamIsToldOfARestore: its cursor is behind events that it was not
// sent, and a log that lost only those is another one.
func TestFilteredStreamIsToldOfARestore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(fakeLog)
		door := inproc.Transport(admin.New(admin.Options{Log: log}))
		log.append(fact.KindTagMoved, fact.KindBlobStored, fact.KindBlobStored)
		s, closed := follow(t, door, "?kind=v1.tag.moved")
		s.block()
		id := messages([]byte(s.block()))[0].id // of the sign of life
		if id != log.cursor(3) {
			t.Fatalf("the cursor is %s", id)
		}
		closed()
		again := func() int {
			r, err := http.NewRequestWithContext(t.Context(), "GET", "http://localhost"+admin.Prefix+"/events?kind=v1.tag.moved", nil)
			must(t, err)
			r.Header.Set("Last-Event-ID", id)
			res, err := (&http.Client{Transport: door}).Do(r)
			must(t, err)
			must(t, res.Body.Close())
			return res.StatusCode
		}
		if status := again(); status != 200 {
			t.Errorf("before the restore: %d", status)
		}
		log.restore(2)
		for i := range 3 {
			if status := again(); status != 409 {
				t.Errorf("%d events after the restore: %d", i, status)
			}
			log.append(fact.KindBlobStored)
		}
	})
}

// TestFollowersOfAReplacedLogAreToldApart: one that has followed the old log, and
// one of the new, share the end of the log.
func TestFollowersOfAReplacedLogAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(fakeLog)
		door := inproc.Transport(admin.New(admin.Options{Log: log}))
		for range 5 {
			log.append(fact.KindTagMoved)
		}
		old, closeOld := follow(t, door, "?after=1")
		defer closeOld()
		for range 4 {
			old.block()
		}
		log.restore(2)
		for range 3 {
			log.append(fact.KindTagMoved)
		}
		late, closeLate := follow(t, door, "?after="+log.cursor(3)) // within what the tail still has
		defer closeLate()
		for sequence := 4; sequence <= 6; sequence++ {
			if sequence == 6 {
				log.append(fact.KindTagMoved)
			}
			if got, want := late.block(), fmt.Sprintf("id: %s\n", log.cursor(sequence)); !strings.HasPrefix(got, want) {
				t.Errorf("got %.200q, want %s", got, want)
			}
		}
		if seen := old.ended(); len(seen) != 0 {
			t.Errorf("the old one saw %v", seen)
		}
	})
}

// TestTailIsOfOneLog: what it keeps of a log that was replaced is not followed by
// what there is now.
func TestTailIsOfOneLog(t *testing.T) {
	log := new(fakeLog)
	place := func(sequence int) eventlog.Head {
		c, err := eventlog.ParseCursor(log.cursor(sequence))
		must(t, err)
		return eventlog.Head{Log: c.Log, Sequence: c.Sequence, Chain: c.Chain}
	}
	for range 5 {
		log.append(fact.KindTagMoved)
	}
	tail := admin.NewTail(log)
	if got, err := tail.After(t.Context(), place(2)); err != nil || len(got) != 3 {
		t.Fatalf("it gives %v, %v", got, err)
	}
	log.restore(3)
	for range 3 {
		log.append(fact.KindTagMoved)
	}
	if got, err := tail.After(t.Context(), place(5)); err != nil || len(got) != 1 || got[0] != place(6) {
		t.Errorf("behind 5 it gives %v, %v", got, err)
	}
	got, err := tail.After(t.Context(), place(2))
	must(t, err)
	for i := range got {
		if got[i] != place(3+i) {
			t.Errorf("behind 2 it gives %v", got)
		}
	}
}

// TestStreamOfLongEventsEndsWhenTheLogIsReplaced: they do not come from the tail.
func TestStreamOfLongEventsEndsWhenTheLogIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := &fakeLog{size: 1 << 20}
		log.append(fact.KindTagMoved, fact.KindTagMoved)
		reg, err := registry.New(t.Context(), noLedger{}, nil, registry.Options{Budget: budget.New(64 << 20)})
		must(t, err)
		s, closed := bubble(t, admin.Options{Registry: reg, Log: log}, "")
		defer closed()
		s.block()
		s.block()
		synctest.Wait()
		log.restore(1)
		log.append(fact.KindTagMoved, fact.KindTagMoved)
		if seen := s.ended(); len(seen) != 0 {
			t.Errorf("it saw %v of another log", seen)
		}
	})
}
