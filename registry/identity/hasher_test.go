package identity_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"
	"lukechampine.com/blake3"
	"pgregory.net/rapid"

	"artifactstore/registry/identity"
)

// independent returns the digests of data by other implementations.
func independent(t testing.TB, data []byte, also ...identity.Algorithm) identity.DigestSet {
	t.Helper()
	b3, s2, s5 := blake3.Sum256(data), sha256.Sum256(data), sha512.Sum512(data)
	sums := map[identity.Algorithm][]byte{
		identity.BLAKE3: b3[:], identity.SHA256: s2[:], identity.SHA512: s5[:],
	}
	var set identity.DigestSet
	for _, a := range append([]identity.Algorithm{identity.BLAKE3, identity.SHA256}, also...) {
		d, err := identity.New(a, sums[a])
		if err != nil {
			t.Fatal(err)
		}
		set = set.With(d)
	}
	return set
}

// lengths are where something can go wrong: around blocks, chunks, groups of
// chunks, equal subtrees, and the length from which a Write is parallel.
var lengths = []int{
	0, 1, 63, 64, 65, 127, 128, 129, 1023, 1024, 1025, 2047, 2048, 2049, 8191, 8192, 8193,
	16383, 16384, 16385, 17408, 17409, 32767, 32768, 32769, 49152, 49153, 65536, 65537,
	131071, 131072, 131073, 147456, 262143, 262144, 262145, 278529, 524288,
}

func TestEveryLengthGivesTheDigestsOfOtherImplementations(t *testing.T) {
	defer goleak.VerifyNone(t)
	data := pattern(slices.Max(lengths))
	for _, n := range lengths {
		want := independent(t, data[:n], identity.SHA512)
		h := identity.NewHasher(identity.SHA512)
		if written, err := h.Write(data[:n]); written != n || err != nil {
			t.Errorf("Write of %d bytes = %d, %v", n, written, err)
		}
		if got := h.Sum(); !got.Equal(want) || h.Size() != int64(n) {
			t.Errorf("%d bytes: Sum = %s, Size = %d, want %s", n, got, h.Size(), want)
		}
		if got := identity.Of(data[:n], identity.SHA512); !got.Equal(want) {
			t.Errorf("Of %d bytes = %s, want %s", n, got, want)
		}
	}
}

// Any split of the input, any points at which the state is saved and restored,
// any points at which the sum so far is asked for: the same digests.
func TestAnySplitAndAnyRestartGiveTheSameDigests(t *testing.T) {
	defer goleak.VerifyNone(t)
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.SampledFrom(lengths), rapid.IntRange(0, 800<<10)).Draw(t, "size")
		data := make([]byte, size)
		seed := rapid.Uint64().Draw(t, "seed")
		_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(data)
		var also []identity.Algorithm
		if rapid.Bool().Draw(t, "sha512") {
			also = []identity.Algorithm{identity.SHA512}
		}
		want := independent(discard{}, data, also...)

		h := identity.NewHasher(also...)
		piece := rapid.OneOf(rapid.SampledFrom(lengths), rapid.IntRange(0, 300<<10))
		for done := 0; done < size; {
			n := min(piece.Draw(t, "piece"), size-done)
			given := slices.Clone(data[done : done+n])
			if written, err := h.Write(given); written != n || err != nil {
				t.Fatalf("Write of %d bytes = %d, %v", n, written, err)
			}
			clear(given) // a Hasher keeps nothing of it
			done += n
			switch rapid.SampledFrom([]string{"go on", "sum", "restart"}).Draw(t, "then") {
			case "sum":
				if got := h.Sum(); !got.Equal(independent(discard{}, data[:done], also...)) {
					t.Fatalf("sum of the first %d bytes = %s", done, got)
				}
			case "restart":
				h = restart(t, h)
			}
			if h.Size() != int64(done) {
				t.Fatalf("Size = %d after %d bytes", h.Size(), done)
			}
		}
		if got := h.Sum(); !got.Equal(want) {
			t.Fatalf("got %s, want %s", got, want)
		}
		if got := restart(t, h).Sum(); !got.Equal(want) {
			t.Fatalf("restarted at the end: got %s, want %s", got, want)
		}
	})
}

