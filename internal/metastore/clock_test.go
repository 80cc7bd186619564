package metastore_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// hands are the clock of one or more nodes, set by a test.
type hands struct {
	mu  sync.Mutex
	now time.Time
}

func (h *hands) Now() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.now
}

func (h *hands) turn(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.now = h.now.Add(d)
}

// start is when the clocks begin.
var start = time.Unix(1_700_000_000, 0).UTC()

func newHands() *hands { return &hands{now: start} }

// trusts expects what is trusted, by those who read and by those who decide.
func (s *store) trusts(t *testing.T, want time.Time) {
	t.Helper()
	look := func(who string, v registry.View) {
		t.Helper()
		got, err := v.Trusted()
		must(t, err)
		if !got.Equal(want) {
			t.Errorf("%s trust %v, want %v", who, got.Sub(start), want.Sub(start))
		}
	}
	s.read(t, func(v registry.View) error { look("those who read", v); return nil })
	must(t, s.Update(context.Background(), caller, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
		look("those who decide", v)
		return nil, nil
	}))
}

// kinds expects the kinds of the last events, after a sequence; it returns the head.
func (s *store) kinds(t *testing.T, after eventlog.Sequence, want ...string) eventlog.Sequence {
	t.Helper()
	events, err := s.Events().Read(t.Context(), after, 100)
	must(t, err)
	var got []string
	for _, e := range events {
		got = append(got, string(e.Kind))
		after = e.Sequence
	}
	if len(got) != len(want) {
		t.Fatalf("events %q, want %q", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("events %q, want %q", got, want)
		}
	}
	return after
}

func (s *store) beat(t *testing.T) {
	t.Helper()
	s.update(t, &registry.Change{Working: registry.Working{Heartbeat: true}})
}

func (s *store) make(t *testing.T, name string) {
	t.Helper()
	s.update(t, facts(&fact.RepositoryCreated{Repository: name}))
}

const (
	created   = fact.KindRepositoryCreated
	jumped    = fact.KindClockJumped
	confirmed = fact.KindClockConfirmed
)

func clocked(t *testing.T) (*store, *hands) {
	h := newHands()
	s := create(t, metastore.Options{Now: h.Now})
	t.Cleanup(func() { s.check(t) })
	return s, h
}

func TestAClockThatIsWatchedIsTrusted(t *testing.T) {
	s, h := clocked(t)
	s.trusts(t, start) // there is nothing before it
	h.turn(48 * time.Hour)
	s.beat(t) // nor now
	s.make(t, "a")
	head := s.kinds(t, 0, created)
	for range 3 {
		h.turn(24 * time.Hour) // as far as it may go
		s.beat(t)
		s.trusts(t, h.Now())
	}
	s.make(t, "b")
	s.kinds(t, head, created)
}

func TestAJumpOfTheClockStopsIt(t *testing.T) {
	for name, first := range map[string]func(t *testing.T, s *store){
		"a push sees it first":      func(t *testing.T, s *store) { s.make(t, "b") },
		"a heartbeat sees it first": func(t *testing.T, s *store) { s.beat(t); s.make(t, "b") },
		"a read sees it first":      func(t *testing.T, s *store) { s.trusts(t, start); s.make(t, "b") },
	} {
		t.Run(name, func(t *testing.T) {
			s, h := clocked(t)
			s.make(t, "a")
			h.turn(24*time.Hour + time.Microsecond)
			first(t, s)
			head := s.kinds(t, 1, jumped, created)
			s.read(t, func(v registry.View) error {
				jump, err := v.ClockJump()
				if jump == nil || !jump.Since.Equal(start) || !jump.Until.Equal(h.Now()) || jump.Sequence != 2 {
					t.Errorf("%+v, %v", jump, err)
				}
				return err
			})
			s.trusts(t, start)
			h.turn(time.Hour)
			s.beat(t)
			s.make(t, "c")
			s.trusts(t, start)
			h.turn(72 * time.Hour) // once more: nothing is believed since the first
			s.make(t, "d")
			head = s.kinds(t, head, created, jumped, created)
			s.trusts(t, start)

			s.update(t, facts(&fact.ClockConfirmed{At: h.Now().UnixMicro()}))
			s.trusts(t, h.Now())
			h.turn(time.Hour)
			s.trusts(t, h.Now())
			s.make(t, "e")
			s.kinds(t, head, confirmed, created)
		})
	}
}

