package budget_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/budget"
)

func TestNoPaceIsNoLimit(t *testing.T) {
	for name, p := range map[string]*budget.Pace{"nil": nil, "zero": budget.NewPace(0, 0), "less": budget.NewPace(-1, -1)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				for range 1000 {
					if err := errors.Join(p.Object(t.Context()), p.Objects(t.Context(), math.MaxInt64), p.Bytes(t.Context(), math.MaxInt64)); err != nil {
						t.Fatal(err)
					}
				}
				if p.Bounded() {
					t.Error("there is a bound")
				}
				if waited := time.Since(began); waited != 0 {
					t.Errorf("waited %v", waited)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cancel()
				if err := p.Bytes(ctx, 1); !errors.Is(err, context.Canceled) {
					t.Errorf("Bytes: %v", err)
				}
				if err := p.Object(ctx); !errors.Is(err, context.Canceled) {
					t.Errorf("Object: %v", err)
				}
				if err := p.Objects(ctx, 2); !errors.Is(err, context.Canceled) {
					t.Errorf("Objects: %v", err)
				}
			})
		})
	}
}

func TestAPaceIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := budget.NewPace(10_000, 0), time.Now()
		for i := range 101 {
			if err := p.Bytes(t.Context(), 1000); err != nil {
				t.Fatal(err)
			}
			if at, want := time.Since(began), time.Duration(i)*100*time.Millisecond; at != want {
				t.Fatalf("%d bytes go after %v, want %v", i*1000, at, want)
			}
		}
	})
}

// Many objects at once take as long as one by one.
func TestManyObjectsAreThatManyTimesOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := budget.NewPace(0, 10), time.Now()
		if !p.Bounded() {
			t.Error("there is no bound")
		}
		for i, step := range []struct {
			number int64
			at     time.Duration
		}{{1, 0}, {5, 500}, {0, 500}, {1, 600}, {20, 2600}} {
			if err := p.Objects(t.Context(), step.number); err != nil {
				t.Fatal(err)
			}
			if at := time.Since(began); at != step.at*time.Millisecond {
				t.Errorf("step %d ended after %v, want %vms", i, at, int64(step.at))
			}
		}
	})
}

// What takes its own time does not wait on top of it, and does not save it up.
func TestTimeThatWorkTakesCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := budget.NewPace(0, 2), time.Now()
		for i := range 5 {
			if err := p.Object(t.Context()); err != nil {
				t.Fatal(err)
			}
			if at, want := time.Since(began), time.Duration(i)*500*time.Millisecond; at != want {
				t.Fatalf("object %d begins after %v, want %v", i, at, want)
			}
			time.Sleep(400 * time.Millisecond)
		}
		time.Sleep(time.Hour)
		began = time.Now()
		for range 3 {
			if err := p.Object(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if waited := time.Since(began); waited != time.Second {
			t.Errorf("after a pause three objects begin within %v", waited)
		}
	})
}

func TestAPaceIsShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, began := budget.NewPace(1000, 0), time.Now()
		var users sync.WaitGroup
		for range 10 {
			users.Go(func() {
				for range 10 {
					if err := p.Bytes(t.Context(), 100); err != nil {
						t.Error(err)
					}
				}
			})
		}
		users.Wait()
		if took := time.Since(began); took != 9900*time.Millisecond {
			t.Errorf("10,000 bytes of ten users go in %v", took)
		}
	})
}

func TestWhoGivesUpTakesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := budget.NewPace(1, 0)
		if err := p.Bytes(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		if err := p.Bytes(ctx, math.MaxInt64); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("Bytes: %v after %v", err, time.Since(began))
		}
		if err := p.Bytes(t.Context(), 1); err != nil || time.Since(began) != 10*time.Second {
			t.Errorf("the next one: %v after %v", err, time.Since(began))
		}
	})
}
