package drivertest

import (
	"bytes"
	"io"
)

func deleteCases() []testCase {
	return []testCase{
		{"a deleted object is missing", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			t.must(t.d.Delete(t.Context(), locator))
			t.lacks(locator)
		}},
		{"deleting twice succeeds", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			t.must(t.d.Delete(t.Context(), locator))
			t.must(t.d.Delete(t.Context(), locator))
		}},
		{"deleting what never was succeeds", func(t *trial) {
			t.must(t.d.Delete(t.Context(), t.d.Locate("never", digest(1))))
		}},
		{"a deletion survives a crash", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			t.must(t.d.Delete(t.Context(), locator))
			t.reopen()
			t.lacks(locator)
		}},
		{"deleting leaves the staged object of the same id", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			state := t.stage("a", []byte("defg"))
			t.must(t.d.Delete(t.Context(), locator))
			t.holds(t.publish("a", state, 4), []byte("defg"))
		}},
		{"a deleted object can be put again", func(t *trial) {
			t.must(t.d.Delete(t.Context(), t.put("a", []byte("abc"))))
			t.holds(t.put("a", []byte("abc")), []byte("abc"))
		}},
		{"a reader of a deleted object reads on or fails", func(t *trial) {
			data := random(1<<20, 30)
			locator := t.put("a", data)
			r, err := t.d.Open(t.Context(), locator, 0, -1)
			t.must(err)
			defer t.closes(r)
			head := make([]byte, 1000)
			_, err = io.ReadFull(r, head)
			t.must(err)
			t.must(t.d.Delete(t.Context(), locator))
			rest, err := io.ReadAll(r)
			if err == nil && !bytes.Equal(append(head, rest...), data) {
				t.Errorf("the reader ends well after %d of %d bytes", len(head)+len(rest), len(data))
			}
		}},
	}
}