// discard is the testing.TB of independent, which cannot fail here.
type discard struct{ testing.TB }

func (discard) Helper() {}

// restart returns a Hasher that has h's state and shares nothing with it. Its
// own earlier state must not matter.
func restart(t *rapid.T, h *identity.Hasher) *identity.Hasher {
	state, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	restored := identity.NewHasher(identity.SHA512)
	restored.Write([]byte("something else"))
	if err := restored.UnmarshalBinary(state); err != nil {
		t.Fatalf("restore %x: %v", state, err)
	}
	clear(state) // a Hasher keeps nothing of it
	h.Write([]byte("what the first process still wrote"))
	return restored
}

func TestAlgorithmsOfAHasher(t *testing.T) {
	always := []identity.Algorithm{identity.BLAKE3, identity.SHA256}
	all := append(slices.Clone(always), identity.SHA512)
	for _, test := range []struct {
		name       string
		also, want []identity.Algorithm
	}{
		{"nothing asked for", nil, always},
		{"what is always there", always, always},
		{"SHA-512", []identity.Algorithm{identity.SHA512}, all},
		{"SHA-512 twice", []identity.Algorithm{identity.SHA512, identity.SHA512}, all},
		{"no hint", []identity.Algorithm{""}, always},
		{"unregistered", []identity.Algorithm{"sha384"}, always},
	} {
		h := identity.NewHasher(test.also...)
		var sums []identity.Algorithm
		for _, d := range h.Sum() {
			sums = append(sums, d.Algorithm())
		}
		if got := h.Algorithms(); !slices.Equal(got, test.want) || !slices.Equal(sums, test.want) {
			t.Errorf("%s: Algorithms = %q, Sum has %q, want %q", test.name, got, sums, test.want)
		}
		if set := identity.Of(nil, test.also...); !set.Equal(h.Sum()) {
			t.Errorf("%s: Of = %s", test.name, set)
		}
	}
}

func TestZeroHasherIsReady(t *testing.T) {
	want := independent(t, []byte("abc"))
	var written, summed, saved identity.Hasher
	written.Write([]byte("abc"))
	if got := written.Sum(); !got.Equal(want) {
		t.Errorf("Sum = %s, want %s", got, want)
	}
	if got := summed.Sum(); !got.Equal(independent(t, nil)) {
		t.Errorf("Sum of nothing = %s", got)
	}
	if _, err := saved.MarshalBinary(); err != nil {
		t.Error(err)
	}
	if err := saved.UnmarshalBinary(nil); !errors.Is(err, identity.ErrState) {
		t.Errorf("restore of nothing: %v", err)
	}
}

func TestWritingAllocatesOneBufferAtMost(t *testing.T) {
	data := pattern(64 << 10)
	h := identity.NewHasher(identity.SHA512)
	h.Write(pattern(2 << 20)) // the buffer, and a stack deep enough for what follows
	if n := testing.AllocsPerRun(20, func() { h.Write(data) }); n > 0 {
		t.Errorf("%v allocations per Write", n)
	}
}

func ExampleHasher() {
	// One process reads the first part of an upload.
	first := identity.NewHasher()
	io.WriteString(first, "hello, ")
	state, err := first.MarshalBinary()
	if err != nil {
		panic(err)
	}
	// Another goes on, without the bytes.
	var second identity.Hasher
	if err := second.UnmarshalBinary(state); err != nil {
		panic(err)
	}
	io.WriteString(&second, "world")
	for _, d := range second.Sum() {
		fmt.Println(d)
	}
	// Output:
	// blake3:a1a55887535397bf461902491c8779188a5dd1f8c3951b3d9cf6ecba194e87b0
	// sha256:09ca7e4eaa6e8ae9c7d261167129184883644d07dfba7cbfbc4c8a2e08360d5b
}
