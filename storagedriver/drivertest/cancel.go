package drivertest

import (
	"context"

	"artifactstore/storagedriver"
)

func cancelCases() []testCase {
	return []testCase{
		{"a cancelled context stages nothing", func(t *trial) {
			_, err := t.d.Stage(t.cancelled(), "a")
			t.wants(err, context.Canceled)
			t.staged()
		}},
		{"a cancelled context leaves staged bytes when staging again", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			_, err := t.d.Stage(t.cancelled(), "a")
			t.wants(err, context.Canceled)
			t.holds(t.publish("a", state, 3), []byte("abc"))
		}},
		{"a cancelled context resumes nothing", func(t *trial) {
			first := t.stage("a", []byte("abc"))
			state := t.resume("a", first, 3, []byte("def"))
			_, err := t.d.Resume(t.cancelled(), "a", first, 3)
			t.wants(err, context.Canceled)
			t.holds(t.publish("a", state, 6), []byte("abcdef"))
		}},
		{"a cancelled context opens nothing staged", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			_, err := t.d.OpenStaged(t.cancelled(), "a", state, 3)
			t.wants(err, context.Canceled)
		}},
		{"a cancelled context saves nothing, and saving again works", func(t *trial) {
			s := t.begin("a")
			t.write(s, []byte("abc"))
			_, err := s.Save(t.cancelled())
			t.wants(err, context.Canceled)
			t.holds(t.publish("a", t.save(s), 3), []byte("abc"))
		}},
		{"a stage outlives the context that opened it", func(t *trial) {
			ctx, cancel := context.WithCancel(t.Context())
			s, err := t.d.Stage(ctx, "a")
			t.must(err)
			cancel()
			t.write(s, []byte("abc"))
			t.holds(t.publish("a", t.save(s), 3), []byte("abc"))
		}},
		{"a cancelled context discards nothing", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			t.wants(t.d.Discard(t.cancelled(), "a", state), context.Canceled)
			t.holds(t.publish("a", state, 3), []byte("abc"))
		}},
		{"a cancelled context publishes nothing", func(t *trial) {
			state := t.stage("a", []byte("abc"))
			locator := t.d.Locate("a", digest(3))
			t.wants(t.d.Publish(t.cancelled(), "a", state, 3, locator), context.Canceled)
			t.lacks(locator)
			t.holds(t.publish("a", state, 3), []byte("abc"))
		}},
		{"a cancelled context opens no object", func(t *trial) {
			_, err := t.d.Open(t.cancelled(), t.put("a", []byte("abc")), 0, -1)
			t.wants(err, context.Canceled)
		}},
		{"a cancelled context tells no size", func(t *trial) {
			_, err := t.d.Size(t.cancelled(), t.put("a", []byte("abc")))
			t.wants(err, context.Canceled)
		}},
		{"a cancelled context deletes nothing", func(t *trial) {
			locator := t.put("a", []byte("abc"))
			t.wants(t.d.Delete(t.cancelled(), locator), context.Canceled)
			t.holds(locator, []byte("abc"))
		}},
		{"a cancelled context tells no health and lists nothing", func(t *trial) {
			_, err := t.d.Health(t.cancelled())
			t.wants(err, context.Canceled)
			if lister, ok := storagedriver.Find[storagedriver.Lister](t.d); ok {
				_, err = lister.Staged(t.cancelled())
				t.wants(err, context.Canceled)
			}
		}},
	}
}
