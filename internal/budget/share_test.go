package budget_test

import (
	"testing"

	"artifactstore/internal/budget"
)

func TestShareIsNeverWaitedFor(t *testing.T) {
	share := budget.NewShare(100)
	first, ok := share.TryAcquire(60)
	if !ok {
		t.Fatal("60 of 100 bytes are refused")
	}
	if _, ok := share.TryAcquire(41); ok {
		t.Fatal("101 of 100 bytes are given")
	}
	second, ok := share.TryAcquire(40)
	if !ok {
		t.Fatal("the last 40 bytes are refused")
	}
	first()
	first() // counts once
	if _, ok := share.TryAcquire(61); ok {
		t.Fatal("a release counted twice")
	}
	second()
	if _, ok := share.TryAcquire(100); !ok {
		t.Fatal("what was given back is refused")
	}
}
