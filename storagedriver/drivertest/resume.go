package drivertest

import (
	"slices"
)

func resumeCases() []testCase {
	return []testCase{
		{"a staged object is resumed where it was saved", func(t *trial) {
			data := random(300_000, 5)
			state := t.stage("a", data[:123_457])
			state = t.resume("a", state, 123_457, data[123_457:])
			t.holds(t.publish("a", state, len(data)), data)
		}},
		{"a staged object is resumed many times", func(t *trial) {
			data := random(20_000, 6)
			state := t.stage("a", nil)
			for at := 0; at < len(data); at += 1000 {
				state = t.resume("a", state, at, data[at:at+1000])
			}
			t.holds(t.publish("a", state, len(data)), data)
		}},
		{"resuming drops the tail that was not saved", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("kept"))
			state, err := s.Save(t.Context())
			t.must(err)
			t.write(s, []byte("dropped and longer"))
			t.must(s.Close())
			state = t.resume("a", state, 4, []byte(" and new"))
			t.holds(t.publish("a", state, 12), []byte("kept and new"))
		}},
		{"resuming at an earlier save drops what came after", func(t *trial) {
			first := t.stage("a", []byte("one"))
			t.resume("a", first, 3, []byte("two"))
			state := t.resume("a", first, 3, []byte("2"))
			t.holds(t.publish("a", state, 4), []byte("one2"))
		}},
		{"resuming beyond the end is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.gone("a", state, 4)
			t.gone("a", state, 1<<40)
		}},
		{"resuming what never was is refused", func(t *trial) {
			t.gone("never", nil, 0)
		}},
		{"resuming after publish is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.publish("a", state, 3)
			t.gone("a", state, 3)
		}},
		{"resuming adds nothing by itself", func(t *trial) {
			data := random(1000, 7)
			state := t.resume("a", t.stage("a", data), 1000, nil)
			t.holds(t.publish("a", state, 1000), data)
		}},
		{"saved bytes survive a crash of the process", func(t *trial) {
			data := random(200_000, 8)
			s := t.begin("a")
			t.write(s, data[:70_001])
			state, err := s.Save(t.Context())
			t.must(err)
			t.reopen() // the stage was never closed
			state = t.resume("a", state, 70_001, data[70_001:])
			t.holds(t.publish("a", state, len(data)), data)
		}},
		{"a tail that a crash left is dropped", func(t *trial) {
			s := t.begin("a")
			t.write(s, random(100_000, 9))
			state, err := s.Save(t.Context())
			t.must(err)
			t.write(s, random(100_000, 10))
			t.reopen()
			want := slices.Concat(random(100_000, 9), []byte("end"))
			state = t.resume("a", state, 100_000, []byte("end"))
			t.holds(t.publish("a", state, len(want)), want)
		}},
		{"staged objects are listed after a crash", func(t *trial) {
			s := t.begin("b")
			t.write(s, []byte("abc"))
			_, err := s.Save(t.Context())
			t.must(err)
			t.write(s, []byte("def"))
			t.stage("a", nil)
			t.reopen() // the stage of b was never closed
			t.staged("a", "b")
		}},
		{"what was staged before a crash can be discarded after it", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("abc"))
			t.reopen()
			t.must(t.d.Discard(t.Context(), "a", nil))
			t.staged()
		}},
		{"zeros at the end are part of what was saved", func(t *trial) {
			data := make([]byte, 1<<20)
			state := t.stage("a", data)
			t.reopen()
			state = t.resume("a", state, len(data), []byte("x"))
			t.holds(t.publish("a", state, len(data)+1), append(data, 'x'))
		}},
	}
}
