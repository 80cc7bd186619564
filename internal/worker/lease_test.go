package worker_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/worker"
)

// book is where leases are written down. Its clock is that of the bubble.
type book struct {
	mu     sync.Mutex
	owner  string
	fence  int64
	until  time.Time
	holder []string // in the order in which they got it
}

// lease is the book as one process sees it.
type lease struct {
	*book
	process string
	// fail is asked before each call, with its name; it may also wait.
	fail func(ctx context.Context, call string) error
}

func (l *lease) Acquire(ctx context.Context, name string, ttl time.Duration) (bool, int64, error) {
	if err := l.ask(ctx, "acquire"); err != nil {
		return false, 0, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if now.Before(l.until) && l.owner != l.process {
		return false, 0, nil
	}
	if !now.Before(l.until) || l.owner != l.process {
		l.owner, l.fence = l.process, l.fence+1
		l.holder = append(l.holder, l.process)
	}
	l.until = now.Add(ttl)
	return true, l.fence, nil
}

func (l *lease) Release(ctx context.Context, name string) error {
	if err := l.ask(ctx, "release"); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.owner == l.process {
		l.until = time.Now()
	}
	return nil
}

func (l *lease) ask(ctx context.Context, call string) error {
	if l.fail != nil {
		return l.fail(ctx, call)
	}
	return ctx.Err()
}

// held tells who has the lease now.
func (b *book) held() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	if time.Now().Before(b.until) {
		return b.owner
	}
	return ""
}

// scene is several processes that want to do the same.
type scene struct {
	t     *testing.T
	book  *book
	start time.Time
	wait  sync.WaitGroup

	mu   sync.Mutex
	busy string
	log  []string
}

func newScene(t *testing.T) *scene { return &scene{t: t, book: new(book), start: time.Now()} }

// note writes down what happened, with the minute and second.
func (s *scene) note(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log = append(s.log, fmt.Sprintf("%v %s", time.Since(s.start), fmt.Sprintf(format, args...)))
}

// run is a process whose work takes a time, or ends early with its context.
func (s *scene) run(process string, takes, interval time.Duration, fail func(context.Context, string) error) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(s.t.Context())
	l := &lease{s.book, process, fail}
	s.wait.Go(func() {
		worker.Exclusive(ctx, l, "sweep", interval, func(ctx context.Context) {
			s.begin(process)
			s.note("%s begins with %d", process, worker.Fence(ctx))
			select {
			case <-time.After(takes):
				s.note("%s ends", process)
			case <-ctx.Done():
				s.note("%s stops", process)
			}
			s.end()
		})
	})
	return stop
}

// begin fails the test if two work at once, or if one works without a lease.
func (s *scene) begin(process string) {
	if held := s.book.held(); held != process {
		s.t.Errorf("%s works and %q has the lease", process, held)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy != "" {
		s.t.Errorf("%s and %s work at once", s.busy, process)
	}
	s.busy = process
}

func (s *scene) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy = ""
}

func (s *scene) wants(want ...string) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.log, want) {
		s.t.Errorf("it went\n%q\nwant\n%q", s.log, want)
	}
}

var errLease = errors.New("the database is away")

func TestExclusiveWorksAtOnceAndAtIntervals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.run("a", time.Minute, time.Hour, nil)
		time.Sleep(2*time.Hour + 4*time.Minute)
		stop()
		s.wait.Wait()
		s.wants("0s a begins with 1", "1m0s a ends", "1h1m0s a begins with 1", "1h2m0s a ends", "2h2m0s a begins with 1", "2h3m0s a ends")
		if held := s.book.held(); held != "" {
			t.Errorf("the lease of %s was not released", held)
		}
	})
}

func TestOneOfManyProcessesWorks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		var stops []context.CancelFunc
		for i := range 5 {
			stops = append(stops, s.run(fmt.Sprint(i), 90*time.Second, time.Minute, nil))
		}
		time.Sleep(time.Hour - time.Second)
		s.mu.Lock()
		if n := len(s.log); n != 48 { // 24 times in an hour
			t.Errorf("noted %d", n)
		}
		s.mu.Unlock()
		if len(s.book.holder) != 1 {
			t.Errorf("the lease went to %q", s.book.holder)
		}
		for _, stop := range stops {
			stop()
		}
		s.wait.Wait()
	})
}

func TestAReleasedLeaseIsTakenAtTheNextRetry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.run("a", time.Second, time.Hour, nil)
		time.Sleep(5 * time.Second)
		other := s.run("b", time.Second, time.Hour, nil)
		time.Sleep(time.Minute - time.Second)
		stop()
		time.Sleep(worker.LeaseRetry)
		other()
		s.wait.Wait()
		s.wants("0s a begins with 1", "1s a ends", "1m5s b begins with 2", "1m6s b ends")
	})
}

