package drivertest

import (
	"bytes"
	"fmt"
	"io"
	"math"

	"artifactstore/storagedriver"
)

func readCases() []testCase {
	return []testCase{
		{"every kind of range within the object is read", func(t *trial) {
			data := random(200_000, 20)
			locator := t.put("a", data)
			for _, r := range []struct{ offset, length int64 }{
				{0, -1}, {0, 0}, {0, 1}, {0, 200_000}, {1, -1}, {65_535, 2}, {65_536, 65_536},
				{199_999, 1}, {199_999, -1}, {200_000, 0}, {200_000, -1},
			} {
				want := data[r.offset:]
				if r.length >= 0 {
					want = want[:r.length]
				}
				if got := t.read(locator, r.offset, r.length); !bytes.Equal(got, want) {
					t.Errorf("%d bytes from %d: got %d, which differ", r.length, r.offset, len(got))
				}
			}
		}},
		{"a range outside the object is refused", func(t *trial) {
			locator := t.put("a", random(100, 21))
			for _, r := range [][2]int64{
				{-1, -1}, {-1, 1}, {101, -1}, {101, 0}, {100, 1}, {0, 101}, {50, 51}, {0, -2},
				{math.MaxInt64, 1}, {1, math.MaxInt64}, {math.MaxInt64, math.MaxInt64}, {math.MinInt64, 0},
			} {
				_, err := t.d.Open(t.Context(), locator, r[0], r[1])
				if t.wants(err, storagedriver.ErrInvalid); t.Failed() {
					t.Fatalf("range %v", r)
				}
			}
		}},
		{"a missing object is reported", func(t *trial) {
			t.lacks(t.d.Locate("a", digest(1)))
		}},
		{"a locator of the grammar that names nothing is a missing object", func(t *trial) {
			t.put("a", []byte("abc"))
			for _, locator := range []string{"a", "objects", "staging/a", "a/b/c", "layout", "-", digest(3)} {
				t.lacks(locator)
				t.must(t.d.Delete(t.Context(), locator))
			}
		}},
		{"a folder of an object is a missing object", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			for i, c := range locator {
				if c == '/' {
					t.lacks(locator[:i])
					t.must(t.d.Delete(t.Context(), locator[:i]))
				}
			}
			t.holds(locator, []byte("abc"))
		}},
		{"a reader closed early leaves the object", func(t *trial) {
			data := random(1<<20, 22)
			locator := t.put("a", data)
			for range 20 {
				r, err := t.d.Open(t.Context(), locator, 0, -1)
				t.must(err)
				_, err = io.ReadFull(r, make([]byte, 10))
				t.must(err)
				t.must(r.Close())
			}
			t.holds(locator, data)
		}},
		{"a reader closed unread leaves the object", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			r, err := t.d.Open(t.Context(), locator, 0, 1)
			t.must(err)
			t.must(r.Close())
			t.holds(locator, []byte("abc"))
		}},
		{"a reader fails after close", func(t *trial) {
			locator := t.put("a", random(100_000, 23))
			r, err := t.d.Open(t.Context(), locator, 0, -1)
			t.must(err)
			t.must(r.Close())
			if _, isFile := r.(io.Seeker); !isFile {
				return // a reader of memory may go on
			}
			if _, err := r.Read(make([]byte, 1)); err == nil {
				t.Error("Read succeeds after Close")
			}
		}},
		{"readers of one object do not disturb each other", func(t *trial) {
			data := random(50_000, 24)
			locator := t.put("a", data)
			readers := make([]io.ReadCloser, 5)
			for i := range readers {
				r, err := t.d.Open(t.Context(), locator, int64(i), 40_000)
				t.must(err)
				readers[i] = r
			}
			for i, r := range readers {
				if got := t.drain(r, 40_000); !bytes.Equal(got, data[i:i+40_000]) {
					t.Errorf("reader %d got other bytes", i)
				}
				t.must(r.Close())
			}
		}},
		{"objects beside each other stay apart", func(t *trial) {
			locators := make([]string, 100)
			for i := range locators {
				locators[i] = t.put(fmt.Sprintf("id%d", i), random(i, uint64(i)))
			}
			for i, locator := range locators {
				t.holds(locator, random(i, uint64(i)))
			}
		}},
	}
}
