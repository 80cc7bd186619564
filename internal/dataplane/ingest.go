package dataplane

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// Ingest appends r to a staged sequence (a new one has only its ID) in one
// read, hashing and writing at once, and updates s to what was accepted, also
// when it fails: the saved hash state covers exactly s.Offset bytes. If s.Last
// and r comes to its end, the store may hold the rest in this process alone
// (s.Held): then call Publish, Discard or Release. While all
// bytes are few they stay in s.Inline; before the first byte goes to a store,
// spill is called with the state to be remembered, and its error ends the call.
// A failure of r is returned as it is, and what it gave before is accepted.
//
// The algorithms also are honoured where hashing starts: when the first byte
// goes to a store. If the bytes were staged in another run of the machine they
// are read again first; if they are not what they were, the error wraps
// fact.ErrGone and the session is of no use any more.
func (p *Plane) Ingest(ctx context.Context, s *fact.Staged, r io.Reader, spill func(fact.Staged) error, also ...identity.Algorithm) error {
	if err := p.Room(ctx); err != nil {
		return err
	}
	lend, err := p.o.Budget.Transfer(ctx)
	if err != nil {
		return fmt.Errorf("wait for a transfer buffer: %w", err)
	}
	defer lend.Close()
	if stored(*s) {
		in, err := p.resume(ctx, s)
		if err != nil {
			return err
		}
		in.lend = lend
		return in.run(ctx, r)
	}

	few := &few{plane: p, s: s}
	defer few.release()
	if few.read(r, lend.Next()) {
		few.keep()
		return notEOF(few.err)
	}
	in, err := p.begin(ctx, s, spill, also)
	if err != nil {
		few.keep()
		return err
	}
	in.lend = lend
	in.begun = in.accept(ctx, few.data)
	few.release()
	return in.run(ctx, ended{r, few.err})
}

// stored tells whether accepted bytes are in a store. A sequence that has
// spilled and then failed has a store and still all its bytes inline.
func stored(s fact.Staged) bool {
	return s.Store != "" && (s.Offset > int64(len(s.Inline)) || s.Offset == 0 && len(s.Hash) > 0)
}

// few reads what may stay inline. The memory for it beyond the first 16 KiB
// is borrowed from the budget.
type few struct {
	plane *Plane
	s     *fact.Staged
	data  []byte // from the beginning of the sequence
	err   error  // of the reader
	held  []func()
}

// read reads until there are more bytes than may stay inline, or the reader
// ends or fails before; then it returns true.
func (f *few) read(r io.Reader, buf []byte) bool {
	limit := f.plane.o.InlineLimit
	f.data = bytes.Clone(f.s.Inline)
	for limit > 0 && int64(len(f.data)) <= limit {
		room := limit + 1 - int64(len(f.data)) // one more, to see whether it ends
		var n int
		n, f.err = fill(r, buf[:min(room, int64(len(buf)))])
		f.data = append(f.data, buf[:n]...)
		if f.err != nil {
			return int64(len(f.data)) <= limit
		}
		if !f.borrow(int64(len(f.data))) {
			return false // under pressure it goes to a store early
		}
	}
	return false
}

// borrow takes what the inline bytes will grow by.
func (f *few) borrow(n int64) bool {
	release, ok := f.plane.o.Budget.TryAcquire(n)
	if ok {
		f.held = append(f.held, release)
	}
	return ok
}

// keep accepts what may stay inline.
func (f *few) keep() {
	n := min(int64(len(f.data)), max(f.plane.o.InlineLimit, int64(len(f.s.Inline))))
	f.s.Inline, f.s.Offset = f.data[:n:n], n
}

// release forgets the bytes and gives back what was borrowed.
func (f *few) release() {
	f.data = nil
	for _, release := range f.held {
		release()
	}
	f.held = nil
}

// ended is a reader that may have reported its end already, which not every
// reader does twice.
type ended struct {
	io.Reader
	err error
}

func (e ended) Read(p []byte) (int, error) {
	if e.err != nil {
		return 0, e.err
	}
	return e.Reader.Read(p)
}

// maxEmpty is how many reads in a row may bring nothing.
const maxEmpty = 100

// fill reads until buf is full or r fails or ends; it returns r's own error.
func fill(r io.Reader, buf []byte) (n int, err error) {
	for empty := 0; n < len(buf) && err == nil; {
		var m int
		m, err = r.Read(buf[n:])
		n += m
		if empty++; m > 0 {
			empty = 0
		}
		if empty == maxEmpty && err == nil {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// notEOF is nil for the end of a reader. A failure may have an io.EOF inside,
// such as that of a connection, and is none.
func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}

// The time that filling a buffer takes decides whether the next one is larger
// or smaller. A sender who is slow or stalls must not keep large buffers.
const (
	fast = 250 * time.Millisecond
	slow = 2 * time.Second
)

// pump moves r into the store until it ends or something fails. While one
// buffer is hashed the next one is read.
func (in *intake) pump(ctx context.Context, r io.Reader) error {
	for {
		began := in.plane.o.Now()
		buf := in.lend.Next()
		n, err := fill(r, buf)
		if n > 0 {
			if err := in.accept(ctx, buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return notEOF(err)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		in.adapt(in.plane.o.Now().Sub(began))
	}
}

// accept writes and hashes p, in that order: what could not be written whole
// is not hashed, so the hash covers what is accepted.
func (in *intake) accept(ctx context.Context, p []byte) error {
	if err := in.room.take(ctx, int64(len(p))); err != nil {
		return err
	}
	if _, err := in.stage.Write(p); err != nil {
		in.room.forget()
		return failure("write staged bytes", err)
	}
	in.wait()
	if !in.lend.Paired() {
		_, err := in.hash.Write(p)
		return err
	}
	done := make(chan error, 1)
	go func() {
		_, err := in.hash.Write(p)
		done <- err
	}()
	in.hashing = done
	return nil
}

// wait waits for the hash of the buffer before. A Hasher does not fail, as no
// hash.Hash does.
func (in *intake) wait() {
	if in.hashing != nil {
		<-in.hashing
		in.hashing = nil
	}
}

// adapt changes the size of the buffers after one was filled in some time.
func (in *intake) adapt(took time.Duration) {
	switch {
	case took > slow || in.lend.Wanted():
		in.wait()
		in.lend.Shrink()
		in.full = false
	case took < fast && !in.full:
		in.wait()
		in.full = !in.lend.Grow()
	}
}
