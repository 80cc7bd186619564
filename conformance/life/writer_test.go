package life_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"time"

	"artifactstore/conformance/harness"
)

// writer does everything to repositories of its own, and knows what is in them.
type writer struct {
	*rand.Rand
	f       *fire
	number  int
	made    int // images
	shelves []*shelf
}

// shelf is a repository of a writer.
type shelf struct {
	name   string
	images []*image
	tags   map[string]*image
	gone   []deletion // manifests that could be put back
	// cut is how often a blob was deleted.
	cut int
	// deleted is set while the repository is deleted and to be put back.
	deleted *deletion
}

// deletion is something that was deleted.
type deletion struct {
	begun    time.Time
	sequence uint64 // of the event, 0 if it is not known
	image    *image // nil for a repository
	cut      int
	// What was in a repository.
	images []*image
	tags   map[string]*image
}

func (f *fire) writer(number int) func(context.Context) {
	w := &writer{Rand: newRand(f.seed, uint64(number)), f: f, number: number}
	for r := range repositories {
		w.shelves = append(w.shelves, &shelf{name: name(number, r), tags: map[string]*image{}})
	}
	return func(ctx context.Context) {
		if err := w.step(ctx); err != nil {
			f.fail("writer %d: %v", number, err)
		}
	}
}

func (w *writer) node() node { return w.f.nodes[w.IntN(len(w.f.nodes))] }

// step does one thing.
func (w *writer) step(ctx context.Context) error {
	s := w.shelves[w.IntN(len(w.shelves))]
	if s.deleted != nil {
		if w.IntN(3) > 0 {
			return nil
		}
		return w.restoreRepository(ctx, s)
	}
	switch n := w.IntN(46); {
	case n < 16:
		return w.pushNew(ctx, s)
	case n < 19:
		return w.pushAgain(ctx, s)
	case n < 25:
		return w.deleteManifest(ctx, s)
	case n < 29:
		return w.undoManifest(ctx, s)
	case n < 31:
		return w.deleteTag(ctx, s)
	case n < 34:
		return w.deleteBlob(ctx, s)
	case n < 36:
		return w.deleteRepository(ctx, s)
	case n < 38:
		return w.fade(ctx)
	case n < 40:
		return w.eraseManifest(ctx, s)
	case n < 43:
		return w.blobToo(ctx, s)
	}
	if i := w.some(s, true); i != nil {
		w.f.check(ctx, w.node(), i)
	}
	return nil
}

// some returns a random image of a shelf that is there, or is not; nil for none.
func (w *writer) some(s *shelf, there bool) *image {
	all := slices.DeleteFunc(slices.Clone(s.images), func(i *image) bool { return i.now().there != there })
	if len(all) == 0 {
		return nil
	}
	return all[w.IntN(len(all))]
}

// most is how many images a shelf has.
const most = 25

// create makes an image, a signature of one or an index, in a repository.
func (w *writer) create(repository string, s *shelf) *image {
	w.made++
	number := fmt.Sprintf("%d-%d", w.number, w.made)
	if a, b := w.some(s, true), w.some(s, true); a != nil && w.IntN(5) == 0 && a.children == nil && b.children == nil {
		return newIndex(repository, number, slices.Compact([]*image{a, b}))
	}
	var blobs [][]byte
	for range 2 + w.IntN(3) {
		blobs = append(blobs, w.f.pool[w.IntN(len(w.f.pool))])
	}
	var subject *image
	if w.IntN(4) == 0 {
		subject = w.some(s, w.IntN(3) > 0)
	}
	return newImage(repository, number, w.IntN(6) == 0, blobs, subject)
}

func (w *writer) pushNew(ctx context.Context, s *shelf) error {
	if len(s.images) >= most {
		return w.deleteManifest(ctx, s)
	}
	i := w.create(s.name, s)
	s.images = append(s.images, i)
	return w.push(ctx, s, i)
}

// pushAgain pushes what is there, or was deleted before.
func (w *writer) pushAgain(ctx context.Context, s *shelf) error {
	i := w.some(s, w.IntN(2) == 0)
	if i == nil || slices.ContainsFunc(i.children, func(c *image) bool { return !c.now().there }) {
		return nil
	}
	return w.push(ctx, s, i)
}

