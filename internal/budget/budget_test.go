package budget_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/budget"
)

const (
	kib = int64(1 << 10)
	mib = int64(1 << 20)
)

func TestAcquireWaitsUntilThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(mib)
		first, err := b.Acquire(t.Context(), mib)
		if err != nil {
			t.Fatal(err)
		}
		got := false
		go func() {
			release, err := b.Acquire(t.Context(), 1)
			if err != nil {
				t.Error(err)
				return
			}
			got = true
			release()
		}()
		synctest.Wait()
		if got {
			t.Error("more is out than there is")
		}
		first()
		first() // again does nothing
		synctest.Wait()
		if !got || b.Used() != 0 || b.Peak() != mib {
			t.Errorf("got %v, used %d, peak %d", got, b.Used(), b.Peak())
		}
	})
}

func TestAcquireGivesUpWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(mib)
		if _, err := b.Acquire(t.Context(), mib); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Acquire(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		if _, err := b.Transfer(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Transfer: %v", err)
		}
	})
}

func TestMoreThanThereIsIsRefusedAtOnce(t *testing.T) {
	if _, err := budget.New(mib).Acquire(t.Context(), mib+1); !errors.Is(err, budget.ErrTooLarge) {
		t.Errorf("Acquire: %v", err)
	}
}

func TestHalfIsKeptForWhatIsNeeded(t *testing.T) {
	b := budget.New(mib)
	half, ok := b.TryAcquire(mib / 2)
	if !ok {
		t.Fatal("half of an unused budget cannot be borrowed")
	}
	if _, ok := b.TryAcquire(1); ok {
		t.Error("more than half is borrowed")
	}
	if _, err := b.Acquire(t.Context(), mib/2); err != nil {
		t.Error(err)
	}
	half()
	if _, ok := b.TryAcquire(mib / 2); !ok {
		t.Error("what was given back cannot be borrowed")
	}
}

func TestATransferGrowsAndShrinksAndGivesAllBack(t *testing.T) {
	b := budget.New(16 * mib)
	tr, err := b.Transfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step string, size int, paired bool, used int64) {
		t.Helper()
		if got := len(tr.Next()); got != size || tr.Paired() != paired || b.Used() != used {
			t.Errorf("%s: buffer of %d, paired %v, %d used", step, got, tr.Paired(), b.Used())
		}
	}
	tr.Shrink()
	expect("at first", 16<<10, false, 16*kib)
	if !tr.Grow() {
		t.Error("Grow fails")
	}
	expect("larger", 256<<10, true, 512*kib)
	if !tr.Grow() {
		t.Error("Grow fails")
	}
	expect("largest", 1<<20, true, 2*mib)
	if tr.Grow() {
		t.Error("Grow beyond the largest")
	}
	tr.Shrink()
	expect("smaller again", 256<<10, true, 512*kib)
	tr.Shrink()
	expect("smallest again", 16<<10, false, 16*kib)
	tr.Grow()
	tr.Grow()
	tr.Close()
	tr.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes are out after Close", b.Used())
	}
	if _, ok := b.TryAcquire(8 * mib); !ok {
		t.Error("the spare half was not given back")
	}
}

func TestPairedBuffersTakeTurns(t *testing.T) {
	b := budget.New(16 * mib)
	tr, err := b.Transfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	if one, again := &tr.Next()[0], &tr.Next()[0]; one != again {
		t.Error("one buffer became two")
	}
	tr.Grow()
	first, second, third := &tr.Next()[0], &tr.Next()[0], &tr.Next()[0]
	if first == second || first != third {
		t.Error("buffers do not take turns")
	}
}

// A thousand transfers that grow as they can never have more than there is.
func TestManyTransfersStayWithinTheBudget(t *testing.T) {
	b := budget.New(4 * mib)
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() {
			tr, err := b.Transfer(t.Context())
			if err != nil {
				t.Error(err)
				return
			}
			defer tr.Close()
			for range 5 {
				tr.Grow()
				tr.Next()[0] = 1
			}
			tr.Shrink()
			tr.Next()[0] = 2
		})
	}
	wg.Wait()
	if b.Used() != 0 || b.Peak() > 4*mib {
		t.Errorf("used %d, peak %d", b.Used(), b.Peak())
	}
}
