package s3_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

const tebi = 1 << 40

func TestPartsReachOneTebibyte(t *testing.T) {
	for _, first := range []int64{5 << 20, 8 << 20, 64 << 20} {
		for _, resumed := range []bool{false, true} {
			number, last := 1, int64(0)
			for offset := int64(0); offset < tebi; number++ {
				if resumed { // by another process after every single part
					number += s3.Gap(number, 4)
				}
				size := s3.PartSize(first, offset)
				if size < first || size < last || size > s3.MaxPart {
					t.Fatalf("the part at %d has %d bytes after one of %d", offset, size, last)
				}
				offset, last = offset+size, size
			}
			t.Logf("first part %d, resumed %v: the last number is %d", first, resumed, number-1)
			if number-1 > s3.MaxParts {
				t.Errorf("parts from %d bytes, resumed %v: number %d", first, resumed, number-1)
			}
		}
	}
}

func TestGapIsAsWideAsWhatMayBeInFlight(t *testing.T) {
	if got := s3.Gap(1, 4); got != 4 {
		t.Errorf("the gap behind the first part is %d, want 4", got)
	}
	for next := 1; next <= s3.MaxParts+1; next++ {
		if gap := s3.Gap(next, 4); gap < 0 || next <= s3.MaxParts && next+gap > s3.MaxParts {
			t.Fatalf("the gap at %d is %d", next, gap)
		}
	}
}

func TestStatesComeBack(t *testing.T) {
	md5 := strings.Repeat("0f", 16)
	for _, n := range []int{0, 1, 2, s3.StateLimit, s3.StateLimit + 1, s3.MaxParts} {
		for _, etag := range []string{md5, strings.ToUpper(md5), "crc-1", ""} {
			saved := s3.Saved(n, etag)
			again, err := s3.Reencode(saved)
			if err != nil || !bytes.Equal(again, saved) {
				t.Errorf("state of %d parts with etag %q: %v", n, etag, err)
			}
			if etag == md5 && len(saved) > 13<<10 {
				t.Errorf("the state of %d parts has %d bytes", n, len(saved))
			}
		}
	}
}

// TestTheFormOfStatesStays: they are in rows that other versions have written.
func TestTheFormOfStatesStays(t *testing.T) {
	const head = "01" + "09616e2075706c6f6164" + "092261206775617264" + "22" + "047461696c" + "00" + "11" + "01036f6c64"
	md5 := strings.Repeat("0f", 16)
	for _, tt := range []struct {
		name  string
		state []byte
		want  string
	}{
		{"no parts", s3.Saved(0, md5), head + "0000"},
		{"two parts", s3.Saved(2, md5), head + "0002" + "01" + "8080c002" + "00" + md5 + "02" + "8080c002" + "00" + md5},
		{"another etag", s3.Saved(1, "etag"), head + "0001" + "01" + "8080c002" + "01" + "0465746167"},
		{"many parts", s3.Saved(501, md5), head + "01" + "0201f503" +
			"a29e7518867a45904c9f2bd4310edcdcf84b00280966936d97e139ccd2d6963a" + "8080c0e409"},
	} {
		if got := hex.EncodeToString(tt.state); got != tt.want {
			t.Errorf("the state with %s is\n%s, want\n%s", tt.name, got, tt.want)
		}
	}
}

func TestOtherStatesAreRefused(t *testing.T) {
	whole := s3.Saved(3, strings.Repeat("0f", 16))
	for n := range whole {
		if _, err := s3.Reencode(whole[:n]); !errors.Is(err, storagedriver.ErrInvalid) {
			t.Fatalf("the first %d of %d bytes of a state: %v", n, len(whole), err)
		}
	}
	for name, state := range map[string][]byte{
		"a byte too many":             append(bytes.Clone(whole), 0),
		"text":                        []byte("saved at 3"),
		"another version":             append([]byte{2}, whole[1:]...),
		"a name that leads elsewhere": bytes.Replace(whole, []byte("tail"), []byte("../a"), 1),
	} {
		if _, err := s3.Reencode(state); !errors.Is(err, storagedriver.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzState(f *testing.F) {
	f.Add(s3.Saved(0, ""))
	f.Add(s3.Saved(3, strings.Repeat("0f", 16)))
	f.Add(s3.Saved(s3.StateLimit+1, "etag"))
	f.Fuzz(func(t *testing.T, b []byte) {
		once, err := s3.Reencode(b)
		if err != nil {
			if !errors.Is(err, storagedriver.ErrInvalid) {
				t.Errorf("error %v", err)
			}
			return
		}
		if twice, err := s3.Reencode(once); err != nil || !bytes.Equal(once, twice) {
			t.Errorf("a state changes when it is written again: %v", err)
		}
	})
}
