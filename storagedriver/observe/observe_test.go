package observe_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/observe"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nobody(ctx context.Context, _ observe.Op) (context.Context, func(observe.Outcome)) {
	return ctx, nil
}

func somebody(ctx context.Context, _ observe.Op) (context.Context, func(observe.Outcome)) {
	return ctx, func(observe.Outcome) {}
}

// An observed driver is as good as the one below.
func TestDriver(t *testing.T) {
	var mu sync.Mutex
	drivers := map[storagedriver.Driver]*memory.Driver{}
	wrap := func(d *memory.Driver) storagedriver.Driver {
		w := observe.Wrap(d, nobody, somebody)
		mu.Lock()
		defer mu.Unlock()
		drivers[w] = d
		return w
	}
	drivertest.Run(t,
		func(*testing.T) storagedriver.Driver { return wrap(memory.New(memory.Options{})) },
		func(_ *testing.T, old storagedriver.Driver) storagedriver.Driver { return wrap(drivers[old].Reopen()) })
}

func TestWithoutObserversTheDriverIsItself(t *testing.T) {
	d := memory.New(memory.Options{})
	if observe.Wrap(d) != storagedriver.Driver(d) || observe.Wrap(d, nil, nil) != storagedriver.Driver(d) {
		t.Error("the driver was wrapped")
	}
}

// plain is a driver without optional abilities.
type plain struct{ storagedriver.Driver }

func TestOptionalAbilitiesAreThoseOfTheDriver(t *testing.T) {
	d := memory.New(memory.Options{})
	if _, ok := storagedriver.Find[storagedriver.Lister](observe.Wrap(d, somebody)); !ok {
		t.Error("the driver has lost its list of staged objects")
	}
	if _, ok := storagedriver.Find[storagedriver.Lister](observe.Wrap(plain{d}, somebody)); ok {
		t.Error("the driver claims to list staged objects and cannot")
	}
}

func TestAFileStaysAFile(t *testing.T) {
	d, err := filesystem.Open(t.TempDir(), filesystem.Options{})
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	w := observe.Wrap(d, somebody)
	s, err := w.Stage(t.Context(), "a")
	must(t, err)
	_, err = s.Write([]byte("abc"))
	must(t, errors.Join(err, s.Close()))
	locator := w.Locate("a", fmt.Sprintf("%064d", 0))
	must(t, w.Publish(t.Context(), "a", nil, 3, locator))
	r, err := w.Open(t.Context(), locator, 0, -1)
	must(t, err)
	if _, ok := r.(*os.File); !ok {
		t.Errorf("opened a %T", r)
	}
	must(t, r.Close())
}

// linking is a driver in memory that makes links.
type linking struct{ *memory.Driver }

func (linking) Link(context.Context, storagedriver.Link) (string, error) { return "http://store/", nil }

type key struct{}

// everything does each operation once, and returns the errors that it met.
func everything(ctx context.Context, d storagedriver.Driver) error {
	s, err := d.Stage(ctx, "a")
	if err != nil {
		return err
	}
	_, err = s.Write([]byte("abc"))
	_, saved := s.Save(ctx)
	_, held := s.(storagedriver.Holder).Hold(ctx)
	state, again := s.Save(ctx)
	if err := errors.Join(err, saved, held, again, s.Close()); err != nil {
		return err
	}
	if s, err = d.Resume(ctx, "a", state, 3); err != nil {
		return err
	}
	err = s.Close()
	staged, opened := d.OpenStaged(ctx, "a", state, 3)
	if err := errors.Join(err, opened); err != nil {
		return err
	}
	_, listed := lister(d).Staged(ctx)
	locator := d.Locate("a", "")
	if err := errors.Join(staged.Close(), listed, d.Publish(ctx, "a", state, 3, locator)); err != nil {
		return err
	}
	r, err := d.Open(ctx, locator, 1, 2)
	if err != nil {
		return err
	}
	_, size := d.Size(ctx, locator)
	_, health := d.Health(ctx)
	linker, _ := storagedriver.Find[storagedriver.Linker](d)
	_, linked := linker.Link(ctx, storagedriver.Link{Locator: locator})
	placer, _ := storagedriver.Find[storagedriver.Placer](d)
	placed := placer.Place(ctx, "b", 4, strings.NewReader("abcd"))
	walker, _ := storagedriver.Find[storagedriver.Walker](d)
	_, walked := walker.Objects(ctx, "", 10)
	return errors.Join(r.Close(), size, health, linked, placed, walked, d.Delete(ctx, locator), d.Discard(ctx, "a", state))
}

