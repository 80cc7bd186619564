package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"artifactstore/registry/fact"
)

// objects is the phase about the objects of what was forgotten, or moved.
//
// An object is deleted before the event says so: a crash between the two leaves
// an entry whose object is gone, and deleting it again does nothing. No event
// brings a locator back that was given up, so it does not matter how late a sweep
// deletes.
func (s *sweep) objects(ctx context.Context) error {
	name := "sweep " + string(s.now.Phase)
	var place ErasurePlace
	if err := s.resume(ctx, name, &place); err != nil {
		return err
	}
	for more := true; more; {
		page, err := s.erasures(ctx, place)
		if err != nil {
			return err
		}
		if more = len(page) == s.o.Batch; len(page) == 0 {
			break
		}
		counts := SweepCounts{Visited: int64(len(page))}
		done, stop := s.deleteAll(ctx, page, &counts)
		// What was deleted is told, whatever became of the others.
		if err := s.erased(ctx, name, place, done, &counts); err != nil || stop != nil {
			return errors.Join(stop, err)
		}
		place = page[len(page)-1].Place()
	}
	if !s.recorded {
		return nil
	}
	return s.record(ctx, name, nil)
}

// erasures lists objects that are due to be deleted.
func (s *sweep) erasures(ctx context.Context, after ErasurePlace) (page []Erasure, err error) {
	err = s.ledger.Read(ctx, func(v View) error {
		trusted, err := v.Trusted()
		if err != nil {
			return fmt.Errorf("read the clock: %w", err)
		}
		page, err = v.Erasures(after, trusted.Add(-s.opts.EraseDelay), s.o.Batch)
		return err
	})
	return page, err
}

// errServing: nothing should ever have made it so.
var errServing = errors.New("a blob is served from the object")

// deleteAll deletes objects, and returns those that are gone. Its error ends the
// phase; all others are counted.
func (s *sweep) deleteAll(ctx context.Context, page []Erasure, counts *SweepCounts) (done []Erasure, err error) {
	for _, e := range page {
		err := s.o.Pace.Object(ctx)
		if err == nil {
			err = s.delete(ctx, &e)
		}
		switch {
		case err == nil:
			done = append(done, e)
		case ctx.Err() != nil || errors.Is(err, fact.ErrUnavailable) || errors.Is(err, fact.ErrBroken):
			return done, storage(err)
		default:
			counts.Failed++
			s.opts.Log.Error("an object that is not needed any more could not be deleted; the next sweep tries again",
				"store", e.Receipt.Store, "locator", e.Receipt.Locator, "event", e.By, "error", err)
		}
	}
	return done, nil
}

// delete deletes an object, unless a blob has its bytes there.
func (s *sweep) delete(ctx context.Context, e *Erasure) error {
	err := s.ledger.Read(ctx, func(v View) error {
		b, err := v.Blob(e.Blob)
		if err == nil && b != nil && b.Receipt == e.Receipt {
			err = errServing
		}
		return err
	})
	if err != nil || s.o.DryRun {
		return err
	}
	return s.bytes.Delete(ctx, e.Receipt, 0)
}

// erased tells of objects that were deleted, of a page after a place, also if the
// sweep is to stop.
func (s *sweep) erased(ctx context.Context, name string, after ErasurePlace, done []Erasure, counts *SweepCounts) error {
	c := new(Change)
	if len(done) > 0 && !s.o.DryRun {
		ctx, cancel := detached(ctx)
		defer cancel()
		err := s.ledger.Update(ctx, System, Keys{}, func(v View) (_ *Change, err error) {
			c, err = eraseDone(v, after, done)
			if err == nil {
				var state []byte
				state, err = json.Marshal(done[len(done)-1].Place())
				c.Working.Passes = map[string][]byte{name: state}
			}
			return c, err
		})
		if err != nil {
			return err
		}
		s.recorded = true
	}
	for _, e := range done {
		counts.Erased.add(e.Size)
	}
	s.count(counts, c)
	return nil
}

// eraseDone makes the events of objects that are gone. Another sweep may have
// told of some, and between them lie those that could not be deleted.
func eraseDone(v View, after ErasurePlace, done []Erasure) (*Change, error) {
	gone := make(map[ErasurePlace]bool, len(done))
	for _, e := range done {
		gone[e.Place()] = true
	}
	last := done[len(done)-1]
	c := new(Change)
	for after != last.Place() {
		page, err := v.Erasures(after, last.Time.Add(time.Microsecond), len(done))
		if err != nil {
			return nil, fmt.Errorf("look up erasures: %w", err)
		}
		if len(page) == 0 {
			break
		}
		for _, e := range page {
			if after = e.Place(); gone[after] {
				c.Add(&fact.BlobErased{Blob: e.Blob, Receipt: e.Receipt, By: uint64(e.By)})
			}
			if after == last.Place() {
				break
			}
		}
	}
	return c, nil
}
