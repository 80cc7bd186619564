package drivertest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing/iotest"

	"artifactstore/storagedriver"
)

// foreignLocators are of the grammar, in the styles of many drivers. None is a
// folder of another.
func foreignLocators() []string {
	return []string{
		"a", "-", "--/-", "objects/ab/abcdef0123456789", "staging/x", "layout-2", "layout", "foreign/00/x",
		"00/11/" + digest(1), "b/c/d/e/f/g", digest(2), digest(3) + "-id", "ff/" + digest(4) + "-id",
		strings.Repeat("z", 255), strings.Repeat("y/", 127) + "y", "objects/" + digest(5),
	}
}

// placeCases are for drivers that are Placers; others pass them.
func placeCases() []testCase {
	cases := []placeCase{
		{"objects are placed wherever another driver had them", func(t *trial, p storagedriver.Placer) {
			locators := append(foreignLocators(), t.d.Locate("own", digest(0)))
			for i, locator := range locators {
				t.must(p.Place(t.Context(), locator, int64(i*1000), bytes.NewReader(random(i*1000, uint64(i)))))
			}
			t.staged()
			t.reopen()
			for i, locator := range locators {
				t.holds(locator, random(i*1000, uint64(i)))
			}
			for i, locator := range locators {
				t.must(t.d.Delete(t.Context(), locator))
				t.lacks(locator)
				if i+1 < len(locators) {
					t.holds(locators[i+1], random((i+1)*1000, uint64(i+1)))
				}
			}
		}},
		{"objects that are placed and published stay apart", func(t *trial, p storagedriver.Placer) {
			own := t.put("a", []byte("published"))
			t.must(p.Place(t.Context(), "zz/"+digest(6), 6, strings.NewReader("placed")))
			t.holds(own, []byte("published"))
			t.holds("zz/"+digest(6), []byte("placed"))
			t.must(t.d.Delete(t.Context(), own))
			t.holds("zz/"+digest(6), []byte("placed"))
		}},
		{"a range of a placed object is read", func(t *trial, p storagedriver.Placer) {
			data := random(100_000, 60)
			t.must(p.Place(t.Context(), "zz/a", 100_000, bytes.NewReader(data)))
			if got := t.read("zz/a", 50_000, 100); !bytes.Equal(got, data[50_000:50_100]) {
				t.Error("the range differs")
			}
			_, err := t.d.Open(t.Context(), "zz/a", 100_001, -1)
			t.wants(err, storagedriver.ErrInvalid)
		}},
		{"no more is placed than was asked for", func(t *trial, p storagedriver.Placer) {
			r := strings.NewReader("placed and more")
			t.must(p.Place(t.Context(), "zz/a", 6, r))
			t.holds("zz/a", []byte("placed"))
		}},
		{"a reader that ends early leaves nothing", func(t *trial, p storagedriver.Placer) {
			for _, size := range []int{1, 4, 1 << 20, 20 << 20} {
				t.wants(p.Place(t.Context(), "zz/a", int64(size), bytes.NewReader(random(size-1, 61))), io.ErrUnexpectedEOF)
				t.lacks("zz/a")
				t.staged()
			}
		}},
		{"a reader that fails leaves nothing, and its error is told", func(t *trial, p storagedriver.Placer) {
			failed := errors.New("the other store is gone")
			for _, size := range []int{0, 3, 1 << 20, 9 << 20} {
				r := io.MultiReader(bytes.NewReader(random(size, 62)), iotest.ErrReader(failed))
				t.wants(p.Place(t.Context(), "zz/a", int64(size)+1, r), failed)
				t.lacks("zz/a")
				t.staged()
			}
		}},
		{"a placed object is seen by nobody before it is whole", func(t *trial, p storagedriver.Placer) {
			looked := false
			look := readerFunc(func(b []byte) (int, error) {
				t.lacks("zz/a")
				looked = true
				return copy(b, "!"), io.EOF
			})
			r := io.MultiReader(bytes.NewReader(random(1<<20, 63)), look)
			t.must(p.Place(t.Context(), "zz/a", 1<<20+1, r))
			if !looked {
				t.Error("the last byte was not asked for")
			}
			t.holds("zz/a", append(random(1<<20, 63), '!'))
		}},
		{"placing again succeeds without reading", func(t *trial, p storagedriver.Placer) {
			t.must(p.Place(t.Context(), "zz/a", 3, strings.NewReader("abc")))
			t.must(p.Place(t.Context(), "zz/a", 3, iotest.ErrReader(errors.New("read again"))))
			t.reopen()
			p, _ = storagedriver.Find[storagedriver.Placer](t.d)
			t.must(p.Place(t.Context(), "zz/a", 3, iotest.ErrReader(errors.New("read again"))))
			t.holds("zz/a", []byte("abc"))
		}},
		{"an object of another size is replaced, or stays when the reader fails", func(t *trial, p storagedriver.Placer) {
			t.must(p.Place(t.Context(), "zz/a", 3, strings.NewReader("abc")))
			t.wants(p.Place(t.Context(), "zz/a", 5, strings.NewReader("de")), io.ErrUnexpectedEOF)
			t.holds("zz/a", []byte("abc"))
			t.must(p.Place(t.Context(), "zz/a", 4, strings.NewReader("defg")))
			t.holds("zz/a", []byte("defg"))
		}},
		{"a crash while an object is placed leaves what can be discarded", func(t *trial, p storagedriver.Placer) {
			old := t.d
			r := io.MultiReader(bytes.NewReader(random(1<<20, 64)), readerFunc(func([]byte) (int, error) {
				// This is as far as the first process came.
				t.reopen()
				t.lacks("zz/a")
				if lister, ok := storagedriver.Find[storagedriver.Lister](t.d); ok {
					ids, err := lister.Staged(t.Context())
					t.must(err)
					for _, id := range ids {
						t.must(t.d.Discard(t.Context(), id, nil))
					}
					t.staged()
				}
				return 0, errors.New("crash")
			}))
			if err := p.Place(t.Context(), "zz/a", 1<<20+1, r); err == nil || t.d == old {
				t.Fatalf("Place: %v", err)
			}
			p, _ = storagedriver.Find[storagedriver.Placer](t.d)
			t.must(p.Place(t.Context(), "zz/a", 3, strings.NewReader("abc")))
			t.holds("zz/a", []byte("abc"))
		}},
		{"what cannot be placed is refused", func(t *trial, p storagedriver.Placer) {
			for _, locator := range badLocators {
				if t.wants(p.Place(t.Context(), locator, 1, strings.NewReader("a")), storagedriver.ErrInvalid); t.Failed() {
					t.Fatalf("locator %.80q", locator)
				}
			}
			t.wants(p.Place(t.Context(), "zz/a", -1, strings.NewReader("a")), storagedriver.ErrInvalid)
			t.staged()
		}},
		{"placing heeds its context", func(t *trial, p storagedriver.Placer) {
			t.wants(p.Place(t.cancelled(), "zz/a", 3, strings.NewReader("abc")), t.cancelled().Err())
			t.lacks("zz/a")
			t.staged()
		}},
	}
	for _, size := range oddSizes {
		cases = append(cases, placeCase{fmt.Sprintf("an object of %d bytes is placed", size), func(t *trial, p storagedriver.Placer) {
			data := random(size, uint64(size))
			t.must(p.Place(t.Context(), "zz/a", int64(size), iotest.HalfReader(bytes.NewReader(data))))
			t.holds("zz/a", data)
		}})
	}
	return placing(cases)
}

// placeCase is a testCase for a Placer.
type placeCase struct {
	name string
	run  func(t *trial, p storagedriver.Placer)
}

// placing runs the cases with drivers that can place.
func placing(cases []placeCase) []testCase {
	all := make([]testCase, len(cases))
	for i, c := range cases {
		all[i] = testCase{c.name, func(t *trial) {
			if p, ok := storagedriver.Find[storagedriver.Placer](t.d); ok {
				c.run(t, p)
			}
		}}
	}
	return all
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }
