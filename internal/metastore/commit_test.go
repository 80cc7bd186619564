package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

func TestRefusalChangesNothingAndIsReturnedAsItIs(t *testing.T) {
	s := checked(t)
	refusal := registry.Errorf(registry.TagInvalid, "no")
	err := s.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		return facts(&fact.RepositoryCreated{Repository: "demo"}), refusal
	})
	if err != error(refusal) {
		t.Errorf("got %v", err)
	}
	must(t, s.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { return nil, nil }))
	head, err := s.Events().Head(t.Context())
	must(t, err)
	if head.Sequence != 0 {
		t.Errorf("%d events", head.Sequence)
	}
}

func TestEventsSayWhoAndWhy(t *testing.T) {
	s := checked(t)
	s.update(t, &registry.Change{Entries: []registry.Entry{{Fact: &fact.RepositoryCreated{Repository: "demo"}, Reason: "asked for"}}})
	page, err := s.Events().Read(t.Context(), 0, 10)
	must(t, err)
	e := page[0]
	if e.Kind != fact.KindRepositoryCreated || e.Subject != "demo" || e.Actor != "anonymous" || e.Request != "r-1" {
		t.Errorf("event %+v", e)
	}
	if !strings.Contains(string(e.Private), "asked for") || strings.Contains(string(e.Payload), "asked for") {
		t.Error("the reason is not in the private part alone")
	}
}

func TestTimeOfTheViewIsThatOfTheEvents(t *testing.T) {
	now := time.Unix(1_800_000_000, 123_456_789)
	s := create(t, metastore.Options{Now: func() time.Time { return now }})
	for _, step := range []time.Duration{0, time.Hour, -2 * time.Hour} {
		now = now.Add(step)
		var seen time.Time
		must(t, s.Update(t.Context(), caller, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
			seen = v.Now()
			return facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", step)}), nil
		}))
		head, err := s.Events().Head(t.Context())
		must(t, err)
		if seen.UnixMicro() != head.Time || seen.Nanosecond()%1000 != 0 || seen.Location() != time.UTC {
			t.Errorf("the view says %v, the event %d", seen, head.Time)
		}
	}
}

// inOneBatch has the changes decided in one batch: they queue up while the
// committer is busy with a decision that waits for them.
func inOneBatch(t *testing.T, s *store, decisions ...func(registry.View) (*registry.Change, error)) []error {
	t.Helper()
	hold := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		_ = s.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
			<-hold
			return nil, errRefused
		})
	})
	synctest.Wait() // the committer is in that decision
	errs := make([]error, len(decisions))
	for i, decide := range decisions {
		all.Go(func() { errs[i] = s.Update(t.Context(), caller, registry.Keys{}, decide) })
		synctest.Wait() // it is queued
	}
	close(hold)
	all.Wait()
	return errs
}

func decided(c *registry.Change) func(registry.View) (*registry.Change, error) {
	return func(registry.View) (*registry.Change, error) { return c, nil }
}

func TestBatchIsOneCommitInWhichEachSeesTheEarlierOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDisk(t)
		s := createOn(t, d)
		before, _ := d.state()
		var seen []int
		var decisions []func(registry.View) (*registry.Change, error)
		for i := range 20 {
			decisions = append(decisions, func(v registry.View) (*registry.Change, error) {
				names, err := v.RepositoryPage("", 100)
				seen = append(seen, len(names))
				return facts(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%02d", i)}), err
			})
		}
		for i, err := range inOneBatch(t, s, decisions...) {
			if err != nil {
				t.Errorf("change %d: %v", i, err)
			}
		}
		if after, pending := d.state(); after-before != 1 || pending != 0 {
			t.Errorf("%d flushes for the batch, %d writes are not flushed", after-before, pending)
		}
		want := make([]int, 20)
		for i := range want {
			want[i] = i
		}
		if !slices.Equal(seen[len(seen)-20:], want) {
			t.Errorf("decisions saw %v repositories, want %v", seen, want)
		}
		s.check(t)
		must(t, s.Close())
	})
}

