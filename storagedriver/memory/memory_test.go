package memory_test

import (
	"bytes"
	"errors"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/memory"
)

func TestDriver(t *testing.T) {
	drivertest.Run(t,
		func(*testing.T) storagedriver.Driver { return memory.New(memory.Options{}) },
		func(_ *testing.T, old storagedriver.Driver) storagedriver.Driver {
			return old.(*memory.Driver).Reopen()
		})
}

func TestLimitIsKeptAndRoomComesBack(t *testing.T) {
	ctx := t.Context()
	d := memory.New(memory.Options{Limit: 1000})
	s, err := d.Stage(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
		t.Fatal(err)
	}
	if h, _ := d.Health(ctx); h.Free != 0 || h.Total != 1000 {
		t.Errorf("health of a full store is %+v", h)
	}
	if n, err := s.Write([]byte("y")); n != 0 || !errors.Is(err, storagedriver.ErrFull) {
		t.Errorf("Write into a full store: %d, %v", n, err)
	}
	if err := d.Discard(ctx, "a", nil); err != nil {
		t.Fatal(err)
	}
	if h, _ := d.Health(ctx); h.Free != 1000 {
		t.Errorf("health of an empty store is %+v", h)
	}
}

func TestStateMustBeBroughtBack(t *testing.T) {
	ctx := t.Context()
	d := memory.New(memory.Options{})
	s, err := d.Stage(ctx, "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Write([]byte("abc")); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Resume(ctx, "a", nil, 3); !errors.Is(err, storagedriver.ErrInvalid) {
		t.Errorf("Resume without the state: %v", err)
	}
}