func lister(d storagedriver.Driver) storagedriver.Lister {
	l, _ := storagedriver.Find[storagedriver.Lister](d)
	return l
}

func TestEveryOperationIsToldWithItsOutcome(t *testing.T) {
	type entry struct {
		op    observe.Op
		bytes int64
	}
	var got []entry
	seen := map[observe.Op]bool{}
	outer := func(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
		return context.WithValue(ctx, key{}, op), nil
	}
	inner := func(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
		if op != observe.Write && op != observe.Close && ctx.Value(key{}) != op { // those have no context
			t.Errorf("%s: the context of the outer observer does not arrive", op)
		}
		return ctx, func(o observe.Outcome) {
			if o.Err != nil || o.Duration < 0 {
				t.Errorf("%s: %+v", op, o)
			}
			got, seen[op] = append(got, entry{op, o.Bytes}), true
		}
	}
	must(t, everything(t.Context(), observe.Wrap(linking{memory.New(memory.Options{})}, inner, outer)))
	want := []entry{
		{observe.Stage, 0}, {observe.Write, 3}, {observe.Save, 0}, {observe.Hold, 0}, {observe.Save, 0}, {observe.Close, 0}, {observe.Resume, 0},
		{observe.Close, 0}, {observe.OpenStaged, 0}, {observe.Staged, 0}, {observe.Publish, 3}, {observe.Open, 2},
		{observe.Size, 0}, {observe.Health, 0}, {observe.Link, 0}, {observe.Place, 4}, {observe.Objects, 0}, {observe.Delete, 0}, {observe.Discard, 0},
	}
	if !slices.Equal(got, want) {
		t.Errorf("told %v, want %v", got, want)
	}
	if len(seen) != len(observe.Ops) {
		t.Errorf("told of %d operations, there are %d", len(seen), len(observe.Ops))
	}
}

func TestFailuresAreTold(t *testing.T) {
	injected := errors.New("injected")
	for n := 1; ; n++ {
		plan := &fault.Plan{FailAt: n, Err: injected, Only: []fault.Op{
			fault.OpStage, fault.OpWrite, fault.OpSave, fault.OpClose, fault.OpResume, fault.OpOpenStaged, fault.OpDiscard,
			fault.OpPublish, fault.OpOpen, fault.OpSize, fault.OpDelete, fault.OpHealth, fault.OpStaged,
			fault.OpHold, fault.OpLink, fault.OpPlace, fault.OpObjects,
		}}
		var failed []observe.Op
		watch := func(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
			return ctx, func(o observe.Outcome) {
				if errors.Is(o.Err, injected) {
					failed = append(failed, op)
				}
			}
		}
		err := everything(t.Context(), observe.Wrap(fault.Wrap(linking{memory.New(memory.Options{})}, plan), watch))
		op, fired := plan.Fired()
		if errors.Is(err, injected) != fired {
			t.Fatalf("operation %d (%s): %v", n, op, err)
		}
		if !fired {
			return
		}
		// A stage that failed to write fails to save, too.
		if len(failed) == 0 || failed[0] != want(op) {
			t.Errorf("%s failed, told were %q", op, failed)
		}
	}
}

// want is the name that a failing operation is told by.
func want(op fault.Op) observe.Op {
	switch op {
	case fault.OpOpenStaged:
		return observe.OpenStaged
	case fault.OpStaged:
		return observe.Staged
	case fault.OpObjects:
		return observe.Objects
	}
	return observe.Op(op)
}
