package drivertest

import (
	"bytes"
	"os"
	"time"

	"artifactstore/storagedriver"
)

// abilityCases are about what a driver may be able to do. One that is not able
// to passes them.
func abilityCases() []testCase {
	return []testCase{
		{"a reader that knows the size of the object is right", func(t *trial) {
			data := random(70_000, 40)
			locator := t.put("a", data)
			for _, r := range [][2]int64{{0, -1}, {0, 0}, {10, 5}, {70_000, -1}} {
				reader, err := t.d.Open(t.Context(), locator, r[0], r[1])
				t.must(err)
				if sized, ok := reader.(storagedriver.Sized); ok && sized.ObjectSize() != 70_000 {
					t.Errorf("range %v: the object has %d bytes, want 70000", r, sized.ObjectSize())
				}
				if _, isFile := reader.(*os.File); isFile {
					if _, ok := reader.(storagedriver.Sized); ok {
						t.Error("a file is Sized: who sends it asks the file")
					}
				}
				t.closes(reader)
			}
		}},
		{"staged bytes that persist are read after a crash", func(t *trial) {
			persistent, ok := storagedriver.Find[storagedriver.Persistent](t.d)
			if !ok || !persistent.StagedPersists() {
				return
			}
			data := random(100_000, 41)
			state := t.stage("a", data)
			t.reopen()
			t.stagedHolds("a", state, data)
		}},
		{"a link is made without asking for the object", func(t *trial) {
			linker, ok := storagedriver.Find[storagedriver.Linker](t.d)
			if !ok {
				return
			}
			l := storagedriver.Link{Locator: t.d.Locate("none", digest(1)), Size: 1 << 20, Lifetime: time.Minute}
			_, err := linker.Link(t.Context(), l)
			t.must(err)
			for _, bad := range badLocators {
				l.Locator = bad
				url, err := linker.Link(t.Context(), l)
				if t.wants(err, storagedriver.ErrInvalid); t.Failed() {
					t.Fatalf("locator %.80q: %q", bad, url)
				}
			}
		}},
		{"who makes links heeds its context", func(t *trial) {
			if linker, ok := storagedriver.Find[storagedriver.Linker](t.d); ok {
				_, err := linker.Link(t.cancelled(), storagedriver.Link{Locator: "a", Size: 1, Lifetime: time.Minute})
				t.wants(err, t.cancelled().Err())
			}
		}},
		{"bytes that are held are published", func(t *trial) {
			for i, size := range oddSizes {
				data := random(size, uint64(size))
				id := "id" + string(rune('a'+i))
				if state, ok := t.hold(t.begin(id), data); ok {
					t.holds(t.publish(id, state, size), data)
				}
			}
		}},
		{"bytes that are held are read to be hashed again", func(t *trial) {
			data := random(100_000, 42)
			if state, ok := t.hold(t.begin("a"), data); ok {
				t.stagedHolds("a", state, data)
				t.stagedHolds("a", state, data) // again
				t.holds(t.publish("a", state, len(data)), data)
			}
		}},
		{"bytes that are held follow those that were saved", func(t *trial) {
			data := random(200_000, 43)
			saved := t.stage("a", data[:123_456])
			s, err := t.d.Resume(t.Context(), "a", saved, 123_456)
			t.must(err)
			if state, ok := t.hold(s, data[123_456:]); ok {
				t.stagedHolds("a", state, data)
				t.holds(t.publish("a", state, len(data)), data)
			}
		}},
		{"nothing needs to be held beyond what was saved", func(t *trial) {
			saved := t.stage("a", []byte("abc"))
			s, err := t.d.Resume(t.Context(), "a", saved, 3)
			t.must(err)
			if state, ok := t.hold(s, nil); ok {
				t.holds(t.publish("a", state, 3), []byte("abc"))
			}
		}},
		{"publishing twice what was held succeeds", func(t *trial) {
			if state, ok := t.hold(t.begin("a"), []byte("abc")); ok {
				t.publish("a", state, 3)
				t.holds(t.publish("a", state, 3), []byte("abc"))
			}
		}},
		{"what was held and published is there after a crash", func(t *trial) {
			data := random(100_000, 44)
			if state, ok := t.hold(t.begin("a"), data); ok {
				locator := t.publish("a", state, len(data))
				t.reopen()
				t.holds(locator, data)
				t.holds(t.publish("a", state, len(data)), data)
			}
		}},
		{"another process cannot go on with what is held", func(t *trial) {
			state, ok := t.hold(t.begin("a"), []byte("abc"))
			if !ok {
				return
			}
			t.reopen()
			t.nothingHeld("a", state, 3)
			locator := t.d.Locate("a", digest(3))
			t.wants(t.d.Publish(t.Context(), "a", state, 3, locator), storagedriver.ErrNotExist)
			t.lacks(locator)
			t.must(t.d.Discard(t.Context(), "a", state))
			t.staged()
		}},
		{"another process goes on where it was saved before the rest was held", func(t *trial) {
			saved := t.stage("a", []byte("saved"))
			s, err := t.d.Resume(t.Context(), "a", saved, 5)
			t.must(err)
			if _, ok := t.hold(s, []byte("held")); ok {
				t.reopen()
				state := t.resume("a", saved, 5, []byte(" and on"))
				t.holds(t.publish("a", state, 12), []byte("saved and on"))
			}
		}},
		{"discarding forgets what is held", func(t *trial) {
			if state, ok := t.hold(t.begin("a"), []byte("abc")); ok {
				t.must(t.d.Discard(t.Context(), "a", state))
				t.nothingHeld("a", state, 3)
				t.staged()
			}
		}},
		{"staging an id again forgets what is held", func(t *trial) {
			if state, ok := t.hold(t.begin("a"), []byte("abc")); ok {
				t.closes(t.begin("a"))
				t.nothingHeld("a", state, 3)
			}
		}},
		{"what is held is released, and what was saved stays", func(t *trial) {
			saved := t.stage("a", []byte("saved"))
			s, err := t.d.Resume(t.Context(), "a", saved, 5)
			t.must(err)
			held, ok := t.hold(s, []byte("held"))
			if !ok {
				return
			}
			releaser, ok := storagedriver.Find[storagedriver.Releaser](t.d)
			if !ok {
				t.Fatal("the driver holds, and cannot release")
			}
			releaser.Release("a")
			releaser.Release("a") // again
			releaser.Release("none")
			t.nothingHeld("a", held, 9)
			state := t.resume("a", saved, 5, []byte("!"))
			t.holds(t.publish("a", state, 6), []byte("saved!"))
		}},
		{"holding heeds its context", func(t *trial) {
			s := t.begin("a")
			if holder, ok := s.(storagedriver.Holder); ok {
				_, err := holder.Hold(t.cancelled())
				t.wants(err, t.cancelled().Err())
			}
			t.must(s.Close())
		}},
	}
}

