package budget

import (
	"sync"

	"golang.org/x/sync/semaphore"
)

// Share is a number of bytes for what is held at the pace of clients. It is
// apart from a Budget because no number of slow clients may keep work waiting
// that would come to its end by itself. It is safe for concurrent use.
type Share struct{ free *semaphore.Weighted }

// NewShare returns a share of size bytes.
func NewShare(size int64) *Share { return &Share{semaphore.NewWeighted(max(size, 0))} }

// TryAcquire takes n bytes if there are that many now. release gives them
// back; calling it again does nothing.
func (s *Share) TryAcquire(n int64) (release func(), ok bool) {
	n = max(n, 0)
	if !s.free.TryAcquire(n) {
		return nil, false
	}
	return sync.OnceFunc(func() { s.free.Release(n) }), true
}
