// Package logtest is the suite that every implementation of the event log
// passes.
package logtest

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"artifactstore/eventlog"
)

// Log is a log under test, together with what the suite needs to work on it.
type Log interface {
	eventlog.Reader
	eventlog.Cursors
	// Append commits n events at once. It may be called concurrently.
	Append(ctx context.Context, n int) error
	// Abort begins to commit n events and fails before the commit, when some
	// of them were written already. It returns nil if that is what happened.
	Abort(ctx context.Context, n int) error
	// SetTime sets the clock that events take their time from.
	SetTime(now time.Time)
	// Reopen closes the log and opens it as a new process would.
	Reopen(t *testing.T)
	// Tamper changes what is stored, behind the log's back.
	Tamper(t *testing.T, edit Edit, at eventlog.Sequence)
}

// Edit is a way to change what is stored.
type Edit string

// The edits.
const (
	ChangePayload Edit = "change the payload"
	ChangeSubject Edit = "change the subject"
	ChangeActor   Edit = "change the actor"
	ChangeTime    Edit = "make the time later by 1 µs"
	ChangePrivate Edit = "change the private part"
	ChangeChain   Edit = "change the running hash"
	ErasePrivate  Edit = "erase the private part" // which is no fault
	Drop          Edit = "drop the event"
	Swap          Edit = "swap the event with the next one"
	Cut           Edit = "cut the log before the event"
	// Restore makes the log what it was before the event, from where it goes
	// on; at is never 1. It may be called while the log is followed, on the
	// goroutine of the handler.
	Restore Edit = "restore the log as it was before the event"
)

// faults has the edits that Verify must find.
var faults = []Edit{
	ChangePayload, ChangeSubject, ChangeActor, ChangeTime, ChangePrivate, ChangeChain, Drop, Swap, Cut,
}

// Run runs the suite on logs that open returns, each of them new and empty.
func Run(t *testing.T, open func(t *testing.T) Log) {
	for _, c := range []struct {
		name string
		test func(t *testing.T, l Log)
	}{
		{"an empty log has a head and no events", emptyLog},
		{"events are gapless and verify", gapless},
		{"pages go on after a cursor", pages},
		{"time never runs backwards", monotonicTime},
		{"a change that fails leaves no hole", noHole},
		{"concurrent writers leave no hole", concurrent},
		{"reopening goes on with the same log", reopen},
		{"Wait returns at once for what is there", waitPresent},
		{"Wait is woken by a commit", waitWoken},
		{"Wait gives up with its context", waitGivesUp},
		{"cursors are kept by name", cursors},
		{"a follower sees every event once and in order", followAll},
		{"a follower gets an event again that its handler failed on", followAgain},
		{"a follower goes on where it was in another process", followReopen},
		{"a follower that ends has remembered what was done", followCancelled},
		{"a cursor finds its place", findCursor},
		{"a follower stops at another log", followOtherLog},
		{"a follower stops when it is ahead of its log", followShorter},
		{"a follower stops at a log that was restored and has gone on", followRegrown},
		{"a follower goes on after a restore that lost nothing of what it saw", followRestored},
		{"a follower stops when its log is replaced meanwhile", followReplaced},
		{"a follower stops when its log is cut meanwhile", followCut},
		{"an erased private part is no fault", erased},
	} {
		t.Run(c.name, func(t *testing.T) { c.test(t, open(t)) })
	}
	for _, edit := range faults {
		t.Run("found: "+string(edit), func(t *testing.T) { tampered(t, open(t), edit) })
		t.Run("not followed: "+string(edit), func(t *testing.T) { followTampered(t, open(t), edit) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readAll reads the whole log by pages and checks that it is gapless.
func readAll(t *testing.T, l Log, limit int) []eventlog.Event {
	t.Helper()
	var all []eventlog.Event
	for {
		page, err := l.Read(t.Context(), eventlog.Sequence(len(all)), limit)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		if len(page) > limit {
			t.Fatalf("page of %d events, the limit is %d", len(page), limit)
		}
		for _, e := range page {
			if e.Sequence != eventlog.Sequence(len(all)+1) {
				t.Fatalf("event %d follows %d", e.Sequence, len(all))
			}
			all = append(all, e)
		}
	}
}

// verify checks the log and its length.
func verify(t *testing.T, l Log, length int) {
	t.Helper()
	head, err := eventlog.Verify(t.Context(), l)
	must(t, err)
	if head.Sequence != eventlog.Sequence(length) {
		t.Fatalf("the log ends with %d, want %d", head.Sequence, length)
	}
}

func emptyLog(t *testing.T, l Log) {
	head, err := l.Head(t.Context())
	must(t, err)
	if len(head.Log) != 32 {
		t.Errorf("log id %q does not have 32 digits", head.Log)
	}
	if head != eventlog.Origin(head.Log) {
		t.Errorf("head %+v is not the origin of its log", head)
	}
	if all := readAll(t, l, 10); len(all) != 0 {
		t.Errorf("%d events in an empty log", len(all))
	}
	verify(t, l, 0)
}

func gapless(t *testing.T, l Log) {
	for range 5 {
		must(t, l.Append(t.Context(), 3))
	}
	all := readAll(t, l, 100)
	if len(all) != 15 {
		t.Fatalf("%d events, want 15", len(all))
	}
	ids := map[string]bool{}
	for _, e := range all {
		if len(e.ID) != 32 || ids[e.ID] {
			t.Errorf("event %d: id %q is no new one of 32 digits", e.Sequence, e.ID)
		}
		ids[e.ID] = true
	}
	head, err := l.Head(t.Context())
	must(t, err)
	last := all[len(all)-1]
	if want := (eventlog.Head{Log: head.Log, Sequence: 15, Time: last.Time, Chain: last.Chain}); head != want {
		t.Errorf("head %+v, want %+v", head, want)
	}
	verify(t, l, 15)
}

func pages(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 10))
	for _, limit := range []int{1, 3, 10, 11} {
		if all := readAll(t, l, limit); len(all) != 10 {
			t.Errorf("pages of %d: %d events, want 10", limit, len(all))
		}
	}
	page, err := l.Read(t.Context(), 1000, 10)
	must(t, err)
	if len(page) != 0 {
		t.Errorf("%d events after the end", len(page))
	}
}

func monotonicTime(t *testing.T, l Log) {
	start := time.UnixMicro(1_800_000_000_000_000).UTC()
	for _, offset := range []time.Duration{0, time.Second, -time.Hour, time.Microsecond, time.Minute} {
		l.SetTime(start.Add(offset))
		must(t, l.Append(t.Context(), 2))
	}
	var times []int64
	for _, e := range readAll(t, l, 100) {
		times = append(times, e.Time-start.UnixMicro())
	}
	want := []int64{0, 0, 1e6, 1e6, 1e6, 1e6, 1e6, 1e6, 60e6, 60e6}
	if !slices.Equal(times, want) {
		t.Errorf("times %v, want %v", times, want)
	}
}

func noHole(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 2))
	for range 3 {
		must(t, l.Abort(t.Context(), 4))
		must(t, l.Append(t.Context(), 1))
	}
	readAll(t, l, 2)
	verify(t, l, 5)
}

