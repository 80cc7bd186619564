package eventlog_test

import (
	"context"
	"encoding/hex"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/eventlog/logtest"
)

// memory is a log in memory, for the suite to prove itself on.
type memory struct {
	*eventlog.Signal
	mu      sync.Mutex
	head    eventlog.Head
	events  []eventlog.Event
	cursors map[string]eventlog.Cursor
	now     time.Time
	made    int
}

func openMemory(*testing.T) logtest.Log {
	return &memory{
		Signal: new(eventlog.Signal), head: eventlog.Origin(strings.Repeat("0", 32)),
		cursors: map[string]eventlog.Cursor{}, now: time.UnixMicro(1),
	}
}

func (m *memory) Head(context.Context) (eventlog.Head, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.head, nil
}

func (m *memory) Read(_ context.Context, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i, _ := slices.BinarySearchFunc(m.events, after+1, func(e eventlog.Event, s eventlog.Sequence) int {
		return int(e.Sequence) - int(s)
	})
	return slices.Clone(m.events[i:min(i+limit, len(m.events))]), nil
}

func (m *memory) Cursor(_ context.Context, name string) (eventlog.Cursor, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.cursors[name], nil
}

func (m *memory) SetCursor(_ context.Context, name string, done eventlog.Cursor) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.cursors[name] = done
	return nil
}

func (m *memory) append(n int, commit bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	head, events := m.head, m.events
	for range n {
		e := sample()
		m.made++
		e.ID = hex.EncodeToString([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, byte(m.made >> 8), byte(m.made)})
		e.Time = m.now.UnixMicro()
		var err error
		if head, err = head.Seal(&e); err != nil {
			return err
		}
		events = append(events, e)
	}
	if commit {
		m.head, m.events = head, events
		m.Announce(head.Sequence)
	}
	return nil
}

func (m *memory) Append(_ context.Context, n int) error { return m.append(n, true) }
func (m *memory) Abort(_ context.Context, n int) error  { return m.append(n, false) }
func (m *memory) SetTime(now time.Time)                 { m.now = now }
func (m *memory) Reopen(*testing.T)                     {}

func (m *memory) Tamper(_ *testing.T, edit logtest.Edit, at eventlog.Sequence) {
	e := &m.events[at-1]
	switch edit {
	case logtest.ChangePayload:
		e.Payload = append(slices.Clone(e.Payload), 0)
	case logtest.ChangeSubject:
		e.Subject += "x"
	case logtest.ChangeActor:
		e.Actor += "x"
	case logtest.ChangeTime:
		e.Time++
	case logtest.ChangePrivate:
		e.Private = append(slices.Clone(e.Private), 0)
	case logtest.ChangeChain:
		e.Chain[31] ^= 1
	case logtest.ErasePrivate:
		e.Private = nil
	case logtest.Drop:
		m.events = slices.Delete(m.events, int(at-1), int(at))
	case logtest.Swap:
		m.events[at-1], m.events[at] = m.events[at], m.events[at-1]
		m.events[at-1].Sequence, m.events[at].Sequence = at, at+1
	case logtest.Cut:
		m.events = m.events[:at-1]
	case logtest.Restore:
		m.events = m.events[:at-1]
		last := m.events[at-2]
		m.head.Sequence, m.head.Time, m.head.Chain = last.Sequence, last.Time, last.Chain
	}
}

func TestMemoryLog(t *testing.T) { logtest.Run(t, openMemory) }

func sample() eventlog.Event {
	return eventlog.Event{
		ID: "000102030405060708090a0b0c0d0e0f", Time: 1_800_000_000_000_000,
		Kind: "v1.tag.moved", Subject: "library/demo:latest", Actor: "anonymous", Request: "r-1",
		Payload: []byte{0xa1, 0x61, 'a', 1}, Private: []byte{0xa0},
	}
}

// TestRecordBytes keeps the bytes of a record and the running hash over it:
// both are in every log that was ever written.
func TestRecordBytes(t *testing.T) {
	e := sample()
	head, err := eventlog.Origin("00112233445566778899aabbccddeeff").Seal(&e)
	if err != nil {
		t.Fatal(err)
	}
	record, err := e.Record()
	if err != nil {
		t.Fatal(err)
	}
	got := "record " + hex.EncodeToString(record) + "\n" +
		"origin " + eventlog.Origin(head.Log).Chain.String() + "\n" +
		"chain  " + head.Chain.String() + "\n"
	golden := filepath.Join("testdata", "record.txt")
	if os.Getenv("UPDATE_GOLDEN") != "" {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the format of records changed:\n%s\nwant\n%s", got, want)
	}
}

func TestHeadAgreesWithTheLog(t *testing.T) {
	l := openMemory(t).(*memory)
	if err := l.Append(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	good := l.head
	for _, c := range []struct {
		name string
		edit func(h *eventlog.Head)
		want eventlog.Sequence
	}{
		{"an older head", func(h *eventlog.Head) { h.Sequence-- }, 4},
		{"a newer head", func(h *eventlog.Head) { h.Sequence++ }, 6},
		{"another running hash", func(h *eventlog.Head) { h.Chain[0] ^= 1 }, 5},
		{"another time", func(h *eventlog.Head) { h.Time++ }, 5},
		{"another log", func(h *eventlog.Head) { h.Log = strings.Repeat("1", 32) }, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			l.head = good
			c.edit(&l.head)
			_, err := eventlog.Verify(t.Context(), l)
			fault := new(eventlog.Fault)
			if !errors.As(err, &fault) || fault.Sequence != c.want {
				t.Errorf("got %v, want a fault at %d", err, c.want)
			}
		})
	}
}