func TestOneThatFailsSpoilsNoOtherOfItsBatch(t *testing.T) {
	for _, c := range []struct {
		name string
		bad  func(registry.View) (*registry.Change, error)
		want func(error) bool
	}{
		{"refused", func(registry.View) (*registry.Change, error) { return nil, errRefused },
			func(err error) bool { return err == errRefused }},
		{"panics", func(registry.View) (*registry.Change, error) { panic("at the disco") },
			func(err error) bool { return strings.Contains(err.Error(), "at the disco") }},
		{"cannot be applied", decided(facts(&fact.RepositoryCreated{Repository: "half"}, tag("none", "x", "none"))),
			func(err error) bool { return strings.Contains(err.Error(), "not there") }},
		{"breaks a constraint", decided(facts(&fact.RepositoryCreated{Repository: "half"}, &fact.RepositoryCreated{Repository: "half"})),
			func(err error) bool { return strings.Contains(err.Error(), "UNIQUE") }},
		{"is too large", func(registry.View) (*registry.Change, error) {
			c := facts(&fact.RepositoryCreated{Repository: "half"})
			for i := range 10_001 {
				c.Add(&fact.RepositoryCreated{Repository: fmt.Sprintf("half%d", i)})
			}
			return c, nil
		}, func(err error) bool { return errors.Is(err, metastore.ErrTooLarge) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := create(t, metastore.Options{})
				good := func(name string) func(registry.View) (*registry.Change, error) {
					return func(v registry.View) (*registry.Change, error) {
						// What was decided before is written for this to be asked.
						if _, err := v.RepositoryPage("", 1); err != nil {
							return nil, err
						}
						return facts(&fact.RepositoryCreated{Repository: name}), nil
					}
				}
				session := decided(&registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen}}})
				errs := inOneBatch(t, s, session, good("a"), c.bad, good("b"), session, good("c"))
				for i, err := range errs {
					if i == 2 {
						if err == nil || !c.want(err) {
							t.Errorf("it gave %v", err)
						}
					} else if err != nil {
						t.Errorf("change %d gave %v", i, err)
					}
				}
				must(t, s.Healthy())
				s.read(t, func(v registry.View) error {
					names, err := v.RepositoryPage("", 100)
					if !slices.Equal(names, []string{"a", "b", "c"}) {
						t.Errorf("repositories %v", names)
					}
					return err
				})
				_, err := eventlog.Verify(t.Context(), s.Events())
				must(t, err)
				s.check(t)
				must(t, s.Close())
			})
		})
	}
}

func TestCallerGivesUpOnlyBeforeTheDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := create(t, metastore.Options{})
		hold := make(chan struct{})
		started, cancelStarted := context.WithCancel(t.Context())
		waiting, cancelWaiting := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() {
			first <- s.Update(started, caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
				<-hold
				return facts(&fact.RepositoryCreated{Repository: "first"}), nil
			})
		}()
		synctest.Wait()
		go func() {
			second <- s.Update(waiting, caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
				t.Error("a decision that was given up ran")
				return nil, nil
			})
		}()
		synctest.Wait()
		cancelStarted()
		cancelWaiting()
		synctest.Wait()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that waited gave %v", err)
		}
		select {
		case err := <-first:
			t.Errorf("the one that had started gave up: %v", err)
		default:
		}
		close(hold)
		must(t, <-first)
		must(t, s.Close())
	})
}

func TestCloseCommitsWhatIsWaitingAndRefusesTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := create(t, metastore.Options{})
		hold := make(chan struct{})
		errs, closed := make(chan error, 2), make(chan error, 1)
		for i := range 2 {
			go func() {
				errs <- s.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
					<-hold
					return facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)}), nil
				})
			}()
			synctest.Wait()
		}
		go func() { closed <- s.Close() }()
		synctest.Wait()
		if err := s.try(facts(&fact.RepositoryCreated{Repository: "late"})); !errors.Is(err, metastore.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		close(hold)
		must(t, <-errs)
		must(t, <-errs)
		must(t, <-closed)
		must(t, s.Close())
		s.open(t)
		if s.UncleanStart() {
			t.Error("the start is unclean")
		}
		s.check(t)
		must(t, s.Close())
	})
}

func TestManyWritersAtOnce(t *testing.T) {
	s := checked(t)
	var writers sync.WaitGroup
	for w := range 16 {
		writers.Go(func() {
			for i := range 20 {
				name := fmt.Sprintf("w%d/%d", w, i)
				if err := s.try(facts(&fact.RepositoryCreated{Repository: name})); err != nil {
					t.Error(err)
				}
				if i%4 == 0 {
					_ = s.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { return nil, errRefused })
				}
			}
		})
	}
	writers.Wait()
	head, err := eventlog.Verify(t.Context(), s.Events())
	must(t, err)
	if head.Sequence != 320 {
		t.Errorf("%d events, want 320", head.Sequence)
	}
}