// push pushes an image as clients do. A manifest that comes within the grace of what
// was said of its blobs must be accepted.
func (w *writer) push(ctx context.Context, s *shelf, i *image) error {
	n := w.node()
	for {
		begun := time.Now()
		for _, b := range i.blobs {
			done, err := i.bring(ctx, n.client, b, w.f.names[w.IntN(len(w.f.names))], w.IntN(3) == 0)
			if err != nil {
				return err
			}
			w.f.count("blobs " + done)
			n = w.node()
		}
		tag := ""
		if w.IntN(2) == 0 {
			tag = fmt.Sprintf("t%d", w.IntN(4))
		}
		reply, err := i.put(ctx, n.client, tag, http.StatusBadRequest)
		if err != nil {
			return err
		}
		if took := time.Since(begun); reply.Status == http.StatusBadRequest {
			if took < grace || reply.Code() != "MANIFEST_BLOB_UNKNOWN" {
				return fmt.Errorf("a manifest was refused %v after the first of its blobs was there: %.300s", took, reply.Body)
			}
			w.f.count("pushes that took too long")
			continue
		}
		if tag != "" {
			s.tags[tag] = i
		}
		if !i.now().there {
			w.f.acked(i)
		}
		w.f.count("pushes")
		return nil
	}
}

// needed tells whether an index that is there lists an image.
func (s *shelf) needed(i *image) bool {
	return slices.ContainsFunc(s.images, func(other *image) bool { return other.now().there && slices.Contains(other.children, i) })
}

func (w *writer) deleteManifest(ctx context.Context, s *shelf) error {
	i := w.some(s, true)
	if i == nil || s.needed(i) {
		return nil
	}
	d := deletion{begun: time.Now(), image: i, cut: s.cut}
	i.set(false)
	if _, err := due(ctx, w.node().client, harness.Request{Method: http.MethodDelete, Path: i.path()}, http.StatusAccepted); err != nil {
		return err
	}
	maps.DeleteFunc(s.tags, func(_ string, of *image) bool { return of == i })
	w.f.count("manifests deleted")
	s.gone = append(s.gone, d)
	if len(s.images) >= most && w.IntN(2) == 0 { // it is never seen again
		s.images = slices.DeleteFunc(s.images, func(other *image) bool { return other == i })
		s.gone = nil
	}
	return nil
}

// undoManifest puts a deleted manifest back. Within the grace that must be possible.
func (w *writer) undoManifest(ctx context.Context, s *shelf) error {
	if len(s.gone) == 0 {
		return nil
	}
	at := len(s.gone) - 1 - w.IntN(min(2, len(s.gone)))
	d := s.gone[at]
	s.gone = slices.Delete(s.gone, at, at+1)
	if d.image.now().there {
		return nil // it was pushed again
	}
	n := w.node()
	graves, err := list[struct {
		Digest   string
		Sequence uint64
	}](ctx, n, "repositories/"+escape(s.name)+"/deleted")
	if status := (*errAnswer)(nil); errors.As(err, &status) {
		return err
	}
	if err != nil {
		return err
	}
	k := slices.IndexFunc(graves, func(g struct {
		Digest   string
		Sequence uint64
	}) bool {
		return g.Digest == d.image.digest
	})
	var reply harness.Reply
	if k >= 0 {
		if reply, err = w.undo(ctx, n, graves[k].Sequence); err != nil {
			return err
		}
	}
	if k < 0 || reply.Status == http.StatusConflict {
		whole := !slices.ContainsFunc(d.image.children, func(c *image) bool { return !c.now().there }) // none was erased
		if took := time.Since(d.begun); took < grace && d.cut == s.cut && whole {
			return fmt.Errorf("%s@%s was deleted %v ago, and cannot be put back: %.300s", s.name, d.image.digest, took, reply.Body)
		}
		w.f.count("undone too late")
		return nil
	}
	return w.restored(s, d.image, reply)
}

// undo takes an event back, if that can be.
func (w *writer) undo(ctx context.Context, n node, sequence uint64) (harness.Reply, error) {
	reply, err := n.ask(ctx, http.MethodPost, "undo", map[string]any{"sequence": sequence, "reason": "a test"})
	if err == nil {
		err = reply.Expect(http.StatusOK, http.StatusConflict)
	}
	if err != nil {
		err = fmt.Errorf("undo of event %d: %w", sequence, err)
	}
	return reply, err
}

