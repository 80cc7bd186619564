package dataplane_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"artifactstore/internal/dataplane"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver/memory"
)

func TestFewBytesStayInlineAndManyGoToTheStore(t *testing.T) {
	for _, size := range []int{0, 1, limit - 1, limit, limit + 1, 16 << 10, 16<<10 + 1, 600_000, 3<<20 + 1} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p, _, r := plane(t)
			data := random(size, 1)
			sealed, sequence := put(t, p, r, "a", data)
			if inline := sealed.Receipt.Store == fact.Content; inline != (size <= limit) {
				t.Errorf("%d bytes are in %q", size, sealed.Receipt.Store)
			}
			holds(t, p, sealed, sequence, data)
			staged(t, p)
		})
	}
}

func TestWithoutInlineEvenNothingIsAnObject(t *testing.T) {
	d := memory.New(memory.Options{})
	p, r := newPlane(t, d, dataplane.Options{})
	for i, data := range [][]byte{nil, []byte("x")} {
		sealed, sequence := put(t, p, r, fmt.Sprint(i), data)
		if sealed.Receipt.Store != "main" || sealed.Receipt.Locator == "" || sealed.Inline != nil {
			t.Errorf("sealed as %+v", sealed)
		}
		holds(t, p, sealed, sequence, data)
	}
}

func TestASequenceIsResumedInPiecesByOtherProcesses(t *testing.T) {
	data := random(1<<20+7, 2)
	for _, pieces := range [][]int{
		{10, 20, 30},                     // inline all the way
		{limit, 1},                       // spills with the last byte
		{limit - 1, 0, 1, 1, 0},          // nothing in between
		{0, 100, 100_000, 300_000, 1},    // spills on the way
		{0, 0},                           // nothing at all
		{500_000, 500_000, 48_576, 7, 0}, // a store from the beginning
	} {
		t.Run(fmt.Sprint(pieces), func(t *testing.T) {
			d := memory.New(memory.Options{})
			s, at := fact.Staged{ID: "a"}, 0
			var p *dataplane.Plane
			var r *rows
			for _, n := range pieces {
				p, r = newPlane(t, d.Reopen(), dataplane.Options{InlineLimit: limit, BootID: "boot"})
				ingest(t, p, &s, data[at:at+n])
				at += n
			}
			sealed, sequence := seal(t, p, r, &s, "")
			holds(t, p, sealed, sequence, data[:at])
		})
	}
}

func TestReadersOfEveryHabitGiveTheSameBytes(t *testing.T) {
	data := random(300_000, 3)
	for name, r := range map[string]io.Reader{
		"byte by byte":       iotest.OneByteReader(bytes.NewReader(data)),
		"halves":             iotest.HalfReader(bytes.NewReader(data)),
		"end with the bytes": iotest.DataErrReader(bytes.NewReader(data)),
	} {
		t.Run(name, func(t *testing.T) {
			p, _, rows := plane(t)
			s := fact.Staged{ID: "a"}
			must(t, p.Ingest(t.Context(), &s, r, spilled))
			sealed, sequence := seal(t, p, rows, &s, "")
			holds(t, p, sealed, sequence, data)
		})
	}
}

func TestAReaderThatFailsLosesNothing(t *testing.T) {
	for _, size := range []int{0, 1, limit, limit + 1, 100_000, 2<<20 + 5} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			p, _, r := plane(t)
			data, s := random(size+500, 4), fact.Staged{ID: "a"}
			err := p.Ingest(t.Context(), &s, &cut{data[:size], errInjected}, spilled)
			if err != errInjected { //nolint:errorlint // it must be the very same
				t.Errorf("error is %v", err)
			}
			if s.Offset != int64(size) {
				t.Fatalf("%d of %d bytes are accepted", s.Offset, size)
			}
			ingest(t, p, &s, data[size:])
			sealed, sequence := seal(t, p, r, &s, "")
			holds(t, p, sealed, sequence, data)
		})
	}
}

