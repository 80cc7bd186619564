package importer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/errcode"
)

// Options say how to import.
type Options struct {
	// Patterns choose repositories.
	Patterns Patterns
	// Jobs is how many transfers there are at once; at least 1.
	Jobs int
	// DryRun: only look, at the source and at the target.
	DryRun bool
	// Overwrite moves tags of the target that name something else.
	Overwrite bool
	// Progress gets a line every Interval, and Listed a line for
	// everything that a dry run would copy.
	Progress io.Writer
	Interval time.Duration
	Listed   io.Writer
}

// Run brings everything that is chosen from the source to the target, blobs and
// the manifests of an index before what needs them, so that it may end at any
// moment and be run again: what is there is passed over. What cannot be brought
// is in the report. An error means that the import did not go through all of the
// source; the report then tells how far it came.
func Run(ctx context.Context, src Source, dst *Target, o Options) (*Report, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	started := time.Now()
	m := &importing{src: src, dst: dst, o: o, stop: cancel, slots: make(chan struct{}, max(1, o.Jobs)),
		sending: make(map[digest.Digest]chan struct{}), seen: make(map[visitKey]struct{})}
	err := m.all(ctx)
	r := m.report(started)
	r.Source, r.Target, r.DryRun, r.Complete = src.String(), dst.endpoint.String(), o.DryRun, err == nil
	return r, err
}

// importing is one run.
type importing struct {
	src   Source
	dst   *Target
	o     Options
	stop  context.CancelCauseFunc
	slots chan struct{} // one for each transfer
	tally
	troubles atomic.Int64 // since something was copied

	sendMu  sync.Mutex
	sending map[digest.Digest]chan struct{} // closed when the blob is sent
	seen    map[visitKey]struct{}           // blobs, in a dry run
}

