package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"testing/iotest"
	"time"

	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/observe"
)

// told collects the operations of a driver.
type told struct{ ops []observe.Op }

func (o *told) observe(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
	o.ops = append(o.ops, op)
	return ctx, nil
}

func (o *told) count(op observe.Op) int {
	n := 0
	for _, have := range o.ops {
		if have == op {
			n++
		}
	}
	return n
}

// watched is a plane over memory whose operations are told.
func watched(t *testing.T, o dataplane.Options) (*dataplane.Plane, *memory.Driver, *told) {
	t.Helper()
	d, ops := memory.New(memory.Options{}), new(told)
	p, _ := newPlane(t, observe.Wrap(d, ops.observe), o)
	return p, d, ops
}

func TestTheLastBytesAreHeldUntilTheyArePublished(t *testing.T) {
	for name, before := range map[string]int{"all in one": 0, "after some that were saved": 50_000} {
		t.Run(name, func(t *testing.T) {
			p, d, ops := watched(t, dataplane.Options{})
			data := random(120_000, 50)
			s := fact.Staged{ID: "a"}
			if before > 0 {
				ingest(t, p, &s, data[:before])
			}
			saves := ops.count(observe.Save)
			s.Last = true
			ingest(t, p, &s, data[before:])
			if !s.Held || ops.count(observe.Hold) != 1 || ops.count(observe.Save) != saves {
				t.Fatalf("held: %v; the driver did %q", s.Held, ops.ops)
			}
			sealed, err := p.Seal(t.Context(), &s, identity.SHA512) // which is read once more
			must(t, err, p.Publish(t.Context(), s), p.Publish(t.Context(), s))
			holds(t, p, sealed, 0, data)
			elsewhere, _ := newPlane(t, d.Reopen(), dataplane.Options{})
			holds(t, elsewhere, sealed, 0, data)
		})
	}
}

func TestFewLastBytesStayInline(t *testing.T) {
	p, _, ops := watched(t, dataplane.Options{InlineLimit: limit})
	s := fact.Staged{ID: "a", Last: true}
	ingest(t, p, &s, random(limit, 51))
	if s.Held || len(s.Inline) != limit || len(ops.ops) != 1 { // of the room
		t.Errorf("%d bytes are inline; the driver did %q", len(s.Inline), ops.ops)
	}
	p.Release(s)
}

// What another process may have to go on with is saved, also when more was
// meant to be the last.
func TestABodyThatBreaksOffIsSavedAndNotHeld(t *testing.T) {
	data := random(300_000, 52)
	for _, before := range []int{0, 100_000} {
		p, d, _ := watched(t, dataplane.Options{BootID: "boot"})
		s := fact.Staged{ID: "a"}
		if before > 0 {
			ingest(t, p, &s, data[:before])
		}
		s.Last = true
		broken := io.MultiReader(bytes.NewReader(data[before:200_000]), iotest.ErrReader(errInjected))
		wants(t, p.Ingest(t.Context(), &s, broken, spilled), errInjected)
		if s.Held || s.Offset != 200_000 {
			t.Fatalf("held: %v, offset %d", s.Held, s.Offset)
		}
		elsewhere, r := newPlane(t, d.Reopen(), dataplane.Options{BootID: "boot"})
		ingest(t, elsewhere, &s, data[200_000:])
		sealed, sequence := seal(t, elsewhere, r, &s, "")
		holds(t, elsewhere, sealed, sequence, data)
	}
}

func TestReleaseLeavesTheSequenceWhereItWasSaved(t *testing.T) {
	p, d, _ := watched(t, dataplane.Options{BootID: "boot"})
	data := random(200_000, 53)
	s := fact.Staged{ID: "a"}
	ingest(t, p, &s, data[:100_000])
	last := s
	last.Last = true
	ingest(t, p, &last, random(1000, 54))
	p.Release(last)
	p.Release(last)
	_, err := d.OpenStaged(t.Context(), "a", last.Driver, last.Offset)
	wants(t, err, storagedriver.ErrNotExist)
	last.Locator = d.Locate("a", "")
	wants(t, p.Publish(t.Context(), last), fact.ErrGone)
	elsewhere, r := newPlane(t, d.Reopen(), dataplane.Options{BootID: "boot"})
	ingest(t, elsewhere, &s, data[100_000:])
	sealed, sequence := seal(t, elsewhere, r, &s, "")
	holds(t, elsewhere, sealed, sequence, data)
}