func TestACancelledContextEndsAnIngestAndKeepsWhatCame(t *testing.T) {
	p, _, r := plane(t)
	data, s := random(1<<20, 5), fact.Staged{ID: "a"}
	ctx, cancel := context.WithCancel(t.Context())
	half := io.MultiReader(bytes.NewReader(data[:1<<19]), readerFunc(func(p []byte) (int, error) {
		cancel()
		return copy(p, data[1<<19:]), nil
	}))
	wants(t, p.Ingest(ctx, &s, half, spilled), context.Canceled)
	if s.Offset < 1<<19 {
		t.Errorf("only %d bytes are accepted", s.Offset)
	}
	ingest(t, p, &s, nil)
	_, sequence := seal(t, p, r, &s, "")
	if sequence != 0 {
		t.Error("the bytes are inline")
	}
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestAReaderThatBringsNothingIsGivenUp(t *testing.T) {
	p, _, _ := plane(t)
	s := fact.Staged{ID: "a"}
	idle := readerFunc(func([]byte) (int, error) { return 0, nil })
	wants(t, p.Ingest(t.Context(), &s, idle, spilled), io.ErrNoProgress)
}

func TestSpillComesBeforeTheFirstByteInTheStore(t *testing.T) {
	p, d, r := plane(t)
	s := fact.Staged{ID: "a"}
	ingest(t, p, &s, random(100, 6))
	calls := 0
	spill := func(remembered fact.Staged) error {
		calls++
		if ids, _ := d.Staged(t.Context()); len(ids) > 0 {
			t.Error("something is staged already")
		}
		if remembered.ID != "a" || remembered.Store != "main" || remembered.Offset != 100 || len(remembered.Inline) != 100 {
			t.Errorf("to be remembered: %+v", remembered)
		}
		return nil
	}
	must(t, p.Ingest(t.Context(), &s, bytes.NewReader(random(5000, 7)), spill))
	must(t, p.Ingest(t.Context(), &s, bytes.NewReader(random(5000, 8)), spill))
	if calls != 1 {
		t.Errorf("spill was called %d times", calls)
	}
	sealed, sequence := seal(t, p, r, &s, "")
	holds(t, p, sealed, sequence, bytes.Join([][]byte{random(100, 6), random(5000, 7), random(5000, 8)}, nil))
}

func TestASpillThatFailsEndsTheIngestAndKeepsTheInlineBytes(t *testing.T) {
	p, d, r := plane(t)
	s := fact.Staged{ID: "a"}
	err := p.Ingest(t.Context(), &s, bytes.NewReader(random(5000, 9)), func(fact.Staged) error { return errInjected })
	wants(t, err, errInjected)
	if ids, _ := d.Staged(t.Context()); len(ids) > 0 || s.Store != "" {
		t.Errorf("staged are %q, the store is %q", ids, s.Store)
	}
	if s.Offset != limit {
		t.Errorf("%d bytes are accepted", s.Offset)
	}
	ingest(t, p, &s, random(5000, 9)[s.Offset:])
	sealed, sequence := seal(t, p, r, &s, "")
	holds(t, p, sealed, sequence, random(5000, 9))
}

// The process dies after spill: the row names a store that holds nothing yet,
// or more than the row says.
func TestWhatSpillRememberedIsEnoughToGoOn(t *testing.T) {
	for _, inline := range []int{0, 100} {
		p, _, r := plane(t)
		s, data := fact.Staged{ID: "a"}, random(5000, 10)
		ingest(t, p, &s, data[:inline])
		var remembered fact.Staged
		must(t, p.Ingest(t.Context(), &s, bytes.NewReader(data[inline:]), func(s fact.Staged) error {
			remembered = s
			return nil
		}))
		if remembered.Offset != int64(inline) {
			t.Errorf("the row says %d bytes, want %d", remembered.Offset, inline)
		}
		ingest(t, p, &remembered, data[inline:])
		sealed, sequence := seal(t, p, r, &remembered, "")
		holds(t, p, sealed, sequence, data)
	}
}

func TestALowerInlineLimitLosesNoInlineBytes(t *testing.T) {
	p, d, _ := plane(t)
	s, data := fact.Staged{ID: "a"}, random(900, 11)
	ingest(t, p, &s, data[:800])
	for _, now := range []int64{0, 10} {
		lower, r := newPlane(t, d, dataplane.Options{InlineLimit: now, BootID: "boot"})
		again := s
		ingest(t, lower, &again, data[800:])
		sealed, sequence := seal(t, lower, r, &again, "")
		if sealed.Receipt.Store != "main" {
			t.Errorf("limit %d: bytes are in %q", now, sealed.Receipt.Store)
		}
		holds(t, lower, sealed, sequence, data)
	}
}

func TestAlgorithmsAreHashedFromTheStartOrReadOnceMore(t *testing.T) {
	data := random(200_000, 12)
	want := identity.FromBytes(identity.SHA512, data)
	for _, c := range []struct {
		name  string
		first []identity.Algorithm
		seal  identity.Algorithm
		size  int
	}{
		{"named at the start", []identity.Algorithm{identity.SHA512}, identity.SHA512, len(data)},
		{"named at the start only", []identity.Algorithm{identity.SHA512}, "", len(data)},
		{"named at the end only", nil, identity.SHA512, len(data)},
		{"inline, named at the end", nil, identity.SHA512, limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, _, r := plane(t)
			s := fact.Staged{ID: "a"}
			ingest(t, p, &s, data[:c.size/2], c.first...)
			ingest(t, p, &s, data[c.size/2:c.size], identity.SHA512)
			sealed, sequence := seal(t, p, r, &s, c.seal)
			want := want
			if c.size < len(data) {
				want = identity.FromBytes(identity.SHA512, data[:c.size])
			}
			if !sealed.Digests.Has(want) {
				t.Errorf("digests are %v", sealed.Digests)
			}
			holds(t, p, sealed, sequence, data[:c.size])
		})
	}
}

