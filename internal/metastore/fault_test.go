package metastore_test

import (
	"errors"
	"fmt"
	"syscall"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestEveryFailedOperationIsToldNotHidden fails the n-th write, flush or
// truncation, for n = 1, 2, ... until none is left to fail, once and for good.
// What was acknowledged must be there when the store is opened again, and what
// was refused for certain must not.
func TestEveryFailedOperationIsToldNotHidden(t *testing.T) {
	for _, sticky := range []bool{false, true} {
		step := 1
		if sticky {
			step = 7
		}
		if underRace {
			step = 11
		}
		for n := 1; ; n += step {
			d := newDisk(t)
			s := createOn(t, d)
			s.update(t, facts(&fact.RepositoryCreated{Repository: "before"}))
			d.fail(n, sticky, syscall.EIO)
			outcome := map[string]error{}
			for i := range 3 {
				name := fmt.Sprintf("r%d", i)
				// The content is large enough to reach the disk in several writes.
				c := layer(name, name+repeat("x", 5_000))
				c.Entries = append([]registry.Entry{{Fact: &fact.RepositoryCreated{Repository: name}}}, c.Entries...)
				outcome[name] = s.try(c)
			}
			what, healthy := d.failed, s.Healthy() == nil
			d.fail(0, false, nil)
			_ = s.Close()
			s.open(t)
			t.Run(fmt.Sprintf("%d sticky=%v %s", n, sticky, what), func(t *testing.T) {
				verifyOutcomes(t, s, outcome)
				if failed := count(outcome); failed > 0 && healthy {
					t.Errorf("%d changes failed and the store thinks that it is healthy", failed)
				}
				s.check(t)
			})
			must(t, s.Close())
			if what == "" {
				if n < 5 {
					t.Errorf("only %d operations", n)
				}
				break
			}
		}
	}
}

func count(outcome map[string]error) (failed int) {
	for _, err := range outcome {
		if err != nil {
			failed++
		}
	}
	return failed
}

func verifyOutcomes(t *testing.T, s *store, outcome map[string]error) {
	t.Helper()
	s.read(t, func(v registry.View) error {
		for name, told := range outcome {
			exists, err := v.RepositoryExists(name)
			must(t, err)
			switch {
			case told == nil && !exists:
				t.Errorf("%s was acknowledged and is lost", name)
			case told != nil && exists && !errors.Is(told, registry.ErrUnknown):
				t.Errorf("%s was refused (%v) and is there", name, told)
			case told != nil && !errors.Is(told, fact.ErrBroken) && !errors.Is(told, registry.ErrUnknown):
				t.Errorf("%s was refused with %v", name, told)
			}
		}
		return nil
	})
}

func TestFailedFlushStopsTheStore(t *testing.T) {
	d := newDisk(t)
	s := createOn(t, d)
	populated(t, s)
	for n := 1; d.failed != "flush the WAL"; n++ {
		must(t, s.Healthy())
		// Look for the flush among the operations of a commit.
		d.fail(n, false, syscall.EIO)
		err := s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%d", n)}))
		if d.failed == "" {
			t.Fatal("a commit without a flush")
		}
		if d.failed == "flush the WAL" {
			if !errors.Is(err, registry.ErrUnknown) {
				t.Errorf("the commit gave %v", err)
			}
			break
		}
		must(t, s.Close())
		s.open(t)
	}
	if err := s.Healthy(); !errors.Is(err, fact.ErrBroken) {
		t.Errorf("healthy: %v", err)
	}
	// The disk works again, but what it lost cannot be known.
	if err := s.try(facts(&fact.RepositoryCreated{Repository: "later"})); !errors.Is(err, fact.ErrBroken) || errors.Is(err, registry.ErrUnknown) {
		t.Errorf("a later change gave %v", err)
	}
	s.read(t, func(v registry.View) error {
		exists, err := v.RepositoryExists("demo")
		if !exists {
			t.Error("what was there before cannot be read")
		}
		return err
	})
	_ = s.Close()
	s.open(t)
	if !s.UncleanStart() {
		t.Error("the start is clean")
	}
	s.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
}

func TestFullDiskRefusesAndRecovers(t *testing.T) {
	d := newDisk(t)
	s := createOn(t, d)
	populated(t, s)
	d.fail(1, true, syscall.ENOSPC)
	for i := range 3 {
		err := s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprintf("full%d", i)}))
		if !errors.Is(err, fact.ErrFull) || errors.Is(err, registry.ErrUnknown) {
			t.Fatalf("got %v", err)
		}
	}
	must(t, s.Healthy())
	d.fail(0, false, nil)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "again"}))
	s.reopen(t)
	s.read(t, func(v registry.View) error {
		for name, want := range map[string]bool{"again": true, "full0": false, "full1": false, "full2": false} {
			if exists, err := v.RepositoryExists(name); err != nil || exists != want {
				t.Errorf("%s: %v, %v", name, exists, err)
			}
		}
		return nil
	})
	s.check(t)
}

func TestEventsAreFlushedAndSessionsAreNot(t *testing.T) {
	d := newDisk(t)
	s := createOn(t, d)
	populated(t, s)
	session := func() *registry.Change {
		return &registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen}}}
	}
	durable := session()
	durable.Durable = true
	for _, c := range []struct {
		name   string
		change *registry.Change
		want   int
	}{
		{"an event", facts(tag("demo", "a", "image")), 1},
		{"another event", facts(tag("demo", "b", "image")), 1},
		{"a session", session(), 0},
		{"another session", session(), 0},
		{"a durable session", durable, 1},
		{"a session after it", session(), 0},
		{"an event after a session", facts(tag("demo", "c", "image")), 1},
		{"nothing", new(registry.Change), 0},
	} {
		before, _ := d.state()
		s.update(t, c.change)
		after, pending := d.state()
		if after-before != c.want {
			t.Errorf("%s: %d flushes, want %d", c.name, after-before, c.want)
		}
		if c.want > 0 && pending > 0 {
			t.Errorf("%s: acknowledged with %d writes that were not flushed", c.name, pending)
		}
	}
	must(t, s.SetCursor(t.Context(), "f", eventlog.Cursor{Sequence: 1}))
	s.check(t)
}
