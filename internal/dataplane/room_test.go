package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/memory"
)

// disk is a driver whose health the test decides.
type disk struct {
	*memory.Driver
	health storagedriver.Health
	err    error
	asked  int
}

func (d *disk) Health(context.Context) (storagedriver.Health, error) {
	d.asked++
	return d.health, d.err
}

const (
	mib = int64(1 << 20)
	gib = int64(1 << 30)
)

// onDisk is a plane over a disk, and the clock of both.
func onDisk(t *testing.T, h storagedriver.Health, minFree int64) (*dataplane.Plane, *disk, *time.Time) {
	t.Helper()
	d := &disk{Driver: memory.New(memory.Options{}), health: h}
	now := time.Unix(1_700_000_000, 0)
	p, _ := newPlane(t, d, dataplane.Options{MinFree: minFree, Now: func() time.Time { return now }})
	return p, d, &now
}

func TestPushesStopWhileTheStoreIsAway(t *testing.T) {
	p, d, now := onDisk(t, storagedriver.Unlimited(), 0)
	d.err = fmt.Errorf("health: %w", storagedriver.ErrUnavailable)
	*now = now.Add(time.Second)
	if err := p.Room(t.Context()); !errors.Is(err, fact.ErrUnavailable) || errors.Is(err, fact.ErrBroken) {
		t.Errorf("Room: %v", err)
	}
	d.err = nil
	if err := p.Room(t.Context()); err != nil {
		t.Errorf("Room, with the store there again: %v", err)
	}
}

func TestPushesStopBeforeTheDiskIsFull(t *testing.T) {
	unlimited := storagedriver.Unlimited()
	of := func(free, total int64) storagedriver.Health {
		return storagedriver.Health{Free: free, Total: total, FreeFiles: -1, TotalFiles: -1}
	}
	for _, c := range []struct {
		name    string
		health  storagedriver.Health
		minFree int64
		full    bool
	}{
		{"no known limit", unlimited, 0, false},
		{"no known limit and a chosen room", unlimited, gib, false},
		{"1 GiB free of a large disk", of(gib, 100*gib), 0, false},
		{"less free of a large disk", of(gib-1, 100*gib), 0, true},
		{"a twentieth free of a small disk", of(512*mib, 10*gib), 0, false},
		{"less free of a small disk", of(512*mib-1, 10*gib), 0, true},
		{"as much free as the database needs", of(8*mib, 100*mib), 0, false},
		{"less free than the database needs", of(8*mib-1, 100*mib), 0, true},
		{"a quarter free of a very small disk", of(mib/2, 2*mib), 0, false},
		{"less free of a very small disk", of(mib/2-1, 2*mib), 0, true},
		{"more free than was chosen", of(8*mib, 100*gib), 8 * mib, false},
		{"less free than was chosen", of(gib, 100*gib), 2 * gib, true},
		{"few names left", storagedriver.Health{Free: gib, Total: 10 * gib, FreeFiles: 63, TotalFiles: 100_000}, 0, true},
		{"names left", storagedriver.Health{Free: gib, Total: 10 * gib, FreeFiles: 64, TotalFiles: 100_000}, 0, false},
		{"a tenth of few names left", storagedriver.Health{Free: gib, Total: 10 * gib, FreeFiles: 10, TotalFiles: 100}, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, _ := onDisk(t, c.health, c.minFree)
			err := p.Room(t.Context())
			ingestErr := p.Ingest(t.Context(), &fact.Staged{ID: "a"}, bytes.NewReader(nil), spilled)
			if errors.Is(err, fact.ErrFull) != c.full || errors.Is(ingestErr, fact.ErrFull) != c.full {
				t.Errorf("Room: %v, Ingest: %v", err, ingestErr)
			}
		})
	}
}

func TestTheStoreIsNotAskedEveryTime(t *testing.T) {
	p, d, now := onDisk(t, storagedriver.Health{Free: gib, Total: 10 * gib, FreeFiles: -1, TotalFiles: -1}, 0)
	for range 100 {
		must(t, p.Room(t.Context()))
	}
	*now = now.Add(9 * time.Millisecond)
	must(t, p.Room(t.Context()))
	if d.asked != 1 {
		t.Errorf("asked %d times within 10 ms", d.asked)
	}
	*now = now.Add(time.Millisecond)
	must(t, p.Room(t.Context()))
	if d.asked != 2 {
		t.Errorf("asked %d times in 10 ms", d.asked)
	}
}

// Between two answers of the store, what is written is counted: a fast upload
// cannot use up what must stay free. What was accepted stays accepted, and the
// upload goes on when there is room again.
func TestAnUploadStopsBeforeTheDiskIsFullAndGoesOnLater(t *testing.T) {
	p, d, _ := onDisk(t, storagedriver.Health{Free: gib + 2*mib, Total: 100 * gib, FreeFiles: -1, TotalFiles: -1}, 0)
	data, s := random(int(8*mib), 1), fact.Staged{ID: "a"}
	must(t, p.Room(t.Context()))
	d.health.Free = gib - 1 // what the store says when it is asked again
	err := p.Ingest(t.Context(), &s, bytes.NewReader(data), spilled)
	wants(t, err, fact.ErrFull)
	if s.Offset == 0 || s.Offset > 2*mib {
		t.Errorf("%d bytes are accepted where there was room for %d", s.Offset, 2*mib)
	}
	wants(t, p.Ingest(t.Context(), &s, bytes.NewReader(data[s.Offset:]), spilled), fact.ErrFull)

	d.health.Free = 2 * gib // at once
	ingest(t, p, &s, data[s.Offset:])
	sealed, err := p.Seal(t.Context(), &s, "")
	must(t, err, p.Publish(t.Context(), s))
	holds(t, p, sealed, 0, data)
}

func TestAFullStoreIsReportedAsFull(t *testing.T) {
	d := &disk{Driver: memory.New(memory.Options{Limit: 100_000}), health: storagedriver.Unlimited()}
	p, _ := newPlane(t, d, dataplane.Options{})
	s := fact.Staged{ID: "a"}
	wants(t, p.Ingest(t.Context(), &s, bytes.NewReader(random(200_000, 2)), spilled), fact.ErrFull)
	must(t, p.Discard(t.Context(), s))
	s = fact.Staged{ID: "b"}
	ingest(t, p, &s, random(50_000, 2))
}

func TestABrokenStoreTakesNothingAndSaysSo(t *testing.T) {
	p, d, now := onDisk(t, storagedriver.Unlimited(), 0)
	must(t, p.Room(t.Context()))
	d.err = fmt.Errorf("health: %w", storagedriver.ErrBroken)
	*now = now.Add(time.Second)
	wants(t, p.Room(t.Context()), fact.ErrBroken)
	wants(t, p.Ingest(t.Context(), &fact.Staged{ID: "a"}, bytes.NewReader(nil), spilled), fact.ErrBroken)
	if h := p.Health(t.Context()); len(h) != 1 || h[0].Store != "main" || !errors.Is(h[0].Err, fact.ErrBroken) {
		t.Errorf("Health: %+v", h)
	}
	d.err = nil
	must(t, p.Room(t.Context())) // a failed answer is not kept
}
