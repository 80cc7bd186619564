package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"artifactstore/storagedriver"
)

// Texts of guards, each before the name of the upload. What is sealed was, or
// may have been, completed without being published.
const (
	guardOpen   = "open "
	guardSealed = "sealed "
)

// Publish writes the whole in one request, or completes the multipart upload
// with the end as its last part. When an answer was lost the object itself
// tells: nothing but Publish writes it, and never other bytes.
func (d *Driver) Publish(ctx context.Context, id string, saved []byte, size int64, locator string) error {
	err := checkLocator(ctx, locator)
	if err == nil {
		err = check(ctx, id)
	}
	if err == nil && locator != locate(id) {
		err = fmt.Errorf("locator %q is not of %s: %w", locator, id, storagedriver.ErrInvalid)
	}
	if err != nil {
		return fmt.Errorf("publish: %w", err)
	}
	unlock, err := d.memory.lock(ctx, id)
	if err != nil {
		return fmt.Errorf("publish %s: %w", id, err)
	}
	defer unlock()
	key := d.objectKey(locator)
	st, err := d.stateAt(id, saved, size)
	if err == nil {
		err = d.publish(ctx, id, key, st, size)
	}
	if gone(err) {
		tries := 1
		if st != nil && st.upload != "" {
			tries = goneTries // another node may be completing it right now
		}
		if stands := d.stands(ctx, key, size, tries); !gone(stands) {
			err = stands // it is there, or nobody knows
		}
	}
	if err == nil {
		err = d.tidy(ctx, id, key, st != nil && st.upload != "")
	}
	if err != nil {
		return fmt.Errorf("publish %s: %w", id, err)
	}
	return nil
}

// publish writes the object.
func (d *Driver) publish(ctx context.Context, id, key string, st *state, size int64) error {
	if st.upload != "" {
		return d.complete(ctx, id, key, st, size)
	}
	if held, done := d.memory.heldOf(id, st.held); held != nil {
		defer done()
		return d.putObject(ctx, key, held.reader(size), true)
	}
	end, err := d.takeEnd(ctx, id, st, size)
	if err != nil {
		return err
	}
	defer end.free()
	return d.putObject(ctx, key, end.reader(size), true)
}

// takeEnd is fetchEnd for bytes that this process remembers, without asking
// whether the bucket still has them.
func (d *Driver) takeEnd(ctx context.Context, id string, st *state, size int64) (*buffer, error) {
	if st.tail != "" {
		if b := d.memory.recall(d.stagedFolder(id) + st.tail); b != nil {
			return b, nil
		}
	}
	return d.fetchEnd(ctx, id, st, size)
}

// complete sends the end as the last part and makes an object of all. If the
// upload is gone it is ErrNotExist, and the object may be there all the same.
func (d *Driver) complete(ctx context.Context, id, key string, st *state, size int64) error {
	next := 0
	if st.listed || size > st.stored {
		var err error
		if next, err = d.recount(ctx, id, st); err != nil {
			return err
		}
	}
	parts := st.parts
	if rest := size - st.stored; rest > 0 {
		end, err := d.takeEnd(ctx, id, st, rest)
		if err != nil {
			return err
		}
		last, err := d.send(ctx, key, st.upload, next, end.reader(rest))
		end.free()
		if err != nil {
			return err
		}
		parts = append(parts[:len(parts):len(parts)], last)
	}
	return d.finish(ctx, upload{key, st.upload}, parts, size, true)
}

// rounds is how often an upload is completed before that fails, each of them
// with the attempts of a request.
const rounds = 3

// finish completes an upload and looks for the object between the attempts,
// since answers are lost.
func (d *Driver) finish(ctx context.Context, u upload, parts []part, size int64, isNew bool) error {
	for round := 1; ; round++ {
		err := d.join(ctx, u, parts, isNew)
		if err != nil && ctx.Err() != nil {
			return err
		}
		if err = d.settled(ctx, u.key, size, err); err == nil || gone(err) || errors.Is(err, errHangs) || round == rounds {
			return err
		}
	}
}

// settled tells whether completing an upload has succeeded, whatever was
// answered. That holds for a success as well: some servers say so to the second
// of two requests while the first is still being worked on.
func (d *Driver) settled(ctx context.Context, key string, size int64, answer error) error {
	tries := standTries
	if answer != nil {
		tries = 1
	}
	stands := d.stands(ctx, key, size, tries)
	switch {
	case stands == nil:
		return nil
	case gone(answer) && !gone(stands): // nobody knows
		return stands
	case answered(answer, "PreconditionFailed"): // by what is there
		return stands
	case answer != nil:
		return answer
	case gone(stands): // it was there a moment ago
		return fmt.Errorf("S3 says that it completed an upload, and has no object of %d bytes", size)
	default:
		return stands
	}
}