// TestFollowerSleeps proves that a follower which has seen everything does
// nothing until there is more: time stands still in the bubble unless all
// goroutines are blocked for good.
func TestFollowerSleeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := openMemory(t)
		seen := make(chan eventlog.Sequence, 10)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			f := eventlog.Follower{Name: "f", Log: l, Cursors: l}
			ended <- f.Run(ctx, func(_ context.Context, e eventlog.Event) error { seen <- e.Sequence; return nil })
		}()
		for want := eventlog.Sequence(1); want <= 3; want++ {
			synctest.Wait()
			select {
			case s := <-seen:
				t.Fatalf("saw %d before it was there", s)
			default:
			}
			if err := l.Append(ctx, 1); err != nil {
				t.Fatal(err)
			}
			if s := <-seen; s != want {
				t.Fatalf("saw %d, want %d", s, want)
			}
		}
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("the follower ended with %v", err)
		}
	})
}

type brokenCursors struct{ err error }

func (b brokenCursors) Cursor(context.Context, string) (eventlog.Cursor, error) {
	return eventlog.Cursor{}, nil
}
func (b brokenCursors) SetCursor(context.Context, string, eventlog.Cursor) error { return b.err }

func TestFollowerEndsWhenItsCursorCannotBeKept(t *testing.T) {
	l := openMemory(t)
	if err := l.Append(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	cause := errors.New("disk")
	f := eventlog.Follower{Name: "f", Log: l, Cursors: brokenCursors{cause}}
	err := f.Run(t.Context(), func(context.Context, eventlog.Event) error { return nil })
	if !errors.Is(err, cause) {
		t.Errorf("the follower ended with %v", err)
	}
}

// TestFollowerOfALogThatIsCutBehindItsBack: Wait goes on to tell of events that
// are not there any more.
func TestFollowerOfALogThatIsCutBehindItsBack(t *testing.T) {
	for at, want := range map[eventlog.Sequence]string{3: "diverged", 5: "context canceled"} {
		synctest.Test(t, func(t *testing.T) {
			l := openMemory(t)
			if err := l.Append(t.Context(), 6); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			f := eventlog.Follower{Name: "f", Log: l, Cursors: l, Page: 4}
			var seen eventlog.Sequence
			ended := make(chan error)
			go func() {
				ended <- f.Run(ctx, func(_ context.Context, e eventlog.Event) error {
					if seen = e.Sequence; seen == 4 {
						l.Tamper(t, logtest.Restore, at)
					}
					return nil
				})
			}()
			time.Sleep(time.Hour) // it must not spin: time would stand still
			cancel()
			if err := <-ended; err == nil || !strings.Contains(err.Error(), want) || seen != 4 {
				t.Errorf("restored before %d it saw %d and ended with %v", at, seen, err)
			}
		})
	}
}

func TestTextOfCursors(t *testing.T) {
	log, chain := strings.Repeat("0f", 16), eventlog.Hash{0: 0xab, 31: 0xcd}
	hexChain := "ab" + strings.Repeat("0", 60) + "cd"
	for text, want := range map[string]eventlog.Cursor{
		"":                      {},
		"0":                     {},
		"12":                    {Sequence: 12},
		log + ":12:" + hexChain: {Log: log, Sequence: 12, Chain: chain},
		log + ":0:" + hexChain:  {Log: log, Chain: chain},
		"9223372036854775807":   {Sequence: 1<<63 - 1},
	} {
		got, err := eventlog.ParseCursor(text)
		if err != nil || got != want || text != "" && got.String() != text {
			t.Errorf("%q is %+v, %v, and again %s", text, got, err, got)
		}
	}
	for _, text := range []string{
		"-1", "+1", "x", "1 ", ":", "::", "12:", ":12:" + hexChain, log, log + ":", log + ":12", log + ":12:", log + ":x:" + hexChain,
		log + ":12:" + hexChain[1:], log + ":12:" + hexChain + "0", log + ":012:" + hexChain, log + ":+1:" + hexChain, log + "::" + hexChain,
		strings.ToUpper(log) + ":12:" + hexChain, log + ":12:" + strings.ToUpper(hexChain), log[1:] + ":12:" + hexChain, log + ":12:" + hexChain + ":",
		log + ":9223372036854775808:" + hexChain, "9223372036854775808", "18446744073709551616",
	} {
		if got, err := eventlog.ParseCursor(text); err == nil || got != (eventlog.Cursor{}) {
			t.Errorf("%q is %+v, %v", text, got, err)
		}
	}
}

func FuzzParseCursor(f *testing.F) {
	f.Add("12")
	f.Add(strings.Repeat("0", 32) + ":12:" + strings.Repeat("a", 64))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := eventlog.ParseCursor(text)
		if err != nil {
			return
		}
		if again, err := eventlog.ParseCursor(c.String()); err != nil || again != c {
			t.Errorf("%q is %+v, and %s is %+v, %v", text, c, c, again, err)
		}
	})
}