func TestWhatIsHeldIsGoneForAnotherProcess(t *testing.T) {
	p, d, _ := watched(t, dataplane.Options{BootID: "boot"})
	s := fact.Staged{ID: "a", Last: true}
	ingest(t, p, &s, random(200_000, 55))
	elsewhere, _ := newPlane(t, d.Reopen(), dataplane.Options{BootID: "boot"})
	s.Last, s.Held = false, false // as the row has it
	wants(t, elsewhere.Ingest(t.Context(), &s, bytes.NewReader([]byte("more")), spilled), fact.ErrGone)
	_, err := elsewhere.Seal(t.Context(), &s, "")
	must(t, err)
	wants(t, elsewhere.Publish(t.Context(), s), fact.ErrGone)
	must(t, elsewhere.Discard(t.Context(), s))
	staged(t, elsewhere)
}

// Every operation fails once, in every way: what was reported as stored is
// there, and all that is left can be discarded.
func TestNothingIsLostOfWhatIsHeldWhateverTheDriverFails(t *testing.T) {
	data := random(300_000, 56)
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		for n, fired := 1, true; fired; n++ {
			plan := &fault.Plan{FailAt: n, Err: errInjected, Mode: mode}
			d := memory.New(memory.Options{})
			p, _ := newPlane(t, fault.Wrap(d, plan), dataplane.Options{BootID: "boot"})
			s := session{row: fact.Staged{ID: "a"}}
			err := s.append(t.Context(), p, data[:100_000])
			saved := s.row
			if err == nil {
				s.row.Last = true
				err = s.append(t.Context(), p, data[100_000:])
			}
			if err == nil {
				err = s.finish(t.Context(), p)
			}
			p.Release(s.row)
			var op fault.Op
			if op, fired = plan.Fired(); err != nil && !errors.Is(err, errInjected) {
				t.Errorf("operation %d (%s): %v", n, op, err)
			}
			if s.row.Held { // the row stands where it stood before
				saved.Locator, s.row = s.row.Locator, saved
			}
			after, _ := newPlane(t, d.Reopen(), dataplane.Options{BootID: "boot"})
			if err == nil {
				holds(t, after, s.sealed, 0, data)
			} else {
				s.recover(t, after, data, err)
			}
			if t.Failed() {
				t.Fatalf("mode %d, operation %d: %s", mode, n, op)
			}
		}
	}
}

// persistent is a driver whose staged bytes survive the machine.
type persistent struct {
	*memory.Driver
	yes bool
}

func (d persistent) StagedPersists() bool { return d.yes }

func TestStagedBytesThatPersistAreNotReadAgain(t *testing.T) {
	for _, persists := range []bool{true, false} {
		d, ops := persistent{memory.New(memory.Options{}), persists}, new(told)
		one, _ := newPlane(t, d, dataplane.Options{BootID: "one"})
		s := fact.Staged{ID: "a"}
		ingest(t, one, &s, random(100_000, 57))
		if s.Boot != "one" {
			t.Errorf("the boot is %q", s.Boot)
		}
		two, r := newPlane(t, observe.Wrap(d, ops.observe), dataplane.Options{BootID: "two"})
		ingest(t, two, &s, random(1000, 58))
		if s.Boot != "two" {
			t.Errorf("the boot is %q", s.Boot)
		}
		three, _ := newPlane(t, observe.Wrap(d, ops.observe), dataplane.Options{BootID: "three"})
		sealed, sequence := seal(t, three, r, &s, "")
		holds(t, three, sealed, sequence, slices.Concat(random(100_000, 57), random(1000, 58)))
		if got := ops.count(observe.OpenStaged); persists != (got == 0) {
			t.Errorf("persists: %v, read again %d times", persists, got)
		}
	}
}

