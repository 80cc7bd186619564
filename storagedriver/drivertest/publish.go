package drivertest

import (
	"bytes"
	"fmt"
	"slices"

	"artifactstore/storagedriver"
)

// oddSizes are around what drivers and file systems count in.
var oddSizes = []int{
	0, 1, 511, 4096, 16<<10 - 1, 16 << 10, 16<<10 + 1,
	64<<10 - 1, 64 << 10, 64<<10 + 1, 1<<20 - 1, 1 << 20, 1<<20 + 1,
}

func publishCases() []testCase {
	cases := []testCase{
		{"publishing twice succeeds", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.publish("a", state, 3)
			t.holds(t.publish("a", state, 3), []byte("abc"))
		}},
		{"publishing again after a crash succeeds", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.publish("a", state, 3)
			t.reopen()
			t.holds(t.publish("a", state, 3), []byte("abc"))
		}},
		{"what was staged before a crash is published after it", func(t *trial) {
			data := random(100_000, 11)
			state := t.stage("a", data)
			t.reopen()
			t.holds(t.publish("a", state, len(data)), data)
		}},
		{"what was published is there after a crash", func(t *trial) {
			data := random(100_000, 12)
			locator := t.put("a", data)
			t.reopen()
			t.holds(locator, data)
		}},
		{"publishing what was never staged is refused", func(t *trial) {
			locator := t.d.Locate("a", digest(0))
			t.wants(t.d.Publish(t.Context(), "a", nil, 0, locator), storagedriver.ErrNotExist)
			t.lacks(locator)
		}},
		{"publishing more than was staged is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			locator := t.d.Locate("a", digest(4))
			t.wants(t.d.Publish(t.Context(), "a", state, 4, locator), storagedriver.ErrNotExist)
			t.lacks(locator)
		}},
		{"publishing drops the tail that was not saved", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("kept"))
			state, err := s.Save(t.Context())
			t.must(err)
			t.write(s, []byte("dropped"))
			t.must(s.Close())
			t.holds(t.publish("a", state, 4), []byte("kept"))
		}},
		{"publishing what was discarded is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.must(t.d.Discard(t.Context(), "a", state))
			t.wants(t.d.Publish(t.Context(), "a", state, 3, t.d.Locate("a", digest(3))), storagedriver.ErrNotExist)
		}},
		{"discarding after publish leaves the object", func(t *trial) {
			data := random(1000, 13)
			state := t.stage("a", data)
			locator := t.publish("a", state, len(data))
			t.must(t.d.Discard(t.Context(), "a", state))
			t.holds(locator, data)
		}},
		{"one content under two ids is two objects", func(t *trial) {
			data := random(1000, 14)
			first, second := t.put("a", data), t.put("b", data)
			if first == second {
				t.Fatal("two ids have one locator")
			}
			t.must(t.d.Delete(t.Context(), first))
			t.lacks(first)
			t.holds(second, data)
		}},
		{"a locator of another id is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			err := t.d.Publish(t.Context(), "a", state, 3, t.d.Locate("b", digest(3)))
			t.wants(err, storagedriver.ErrInvalid)
			t.staged("a")
		}},
		{"locate is pure and keeps to the grammar", func(t *trial) {
			for _, id := range []string{"a", "0", string(bytes.Repeat([]byte("z"), 64))} {
				locator := t.d.Locate(id, digest(1))
				t.must(storagedriver.CheckLocator(locator))
				t.stage(id, []byte("abc"))
				if again := t.d.Locate(id, digest(1)); again != locator {
					t.Errorf("Locate returns %q, then %q", locator, again)
				}
			}
		}},
		{"an id of full length is published", func(t *trial) {
			id := string(bytes.Repeat([]byte("z9"), 32))
			t.holds(t.put(id, []byte("abc")), []byte("abc"))
		}},
		{"bytes of every value come back", func(t *trial) {
			data := make([]byte, 0, 256*3)
			for i := range 256 {
				data = append(data, byte(i), byte(255-i), 0)
			}
			t.holds(t.put("a", data), data)
		}},
		{"zeros between other bytes come back", func(t *trial) {
			parts := [][]byte{[]byte("begin"), make([]byte, 300_000), []byte("middle"), make([]byte, 64<<10), make([]byte, 3)}
			s := t.begin("a")
			for _, part := range parts {
				t.write(s, part)
			}
			want := slices.Concat(parts...)
			t.holds(t.publish("a", t.save(s), len(want)), want)
		}},
	}
	for _, size := range oddSizes {
		cases = append(cases, testCase{fmt.Sprintf("an object of %d bytes comes back", size), func(t *trial) {
			data := random(size, uint64(size))
			t.holds(t.put("a", data), data)
		}})
	}
	return cases
}
