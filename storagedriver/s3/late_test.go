package s3_test

import (
	"errors"
	"net/http"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/s3"
)

// TestALatePublishChangesNothing: a process is paused before it publishes what is
// short; others go on from there meanwhile, and publish more.
func TestALatePublishChangesNothing(t *testing.T) {
	for name, size := range map[string]int{"in one request": 2 * mebi, "in parts": 12 * mebi} {
		t.Run(name, func(t *testing.T) {
			server := harness.StartS3(t)
			o := small(t, server)
			data := random(size, 6)
			paused, other := open(t, o), open(t, o)
			early, err := stage(t.Context(), paused, "a", data[:mebi])
			harness.Must(t, err)
			s, err := other.Resume(t.Context(), "a", early, mebi)
			harness.Must(t, err)
			harness.Must(t, write(s, data[mebi:]))
			state, err := s.Save(t.Context())
			harness.Must(t, errors.Join(err, s.Close()))
			locator, err := publish(t.Context(), other, "a", state, len(data))
			harness.Must(t, err)

			if _, err := publish(t.Context(), paused, "a", early, mebi); !errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("publishing what others have gone on from: %v", err)
			}
			holds(t, other, locator, data)
			_, err = publish(t.Context(), paused, "a", state, len(data)) // as that is published
			harness.Must(t, err)
			only(t, server, server.Bucket, locator)
		})
	}
}

// TestNobodyKnowsIsNotGone: the upload was completed, its answer was lost, and
// the object cannot be looked for.
func TestNobodyKnowsIsNotGone(t *testing.T) {
	_, proxy, d := faulty(t)
	data := random(12*mebi, 7)
	state, err := stage(t.Context(), d, "a", data)
	harness.Must(t, err)
	lost := harness.Once("CompleteMultipartUpload", 1, harness.Fault{Lose: true})
	proxy.Set(func(r *http.Request) harness.Fault {
		if harness.Operation(r) == "HeadObject" {
			return harness.Fault{Status: http.StatusForbidden, Code: "AccessDenied"}
		}
		return lost(r)
	})
	if _, err := publish(t.Context(), d, "a", state, len(data)); err == nil || errors.Is(err, storagedriver.ErrNotExist) {
		t.Errorf("publishing what may be published: %v", err)
	}
	proxy.Set(nil)
	locator, err := publish(t.Context(), d, "a", state, len(data))
	harness.Must(t, err)
	holds(t, d, locator, data)
}

// TestWhatIsGivenUpMayBeGoneOnWith: a process that held what it could not publish
// knows no more of it than others.
func TestWhatIsGivenUpMayBeGoneOnWith(t *testing.T) {
	server := harness.StartS3(t)
	o := small(t, server)
	for name, giveUp := range map[string]func(*s3.Driver) error{
		"held": func(d *s3.Driver) error {
			s, err := d.Stage(t.Context(), "a")
			harness.Must(t, err)
			harness.Must(t, write(s, random(mebi, 8)))
			_, err = s.(storagedriver.Holder).Hold(t.Context())
			err = errors.Join(err, s.Close())
			d.Release("a")
			return err
		},
		"not saved": func(d *s3.Driver) error {
			s, err := d.Stage(t.Context(), "a")
			harness.Must(t, err)
			harness.Must(t, write(s, random(mebi, 8)))
			return s.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			o.Bucket = server.NewBucket(t)
			one, two := open(t, o), open(t, o)
			harness.Must(t, giveUp(one))
			data := random(12*mebi, 9)
			state, err := stage(t.Context(), two, "a", data)
			harness.Must(t, err)
			_, err = readStaged(t.Context(), two, "a", state, len(data)) // which completes it
			harness.Must(t, err)
			harness.Must(t, one.Discard(t.Context(), "a", nil))
			only(t, server, o.Bucket)
		})
	}
}

// TestALateReadOfStagedBytesChangesNothing: a process goes on after others have
// discarded what it staged, and have published under the same id.
func TestALateReadOfStagedBytesChangesNothing(t *testing.T) {
	for name, late := range map[string]int{"it has begun parts": 7 * mebi, "it begins parts": mebi} {
		t.Run(name, func(t *testing.T) {
			server := harness.StartS3(t)
			o := small(t, server)
			paused, other := open(t, o), open(t, o)
			first := random(12*mebi, 10)
			s, err := paused.Stage(t.Context(), "a")
			harness.Must(t, err)
			harness.Must(t, write(s, first[:late]))

			harness.Must(t, other.Discard(t.Context(), "a", nil))
			data := random(mebi, 11)
			again, err := other.Stage(t.Context(), "a")
			harness.Must(t, err)
			harness.Must(t, write(again, data))
			state, err := again.(storagedriver.Holder).Hold(t.Context())
			harness.Must(t, errors.Join(err, again.Close()))
			locator, err := publish(t.Context(), other, "a", state, len(data))
			harness.Must(t, err)

			err = write(s, first[late:])
			state, saved := s.Save(t.Context())
			if err = errors.Join(err, saved, s.Close()); err == nil {
				_, err = readStaged(t.Context(), paused, "a", state, len(first))
			}
			if !errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("reading what was discarded: %v", err)
			}
			holds(t, other, locator, data)
			sweep(t, other)
			holds(t, other, locator, data)
			only(t, server, server.Bucket, locator)
		})
	}
}
