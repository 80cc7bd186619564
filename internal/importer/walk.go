package importer

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

const (
	// maxDepth bounds indexes within indexes, and referrers of referrers.
	maxDepth = 32
	// maxVisits bounds the memory of what was visited: beyond it the walk
	// forgets, and asks the target again.
	maxVisits = 1 << 20
)

// visitKey stands for a digest in less memory.
type visitKey [sha256.Size]byte

// visit is a manifest that was met. done is closed when err is final.
type visit struct {
	done chan struct{}
	err  error
}

// errBelow: a manifest that this one needs was refused, which is reported for
// itself.
type errBelow struct {
	child digest.Digest
	cause error
}

func (e errBelow) Error() string {
	if errors.Is(e.cause, errMissing) {
		return fmt.Sprintf("it lists %s, which is not in the source; a registry with manifests.allow_sparse takes it nevertheless", e.child)
	}
	return fmt.Sprintf("it lists %s, which is refused", e.child)
}

// bring brings a manifest and all below it, once, and reports it if that fails.
// What refers to it, or what it refers to, comes after it and does not matter to
// those who wait for it: there the graph has circles. mediaType is what the
// parent says, or "".
func (w *walk) bring(ctx context.Context, d digest.Digest, mediaType string, depth int) error {
	v, first := w.meet(d)
	if !first {
		select {
		case <-v.done:
			return v.err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	doc, err := w.copy(ctx, d, mediaType, depth)
	v.err = err
	close(v.done)
	if err != nil {
		w.refuseManifest(ctx, d, err)
		return err
	}
	w.around(ctx, d, doc, depth)
	return nil
}

// meet returns the visit of a manifest, and whether it is the first.
func (w *walk) meet(d digest.Digest) (*visit, bool) {
	key := visitKey(sha256.Sum256([]byte(d)))
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.visits[key]; v != nil {
		return v, false
	}
	if len(w.visits) >= maxVisits {
		clear(w.visits)
	}
	v := &visit{done: make(chan struct{})}
	w.visits[key] = v
	return v, true
}

// around brings what refers to a manifest, where the source lists that by no
// other means, and its subject, which may be missing.
func (w *walk) around(ctx context.Context, d digest.Digest, doc *document, depth int) {
	lister, ok := w.from.(referrerLister)
	if !ok || depth >= maxDepth {
		return
	}
	for referrer, err := range lister.Referrers(ctx, d) {
		if err != nil {
			w.refuseManifest(ctx, "", fmt.Errorf("referrers of %s: %w", d, err))
			continue
		}
		_ = w.bring(ctx, referrer, "", depth+1) // which reports it
	}
	subject, err := w.subject(ctx, d, doc)
	if err != nil {
		w.refuseManifest(ctx, "", fmt.Errorf("subject of %s: %w", d, err))
	}
	if subject == nil || checkDigest(subject.Digest) != nil {
		return
	}
	if _, err := w.from.Manifest(ctx, subject.Digest); !errors.Is(err, errMissing) {
		_ = w.bring(ctx, subject.Digest, subject.MediaType, depth+1) // which reports it
	}
}

// subject returns what a manifest refers to, or nil. One that was not read
// because it is there is read now: an import that ended before may have brought
// it and not its subject.
func (w *walk) subject(ctx context.Context, d digest.Digest, doc *document) (*ocispec.Descriptor, error) {
	if doc == nil {
		m, err := w.manifest(ctx, d, true)
		if err != nil {
			return nil, err
		}
		if doc, err = readManifest(m, d, m.MediaType); err != nil {
			return nil, err
		}
	}
	return doc.Subject, nil
}

// copy brings a manifest after all below it. The document is nil if it did not
// have to be read.
func (w *walk) copy(ctx context.Context, d digest.Digest, mediaType string, depth int) (*document, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	if depth > maxDepth {
		return nil, fmt.Errorf("it is more than %d indexes deep", maxDepth)
	}
	there, err := w.to.manifest(ctx, d.String())
	exists := err == nil
	if err != nil && !errors.Is(err, errMissing) {
		return nil, err
	}
	if exists && !isIndex(there.MediaType) {
		w.manifests.there.Add(1)
		return nil, nil
	}
	m, err := w.manifest(ctx, d, exists)
	if err != nil {
		return nil, err
	}
	doc, err := readManifest(m, d, mediaType)
	if err != nil {
		return nil, err
	}
	manifests, blobs := doc.children()
	below := w.children(ctx, manifests, depth)
	if exists {
		w.manifests.there.Add(1)
		return doc, nil
	}
	if err := w.content(ctx, blobs); err != nil {
		below = err
	}
	return doc, w.put(ctx, ocispec.Descriptor{MediaType: doc.MediaType, Digest: d, Size: int64(len(m.Raw))}, m.Raw, below)
}

// manifest reads a manifest, at home if it is there: some registries allow only
// so many pulls.
func (w *walk) manifest(ctx context.Context, d digest.Digest, exists bool) (Manifest, error) {
	if !exists {
		return w.from.Manifest(ctx, d)
	}
	desc, raw, err := w.to.fetch(ctx, d)
	return Manifest{MediaType: desc.MediaType, Raw: raw}, err
}

// children brings the manifests of an index and returns why one is missing.
func (w *walk) children(ctx context.Context, manifests []ocispec.Descriptor, depth int) (missing error) {
	for _, child := range manifests {
		if err := w.bring(ctx, child.Digest, child.MediaType, depth+1); err != nil {
			missing = errBelow{child.Digest, err}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return missing
}

// content brings blobs, several at a time, and returns why the first that is
// missing is.
func (w *walk) content(ctx context.Context, blobs []ocispec.Descriptor) error {
	failures := make([]error, len(blobs))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(len(blobs), cap(w.slots)) {
		workers.Go(func() {
			for i := range next {
				if err := w.blob(ctx, blobs[i]); err != nil {
					failures[i] = fmt.Errorf("its blob %s: %w", blobs[i].Digest, err)
				}
			}
		})
	}
	for i := range blobs {
		next <- i // a worker is quick to take it once ctx has ended
	}
	close(next)
	workers.Wait()
	return firstError(failures...)
}

// put stores a manifest. What is below it and was not brought is for the target
// to judge: it may take manifests that are sparse. below is why, or nil.
func (w *walk) put(ctx context.Context, desc ocispec.Descriptor, raw []byte, below error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if w.o.DryRun {
		if below == nil {
			w.manifests.copied.Add(1)
			w.bytes.Add(desc.Size)
			return w.listed("%s@%s\n", w.name, desc.Digest)
		}
		return below
	}
	err := w.to.putManifest(ctx, desc, raw)
	if answered(err, errcode.ErrorCodeManifestBlobUnknown) && below != nil {
		return below
	}
	if err != nil {
		return err
	}
	w.troubles.Store(0)
	w.manifests.copied.Add(1)
	w.bytes.Add(desc.Size)
	var reported errBelow
	if below != nil && !errors.As(below, &reported) {
		w.refuse(Refusal{Repository: w.name, Reason: fmt.Sprintf("%s is imported without %v", desc.Digest, below)})
	}
	return nil
}

// transfer brings the bytes of a blob, unless the target has them; it tells
// whether they were sent. What may pass is tried again.
func (w *walk) transfer(ctx context.Context, desc ocispec.Descriptor) (sent bool, err error) {
	if err := checkDigest(desc.Digest); err != nil {
		return false, err
	}
	if w.o.DryRun {
		return w.look(ctx, desc)
	}
	err = persist(ctx, again, func() error {
		sent, err = w.to.putBlob(ctx, desc, func() (io.ReadCloser, error) { return w.from.Blob(ctx, desc) }, &w.bytes)
		return err
	})
	return sent, err
}

// persist does something several times, with growing pauses, as long as its
// error is one that may pass.
func persist(ctx context.Context, again func(error) bool, do func() error) (err error) {
	const tries = 4
	for attempt := range tries {
		if err = do(); !again(err) {
			return err
		}
		select {
		case <-time.After(patience.Backoff(attempt, nil)):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return err
}

// again tells whether a transfer that failed may succeed when it is begun anew:
// a request with a body of some length is not repeated by the client itself.
func again(err error) bool {
	var answer *errcode.ErrorResponse
	var stopped errStopped
	switch {
	case err == nil, errors.Is(err, errMissing), errors.Is(err, errGone), errors.Is(err, context.Canceled):
		return false
	case errors.As(err, &answer):
		return passing(answer.StatusCode) && answer.StatusCode != http.StatusInternalServerError
	case errors.As(err, &stopped):
		return false
	}
	return brokenOff(err)
}

// look finds out what transfer would do. A blob that would be sent before is
// there the next time.
func (w *walk) look(ctx context.Context, desc ocispec.Descriptor) (bool, error) {
	there, err := w.to.hasBlob(ctx, desc)
	if err != nil || there || w.looked(desc.Digest) {
		return false, err
	}
	if err := w.from.HasBlob(ctx, desc); err != nil {
		return false, err
	}
	w.bytes.Add(desc.Size)
	return true, nil
}

// looked tells whether look was asked for a blob before.
func (m *importing) looked(d digest.Digest) bool {
	key := visitKey(sha256.Sum256([]byte(d)))
	m.sendMu.Lock()
	defer m.sendMu.Unlock()
	if len(m.seen) >= maxVisits {
		clear(m.seen)
	}
	_, seen := m.seen[key]
	m.seen[key] = struct{}{}
	return seen
}