func TestAReaderThatKnowsTheSizeSavesARequest(t *testing.T) {
	for sized, want := range map[bool]int{true: 0, false: 1} {
		d, ops := storagedriver.Driver(memory.New(memory.Options{})), new(told)
		if !sized {
			d = unsized{d}
		}
		p, r := newPlane(t, observe.Wrap(d, ops.observe), dataplane.Options{})
		data := random(10_000, 59)
		stored, sequence := put(t, p, r, "a", data)
		if got := read(t, p, stored, sequence, 10, 20); !bytes.Equal(got, data[10:30]) {
			t.Error("the range differs")
		}
		if ops.count(observe.Open) != 1 || ops.count(observe.Size) != want {
			t.Errorf("sized: %v; the driver did %q", sized, ops.ops)
		}
		_, err := p.Open(t.Context(), stored.Receipt, sequence, 10_001, 0, 1)
		wants(t, err, fact.ErrGone)
	}
}

// linking is a driver that makes links, or says why not.
type linking struct {
	*memory.Driver
	err error
}

func (d linking) Link(_ context.Context, l storagedriver.Link) (string, error) {
	return fmt.Sprintf("http://store/%s?%d&%v", l.Locator, l.Size, l.Lifetime), d.err
}

func TestLinks(t *testing.T) {
	ctx, stored := t.Context(), fact.Receipt{Store: "main", Locator: "objects/a"}
	for lifetime, want := range map[time.Duration]string{
		0:           "http://store/objects/a?5000&15m0s",
		time.Minute: "http://store/objects/a?5000&1m0s",
	} {
		p, _ := newPlane(t, observe.Wrap(linking{memory.New(memory.Options{}), nil}, new(told).observe),
			dataplane.Options{LinkLifetime: lifetime})
		if url, err := p.Link(ctx, stored, 5000); url != want || err != nil {
			t.Errorf("Link: %q, %v", url, err)
		}
		if url, err := p.Link(ctx, fact.Receipt{Store: fact.Content}, 5000); url != "" || err != nil {
			t.Errorf("Link of a content row: %q, %v", url, err)
		}
		if _, err := p.Link(ctx, fact.Receipt{Store: "other"}, 1); err == nil || errors.Is(err, fact.ErrGone) {
			t.Errorf("Link in a store that is not configured: %v", err)
		}
	}
	failing, _ := newPlane(t, linking{memory.New(memory.Options{}), errInjected}, dataplane.Options{})
	_, err := failing.Link(ctx, stored, 5000)
	wants(t, err, errInjected)
	plain, _, _ := plane(t)
	if url, err := plain.Link(ctx, stored, 5000); url != "" || err != nil {
		t.Errorf("Link of a driver that cannot: %q, %v", url, err)
	}
}

// TestASequenceThatBeginsAgainIsDiscardedFirst: an earlier attempt, by another
// process that may still be at work, has left no more than its name.
func TestASequenceThatBeginsAgainIsDiscardedFirst(t *testing.T) {
	p, _, ops := watched(t, dataplane.Options{BootID: "boot"})
	s := fact.Staged{ID: "a"}
	row := s
	must(t, p.Ingest(t.Context(), &s, bytes.NewReader(random(100_000, 60)), func(spilled fact.Staged) error {
		row = spilled
		return nil
	}))
	if n := ops.count(observe.Discard); n != 0 {
		t.Errorf("a new sequence is discarded %d times", n)
	}
	ops.ops = nil
	ingest(t, p, &row, random(50_000, 61))
	if i := slices.Index(ops.ops, observe.Discard); i < 0 || i > slices.Index(ops.ops, observe.Stage) {
		t.Errorf("the driver did %q", ops.ops)
	}
}
