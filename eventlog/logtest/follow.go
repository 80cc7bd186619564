package logtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/eventlog"
)

func cursors(t *testing.T, l Log) {
	for _, name := range []string{"a", "b"} {
		done, err := l.Cursor(t.Context(), name)
		must(t, err)
		if done != (eventlog.Cursor{}) {
			t.Errorf("new cursor %s is %s", name, done)
		}
	}
	place := func(n byte) eventlog.Cursor {
		return eventlog.Cursor{Log: strings.Repeat("0", 31) + string('0'+n), Sequence: eventlog.Sequence(n), Chain: eventlog.Hash{n, 31: n}}
	}
	must(t, l.SetCursor(t.Context(), "a", place(7)))
	must(t, l.SetCursor(t.Context(), "b", place(8)))
	must(t, l.SetCursor(t.Context(), "c", eventlog.Cursor{Sequence: 3}))
	must(t, l.SetCursor(t.Context(), "a", place(9)))
	l.Reopen(t)
	for name, want := range map[string]eventlog.Cursor{"a": place(9), "b": place(8), "c": {Sequence: 3}} {
		done, err := l.Cursor(t.Context(), name)
		must(t, err)
		if done != want {
			t.Errorf("cursor %s is %s, want %s", name, done, want)
		}
	}
}

var errEnough = errors.New("enough")

// follow runs a follower until it has seen the event last, or until the
// handler fails, and returns the sequences that it saw.
func follow(t *testing.T, l Log, last eventlog.Sequence, handle func(eventlog.Sequence) error) []eventlog.Sequence {
	t.Helper()
	seen, err := run(t, l, last, handle)
	if !errors.Is(err, errEnough) && !errors.Is(err, context.Canceled) {
		t.Fatalf("the follower ended with %v", err)
	}
	return seen
}

// run is follow with the error that the follower ended with.
func run(t *testing.T, l Log, last eventlog.Sequence, handle func(eventlog.Sequence) error) (seen []eventlog.Sequence, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f := eventlog.Follower{Name: "test", Log: l, Cursors: l, Page: 4}
	err = f.Run(ctx, func(_ context.Context, e eventlog.Event) error {
		seen = append(seen, e.Sequence)
		if err := handle(e.Sequence); err != nil {
			return err
		}
		if e.Sequence == last {
			cancel()
		}
		return nil
	})
	return seen, err
}

// all is a handler that takes everything.
func all(eventlog.Sequence) error { return nil }

// stopped expects that a follower ended with ErrDiverged after some events.
func stopped(t *testing.T, seen []eventlog.Sequence, err error, first, last eventlog.Sequence) {
	t.Helper()
	expect(t, seen, first, last)
	if !errors.Is(err, eventlog.ErrDiverged) || !strings.Contains(err.Error(), "start anew") {
		t.Errorf("the follower ended with %v", err)
	}
}

func expect(t *testing.T, got []eventlog.Sequence, first, last eventlog.Sequence) {
	t.Helper()
	var want []eventlog.Sequence
	for s := first; s <= last; s++ {
		want = append(want, s)
	}
	if !slices.Equal(got, want) {
		t.Errorf("saw %v, want %v", got, want)
	}
}

func followAll(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 5))
	appended := make(chan error, 1)
	seen := follow(t, l, 11, func(s eventlog.Sequence) error {
		if s == 5 {
			go func() { appended <- l.Append(t.Context(), 6) }()
		}
		return nil
	})
	must(t, <-appended)
	expect(t, seen, 1, 11)
}

func followAgain(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 9))
	seen := follow(t, l, 9, func(s eventlog.Sequence) error {
		if s == 6 {
			return fmt.Errorf("cannot now: %w", errEnough)
		}
		return nil
	})
	expect(t, seen, 1, 6)
	expect(t, follow(t, l, 9, all), 6, 9)
}

func followReopen(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 4))
	expect(t, follow(t, l, 4, all), 1, 4)
	l.Reopen(t)
	must(t, l.Append(t.Context(), 2))
	expect(t, follow(t, l, 6, all), 5, 6)
}

func followCancelled(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 4))
	expect(t, follow(t, l, 2, all), 1, 2)
	done, err := l.Cursor(t.Context(), "test")
	must(t, err)
	page, err := l.Read(t.Context(), 1, 1)
	must(t, err)
	head, err := l.Head(t.Context())
	must(t, err)
	if want := (eventlog.Cursor{Log: head.Log, Sequence: 2, Chain: page[0].Chain}); done != want {
		t.Errorf("the cursor is %s, want %s", done, want)
	}
}

