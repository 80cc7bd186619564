package storagedriver_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/observe"
)

// able has every ability.
type able struct{ *memory.Driver }

func (able) StagedPersists() bool { return true }

func (able) Link(_ context.Context, l storagedriver.Link) (string, error) {
	return "http://store/" + l.Locator, nil
}

// plain is a driver without abilities.
type plain struct{ storagedriver.Driver }

func nobody(ctx context.Context, _ observe.Op) (context.Context, func(observe.Outcome)) {
	return ctx, nil
}

// wrappings are the drivers that wrap another one, alone and together.
var wrappings = map[string]func(storagedriver.Driver) storagedriver.Driver{
	"none":     func(d storagedriver.Driver) storagedriver.Driver { return d },
	"observed": func(d storagedriver.Driver) storagedriver.Driver { return observe.Wrap(d, nobody, nobody) },
	"failing":  func(d storagedriver.Driver) storagedriver.Driver { return fault.Wrap(d, new(fault.Plan)) },
	"both": func(d storagedriver.Driver) storagedriver.Driver {
		return observe.Wrap(fault.Wrap(observe.Wrap(d, nobody), new(fault.Plan)), nobody)
	},
}

func TestAbilitiesAreFoundThroughWrappers(t *testing.T) {
	for name, wrap := range wrappings {
		t.Run(name, func(t *testing.T) {
			found(t, wrap(able{memory.New(memory.Options{})}), true)
			found(t, wrap(plain{memory.New(memory.Options{})}), false)
		})
	}
}

func found(t *testing.T, d storagedriver.Driver, want bool) {
	t.Helper()
	ctx := t.Context()
	persistent, persists := storagedriver.Find[storagedriver.Persistent](d)
	linker, links := storagedriver.Find[storagedriver.Linker](d)
	placer, places := storagedriver.Find[storagedriver.Placer](d)
	lister, lists := storagedriver.Find[storagedriver.Lister](d)
	releaser, releases := storagedriver.Find[storagedriver.Releaser](d)
	walker, walks := storagedriver.Find[storagedriver.Walker](d)
	owned, owns := storagedriver.Find[storagedriver.Owned](d)
	if persists != want || links != want || places != want || lists != want || releases != want || walks != want || owns != want {
		t.Fatalf("found %v, want %v", []bool{persists, links, places, lists, releases, walks, owns}, want)
	}
	if !want {
		return
	}
	url, err := linker.Link(ctx, storagedriver.Link{Locator: "a"})
	if url != "http://store/a" || err != nil || !persistent.StagedPersists() {
		t.Errorf("Link: %q, %v", url, err)
	}
	if err := placer.Place(ctx, "b", 1, strings.NewReader("b")); err != nil {
		t.Errorf("Place: %v", err)
	}
	if size, err := d.Size(ctx, "b"); size != 1 || err != nil {
		t.Errorf("Size: %d, %v", size, err)
	}
	if owner, err := owned.Own(ctx, "me", ""); owner != "me" || err != nil {
		t.Errorf("Own: %q, %v", owner, err)
	}
	if page, err := walker.Objects(ctx, "", 2); len(page) != 1 || page[0].Locator != "b" || err != nil {
		t.Errorf("Objects: %+v, %v", page, err)
	}
	if ids, err := lister.Staged(ctx); len(ids) != 0 || err != nil {
		t.Errorf("Staged: %q, %v", ids, err)
	}
	releaser.Release("a")
}

func TestFindInNothing(t *testing.T) {
	if _, ok := storagedriver.Find[storagedriver.Linker](nil); ok {
		t.Error("no driver has an ability")
	}
}

// withoutHold is a driver whose stages cannot hold, and whose readers know no size.
type withoutHold struct{ storagedriver.Driver }

func (d withoutHold) Stage(ctx context.Context, id string) (storagedriver.Stage, error) {
	s, err := d.Driver.Stage(ctx, id)
	return struct{ storagedriver.Stage }{s}, err
}

func (d withoutHold) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	r, err := d.Driver.Open(ctx, locator, offset, length)
	return struct{ io.ReadCloser }{r}, err
}

func TestStagesAndReadersKeepTheirAbilities(t *testing.T) {
	for name, wrap := range wrappings {
		t.Run(name, func(t *testing.T) {
			holds, sized := kept(t, wrap(memory.New(memory.Options{})))
			if !holds || !sized {
				t.Errorf("the stage holds: %v, the reader is sized: %v", holds, sized)
			}
			holds, sized = kept(t, wrap(withoutHold{memory.New(memory.Options{})}))
			if holds || sized {
				t.Errorf("the stage claims to hold: %v, the reader to be sized: %v", holds, sized)
			}
		})
	}
}

// kept tells what a stage and a reader of the driver can do.
func kept(t *testing.T, d storagedriver.Driver) (holds, sized bool) {
	t.Helper()
	ctx := t.Context()
	s, err := d.Stage(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	_, err = s.Write([]byte("abc"))
	state, saved := s.Save(ctx)
	holder, holds := s.(storagedriver.Holder)
	if holds {
		state, saved = holder.Hold(ctx)
	}
	locator := d.Locate("a", "")
	if err := errors.Join(err, saved, s.Close(), d.Publish(ctx, "a", state, 3, locator)); err != nil {
		t.Fatal(err)
	}
	r, err := d.Open(ctx, locator, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	size, sized := r.(storagedriver.Sized)
	if sized && size.ObjectSize() != 3 {
		t.Errorf("the object has %d bytes", size.ObjectSize())
	}
	data, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil || !bytes.Equal(data, []byte("b")) {
		t.Errorf("read %q, %v", data, err)
	}
	return holds, sized
}

func TestAnObservedFileStaysAFile(t *testing.T) {
	d, err := filesystem.Open(t.TempDir(), filesystem.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	w := observe.Wrap(d, nobody, nobody)
	placer, ok := storagedriver.Find[storagedriver.Placer](w)
	if !ok {
		t.Fatal("the driver places nothing")
	}
	if err := placer.Place(t.Context(), "a", 3, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	r, err := w.Open(t.Context(), "a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.(*os.File); !ok {
		t.Errorf("opened a %T", r)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
