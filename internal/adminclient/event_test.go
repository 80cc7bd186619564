package adminclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/adminclient"
)

func event(n int) string {
	return fmt.Sprintf(`{"sequence":%d,"kind":"v1.tag.moved","subject":"demo:v%d"}`, n, n)
}

func message(n int) string { return fmt.Sprintf("id: %d\ndata: %s\n\n", n, event(n)) }

// answer is one answer to a request for events.
type answer struct {
	status int // 0 means 200
	log    string
	body   string
	hang   bool // after the body
}

// script answers requests one after the other, and notes their cursors. The
// last answer is given again and again.
func script(mediaType string, answers ...answer) (handler http.HandlerFunc, cursors *[]string) {
	cursors = new([]string)
	return func(w http.ResponseWriter, r *http.Request) {
		a := answers[min(len(*cursors), len(answers)-1)]
		*cursors = append(*cursors, r.Header.Get("Last-Event-ID"))
		w.Header().Set("Content-Type", mediaType)
		w.Header().Set("Artifactstore-Log", a.log)
		if a.status != 0 {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(a.status)
		}
		io.WriteString(w, a.body)
		w.(http.Flusher).Flush()
		if a.hang {
			<-r.Context().Done()
		}
	}, cursors
}

// followed follows until an event has come, and returns those that did, and the
// error.
func followed(ctx context.Context, handler http.HandlerFunc, q adminclient.EventQuery, until uint64) (got []uint64, notices int, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err = client(handler).Follow(ctx, q, func(error, time.Duration) { notices++ }, func(e *adminclient.Event) error {
		got = append(got, e.Sequence)
		if e.Sequence == until {
			cancel()
		}
		return nil
	})
	return got, notices, err
}

const stream = "text/event-stream"

func TestAStreamGoesOnWhereItBroke(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		problem := `{"detail":"not now"}`
		handler, cursors := script(stream,
			answer{body: "retry: 1000\n\n" + message(1) + message(2) + "id: 3\ndata: {\"sequ"}, // within an event
			answer{status: 503, body: problem},
			answer{status: 429, body: problem},
			answer{body: message(2) + message(3)}, // one that was here before
			answer{body: ": waiting\n\n"},
			answer{body: message(4), hang: true})
		got, notices, err := followed(t.Context(), handler, adminclient.EventQuery{}, 4)
		if !slices.Equal(got, []uint64{1, 2, 3, 4}) || !errors.Is(err, context.Canceled) || notices != 5 {
			t.Errorf("got %v, %d notices, %v", got, notices, err)
		}
		if want := []string{"0", "2", "2", "2", "3", "3"}; !slices.Equal(*cursors, want) {
			t.Errorf("asked from %q on, want %q", *cursors, want)
		}
	})
}

func TestASilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, cursors := script(stream, answer{body: message(1), hang: true}, answer{body: message(2), hang: true})
		begun := time.Now()
		got, _, _ := followed(t.Context(), handler, adminclient.EventQuery{}, 2)
		if !slices.Equal(got, []uint64{1, 2}) || time.Since(begun) > time.Minute || len(*cursors) != 2 {
			t.Errorf("got %v after %v in %d connections", got, time.Since(begun), len(*cursors))
		}
	})
}

// One that takes the connection and does not even begin its answer.
func TestASilentServerIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, cursors := script(stream, answer{body: message(1)}, answer{}, answer{body: message(2), hang: true})
		silent := func(w http.ResponseWriter, r *http.Request) {
			if len(*cursors) == 1 {
				*cursors = append(*cursors, "silent")
				<-r.Context().Done()
				return
			}
			handler(w, r)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if got, notices, err := followed(ctx, silent, adminclient.EventQuery{}, 2); !slices.Equal(got, []uint64{1, 2}) || notices != 2 {
			t.Errorf("got %v, %d notices, %v", got, notices, err)
		}
	})
}

func TestWaitsGrowAndShrink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := answer{status: 503, body: `{"detail":"not now"}`}
		answers := append([]answer{{body: message(1)}}, slices.Repeat([]answer{down}, 10)...)
		handler, _ := script(stream, append(answers, answer{body: message(2)}, answer{body: message(3), hang: true})...)
		var waits []time.Duration
		ctx, cancel := context.WithCancel(t.Context())
		_ = client(handler).Follow(ctx, adminclient.EventQuery{}, func(_ error, wait time.Duration) { waits = append(waits, wait) },
			func(e *adminclient.Event) error {
				if e.Sequence == 3 {
					cancel()
				}
				return nil
			})
		ms := time.Millisecond
		want := []time.Duration{100 * ms, 200 * ms, 400 * ms, 800 * ms, 1600 * ms, 3200 * ms, 6400 * ms, 10000 * ms, 10000 * ms, 10000 * ms, 10000 * ms, 100 * ms}
		if !slices.Equal(waits, want) {
			t.Errorf("waits %v, want %v", waits, want)
		}
	})
}