func findCursor(t *testing.T, l Log) {
	empty, err := l.Head(t.Context())
	must(t, err)
	must(t, l.Append(t.Context(), 3))
	head, err := l.Head(t.Context())
	must(t, err)
	want := []eventlog.Head{empty}
	for _, e := range readAll(t, l, 10) {
		want = append(want, eventlog.Head{Log: head.Log, Sequence: e.Sequence, Time: e.Time, Chain: e.Chain})
	}
	for _, h := range want {
		for _, c := range []eventlog.Cursor{h.Cursor(), {Sequence: h.Sequence}} {
			if got, err := c.Find(t.Context(), l); err != nil || got != h {
				t.Errorf("%s is %+v, %v", c, got, err)
			}
		}
	}
	for name, edit := range map[string]func(*eventlog.Cursor){
		"of another log":      func(c *eventlog.Cursor) { c.Log = strings.Repeat("f", 32) },
		"with another hash":   func(c *eventlog.Cursor) { c.Chain[31] ^= 1 },
		"behind the end":      func(c *eventlog.Cursor) { c.Sequence = 4 },
		"far behind the end":  func(c *eventlog.Cursor) { *c = eventlog.Cursor{Sequence: 1 << 62} },
		"of the event before": func(c *eventlog.Cursor) { c.Sequence = 1 },
		"before the first":    func(c *eventlog.Cursor) { c.Sequence = 0 },
	} {
		c := want[2].Cursor()
		edit(&c)
		if _, err := c.Find(t.Context(), l); !errors.Is(err, eventlog.ErrDiverged) {
			t.Errorf("a cursor %s gave %v", name, err)
		}
	}
}

func followOtherLog(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 4))
	head, err := l.Head(t.Context())
	must(t, err)
	cursor := head.Cursor()
	cursor.Log = strings.Repeat("f", 32)
	must(t, l.SetCursor(t.Context(), "test", cursor))
	must(t, l.Append(t.Context(), 1))
	seen, err := run(t, l, 5, all)
	stopped(t, seen, err, 1, 0)
	// An operator sets it back.
	must(t, l.SetCursor(t.Context(), "test", eventlog.Cursor{}))
	expect(t, follow(t, l, 5, all), 1, 5)
}

func followShorter(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 6))
	expect(t, follow(t, l, 6, all), 1, 6)
	l.Tamper(t, Restore, 4)
	seen, err := run(t, l, 6, all)
	stopped(t, seen, err, 1, 0)
}

func followRegrown(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 6))
	expect(t, follow(t, l, 6, all), 1, 6)
	l.Tamper(t, Restore, 4)
	for _, n := range []int{3, 4} { // up to the cursor, and past it
		must(t, l.Append(t.Context(), n))
		seen, err := run(t, l, 10, all)
		stopped(t, seen, err, 1, 0)
	}
	verify(t, l, 10)
}

func followRestored(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 6))
	expect(t, follow(t, l, 3, all), 1, 3)
	l.Tamper(t, Restore, 4)
	must(t, l.Append(t.Context(), 2))
	expect(t, follow(t, l, 5, all), 4, 5)
}

// followReplaced restores the log while a page of 4 events is handled. The
// follower has the rest of that page, and nothing of the next.
func followReplaced(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 8))
	seen, err := run(t, l, 9, func(s eventlog.Sequence) error {
		if s == 3 {
			l.Tamper(t, Restore, 2)
			return l.Append(t.Context(), 8)
		}
		return nil
	})
	stopped(t, seen, err, 1, 4)
	seen, err = run(t, l, 9, all)
	stopped(t, seen, err, 1, 0)
}

// followCut is followReplaced with a log that has not gone on.
func followCut(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 8))
	seen, err := run(t, l, 9, func(s eventlog.Sequence) error {
		if s == 3 {
			l.Tamper(t, Restore, 2)
		}
		if s == 4 { // there is something to wake it, not enough to go on with
			return errors.Join(l.Append(t.Context(), 2), errEnough)
		}
		return nil
	})
	if !errors.Is(err, errEnough) {
		t.Fatalf("the follower ended with %v", err)
	}
	expect(t, seen, 1, 4)
	seen, err = run(t, l, 9, all)
	stopped(t, seen, err, 1, 0)
}

// followTampered edits the event 4 of 8: a follower has the three before it.
func followTampered(t *testing.T, l Log, edit Edit) {
	for range 4 {
		must(t, l.Append(t.Context(), 2))
	}
	l.Tamper(t, edit, 4)
	seen, err := run(t, l, 8, all)
	expect(t, seen, 1, 3)
	fault := new(eventlog.Fault)
	if !errors.As(err, &fault) || fault.Sequence != 4 || errors.Is(err, eventlog.ErrDiverged) {
		t.Errorf("the follower ended with %v", err)
	}
}