func (m *importing) all(ctx context.Context) error {
	names, err := m.src.Repositories(ctx)
	if err != nil {
		return err
	}
	var chosen []string
	for _, name := range names {
		if m.o.Patterns.Match(name) {
			chosen = append(chosen, name)
		}
	}
	if len(chosen) == 0 {
		return fmt.Errorf("%s has %d repositories, and none is chosen", m.src, len(names))
	}
	m.total.Store(int64(len(chosen)))
	stop := make(chan struct{})
	var shown sync.WaitGroup
	if m.o.Progress != nil {
		shown.Go(func() { m.show(m.o.Progress, m.o.Interval, stop) })
	}
	defer shown.Wait()
	defer close(stop)
	for _, name := range chosen {
		m.enter(name)
		if err := m.repository(ctx, name); err != nil {
			m.refuse(Refusal{Repository: name, Reason: err.Error()})
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// workersPerJob: manifests and tags are small, and mostly wait for the disk.
const workersPerJob = 4

// repository brings one repository.
func (m *importing) repository(ctx context.Context, name string) error {
	from, err := m.src.Repository(name)
	if err != nil {
		return err
	}
	to, err := m.dst.repository(ctx, name)
	if err != nil {
		return err
	}
	w := &walk{importing: m, name: name, from: from, to: to, visits: make(map[visitKey]*visit)}
	tasks := make(chan func())
	var workers sync.WaitGroup
	for range workersPerJob * cap(m.slots) {
		workers.Go(func() {
			for task := range tasks {
				task()
			}
		})
	}
	w.list(ctx, tasks)
	close(tasks)
	workers.Wait()
	return nil
}

// walk is the way through one repository.
type walk struct {
	*importing
	name string
	from Repository
	to   *targetRepository

	mu     sync.Mutex
	visits map[visitKey]*visit
}

// list makes a task of every tag and manifest of the source.
func (w *walk) list(ctx context.Context, tasks chan<- func()) {
	give := func(task func()) bool {
		select {
		case tasks <- task:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for tag, err := range w.from.Tags(ctx) {
		if err != nil {
			w.refuseTag(ctx, tag, "", err)
		} else if !give(func() { w.tag(ctx, tag) }) {
			return
		}
	}
	for d, err := range w.from.Manifests(ctx) {
		if err != nil {
			w.refuseManifest(ctx, d, err)
		} else if !give(func() { _ = w.bring(ctx, d, "", 0) }) { // bring reports it
			return
		}
	}
}

// refuseManifest reports a manifest, or the list of all, unless that is only
// due to the end of the import.
func (w *walk) refuseManifest(ctx context.Context, d digest.Digest, err error) {
	if w.ends(ctx, err) {
		return
	}
	w.manifests.refused.Add(1)
	w.refuse(Refusal{Repository: w.name, Digest: d, Reason: err.Error()})
}

// refuseTag reports a tag. d is what it names, if its manifest was refused.
func (w *walk) refuseTag(ctx context.Context, tag string, d digest.Digest, err error) {
	if w.ends(ctx, err) {
		return
	}
	w.tags.refused.Add(1)
	w.refuse(Refusal{Repository: w.name, Tags: []string{tag}, Digest: d, Reason: err.Error()})
}

// maxTroubles is how many items in a row may fail by what is wrong with a server
// and not with them.
const maxTroubles = 5

// ends tells whether the import is at its end, or makes it so after an error
// that everything else would meet as well.
func (w *walk) ends(ctx context.Context, err error) bool {
	var stopped errStopped
	var answer *errcode.ErrorResponse
	switch {
	case errors.As(err, &stopped), errors.Is(err, errGone):
		w.stop(err)
	case errors.As(err, &answer) && answer.StatusCode >= http.StatusInternalServerError:
		if w.troubles.Add(1) >= maxTroubles {
			w.stop(fmt.Errorf("%d items in a row failed, the last because %w", maxTroubles, err))
		}
	}
	return ctx.Err() != nil
}

// tag brings what a tag names, and sets the tag.
func (w *walk) tag(ctx context.Context, tag string) {
	d, err := w.from.Resolve(ctx, tag)
	if err == nil {
		err = checkDigest(d)
	}
	if err != nil {
		w.refuseTag(ctx, tag, "", err)
		return
	}
	if err := w.bring(ctx, d, "", 0); err != nil {
		w.refuseTag(ctx, tag, d, err)
		return
	}
	current, err := w.to.manifest(ctx, tag)
	exists := err == nil
	switch {
	case exists && current.Digest == d:
		w.tags.there.Add(1)
		return
	case exists && !w.o.Overwrite:
		err = errTaken{d, current.Digest}
	case (exists || errors.Is(err, errMissing)) && w.o.DryRun:
		err = w.listed("%s:%s %s\n", w.name, tag, d)
	case exists || errors.Is(err, errMissing):
		err = w.to.tag(ctx, tag, d, !exists)
	}
	if err != nil {
		w.refuseTag(ctx, tag, "", err)
		return
	}
	w.tags.copied.Add(1)
}

// listed writes a line about what a dry run would copy.
func (w *walk) listed(format string, args ...any) error {
	if w.o.Listed == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	_, err := fmt.Fprintf(w.o.Listed, format, args...)
	return err
}

// blob brings a blob.
func (w *walk) blob(ctx context.Context, desc ocispec.Descriptor) error {
	done, err := w.claim(ctx, desc.Digest)
	if err != nil {
		return err
	}
	defer done()
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-w.slots }()
	sent, err := w.transfer(ctx, desc)
	switch {
	case errors.Is(err, errMissing) && mayBeAbsent(desc):
		return nil
	case err != nil && ctx.Err() == nil:
		w.blobs.refused.Add(1)
	case sent:
		w.troubles.Store(0)
		w.blobs.copied.Add(1)
	case err == nil:
		w.blobs.there.Add(1)
	}
	return err
}

// claim waits until nobody else sends a blob, which then is found to be there.
func (m *importing) claim(ctx context.Context, d digest.Digest) (done func(), err error) {
	for {
		m.sendMu.Lock()
		other, busy := m.sending[d]
		if !busy {
			mine := make(chan struct{})
			m.sending[d] = mine
			m.sendMu.Unlock()
			return func() {
				m.sendMu.Lock()
				defer m.sendMu.Unlock()
				delete(m.sending, d)
				close(mine)
			}, nil
		}
		m.sendMu.Unlock()
		select {
		case <-other:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
