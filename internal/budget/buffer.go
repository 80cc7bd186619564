package budget

import "sync"

// The sizes of transfer buffers in bytes. Everyone gets a small one, whatever
// the budget; a large one is borrowed while bytes arrive and there is room.
const (
	Small = 16 << 10
	Large = 512 << 10
)

var (
	small = sync.Pool{New: func() any { return new([Small]byte) }}
	large = sync.Pool{New: func() any { return new([Large]byte) }}
)

// SmallBuffer returns Small bytes, and the function that gives them back.
func SmallBuffer() (buffer []byte, release func()) {
	b := small.Get().(*[Small]byte)
	return b[:], func() { small.Put(b) }
}

// LargeBuffer returns Large bytes of the budget, and the function that gives
// them back; ok is false if there is no room now.
func (b *Budget) LargeBuffer() (buffer []byte, release func(), ok bool) {
	back, ok := b.TryAcquire(Large)
	if !ok {
		return nil, nil, false
	}
	p := large.Get().(*[Large]byte)
	return p[:], func() { large.Put(p); back() }, true
}