// restored learns from the answer to an undo what is there again.
func (w *writer) restored(s *shelf, i *image, reply harness.Reply) error {
	var undone struct{ Restored, Moved []string }
	if err := json.Unmarshal(reply.Body, &undone); err != nil {
		return err
	}
	if !slices.Contains(undone.Restored, i.digest) {
		return fmt.Errorf("an undo has not brought %s back: %.300s", i.digest, reply.Body)
	}
	for _, other := range s.images {
		if slices.Contains(undone.Restored, other.digest) {
			w.f.acked(other)
		}
	}
	if !slices.Contains(s.images, i) {
		s.images = append(s.images, i)
		w.f.acked(i)
	}
	for _, tag := range undone.Moved {
		s.tags[tag] = i
	}
	w.f.count("manifests put back")
	return nil
}

// deleteTag deletes a tag, after a look at what it names.
func (w *writer) deleteTag(ctx context.Context, s *shelf) error {
	tag := fmt.Sprintf("t%d", w.IntN(4))
	path := "/v2/" + s.name + "/manifests/" + tag
	i, status := s.tags[tag], http.StatusNotFound
	if i != nil {
		if err := same(ctx, w.node().client, path, i.manifest); err != nil {
			return err
		}
		status = http.StatusAccepted
	}
	_, err := due(ctx, w.node().client, harness.Request{Method: http.MethodDelete, Path: path}, status)
	delete(s.tags, tag)
	w.f.count("tags deleted")
	return err
}

// deleteBlob deletes a blob, unless something needs it.
func (w *writer) deleteBlob(ctx context.Context, s *shelf) error {
	b := w.f.pool[w.IntN(len(w.f.pool))]
	used := slices.ContainsFunc(s.images, func(i *image) bool {
		return i.now().there && slices.ContainsFunc(i.blobs, func(other []byte) bool { return &other[0] == &b[0] })
	})
	statuses := []int{http.StatusAccepted, http.StatusNotFound}
	if used {
		statuses = []int{http.StatusMethodNotAllowed}
	}
	s.cut++
	_, err := due(ctx, w.node().client, harness.Request{Method: http.MethodDelete, Path: "/v2/" + s.name + "/blobs/" + harness.SHA256(b)}, statuses...)
	w.f.count("blobs deleted")
	return err
}

// deleteRepository deletes a repository, to be put back later or not.
func (w *writer) deleteRepository(ctx context.Context, s *shelf) error {
	if w.some(s, true) == nil {
		return nil // there may be none
	}
	d := &deletion{begun: time.Now(), tags: s.tags}
	for _, i := range s.images {
		if i.now().there {
			d.images = append(d.images, i)
			i.set(false)
		}
	}
	n := w.node()
	reply, err := n.ask(ctx, http.MethodDelete, "repositories/"+escape(s.name), reason)
	if err != nil {
		return err
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return fmt.Errorf("delete %s: %w", s.name, err)
	}
	var answer struct{ Sequence uint64 }
	if err := json.Unmarshal(reply.Body, &answer); err != nil {
		return err
	}
	d.sequence = answer.Sequence
	s.images, s.gone, s.tags = nil, nil, map[string]*image{}
	if w.IntN(3) > 0 {
		s.deleted = d
	}
	w.f.count("repositories deleted")
	return nil
}

// restoreRepository puts a deleted repository back. Within the grace that must be
// possible, and all must be there that was.
func (w *writer) restoreRepository(ctx context.Context, s *shelf) error {
	d := s.deleted
	reply, err := w.undo(ctx, w.node(), d.sequence)
	if err != nil {
		return err
	}
	s.deleted = nil
	if reply.Status == http.StatusConflict {
		if took := time.Since(d.begun); took < grace {
			return fmt.Errorf("%s was deleted %v ago, and cannot be put back: %.300s", s.name, took, reply.Body)
		}
		w.f.count("undone too late")
		return nil
	}
	s.images, s.tags = d.images, d.tags
	for _, i := range d.images {
		w.f.acked(i)
	}
	w.f.count("repositories put back")
	return nil
}

// fade pushes an image that expires, and pulls it until it is gone: if it is there it
// is whole.
func (w *writer) fade(ctx context.Context) error {
	repository := fmt.Sprintf("fading/w%d", w.number)
	i := w.create(repository, &shelf{})
	if err := w.push(ctx, &shelf{tags: map[string]*image{}}, i); err != nil {
		return err
	}
	i.set(false) // nobody may count on it
	n := w.node()
	if err := i.pull(ctx, n.client); err != nil {
		if still := same(ctx, n.client, i.path(), i.manifest); still == nil {
			return fmt.Errorf("a manifest that has expired is there, and was not whole: %w", err)
		}
	}
	w.f.count("faded")
	return nil
}
