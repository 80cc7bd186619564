package drivertest

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"

	"artifactstore/storagedriver"
)

// walkCases are for drivers that are Walkers; others pass them.
func walkCases() []testCase {
	return walking([]walkCase{
		{"a new store has no objects", func(t *trial, w storagedriver.Walker) {
			t.found(t.page(w, "", 10))
			t.found(t.page(w, "zz", 1))
		}},
		{"objects are listed with their sizes and times, in pages of any length", func(t *trial, w storagedriver.Walker) {
			want := t.crowd()
			all := t.page(w, "", 1000)
			t.found(all, want...)
			for _, o := range all {
				size, err := t.d.Size(t.Context(), o.Locator)
				t.must(err)
				if age := time.Since(o.Modified).Abs(); size != o.Size || age > time.Hour {
					t.Errorf("%s: listed with %d bytes, has %d; stored at %v", o.Locator, o.Size, size, o.Modified)
				}
			}
			for limit := 1; limit <= len(all)+1; limit++ {
				var pages []storagedriver.Object
				for after := ""; ; after = pages[len(pages)-1].Name {
					page := t.page(w, after, limit)
					pages = append(pages, page...)
					if len(page) < limit {
						break
					}
				}
				if !slices.Equal(pages, all) {
					t.Errorf("pages of %d have other objects: %v", limit, pages)
				}
			}
		}},
		{"objects that the driver published are listed in byte order of locators", func(t *trial, w storagedriver.Walker) {
			var want []string
			for i := range 12 {
				id := fmt.Sprintf("%c%d", 'a'+i*7%12, i)
				state := t.stage(id, []byte("abc"))
				locator := t.d.Locate(id, strings.Repeat(fmt.Sprintf("%04x", i*0x0517), 16))
				t.must(t.d.Publish(t.Context(), id, state, 3, locator))
				want = append(want, locator)
			}
			slices.Sort(want)
			for i, o := range t.page(w, "", 100) {
				if o.Locator != want[i] || o.Name != want[i] {
					t.Errorf("object %d is %+v, want %s", i, o, want[i])
				}
			}
		}},
		{"what is staged is no object", func(t *trial, w storagedriver.Walker) {
			t.stage("a", random(100_000, 70))
			closed := t.begin("b")
			t.write(closed, []byte("abc"))
			t.must(closed.Close())
			t.found(t.page(w, "", 10))
		}},
		{"a deleted object is not listed, and a listing goes on after it", func(t *trial, w storagedriver.Walker) {
			t.crowd()
			all := t.page(w, "", 1000)
			for i, o := range all {
				t.must(t.d.Delete(t.Context(), o.Locator))
				if rest := t.page(w, o.Name, 1000); !slices.Equal(rest, all[i+1:]) {
					t.Errorf("after %s, which is gone, come %v", o.Name, rest)
				}
			}
			t.found(t.page(w, "", 10))
		}},
		{"objects are listed after a crash", func(t *trial, _ storagedriver.Walker) {
			want := t.crowd()
			t.reopen()
			w, _ := storagedriver.Find[storagedriver.Walker](t.d)
			t.found(t.page(w, "", 1000), want...)
		}},
		{"a page begins anywhere", func(t *trial, w storagedriver.Walker) {
			want := t.crowd()
			for _, after := range []string{"-", "0", "a/", "/", "//", "..", "a/../b", "A", "zz/zz/zz/zz", "\x01", "é", strings.Repeat("f", 300)} {
				if page := t.page(w, after, 1000); len(page) > len(want) {
					t.Errorf("after %q come %d objects of %d", after, len(page), len(want))
				}
			}
		}},
		{"a page has room for something", func(t *trial, w storagedriver.Walker) {
			for _, limit := range []int{0, -1} {
				_, err := w.Objects(t.Context(), "", limit)
				t.wants(err, storagedriver.ErrInvalid)
			}
		}},
		{"listing objects heeds its context", func(t *trial, w storagedriver.Walker) {
			t.crowd()
			page, err := w.Objects(t.cancelled(), "", 10)
			if t.wants(err, t.cancelled().Err()); len(page) > 0 {
				t.Errorf("listed %v", page)
			}
		}},
	})
}

// crowd makes objects of several sizes, also such as another driver chose the
// locators of, and returns their locators.
func (t *trial) crowd() []string {
	t.Helper()
	var locators []string
	for i := range 6 {
		locators = append(locators, t.put(fmt.Sprintf("id%d", i), random(i*1000, uint64(i))))
	}
	if p, ok := storagedriver.Find[storagedriver.Placer](t.d); ok {
		for i, locator := range foreignLocators() {
			t.must(p.Place(t.Context(), locator, int64(i), bytes.NewReader(random(i, uint64(i)))))
			locators = append(locators, locator)
		}
	}
	return locators
}

// page lists objects.
func (t *trial) page(w storagedriver.Walker, after string, limit int) []storagedriver.Object {
	t.Helper()
	page, err := w.Objects(t.Context(), after, limit)
	t.must(err)
	if len(page) > limit {
		t.Errorf("a page of %d has %d objects", limit, len(page))
	}
	return page
}

// found expects a page of these objects, in any order.
func (t *trial) found(page []storagedriver.Object, want ...string) {
	t.Helper()
	var got []string
	for _, o := range page {
		got = append(got, o.Locator)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("listed %q, want %q", got, want)
	}
}

// walkCase is a testCase for a Walker.
type walkCase struct {
	name string
	run  func(t *trial, w storagedriver.Walker)
}

// walking runs the cases with drivers that can list their objects.
func walking(cases []walkCase) []testCase {
	all := make([]testCase, len(cases))
	for i, c := range cases {
		all[i] = testCase{c.name, func(t *trial) {
			if w, ok := storagedriver.Find[storagedriver.Walker](t.d); ok {
				c.run(t, w)
			}
		}}
	}
	return all
}
