package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"

	"artifactstore/internal/dataplane"
	"artifactstore/internal/durable"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
)

// session is an upload as the registry does it: it remembers the state of the
// staged sequence whenever the plane may have changed the store.
type session struct {
	row    fact.Staged // what is remembered
	sealed fact.Sealed
}

// push uploads data in two requests and publishes it. nil means that the
// client is told so.
func (s *session) push(ctx context.Context, p *dataplane.Plane, data []byte) error {
	for _, part := range [][]byte{data[:len(data)/3], data[len(data)/3:]} {
		if err := s.append(ctx, p, part); err != nil {
			return err
		}
	}
	return s.finish(ctx, p)
}

func (s *session) append(ctx context.Context, p *dataplane.Plane, part []byte) error {
	state := s.row
	err := p.Ingest(ctx, &state, bytes.NewReader(part), func(spilled fact.Staged) error {
		s.row = spilled
		return nil
	})
	s.row = state
	return err
}

func (s *session) finish(ctx context.Context, p *dataplane.Plane) error {
	state := s.row
	sealed, err := p.Seal(ctx, &state, identity.SHA512)
	if err != nil {
		return err
	}
	s.row, s.sealed = state, sealed
	return p.Publish(ctx, state)
}

// recover does what may follow a failure: it goes on with the upload in
// another process, or gives it up. Either must work, and leave nothing wrong.
func (s *session) recover(t *testing.T, p *dataplane.Plane, data []byte, pushed error) {
	t.Helper()
	ctx := t.Context()
	if pushed == nil {
		holds(t, p, s.sealed, 0, data)
		return
	}
	if s.row.Offset > int64(len(data)) {
		t.Fatalf("%d of %d bytes are accepted", s.row.Offset, len(data))
	}
	again := *s
	err := again.append(ctx, p, data[again.row.Offset:])
	if err == nil {
		err = again.finish(ctx, p)
	}
	switch {
	case err == nil:
		holds(t, p, again.sealed, 0, data)
	case !errors.Is(err, fact.ErrGone): // what could not be flushed is dropped
		t.Errorf("the upload cannot go on: %v", err)
	}
	must(t, p.Discard(ctx, again.row))
	staged(t, p)
	if again.row.Locator != "" {
		r := fact.Receipt{Store: again.row.Store, Locator: again.row.Locator}
		if present, err := p.Present(ctx, r, 0, int64(len(data))); err != nil || present {
			t.Errorf("a discarded object is present: %v, %v", present, err)
		}
	}
}

// Every operation of the driver fails once, in every way, until a run is clean.
func TestNothingIsLostWhateverTheDriverFails(t *testing.T) {
	data := random(600_000, 1)
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %d, down %v", mode, down), func(t *testing.T) {
				for n := 1; ; n++ {
					plan := &fault.Plan{FailAt: n, Err: errInjected, Mode: mode, Down: down}
					d := memory.New(memory.Options{})
					p, _ := newPlane(t, fault.Wrap(d, plan), dataplane.Options{BootID: "boot"})
					s := session{row: fact.Staged{ID: "a"}}
					err := s.push(t.Context(), p, data)
					op, fired := plan.Fired()
					if err != nil && !errors.Is(err, errInjected) {
						t.Errorf("operation %d (%s): %v", n, op, err)
					}
					after, _ := newPlane(t, d.Reopen(), dataplane.Options{BootID: "boot"})
					s.recover(t, after, data, err)
					if t.Failed() {
						t.Fatalf("operation %d: %s", n, op)
					}
					if !fired {
						if n < 15 {
							t.Errorf("a clean run has only %d operations", n-1)
						}
						return
					}
				}
			})
		}
	}
}

// Every operation on the file system fails once, until a run is clean. After
// it the folder is opened anew, as by another process.
func TestNoFalseSuccessWhateverTheFileSystemFails(t *testing.T) {
	data := random(150_000, 2)
	for _, cause := range []error{errInjected, syscall.ENOSPC} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, down %v", cause, down), func(t *testing.T) {
				for n := 1; ; n++ {
					dir, count, armed := t.TempDir(), 0, false
					d, err := filesystem.Open(dir, filesystem.Options{Fault: func(durable.Op, string) error {
						if !armed {
							return nil
						}
						if count++; count == n || down && count > n {
							return cause
						}
						return nil
					}})
					must(t, err)
					p, _ := newPlane(t, d, dataplane.Options{BootID: "boot"})
					s := session{row: fact.Staged{ID: "a"}}
					armed = true
					err = s.push(t.Context(), p, data)
					must(t, d.Close())
					full := errors.Is(cause, syscall.ENOSPC)
					if err != nil && full != (errors.Is(err, fact.ErrFull) || errors.Is(err, fact.ErrBroken)) {
						t.Errorf("operation %d: %v", n, err)
					}
					again, openErr := filesystem.Open(dir, filesystem.Options{})
					must(t, openErr)
					after, _ := newPlane(t, again, dataplane.Options{BootID: "boot"})
					s.recover(t, after, data, err)
					must(t, again.Close())
					if t.Failed() {
						t.Fatalf("operation %d of %d", n, count)
					}
					if count < n {
						return
					}
				}
			})
		}
	}
}

// A store whose flush failed refuses everything that another upload tries.
func TestAFailedFlushStopsAllUploads(t *testing.T) {
	armed := false
	d, err := filesystem.Open(t.TempDir(), filesystem.Options{Fault: func(op durable.Op, _ string) error {
		if armed && op == durable.OpSync {
			armed = false // a second flush would succeed
			return errInjected
		}
		return nil
	}})
	must(t, err)
	defer func() { must(t, d.Close()) }()
	p, _ := newPlane(t, d, dataplane.Options{BootID: "boot"})
	var stored, failed, other session
	stored.row.ID, failed.row.ID, other.row.ID = "a", "b", "c"
	data := random(100_000, 3)
	must(t, stored.push(t.Context(), p, data), other.append(t.Context(), p, data))
	armed = true
	wants(t, failed.push(t.Context(), p, data), errInjected)
	wants(t, failed.finish(t.Context(), p), fact.ErrGone) // it is not tried again
	wants(t, other.append(t.Context(), p, data), fact.ErrBroken)
	wants(t, other.finish(t.Context(), p), fact.ErrBroken)
	holds(t, p, stored.sealed, 0, data)
}
