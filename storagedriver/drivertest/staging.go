package drivertest

import (
	"bytes"
	"errors"

	"artifactstore/storagedriver"
)

func stagingCases() []testCase {
	return []testCase{
		{"staged bytes are seen by no reader", func(t *trial) {
			t.stage("a", random(1000, 1))
			t.lacks(t.d.Locate("a", digest(1000)))
		}},
		{"staging an id again drops its bytes", func(t *trial) {
			state := t.stage("a", random(1000, 1))
			t.closes(t.begin("a"))
			t.gone("a", state, 1000)
		}},
		{"staging an id again puts other bytes", func(t *trial) {
			t.stage("a", random(1000, 1))
			t.holds(t.put("a", random(10, 2)), random(10, 2))
		}},
		{"many small writes make one object", func(t *trial) {
			data := random(5000, 3)
			s := t.begin("a")
			for i := range data {
				t.write(s, data[i:i+1])
			}
			t.holds(t.publish("a", t.save(s), len(data)), data)
		}},
		{"an empty write adds nothing", func(t *trial) {
			s := t.begin("a")
			t.write(s, nil)
			t.write(s, []byte("x"))
			t.write(s, []byte{})
			t.holds(t.publish("a", t.save(s), 1), []byte("x"))
		}},
		{"the writer's buffer may be used again after a write", func(t *trial) {
			s, buf := t.begin("a"), []byte("first ")
			t.write(s, buf)
			copy(buf, "second")
			t.write(s, buf)
			t.holds(t.publish("a", t.save(s), 12), []byte("first second"))
		}},
		{"saving twice is as good as once", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("one"))
			_, err := s.Save(t.Context())
			t.must(err)
			t.write(s, []byte("two"))
			t.holds(t.publish("a", t.save(s), 6), []byte("onetwo"))
		}},
		{"nothing is accepted after close", func(t *trial) {
			s := t.begin("a")
			t.must(s.Close())
			if _, err := s.Write([]byte("x")); err == nil {
				t.Error("Write succeeds after Close")
			}
		}},
		{"staged bytes can be read to be hashed again", func(t *trial) {
			data := random(100_000, 4)
			state := t.stage("a", data)
			r, err := t.d.OpenStaged(t.Context(), "a", state, 100_000)
			t.must(err)
			defer t.closes(r)
			if got := t.drain(r, -1); !bytes.Equal(got, data) {
				t.Errorf("staged bytes differ: got %d, want %d", len(got), len(data))
			}
		}},
		{"reading staged bytes stops at the size that was asked for", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("saved"))
			state, err := s.Save(t.Context())
			t.must(err)
			t.write(s, []byte("and more"))
			t.must(s.Close())
			r, err := t.d.OpenStaged(t.Context(), "a", state, 5)
			t.must(err)
			defer t.closes(r)
			if got := t.drain(r, -1); string(got) != "saved" {
				t.Errorf("got %q, want %q", got, "saved")
			}
		}},
		{"reading more staged bytes than there are is refused", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			_, err := t.d.OpenStaged(t.Context(), "a", state, 4)
			t.wants(err, storagedriver.ErrNotExist)
		}},
		{"reading a staged object that is missing is refused", func(t *trial) {
			_, err := t.d.OpenStaged(t.Context(), "a", nil, 0)
			t.wants(err, storagedriver.ErrNotExist)
		}},
		{"discarding removes the staged object", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.must(t.d.Discard(t.Context(), "a", state))
			t.gone("a", state, 3)
			t.staged()
		}},
		{"discarding works without a state", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.must(t.d.Discard(t.Context(), "a", nil))
			t.gone("a", state, 3)
		}},
		{"discarding twice succeeds", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.must(t.d.Discard(t.Context(), "a", state))
			t.must(t.d.Discard(t.Context(), "a", state))
		}},
		{"discarding what never was succeeds", func(t *trial) {
			t.must(t.d.Discard(t.Context(), "never", nil))
		}},
		{"discarding one staged object leaves the others", func(t *trial) {
			t.stage("a", []byte("abc"))
			state := t.stage("aa", []byte("def"))
			t.must(t.d.Discard(t.Context(), "a", nil))
			t.holds(t.publish("aa", state, 3), []byte("def"))
		}},
		{"staged objects are listed in order until they are published or discarded", func(t *trial) {
			t.staged()
			state := t.stage("b", []byte("abc"))
			t.stage("c", []byte("abc"))
			t.closes(t.begin("a"))
			t.staged("a", "b", "c")
			t.publish("b", state, 3)
			t.must(t.d.Discard(t.Context(), "c", nil))
			t.staged("a")
		}},
		{"health tells room, or that there is no limit", func(t *trial) {
			h, err := t.d.Health(t.Context())
			t.must(err)
			for _, pair := range [][2]int64{{h.Free, h.Total}, {h.FreeFiles, h.TotalFiles}} {
				limited := pair[0] >= 0 && pair[1] >= pair[0]
				if !limited && pair != [2]int64{-1, -1} {
					t.Errorf("free and total are %v", pair)
				}
			}
		}},
		{"errors tell kinds apart", func(t *trial) {
			_, err := t.d.Size(t.Context(), t.d.Locate("a", digest(1)))
			for _, other := range []error{storagedriver.ErrInvalid, storagedriver.ErrFull, storagedriver.ErrBroken} {
				if errors.Is(err, other) {
					t.Errorf("a missing object is %q too", other)
				}
			}
		}},
	}
}
