package storagedriver_test

import (
	"errors"
	"math"
	"regexp"
	"strings"
	"testing"

	"artifactstore/storagedriver"
)

var (
	idGrammar      = regexp.MustCompile(`\A[a-z0-9]{1,64}\z`)
	locatorGrammar = regexp.MustCompile(`\A[a-z0-9-]+(/[a-z0-9-]+)*\z`)
)

func FuzzGrammar(f *testing.F) {
	for _, seed := range []string{
		"", "a", "..", "a/b", "a//b", "/a", "a/", "A", "a.b", "-", "ä", "a\x00", "a\n",
		strings.Repeat("a", 64), strings.Repeat("a", 65), strings.Repeat("a", 255), strings.Repeat("a", 256),
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if got, want := storagedriver.CheckID(s) == nil, idGrammar.MatchString(s); got != want {
			t.Errorf("CheckID(%q) accepts: %v, want %v", s, got, want)
		}
		want := len(s) <= 255 && locatorGrammar.MatchString(s)
		if got := storagedriver.CheckLocator(s) == nil; got != want {
			t.Errorf("CheckLocator(%q) accepts: %v, want %v", s, got, want)
		}
	})
}

func TestRanges(t *testing.T) {
	for _, c := range []struct{ size, offset, length, want int64 }{
		{10, 0, -1, 10},
		{10, 4, -1, 6},
		{10, 10, -1, 0},
		{10, 10, 0, 0},
		{10, 2, 8, 8},
		{0, 0, -1, 0},
		{10, 2, 9, -1},
		{10, 11, 0, -1},
		{10, 11, -1, -1},
		{10, -1, 1, -1},
		{10, 0, -2, -1},
		{10, math.MaxInt64, math.MaxInt64, -1},
		{10, 1, math.MaxInt64, -1},
		{10, math.MinInt64, -1, -1},
	} {
		got, err := storagedriver.CheckRange(c.size, c.offset, c.length)
		if c.want < 0 {
			if !errors.Is(err, storagedriver.ErrInvalid) {
				t.Errorf("%+v: got %d, %v", c, got, err)
			}
		} else if err != nil || got != c.want {
			t.Errorf("%+v: got %d, %v", c, got, err)
		}
	}
}
