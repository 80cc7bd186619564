package dataplane

import (
	"fmt"
	"io"

	"artifactstore/internal/budget"
	"artifactstore/registry/identity"
)

// pump copies r to w and hashes it: while one buffer is written and hashed,
// the next is read. It returns an error of r, and one of w.
//
// It starts with small buffers, so that a thousand slow clients cost little,
// and takes large ones once a small one was filled, if the budget has room.
func (p *Plane) pump(w io.Writer, h *identity.Hasher, r io.Reader) (source, failed error) {
	in := buffers{budget: p.opts.Budget}
	defer in.release()
	for {
		next := in.take()
		n, err := fill(r, next)
		if failed = in.wait(); failed != nil {
			return nil, failed
		}
		if n > 0 {
			in.consume(w, h, next[:n])
		}
		if err == nil {
			in.filled()
			continue
		}
		if failed = in.wait(); failed != nil || err == io.EOF {
			return nil, failed
		}
		return err, nil
	}
}

// fill reads until p is full or r fails; the end of r is io.EOF.
func fill(r io.Reader, p []byte) (int, error) {
	n := 0
	for n < len(p) {
		m, err := r.Read(p[n:])
		n += m
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// buffers are the two between which a pump alternates, and the consumer of one
// of them.
type buffers struct {
	budget *budget.Budget
	pair   [2][]byte
	back   [2]func()
	turn   int
	large  bool
	busy   chan error // nil while nothing is being consumed
}

// take returns the buffer to fill next.
func (b *buffers) take() []byte {
	b.turn = 1 - b.turn
	i := b.turn
	if b.large && len(b.pair[i]) < budget.Large {
		if p, release, ok := b.budget.LargeBuffer(); ok {
			b.drop(i)
			b.pair[i], b.back[i] = p, release
		}
	}
	if b.pair[i] == nil {
		b.pair[i], b.back[i] = budget.SmallBuffer()
	}
	return b.pair[i]
}

// filled tells that a buffer was filled: more is on its way.
func (b *buffers) filled() { b.large = true }

// consume writes and hashes a buffer while the other one is being filled. A
// small buffer is done at once: it is not worth waking another core.
func (b *buffers) consume(w io.Writer, h *identity.Hasher, p []byte) {
	b.busy = make(chan error, 1)
	work := func() {
		_, err := w.Write(p)
		if err != nil {
			err = fmt.Errorf("write staged object: %w", err)
		} else {
			_, err = h.Write(p)
		}
		b.busy <- err
	}
	if len(p) < budget.Large {
		work()
		return
	}
	go work()
}

// wait returns when nothing is being consumed, with the consumer's error.
func (b *buffers) wait() error {
	if b.busy == nil {
		return nil
	}
	err := <-b.busy
	b.busy = nil
	return err
}

func (b *buffers) drop(i int) {
	if b.back[i] != nil {
		b.back[i]()
	}
	b.pair[i], b.back[i] = nil, nil
}

// release gives the buffers back.
func (b *buffers) release() {
	_ = b.wait() // its error was returned, or a read error counts more
	b.drop(0)
	b.drop(1)
}
