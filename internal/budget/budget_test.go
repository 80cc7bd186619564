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
		b := budget.New(8 * mib)
		first, err := b.Acquire(t.Context(), 5*mib)
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
		if !got || b.Used() != 0 || b.Peak() != 5*mib {
			t.Errorf("got %v, used %d, peak %d", got, b.Used(), b.Peak())
		}
	})
}

func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(mib)
		if _, err := b.Acquire(t.Context(), mib); err != nil { // counts as all
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := b.Acquire(ctx, 1); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		for range 24 { // three eighths of 1 MiB in pieces of 16 KiB
			if _, err := b.Transfer(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := b.Transfer(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Transfer: %v", err)
		}
	})
}

func TestMoreThanThereIsCountsAsAll(t *testing.T) {
	b := budget.New(8 * mib)
	release, err := b.Acquire(t.Context(), 1<<40)
	if err != nil {
		t.Fatal(err)
	}
	if b.Used() != 5*mib {
		t.Errorf("%d bytes are out", b.Used())
	}
	release()
	if _, err := b.Acquire(t.Context(), -1); err != nil || b.Used() != 0 {
		t.Errorf("Acquire of less than nothing: %d, %v", b.Used(), err)
	}
}

func TestHalfOfTheRestIsNeverLent(t *testing.T) {
	b := budget.New(8 * mib)
	half, ok := b.TryAcquire(5 * mib / 2)
	if !ok {
		t.Fatal("half of an unused budget cannot be borrowed")
	}
	if _, ok := b.TryAcquire(1); ok {
		t.Error("more than half is lent")
	}
	if _, err := b.Acquire(t.Context(), 5*mib/2); err != nil {
		t.Error(err)
	}
	half()
	half() // again does nothing
	if _, ok := b.TryAcquire(5 * mib / 2); !ok {
		t.Error("what was given back cannot be borrowed")
	}
}

func TestALargeDocumentDoesNotKeepStreamsOut(t *testing.T) {
	b := budget.New(8 * mib)
	if _, err := b.Acquire(t.Context(), 8*mib); err != nil {
		t.Fatal(err)
	}
	tr, err := b.Transfer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if tr.Grow() {
		t.Error("there is room for more than the budget")
	}
	tr.Close()
}

func TestWhatIsLentIsWantedWhenSomebodyWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget.New(8 * mib)
		tr, err := b.Transfer(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if tr.Grow(); tr.Wanted() {
			t.Error("wanted by nobody")
		}
		got := false
		go func() {
			_, err := b.Acquire(t.Context(), 5*mib)
			got = err == nil
		}()
		synctest.Wait()
		if !tr.Wanted() || got {
			t.Errorf("wanted %v, got %v", tr.Wanted(), got)
		}
		tr.Shrink()
		synctest.Wait()
		if tr.Wanted() || !got {
			t.Errorf("after Shrink: wanted %v, got %v", tr.Wanted(), got)
		}
		tr.Close()
	})
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
	expect("larger", 256<<10, true, (512+16)*kib)
	if !tr.Grow() {
		t.Error("Grow fails")
	}
	expect("largest", 1<<20, true, (2048+16)*kib)
	if tr.Grow() {
		t.Error("Grow beyond the largest")
	}
	tr.Shrink()
	expect("smaller again", 256<<10, true, (512+16)*kib)
	tr.Shrink()
	expect("smallest again", 16<<10, false, 16*kib)
	tr.Grow()
	tr.Grow()
	tr.Close()
	tr.Close()
	if b.Used() != 0 {
		t.Errorf("%d bytes are out after Close", b.Used())
	}
	if _, ok := b.TryAcquire(5 * mib); !ok {
		t.Error("what was lent was not given back")
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