func concurrent(t *testing.T, l Log) {
	const writers, rounds = 8, 20
	errs := make(chan error, writers)
	for w := range writers {
		go func() {
			var err error
			for i := 0; i < rounds && err == nil; i++ {
				if (w+i)%5 == 0 {
					err = l.Abort(t.Context(), 2)
				} else {
					err = l.Append(t.Context(), 1+i%3)
				}
			}
			errs <- err
		}()
	}
	want := 0
	for w := range writers {
		must(t, <-errs)
		for i := range rounds {
			if (w+i)%5 != 0 {
				want += 1 + i%3
			}
		}
	}
	readAll(t, l, 50)
	verify(t, l, want)
}

func reopen(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 4))
	before, err := l.Head(t.Context())
	must(t, err)
	l.Reopen(t)
	after, err := l.Head(t.Context())
	must(t, err)
	if before != after {
		t.Fatalf("head %+v became %+v", before, after)
	}
	must(t, l.Append(t.Context(), 4))
	verify(t, l, 8)
}

func waitPresent(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 3))
	must(t, l.Wait(t.Context(), 2))
	l.Reopen(t)
	must(t, l.Wait(t.Context(), 0))
}

func waitWoken(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 1))
	var waiting sync.WaitGroup
	errs := make(chan error, 8)
	for range 8 {
		waiting.Go(func() { errs <- l.Wait(t.Context(), 1) })
	}
	must(t, l.Append(t.Context(), 1))
	waiting.Wait()
	for range 8 {
		must(t, <-errs)
	}
}

func waitGivesUp(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 1))
	ctx, cancel := context.WithCancel(t.Context())
	got := make(chan error, 1)
	go func() { got <- l.Wait(ctx, 1) }()
	cancel()
	if err := <-got; !errors.Is(err, context.Canceled) {
		t.Errorf("Wait gave %v", err)
	}
}

func erased(t *testing.T, l Log) {
	must(t, l.Append(t.Context(), 4))
	l.Tamper(t, ErasePrivate, 2)
	all := readAll(t, l, 10)
	if len(all[1].Private) != 0 {
		t.Error("the private part is still there")
	}
	verify(t, l, 4)
}

// tampered edits the event 4 of 8 and expects to be told so.
func tampered(t *testing.T, l Log, edit Edit) {
	for range 4 {
		must(t, l.Append(t.Context(), 2))
	}
	l.Tamper(t, edit, 4)
	_, err := eventlog.Verify(t.Context(), l)
	fault := new(eventlog.Fault)
	if !errors.As(err, &fault) {
		t.Fatalf("verify gave %v", err)
	}
	if fault.Sequence != 4 {
		t.Errorf("the fault is %v, want it at 4", fault)
	}
}