const (
	standTries = 8
	// goneTries is for an upload that is gone: some servers say so while
	// they are still making an object of it. It comes to 3 s.
	goneTries  = 6
	standPause = 50 * time.Millisecond
)

// stands waits, a few times if it has to, for an object of the right size.
// ErrNotExist if there is none.
func (d *Driver) stands(ctx context.Context, key string, size int64, tries int) error {
	for try := 1; ; try++ {
		have, err := d.size(ctx, key)
		if err == nil && have != size {
			err = fmt.Errorf("the object has %d bytes, not %d: %w", have, size, storagedriver.ErrNotExist)
		}
		if !gone(err) || try == tries {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(standPause << try):
		}
	}
}

// tidy removes what a published object leaves below staging, its guard
// included, and uploads that nobody knows because the answer to their begin was
// lost. What was only ever held has left nothing.
func (d *Driver) tidy(ctx context.Context, id, key string, multipart bool) error {
	if local, _ := d.memory.local(id); !local {
		if multipart {
			if err := d.abort(ctx, key); err != nil {
				return err
			}
		}
		if _, err := d.removeStaged(ctx, id); err != nil {
			return err
		}
	}
	d.memory.forget(id)
	return nil
}

// removeStaged removes all below staging/<id>, the guard last, and tells
// whether there was one.
func (d *Driver) removeStaged(ctx context.Context, id string) (guarded bool, err error) {
	keys, err := d.list(ctx, d.stagedFolder(id), "")
	if err != nil {
		return false, err
	}
	guard := d.stagedFolder(id) + guardName
	for _, key := range keys {
		if key == guard {
			guarded = true
			continue
		}
		d.memory.recall(key).free()
		if err := d.remove(ctx, key); err != nil {
			return guarded, err
		}
	}
	if guarded {
		return true, d.remove(ctx, guard)
	}
	return false, nil
}

// Discard aborts the uploads of an id and removes all that is below staging.
// An object that was completed for OpenStaged, and never published, goes too.
func (d *Driver) Discard(ctx context.Context, id string, _ []byte) error {
	if err := check(ctx, id); err != nil {
		return fmt.Errorf("discard: %w", err)
	}
	unlock, err := d.memory.lock(ctx, id)
	if err != nil {
		return fmt.Errorf("discard %s: %w", id, err)
	}
	defer unlock()
	if local, _ := d.memory.local(id); !local {
		if err := d.discard(ctx, id); err != nil {
			return fmt.Errorf("discard %s: %w", id, err)
		}
	}
	d.memory.forget(id)
	return nil
}

// discard removes what the bucket has of a staged object. The guard is the
// last to go, so that the rest is found again if this is cut short.
func (d *Driver) discard(ctx context.Context, id string) error {
	key := d.objectKey(locate(id))
	if err := d.abort(ctx, key); err != nil {
		return err
	}
	text, err := d.guard(ctx, id)
	if err != nil && !gone(err) {
		return err
	}
	if name, sealed := strings.CutPrefix(text, guardSealed); sealed {
		if err := d.removeSealed(ctx, key, name); err != nil {
			return err
		}
	}
	_, err = d.removeStaged(ctx, id)
	return err
}

// removeSealed removes the object of an upload. One that was published at this
// key instead stays.
func (d *Driver) removeSealed(ctx context.Context, key, name string) error {
	found, err := d.look(ctx, key)
	if err == nil && found.upload == name {
		return d.remove(ctx, key)
	}
	if gone(err) {
		return nil
	}
	return err
}

// guard reads the guard of an id.
func (d *Driver) guard(ctx context.Context, id string) (string, error) {
	out, err := d.get(ctx, d.stagedFolder(id)+guardName, "", "")
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(out.Body, maxText))
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return "", failure("read the guard of an upload", err)
	}
	return string(text), nil
}

// seal completes a multipart upload so that its bytes can be read. S3 puts the
// seal only in the place of the guard that the upload began with: once Publish
// has removed that, nobody who comes late can make Discard believe that the
// object was never published.
func (d *Driver) seal(ctx context.Context, id, key string, st *state, size int64) error {
	text, err := d.guard(ctx, id)
	if name, open := strings.CutPrefix(text, guardOpen); open {
		_, err = d.putGuard(ctx, id, guardSealed+name, st.guard)
		text = guardSealed
		if answered(err, "PreconditionFailed") || gone(err) {
			text, err = d.guard(ctx, id) // sealed by another call?
		}
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(text, guardSealed) {
		return fmt.Errorf("the upload is gone: %w", storagedriver.ErrNotExist)
	}
	if err = d.complete(ctx, id, key, st, size); gone(err) {
		err = d.stands(ctx, key, size, 1)
	}
	return err
}
