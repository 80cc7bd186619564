package admin

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"artifactstore/registry"
)

// stride is how often a stream of work tells of progress, at most.
const stride = 100 * time.Millisecond

var errStopping = registry.Errorf(registry.Unavailable, "the server is stopping; what was done is done, and the same request goes on with the rest")

// Line is a line of a stream of work: one of its members is set. Progress comes
// any number of times; Result or Problem is the last line. A stream that has
// neither was cut off.
type Line[P, R any] struct {
	Progress *P       `json:"progress,omitempty"`
	Result   *R       `json:"result,omitempty"`
	Problem  *Problem `json:"problem,omitempty"`
}

// shift keeps work of one kind from being done twice at once. It is safe for
// concurrent use.
type shift struct {
	mu   sync.Mutex
	busy map[string]bool
}

// begin begins work of a kind, until end is called.
func (s *shift) begin(kind string) (end func(), err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[kind] {
		return nil, &refusal{http.StatusConflict, "WORK_RUNNING", kind + " was asked for before and goes on; wait for it, or end that request"}
	}
	if s.busy == nil {
		s.busy = make(map[string]bool)
	}
	s.busy[kind] = true
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.busy, kind)
	}, nil
}

// work answers with what do tells, as lines of JSON, and its result. It ends do
// when the client leaves or the server stops. What goes wrong before anything
// was told has an answer of its own. However slowly the client reads, do does
// not wait for it: progress that it is too slow for is left out.
func work[P, R any](d *door, w http.ResponseWriter, r *http.Request, kind string, do func(ctx context.Context, tell func(P)) (R, error)) error {
	end, err := d.working.begin(kind)
	if err != nil {
		return err
	}
	defer end()
	select {
	case <-d.Closing:
		return errStopping
	default:
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	var watch sync.WaitGroup
	defer watch.Wait()
	defer cancel(nil)
	watch.Go(func() { d.farewell(ctx, cancel, w) })

	l := &lines[P]{w: w, flush: http.NewResponseController(w), told: make(chan P, 1), done: make(chan struct{}), left: cancel}
	var writer sync.WaitGroup
	writer.Go(l.run)
	result, err := func() (R, error) {
		defer writer.Wait()
		defer close(l.done) // also if do panics
		return do(ctx, l.tell)
	}()
	if errors.Is(context.Cause(ctx), errClosing) && err != nil {
		err = errStopping
	}
	switch {
	case err == nil:
		return l.last(Line[P, R]{Result: &result})
	case !l.begun:
		return err
	case r.Context().Err() != nil || l.failed != nil:
		return errCutOff{err}
	}
	p := report(r, err)
	return l.last(Line[P, R]{Problem: &p})
}

// farewell ends work when the server stops, also one that waits for its client.
func (d *door) farewell(ctx context.Context, cancel context.CancelCauseFunc, w http.ResponseWriter) {
	select {
	case <-d.Closing:
		cancel(errClosing)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(farewell)) // as for streams of events
	case <-ctx.Done():
	}
}

// lines is the answer of a work. One goroutine tells, run writes.
type lines[P any] struct {
	w     http.ResponseWriter
	flush *http.ResponseController
	told  chan P        // has room for the newest
	done  chan struct{} // closed when nothing more is told
	left  context.CancelCauseFunc

	// They belong to run, until it has returned.
	begun  bool
	failed error
}

// tell gives progress to run, in place of what it has not written yet.
func (l *lines[P]) tell(p P) {
	for {
		select {
		case l.told <- p:
			return
		default:
		}
		select {
		case <-l.told:
		default:
		}
	}
}

// run writes what is told, at a stride; what comes in between is left out, and
// what was told last is not. That is said again where nothing is told for long:
// what stands between would take a silent connection for a dead one.
func (l *lines[P]) run() {
	var last *P
	for {
		select {
		case p := <-l.told:
			l.progress(p)
			last = &p
		case <-time.After(heartbeat):
			if last != nil {
				l.progress(*last)
			}
		case <-l.done:
			select {
			case p := <-l.told:
				l.progress(p)
			default:
			}
			return
		}
		select {
		case <-time.After(stride):
		case <-l.done:
		}
	}
}

func (l *lines[P]) progress(p P) {
	if err := l.write(Line[P, struct{}]{Progress: &p}); err != nil {
		l.left(err) // nobody reads it
	}
}

// last writes the line that ends the answer.
func (l *lines[P]) last(line any) error {
	if err := l.write(line); err != nil {
		return errCutOff{err}
	}
	return nil
}

func (l *lines[P]) write(line any) error {
	if l.failed != nil {
		return l.failed
	}
	text, err := json.Marshal(line)
	if err != nil {
		return err
	}
	if !l.begun {
		l.begun = true
		header := l.w.Header()
		header.Set("Content-Type", "application/x-ndjson")
		header.Set("X-Accel-Buffering", "no") // or nginx would keep lines back
		l.w.WriteHeader(http.StatusOK)
	}
	if _, err = l.w.Write(append(text, '\n')); err == nil {
		err = l.flush.Flush()
	}
	l.failed = err
	return err
}
