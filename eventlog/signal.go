package eventlog

import (
	"context"
	"sync"
)

// Signal wakes those who wait for events in the same process. The zero value
// is ready. It is safe for concurrent use.
type Signal struct {
	mu   sync.Mutex
	last Sequence
	// next is closed by the next Announce; nil while nobody waits.
	next chan struct{}
}

// Announce tells that the log has grown to this sequence. A sequence that is
// not new is ignored.
func (s *Signal) Announce(last Sequence) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if last <= s.last {
		return
	}
	s.last = last
	if s.next != nil {
		close(s.next)
		s.next = nil
	}
}

// Last is the sequence that was announced last, 0 if none was.
func (s *Signal) Last() Sequence {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// Wait returns nil when an event after a sequence was announced, or the
// context's error.
func (s *Signal) Wait(ctx context.Context, after Sequence) error {
	for {
		s.mu.Lock()
		if s.last > after {
			s.mu.Unlock()
			return nil
		}
		if s.next == nil {
			s.next = make(chan struct{})
		}
		next := s.next
		s.mu.Unlock()
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-next:
		}
	}
}