// A process that can reach nothing any more stops before another one begins,
// whether the lease answers with an error or not at all.
func TestALeaseThatCannotBeProlongedIsLostInTime(t *testing.T) {
	for name, answer := range map[string]func(context.Context) error{
		"an error":           func(context.Context) error { return errLease },
		"no answer":          func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"an answer too late": func(context.Context) error { time.Sleep(worker.LeaseTime); return errLease },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				away := s.start.Add(65 * time.Second) // the renewal at this moment is the last
				stop := s.run("a", time.Hour, time.Hour, func(ctx context.Context, _ string) error {
					if time.Now().After(away) {
						return answer(ctx)
					}
					return nil
				})
				time.Sleep(time.Second)
				other := s.run("b", time.Second, time.Hour, nil)
				time.Sleep(3 * time.Minute)
				other()
				stop()
				s.wait.Wait()
				s.wants("0s a begins with 1", "1m17.5s a stops", "1m21s b begins with 2", "1m22s b ends")
			})
		})
	}
}

func TestTwoFailedRenewalsEndWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := newScene(t), 0
		stop := s.run("a", 10*time.Minute, time.Hour, func(context.Context, string) error {
			if calls++; calls%3 != 1 {
				return errLease
			}
			return nil
		})
		time.Sleep(time.Second)
		other := s.run("b", time.Second, time.Hour, nil)
		time.Sleep(11 * time.Minute)
		stop()
		other()
		s.wait.Wait()
		// The third would come when the lease is over.
		s.wants("0s a begins with 1", "12.5s a stops", "16s b begins with 2", "17s b ends")
	})
}

func TestOneFailedRenewalDoesNoHarm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, calls := newScene(t), 0
		stop := s.run("a", 10*time.Minute, time.Hour, func(context.Context, string) error {
			if calls++; calls%2 == 0 {
				return errLease
			}
			return nil
		})
		time.Sleep(11 * time.Minute)
		stop()
		s.wait.Wait()
		s.wants("0s a begins with 1", "10m0s a ends")
	})
}

// A holder that stood still while another one took over stops at once when it
// learns of it, also if the other is gone again: its fence is an old one.
func TestALeaseThatAnotherTookIsLost(t *testing.T) {
	for name, gone := range map[string]bool{"and has": false, "and gave back": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				stop := s.run("a", time.Hour, time.Hour, nil)
				time.Sleep(3 * time.Second)
				s.book.mu.Lock()
				s.book.owner, s.book.fence, s.book.until = "b", 2, time.Now().Add(20*time.Second)
				if gone {
					s.book.until = time.Now()
				}
				s.book.mu.Unlock()
				time.Sleep(40 * time.Second)
				stop()
				s.wait.Wait()
				again := "25s"
				if gone {
					again = "10s"
				}
				s.wants("0s a begins with 1", "5s a stops", again+" a begins with 3", "43s a stops")
			})
		})
	}
}

// Work that takes its time to stop keeps the lease until it has.
func TestTheLeaseIsKeptUntilWorkHasReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		ctx, stop := context.WithCancel(t.Context())
		s.wait.Go(func() {
			worker.Exclusive(ctx, &lease{s.book, "a", nil}, "sweep", time.Hour, func(ctx context.Context) {
				<-ctx.Done()
				time.Sleep(5 * worker.LeaseTime)
				if held := s.book.held(); held != "a" {
					t.Errorf("%q has the lease while a winds up", held)
				}
				s.note("a stops")
			})
		})
		time.Sleep(time.Second)
		other := s.run("b", time.Second, time.Hour, nil)
		time.Sleep(time.Second)
		stop()
		time.Sleep(10 * worker.LeaseTime)
		other()
		s.wait.Wait()
		s.wants("1m17s a stops", "1m21s b begins with 2", "1m22s b ends")
	})
}

func TestALeaseThatIsAnsweredTooLateIsNotUsed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, slow := newScene(t), true
		stop := s.run("a", time.Second, time.Hour, func(context.Context, string) error {
			if slow {
				slow = false
				time.Sleep(worker.LeaseTime)
			}
			return nil
		})
		time.Sleep(time.Minute)
		stop()
		s.wait.Wait()
		s.wants("20s a begins with 1", "21s a ends")
	})
}

func TestExclusiveDoesNothingWhenItsContextIsDone(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	l := &lease{new(book), "a", func(context.Context, string) error { t.Error("the lease was asked"); return nil }}
	worker.Exclusive(ctx, l, "sweep", time.Hour, func(context.Context) { t.Error("work was called") })
}

func TestAReleaseThatFailsIsNoMatter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		stop := s.run("a", time.Second, time.Hour, func(_ context.Context, call string) error {
			if call == "release" {
				return errLease
			}
			return nil
		})
		time.Sleep(5 * time.Second)
		other := s.run("b", time.Second, time.Hour, nil)
		stop()
		time.Sleep(time.Minute)
		other()
		s.wait.Wait()
		s.wants("0s a begins with 1", "1s a ends", "20s b begins with 2", "21s b ends")
	})
}

func TestFenceOutsideOfALease(t *testing.T) {
	if fence := worker.Fence(t.Context()); fence != 0 {
		t.Errorf("the fence is %d", fence)
	}
}