func TestAfterAnotherBootStagedBytesAreReadAgain(t *testing.T) {
	data := random(100_000, 13)
	for _, c := range []struct {
		name  string
		wreck func(s *fact.Staged, d *memory.Driver)
		want  error
	}{
		{"and trusted if they are what they were", func(*fact.Staged, *memory.Driver) {}, nil},
		{"and refused if they changed", func(s *fact.Staged, d *memory.Driver) {
			restage(t, d, s.ID, append([]byte("!"), data[1:]...))
		}, fact.ErrGone},
		{"and refused if they are fewer", func(s *fact.Staged, d *memory.Driver) {
			restage(t, d, s.ID, data[:99_999])
		}, fact.ErrGone},
		{"and refused if they are gone", func(s *fact.Staged, d *memory.Driver) {
			must(t, d.Discard(t.Context(), s.ID, nil))
		}, fact.ErrGone},
		{"and refused if the hash state is of other bytes", func(s *fact.Staged, _ *memory.Driver) {
			s.Offset--
		}, fact.ErrGone},
		{"and refused if the hash state is damaged", func(s *fact.Staged, _ *memory.Driver) {
			s.Hash = s.Hash[:len(s.Hash)-1]
		}, fact.ErrGone},
	} {
		t.Run(c.name, func(t *testing.T) {
			p, d, r := plane(t)
			s := fact.Staged{ID: "a"}
			ingest(t, p, &s, data)
			c.wreck(&s, d)
			after, r2 := newPlane(t, d, dataplane.Options{InlineLimit: limit, BootID: "another"})
			one, two := s, s
			err := after.Ingest(t.Context(), &one, strings.NewReader("more"), spilled)
			_, sealErr := after.Seal(t.Context(), &two, "")
			if !errors.Is(err, c.want) || !errors.Is(sealErr, c.want) {
				t.Fatalf("Ingest: %v, Seal: %v, want %v", err, sealErr, c.want)
			}
			if c.want != nil {
				if one.Offset != s.Offset {
					t.Errorf("a refused ingest moved the offset to %d", one.Offset)
				}
				return
			}
			sealed, sequence := seal(t, after, r2, &one, "")
			holds(t, after, sealed, sequence, append(data[:len(data):len(data)], "more"...))
			_, _ = p, r
		})
	}
}

// restage puts other bytes where staged ones were.
func restage(t *testing.T, d *memory.Driver, id string, data []byte) {
	t.Helper()
	s, err := d.Stage(t.Context(), id)
	must(t, err)
	_, err = s.Write(data)
	must(t, err, s.Close())
}

func TestInTheSameBootStagedBytesAreNotReadAgain(t *testing.T) {
	d := memory.New(memory.Options{})
	p, r := newPlane(t, noReading{d}, dataplane.Options{InlineLimit: limit, BootID: "boot"})
	s := fact.Staged{ID: "a"}
	ingest(t, p, &s, random(100_000, 14))
	ingest(t, p, &s, random(100_000, 15))
	seal(t, p, r, &s, "")
}

// noReading is a driver that must not be asked for staged bytes.
type noReading struct{ *memory.Driver }

func (noReading) OpenStaged(context.Context, string, []byte, int64) (io.ReadCloser, error) {
	return nil, errors.New("staged bytes are read again")
}

func TestAStoreThatIsNotConfiguredIsAMistakeAndNotGone(t *testing.T) {
	p, _, _ := plane(t)
	s := fact.Staged{ID: "a"}
	ingest(t, p, &s, random(5000, 16))
	s.Store = "other"
	err := p.Ingest(t.Context(), &s, strings.NewReader("x"), spilled)
	_, sealErr := p.Seal(t.Context(), &s, "")
	_, openErr := p.Open(t.Context(), fact.Receipt{Store: "other", Locator: "x"}, 0, 1, 0, -1)
	for _, err := range []error{err, sealErr, openErr, p.Discard(t.Context(), s)} {
		if err == nil || errors.Is(err, fact.ErrGone) {
			t.Errorf("error is %v", err)
		}
	}
	if _, err := dataplane.New(nil, "main", nil, dataplane.Options{}); err == nil {
		t.Error("New succeeds without the store to write to")
	}
}