func TestSkippedEventsOfOtherKindsAreNotReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, cursors := script(stream, answer{body: message(3) + ": waiting\nid: 70\n\n"}, answer{body: message(90), hang: true})
		got, _, _ := followed(t.Context(), handler, adminclient.EventQuery{Kinds: []string{"v1.tag.moved"}}, 90)
		if !slices.Equal(got, []uint64{3, 90}) || !slices.Equal(*cursors, []string{"0", "70"}) {
			t.Errorf("got %v, from %q on", got, *cursors)
		}
	})
}

func TestALimitEndsAStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		handler, _ := script(stream, answer{body: message(1)}, answer{body: message(2) + message(3), hang: true})
		got, _, err := followed(t.Context(), handler, adminclient.EventQuery{Limit: 2}, 0)
		if !slices.Equal(got, []uint64{1, 2}) || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

func TestWhatNoNewConnectionHelpsAgainstEndsAStream(t *testing.T) {
	refused := answer{status: 409, body: `{"status":409,"code":"CURSOR_UNKNOWN","detail":"the log ends before"}`}
	cases := map[string]struct {
		answers []answer
		want    string
	}{
		"the first connection fails":  {[]answer{{status: 503, body: `{"detail":"not now"}`}}, "not now"},
		"the log has a hole":          {[]answer{{body: message(1) + message(3)}}, "after event 1 comes event 3"},
		"it is another log":           {[]answer{{log: "a", body: message(1)}, {log: "b", body: message(2)}}, "another store"},
		"the cursor is unknown later": {[]answer{{body: message(1)}, refused}, "the log ends before"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler, _ := script(stream, c.answers...)
				_, _, err := followed(t.Context(), handler, adminclient.EventQuery{}, 0)
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %q", err, c.want)
				}
			})
		})
	}
}

// whole is a message as this version sends it, of a log "0...".
func whole(n int, chain string) string {
	return fmt.Sprintf("id: %s\ndata: {\"sequence\":%d,\"kind\":\"v1.tag.moved\",\"chain\":\"%s\"}\n\n", cursor(n, chain), n, strings.Repeat(chain, 64))
}

var logID = strings.Repeat("0", 32)

func cursor(n int, chain string) string {
	return fmt.Sprintf("%s:%d:%s", logID, n, strings.Repeat(chain, 64))
}

// TestAStreamComesBackWithTheWholeCursor: it proves what the client has, also of
// what it was not sent.
func TestAStreamComesBackWithTheWholeCursor(t *testing.T) {
	refused := answer{log: logID, status: 409, body: `{"status":409,"code":"CURSOR_UNKNOWN","detail":"the log has diverged"}`}
	after, err := eventlog.ParseCursor(cursor(6, "f"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		query   adminclient.EventQuery
		answers []answer
		want    []string
	}{
		"all events":         {adminclient.EventQuery{}, []answer{{log: logID, body: whole(1, "a") + whole(2, "b")}}, []string{"0", cursor(2, "b")}},
		"from a cursor on":   {adminclient.EventQuery{After: after}, []answer{{log: logID, body: whole(7, "b")}}, []string{cursor(6, "f"), cursor(7, "b")}},
		"from a sequence on": {adminclient.EventQuery{After: eventlog.Cursor{Sequence: 6}}, []answer{{log: logID, body: ": waiting\nid: " + cursor(6, "c") + "\n\n"}}, []string{"6", cursor(6, "c")}},
		"of a kind":          {adminclient.EventQuery{Kinds: []string{"v1.tag.moved"}}, []answer{{log: logID, body: whole(3, "a") + ": waiting\nid: " + cursor(70, "d") + "\n\n"}}, []string{"0", cursor(70, "d")}},
		"an older server":    {adminclient.EventQuery{}, []answer{{log: logID, body: message(1)}}, []string{"0", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				handler, cursors := script(stream, append(c.answers, refused)...)
				_, _, err := followed(t.Context(), handler, c.query, 0)
				if err == nil || !strings.Contains(err.Error(), "the log has diverged") {
					t.Errorf("it ended with %v", err)
				}
				if !slices.Equal(*cursors, c.want) {
					t.Errorf("asked from %q on, want %q", *cursors, c.want)
				}
			})
		})
	}
}

