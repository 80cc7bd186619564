package fault_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/memory"
)

var errInjected = errors.New("injected")

// A driver behind an empty plan is as good as without.
func TestDriver(t *testing.T) {
	drivers := map[storagedriver.Driver]*memory.Driver{}
	wrap := func(d *memory.Driver) storagedriver.Driver {
		w := fault.Wrap(d, new(fault.Plan))
		drivers[w] = d
		return w
	}
	drivertest.Run(t,
		func(*testing.T) storagedriver.Driver { return wrap(memory.New(memory.Options{})) },
		func(_ *testing.T, old storagedriver.Driver) storagedriver.Driver { return wrap(drivers[old].Reopen()) })
}

// linking is a driver in memory that makes links.
type linking struct{ *memory.Driver }

func (linking) Link(context.Context, storagedriver.Link) (string, error) { return "http://store/", nil }

// everyOperation does each operation of a driver once, in a fixed order.
func everyOperation(ctx context.Context, d storagedriver.Driver) error {
	s, err := d.Stage(ctx, "a")
	if err != nil {
		return err
	}
	_, err = s.Write([]byte("ab"))
	state, saved := s.Save(ctx)
	_, held := s.(storagedriver.Holder).Hold(ctx)
	if err := errors.Join(err, saved, held, s.Close()); err != nil {
		return err
	}
	if s, err = d.Resume(ctx, "a", state, 2); err != nil {
		return err
	}
	if err := s.Close(); err != nil {
		return err
	}
	staged, err := d.OpenStaged(ctx, "a", state, 2)
	if err := consume(staged, err); err != nil {
		return err
	}
	if _, err := lister(d).Staged(ctx); err != nil {
		return err
	}
	locator := d.Locate("a", "")
	if err := d.Publish(ctx, "a", state, 2, locator); err != nil {
		return err
	}
	object, err := d.Open(ctx, locator, 0, -1)
	if err := consume(object, err); err != nil {
		return err
	}
	_, size := d.Size(ctx, locator)
	_, health := d.Health(ctx)
	linker, _ := storagedriver.Find[storagedriver.Linker](d)
	_, linked := linker.Link(ctx, storagedriver.Link{Locator: locator})
	placer, _ := storagedriver.Find[storagedriver.Placer](d)
	placed := placer.Place(ctx, "b", 2, strings.NewReader("ab"))
	walker, _ := storagedriver.Find[storagedriver.Walker](d)
	_, walked := walker.Objects(ctx, "", 10)
	return errors.Join(size, health, linked, placed, walked, d.Delete(ctx, locator), d.Discard(ctx, "a", state))
}

func lister(d storagedriver.Driver) storagedriver.Lister {
	l, _ := storagedriver.Find[storagedriver.Lister](d)
	return l
}

func consume(r io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	_, err = io.ReadFull(r, make([]byte, 2))
	return errors.Join(err, r.Close())
}

func TestEveryOperationFailsOnceUntilARunIsClean(t *testing.T) {
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("mode %d, down %v", mode, down), func(t *testing.T) {
				var fired []fault.Op
				for n := 1; ; n++ {
					plan := &fault.Plan{FailAt: n, Err: errInjected, Mode: mode, Down: down}
					err := everyOperation(t.Context(), fault.Wrap(linking{memory.New(memory.Options{})}, plan))
					op, ok := plan.Fired()
					if errors.Is(err, errInjected) != ok {
						t.Fatalf("operation %d (%s): %v", n, op, err)
					}
					if !ok {
						break
					}
					fired = append(fired, op)
				}
				want := []fault.Op{
					"stage", "write", "save", "hold", "close", "resume", "close", "open staged", "read staged",
					"staged", "publish", "open", "read", "size", "health", "link", "place", "objects",
					"delete", "discard",
				}
				if !slices.Equal(fired, want) {
					t.Errorf("failed %q, want %q", fired, want)
				}
			})
		}
	}
}

func TestOnlyCountsTheChosenOperations(t *testing.T) {
	plan := &fault.Plan{FailAt: 2, Only: []fault.Op{fault.OpClose}, Err: errInjected}
	if err := everyOperation(t.Context(), fault.Wrap(linking{memory.New(memory.Options{})}, plan)); !errors.Is(err, errInjected) {
		t.Errorf("error is %v", err)
	}
	if op, _ := plan.Fired(); op != fault.OpClose {
		t.Errorf("%q failed", op)
	}
}

func TestAFailedWriteIsShort(t *testing.T) {
	plan := &fault.Plan{FailAt: 1, Only: []fault.Op{fault.OpWrite}, Err: errInjected}
	s, err := fault.Wrap(linking{memory.New(memory.Options{})}, plan).Stage(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := s.Write(make([]byte, 10)); n != 5 || !errors.Is(err, errInjected) {
		t.Errorf("Write: %d, %v", n, err)
	}
}

func TestALostAnswerMeansThatTheOperationWasDone(t *testing.T) {
	ctx := t.Context()
	inner := memory.New(memory.Options{})
	plan := &fault.Plan{FailAt: 1, Only: []fault.Op{fault.OpPublish}, Err: errInjected, Mode: fault.After}
	if err := everyOperation(ctx, fault.Wrap(linking{inner}, plan)); !errors.Is(err, errInjected) {
		t.Fatal(err)
	}
	if size, err := inner.Size(ctx, inner.Locate("a", "")); size != 2 || err != nil {
		t.Errorf("Size: %d, %v", size, err)
	}
}