// hold appends data to a stage and holds it, if the stage can. It closes it.
func (t *trial) hold(s storagedriver.Stage, data []byte) (state []byte, ok bool) {
	t.Helper()
	defer t.closes(s)
	holder, ok := s.(storagedriver.Holder)
	if !ok {
		return nil, false
	}
	t.write(s, data)
	state, err := holder.Hold(t.Context())
	t.must(err)
	return state, true
}

// stagedHolds expects a staged object of exactly these bytes.
func (t *trial) stagedHolds(id string, state, want []byte) {
	t.Helper()
	r, err := t.d.OpenStaged(t.Context(), id, state, int64(len(want)))
	t.must(err)
	defer t.closes(r)
	if got := t.drain(r, -1); !bytes.Equal(got, want) {
		t.Errorf("staged bytes differ: got %d, want %d", len(got), len(want))
	}
}

// nothingHeld expects that a state which Hold returned is of no use. That it
// cannot be published is shown once: a driver may wait for another process that
// could be publishing it.
func (t *trial) nothingHeld(id string, state []byte, size int64) {
	t.Helper()
	t.gone(id, state, size)
	r, err := t.d.OpenStaged(t.Context(), id, state, size)
	t.wants(err, storagedriver.ErrNotExist)
	if err == nil {
		t.closes(r)
	}
}