func TestAnEventWithTheCursorOfAnotherIsNotHandedOn(t *testing.T) {
	good := whole(1, "a")
	for name, bad := range map[string]string{
		"another sequence": strings.Replace(good, ":1:", ":2:", 1),
		"another chain":    strings.Replace(good, ":1:a", ":1:b", 1),
		"another log":      strings.Replace(good, "id: 0", "id: 1", 1),
	} {
		synctest.Test(t, func(t *testing.T) {
			handler, cursors := script(stream, answer{log: logID, body: bad}, answer{log: logID, body: good, hang: true})
			got, notices, _ := followed(t.Context(), handler, adminclient.EventQuery{}, 1)
			if !slices.Equal(got, []uint64{1}) || notices != 1 || !slices.Equal(*cursors, []string{"0", "0"}) {
				t.Errorf("%s: got %v, %d notices, from %q on", name, got, notices, *cursors)
			}
		})
	}
}

func TestAnErrorOfTheConsumerEndsEverything(t *testing.T) {
	full := errors.New("no room")
	fail := func(*adminclient.Event) error { return full }
	streamed, _ := script(stream, answer{body: message(1), hang: true})
	if err := client(streamed).Follow(t.Context(), adminclient.EventQuery{}, nil, fail); err != full {
		t.Errorf("Follow: %v", err)
	}
	read, _ := script("application/x-ndjson", answer{body: event(1) + "\n"})
	if err := client(read).Events(t.Context(), adminclient.EventQuery{}, fail); err != full {
		t.Errorf("Events: %v", err)
	}
}

func TestEventsThatBreakOffSayWhere(t *testing.T) {
	for body, want := range map[string]uint64{
		event(1) + "\n" + event(2) + "\n" + event(3)[:20]: 2,
		event(1):                            0,
		event(1) + "\nno event\n":           1,
		event(1) + "\n{\"sequence\":\"2\"}": 1,
	} {
		handler, _ := script("application/x-ndjson", answer{body: body})
		got := uint64(0)
		err := client(handler).Events(t.Context(), adminclient.EventQuery{}, func(e *adminclient.Event) error {
			got = e.Sequence
			return nil
		})
		if cut, ok := errors.AsType[*adminclient.Cut](err); !ok || uint64(cut.After.Sequence) != want || got != want {
			t.Errorf("%q: after event %d: %v, want %d", body, got, err, want)
		}
	}
}

// TestLinesThatBreakOffLeaveAWholeCursor: it is made of the id of the log and what
// the event says.
func TestLinesThatBreakOffLeaveAWholeCursor(t *testing.T) {
	line := fmt.Sprintf(`{"sequence":1,"kind":"v1.tag.moved","chain":"%s"}`, strings.Repeat("a", 64))
	handler, _ := script("application/x-ndjson", answer{log: logID, body: line + "\n{"})
	err := client(handler).Events(t.Context(), adminclient.EventQuery{}, func(*adminclient.Event) error { return nil })
	if cut, ok := errors.AsType[*adminclient.Cut](err); !ok || cut.After.String() != cursor(1, "a") {
		t.Errorf("got %v", err)
	}
}

func TestALineWithoutEndIsRefused(t *testing.T) {
	for mediaType, prefix := range map[string]string{"application/x-ndjson": "", stream: "data: "} {
		handler := func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			_, err := io.WriteString(w, prefix)
			for sent := 0; err == nil && sent < 256<<20; sent += 1 << 20 {
				_, err = io.WriteString(w, strings.Repeat("x", 1<<20))
			}
		}
		var err error
		each := func(*adminclient.Event) error { return nil }
		if ctx, cancel := context.WithCancelCause(t.Context()); mediaType == stream {
			err = client(handler).Follow(ctx, adminclient.EventQuery{}, func(err error, _ time.Duration) { cancel(err) }, each)
		} else {
			err = client(handler).Events(ctx, adminclient.EventQuery{}, each)
			cancel(nil)
		}
		if err == nil || !strings.Contains(err.Error(), "longer than 32 MiB") {
			t.Errorf("%s: %v", mediaType, err)
		}
	}
}
