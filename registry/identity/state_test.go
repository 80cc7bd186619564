package identity_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lukechampine.com/blake3"

	"artifactstore/registry/identity"
)

var update = flag.Bool("update", false, "write golden states that are missing")

// goldenStates are saved after bytes of pattern; the names say what is special.
var goldenStates = []struct {
	name string
	size int
	also []identity.Algorithm
}{
	{"state-v1-empty", 0, nil},
	{"state-v1-short", 100, nil},
	{"state-v1-group", 16 << 10, nil},
	{"state-v1-odd", 7*16<<10 + 201, []identity.Algorithm{identity.SHA512}},
	{"state-v1-even", 1 << 20, []identity.Algorithm{identity.SHA512}},
}

func saved(t testing.TB, h *identity.Hasher) []byte {
	t.Helper()
	state, err := h.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	return state
}

func TestStatesAreThoseOfTheFirstRelease(t *testing.T) {
	for _, golden := range goldenStates {
		t.Run(golden.name, func(t *testing.T) {
			h := identity.NewHasher(golden.also...)
			h.Write(pattern(golden.size))
			state := readGolden(t, golden.name, saved(t, h))
			// If a Go release changes how it marshals SHA-2, this fails and
			// the rest must not: record the new states beside the old ones.
			if got := saved(t, h); !bytes.Equal(got, state) {
				t.Errorf("state = %x\nwant    %x", got, state)
			}
			var restored identity.Hasher
			if err := restored.UnmarshalBinary(state); err != nil {
				t.Fatal(err)
			}
			whole := pattern(golden.size + 300<<10)
			restored.Write(whole[golden.size:])
			if got, want := restored.Sum(), independent(t, whole, golden.also...); !got.Equal(want) {
				t.Errorf("resumed: %s, want %s", got, want)
			}
		})
	}
}

// readGolden reads a state kept as lines of 32 bytes in hex.
func readGolden(t *testing.T, name string, state []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name+".hex")
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) && *update {
		for line := range slices.Chunk(state, 32) {
			text = append(hex.AppendEncode(text, line), '\n')
		}
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	return unhex(strings.Fields(string(text))...)
}

// Sizes of states are promised by MarshalBinary, and to those who plan rows.
func TestStatesAreSmallOnGroupBoundaries(t *testing.T) {
	const group = 16 << 10
	data := pattern(group)
	h := identity.NewHasher(identity.SHA512)
	for groups := 1; groups <= 256; groups++ {
		h.Write(data)
		if n := len(saved(t, h)); n > 768 {
			t.Errorf("state after %d groups of 16 KiB has %d bytes", groups, n)
		}
	}
	h.Write(data[1:])
	if n := len(saved(t, h)); n > 17*1024 {
		t.Errorf("state with all but a group in it has %d bytes", n)
	}
}

func TestDamagedStatesAreRefused(t *testing.T) {
	h := identity.NewHasher(identity.SHA512)
	h.Write(pattern(3*16<<10 + 50))
	good, want := saved(t, h), h.Sum()
	refuse := func(what string, at int, state []byte) {
		t.Helper()
		if err := h.UnmarshalBinary(state); !errors.Is(err, identity.ErrState) {
			t.Errorf("%s at %d: %v", what, at, err)
		}
		if !h.Sum().Equal(want) {
			t.Fatalf("%s at %d: a refused state changed the Hasher", what, at)
		}
	}
	for i := range good {
		refuse("cut", i, good[:i])
		for bit := range 8 {
			damaged := bytes.Clone(good)
			damaged[i] ^= 1 << bit
			refuse("bit flipped", i, damaged)
		}
	}
	refuse("byte added", len(good), append(bytes.Clone(good), 0))
	refuse("doubled", len(good), append(bytes.Clone(good), good...))
}

// wellChecked returns a state of these contents with the right check, which
// only a program that writes another form would produce.
func wellChecked(contents []byte) []byte {
	sum := blake3.Sum256(contents)
	return append(bytes.Clone(contents), sum[:8]...)
}

func TestStatesOfAnotherFormAreRefused(t *testing.T) {
	h := identity.NewHasher(identity.SHA512)
	h.Write(pattern(16<<10 + 50))
	state := saved(t, h)
	contents := state[:len(state)-8]
	if err := h.UnmarshalBinary(wellChecked(contents)); err != nil {
		t.Fatal(err)
	}
	at := func(i int, replacement ...byte) []byte {
		changed := bytes.Clone(contents)
		copy(changed[i:], replacement)
		return changed
	}
	sha512At := bytes.Index(contents, []byte("\x06sha512"))
	sha256At := bytes.Index(contents, []byte("\x06sha256"))
	for name, changed := range map[string][]byte{
		"another magic":          at(0, 'a'),
		"a later version":        at(3, 2),
		"a negative size":        at(4, 0xff),
		"a size without end":     at(4, 0x10, 0, 0, 0, 0, 0, 0, 1),
		"a size of more groups":  at(4, 0, 0, 0, 0, 0, 1),
		"size 0 with a tail":     at(4, 0, 0, 0, 0, 0, 0, 0, 0),
		"no parts":               contents[:12],
		"BLAKE3 alone":           contents[:sha256At],
		"no BLAKE3":              append(bytes.Clone(contents[:12]), contents[sha256At:]...),
		"no SHA-256":             append(bytes.Clone(contents[:sha256At]), contents[sha512At:]...),
		"SHA-512 twice":          append(bytes.Clone(contents), contents[sha512At:]...),
		"SHA-512 before SHA-256": slices.Concat(contents[:sha256At], contents[sha512At:], contents[sha256At:sha512At]),
		"an unknown algorithm":   at(sha512At, 6, 's', 'h', 'a', '3', '8', '4'),
		"a part of no length":    contents[:sha512At+8],
		"a part too long":        at(sha512At+7, 0xff, 0xff),
		"a part too short":       at(sha512At+7, 0, 0),
		"another hash in a part": at(sha256At+9, 's', 'h', 'a', 2),
	} {
		if err := h.UnmarshalBinary(wellChecked(changed)); !errors.Is(err, identity.ErrState) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzHasherState(f *testing.F) {
	for _, size := range []int{0, 1, 1024, 16 << 10, 16<<10 + 1, 3*16<<10 + 50, 1 << 20} {
		h := identity.NewHasher()
		if size%2 == 1 {
			h = identity.NewHasher(identity.SHA512)
		}
		h.Write(pattern(size))
		state := saved(f, h)
		f.Add(state, false)
		f.Add(state[:len(state)-8], true)
	}
	more := pattern(300 << 10)
	f.Fuzz(func(t *testing.T, state []byte, check bool) {
		if check {
			state = wellChecked(state)
		}
		var h identity.Hasher
		if err := h.UnmarshalBinary(state); err != nil {
			if !errors.Is(err, identity.ErrState) {
				t.Fatal(err)
			}
			return
		}
		// Whatever is accepted works, and is saved and restored as it is.
		var again identity.Hasher
		if err := again.UnmarshalBinary(saved(t, &h)); err != nil {
			t.Fatalf("accepted %x, but not its own state: %v", state, err)
		}
		for _, n := range []int{1, 16<<10 - 1, len(more)} {
			h.Write(more[:n])
			again.Write(more[:n])
			if got, want := again.Sum(), h.Sum(); !got.Equal(want) || h.Size() < 0 {
				t.Fatalf("after %x: %s and %s, size %d", state, got, want, h.Size())
			}
		}
	})
}
