package budget

import "context"

// bufferSizes are the sizes of transfer buffers. The smallest is what a
// connection starts with, the largest is where a copy is no longer faster.
var bufferSizes = [...]int{smallBuffer, 256 << 10, 1 << 20}

const smallBuffer = 16 << 10

// Transfer lends buffers to one stream of bytes: one of 16 KiB to begin with,
// later two of 256 KiB or 1 MiB, so that one is worked on while the other is
// filled. One goroutine at a time uses a Transfer.
type Transfer struct {
	budget *Budget
	level  int
	pair   [2]*[]byte // the second is nil at the first level
	turn   int
}

// Transfer waits until there is room for the smallest buffer. Close gives it
// back. The error is the context's.
func (b *Budget) Transfer(ctx context.Context) (*Transfer, error) {
	if err := b.first.Acquire(ctx, smallBuffer); err != nil {
		return nil, err
	}
	b.took(smallBuffer)
	t := &Transfer{budget: b}
	t.pair[0] = b.buffer(0)
	return t, nil
}

// buffer takes a buffer from the pool of its size. What is in it is anybody's.
func (b *Budget) buffer(level int) *[]byte {
	if p, ok := b.pools[level].Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, bufferSizes[level])
	return &p
}

// Next returns the buffer to fill. If Paired, the one returned before it is
// still the caller's until the next call.
func (t *Transfer) Next() []byte {
	if t.Paired() {
		t.turn = 1 - t.turn
	}
	return *t.pair[t.turn]
}

// Paired tells whether there are two buffers that take turns.
func (t *Transfer) Paired() bool { return t.pair[1] != nil }

// Grow changes to the next larger buffers if the budget has room to spare. No
// buffer may be in use.
func (t *Transfer) Grow() bool {
	old := t.level
	if old+1 == len(bufferSizes) || !t.budget.borrow(extra(old+1)) {
		return false
	}
	t.change(old + 1)
	t.budget.giveBack(extra(old))
	return true
}

// Shrink changes to the next smaller buffers, if there are any. No buffer may
// be in use.
func (t *Transfer) Shrink() {
	if old := t.level; old > 0 {
		t.change(old - 1)
		t.budget.giveBack(extra(old) - extra(old-1))
	}
}

// Wanted tells that somebody waits for what is lent: it is time to Shrink.
func (t *Transfer) Wanted() bool { return t.level > 0 && t.budget.waiting.Load() > 0 }

// change swaps the buffers.
func (t *Transfer) change(level int) {
	t.drop()
	t.level = level
	t.pair[0] = t.budget.buffer(level)
	if level > 0 {
		t.pair[1] = t.budget.buffer(level)
	}
}

// extra is what the buffers of a level take from what is lent. The first
// buffer is paid for from the beginning to the end.
func extra(level int) int64 {
	if level == 0 {
		return 0
	}
	return int64(2 * bufferSizes[level])
}

// drop puts the buffers into their pool.
func (t *Transfer) drop() {
	for i, p := range t.pair {
		if p != nil {
			t.budget.pools[t.level].Put(p)
			t.pair[i] = nil
		}
	}
	t.turn = 0
}

// Close gives everything back. No buffer may be in use; closing again does nothing.
func (t *Transfer) Close() {
	if t.pair[0] == nil {
		return
	}
	t.drop()
	t.budget.giveBack(extra(t.level))
	t.budget.used.Add(-smallBuffer)
	t.budget.first.Release(smallBuffer)
}