// TestAConfirmationComesAfterTheJump, when it is what sees the jump first.
func TestAConfirmationComesAfterTheJump(t *testing.T) {
	s, h := clocked(t)
	s.make(t, "a")
	h.turn(48 * time.Hour)
	s.update(t, facts(&fact.ClockConfirmed{At: h.Now().UnixMicro()}))
	s.kinds(t, 1, jumped, confirmed)
	s.trusts(t, h.Now())
}

// TestAClockThatWasSetBackIsTrusted: the time of events does not go back, and stands
// still until the clock is there again; nothing ends early by it.
func TestAClockThatWasSetBackIsTrusted(t *testing.T) {
	s, h := clocked(t)
	s.make(t, "a")
	h.turn(48 * time.Hour)
	s.make(t, "b")
	h.turn(-48*time.Hour + time.Minute) // it was wrong
	s.trusts(t, start)
	s.update(t, facts(&fact.ClockConfirmed{At: h.Now().UnixMicro()}))
	s.trusts(t, h.Now())
	s.make(t, "c")
	h.turn(47 * time.Hour)
	s.trusts(t, h.Now())
	h.turn(20 * time.Hour)
	s.make(t, "d")
	s.kinds(t, 1, jumped, created, confirmed, created, created)
	s.trusts(t, h.Now())
	h.turn(-time.Hour) // without any jump
	s.trusts(t, h.Now())
}

// TestAServerThatWasOffIsAJump: nobody has watched the clock.
func TestAServerThatWasOffIsAJump(t *testing.T) {
	s, h := clocked(t)
	s.make(t, "a")
	h.turn(20 * time.Hour)
	s.beat(t)
	must(t, s.Close())
	h.turn(7 * 24 * time.Hour)
	s.open(t)
	s.trusts(t, start.Add(20*time.Hour))
	s.beat(t)
	s.kinds(t, 1, jumped)
	s.trusts(t, start.Add(20*time.Hour))
}

// TestTheHeadIsThatOfTheBatch: a decision sees what was decided before it.
func TestTheHeadIsThatOfTheBatch(t *testing.T) {
	s, _ := clocked(t)
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			var head eventlog.Sequence
			err := s.Update(context.Background(), caller, registry.Keys{}, func(v registry.View) (_ *registry.Change, err error) {
				head, err = v.Head()
				return facts(&fact.RepositoryCreated{Repository: "a" + string(rune('a'+head))}), err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	s.read(t, func(v registry.View) error {
		if all, err := v.RepositoryPage("", 100); err != nil || len(all) != 20 {
			t.Errorf("%d repositories, %v", len(all), err)
		}
		return nil
	})
}

func TestSharedClock(t *testing.T) {
	t.Parallel()
	server, h := harness.StartPostgres(t), newHands()
	a := join(t, server, node{Node: metastore.Node{Name: "a"}, Options: metastore.Options{Now: h.Now}})
	b := join(t, server, node{Node: metastore.Node{Name: "b"}, Options: metastore.Options{Now: h.Now}})
	a.make(t, "a")
	for range 3 { // one of them is enough
		h.turn(20 * time.Hour)
		b.beat(t)
	}
	seen := h.Now()
	a.trusts(t, seen)
	a.make(t, "b")
	h.turn(48 * time.Hour)
	a.trusts(t, seen)
	b.make(t, "c")
	a.make(t, "d")
	a.kinds(t, 2, jumped, created, created)
	a.trusts(t, seen)
	b.trusts(t, seen)
	b.update(t, facts(&fact.ClockConfirmed{At: h.Now().UnixMicro()}))
	a.trusts(t, h.Now())
	b.trusts(t, h.Now())
}
