package life_test

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// fire is a race: writers, readers and sweepers on the nodes of one store.
type fire struct {
	nodes []node
	pool  [][]byte
	seed  uint64
	names []string // of the repositories of all writers
	// ctx ends when something was wrong.
	ctx  context.Context
	stop context.CancelFunc

	mu     sync.Mutex
	wrong  []string
	counts map[string]int // of what was done
	images []*image       // that were acknowledged once
}

// What takes part.
const (
	writers      = 4
	repositories = 2 // of each writer
	readers      = 1
	operators    = 1
)

func newFire(t *testing.T, servers ...*harness.Server) *fire {
	t.Helper()
	f := &fire{seed: seeded(t), counts: map[string]int{}}
	f.pool = pool(f.seed)
	for _, s := range servers {
		f.nodes = append(f.nodes, reach(t, s))
	}
	for w := range writers {
		for r := range repositories {
			f.names = append(f.names, name(w, r))
		}
	}
	f.ctx, f.stop = context.WithCancel(t.Context())
	t.Cleanup(f.stop)
	return f
}

func name(writer, repository int) string { return fmt.Sprintf("life/w%d/r%d", writer, repository) }

// fail notes what was wrong, and ends the race.
func (f *fire) fail(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return // requests fail because it has ended
	}
	f.wrong = append(f.wrong, fmt.Sprintf("%s: %s", time.Now().UTC().Format("15:04:05.000000"), fmt.Sprintf(format, args...)))
	f.stop()
}

func (f *fire) count(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[what]++
}

// burn lets everybody do their work for a time, and until each of some things has
// been done at least once.
func (f *fire) burn(t *testing.T, want []string, work ...func(ctx context.Context)) {
	t.Helper()
	seconds := harness.Setting(t, secondsVariable, 6)
	until := make(chan struct{})
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	var wait sync.WaitGroup
	for _, do := range work {
		wait.Go(func() {
			for step := 0; ctx.Err() == nil; step++ {
				select {
				case <-until:
					return
				default:
					do(ctx)
				}
			}
		})
	}
	f.watch(time.Duration(seconds)*time.Second, want)
	close(until)
	wait.Wait()
	f.report(t)
}

// watch returns after a time, and when each of some things has been done, or when
// something is wrong.
func (f *fire) watch(least time.Duration, want []string) {
	const patience = 2 * time.Minute
	begun := time.Now()
	for f.ctx.Err() == nil {
		missing := f.missing(want)
		took := time.Since(begun)
		switch {
		case took > least && len(missing) == 0:
			return
		case took > least+patience:
			f.fail("in %v there were no %q", took, missing)
		}
		time.Sleep(50 * time.Millisecond) // while others work
	}
}

// missing are those of some things that have not been done.
func (f *fire) missing(want []string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(want), func(what string) bool { return f.counts[what] > 0 })
}

// report fails the test if something was wrong.
func (f *fire) report(t *testing.T) {
	t.Helper()
	for _, line := range f.wrong {
		t.Error(line)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var done []string
	for _, what := range slices.Sorted(maps.Keys(f.counts)) {
		done = append(done, fmt.Sprintf("%d %s", f.counts[what], what))
	}
	t.Log(strings.Join(done, ", "))
	if t.Failed() {
		t.FailNow()
	}
}

// sweeper sweeps a node without a pause.
func (f *fire) sweeper(n node) func(context.Context) {
	return func(ctx context.Context) {
		total, busy, err := n.sweep(ctx)
		if err != nil {
			f.fail("%v", err)
			return
		}
		if busy {
			time.Sleep(time.Millisecond) // until the other one has ended
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		f.counts["sweeps"]++
		f.counts["blobs condemned"] += int(total.Condemned.Number)
		f.counts["blobs released"] += int(total.Released.Number)
		f.counts["blobs forgotten"] += int(total.Forgotten.Number)
		f.counts["objects erased"] += int(total.Erased.Number)
		f.counts["manifests forgotten"] += int(total.Manifests)
		f.counts["repositories forgotten"] += int(total.Repositories)
		if total.Failed > 0 {
			f.wrong = append(f.wrong, fmt.Sprintf("%d objects could not be deleted", total.Failed))
			f.stop()
		}
	}
}

// acked adds an image to those that readers pull.
func (f *fire) acked(i *image) {
	i.set(true)
	f.mu.Lock()
	defer f.mu.Unlock()
	const most = 300
	if len(f.images) >= most {
		f.images = slices.DeleteFunc(f.images, func(i *image) bool { return !i.now().there })
	}
	if !slices.Contains(f.images, i) {
		f.images = append(f.images, i)
	}
}

// check pulls an image that was acknowledged; it must be whole unless somebody began
// to delete it meanwhile.
func (f *fire) check(ctx context.Context, n node, i *image) {
	before := i.now()
	if !before.there {
		return
	}
	var subject state
	err := i.pull(ctx, n.client)
	if err == nil && i.subject != nil {
		if subject = i.subject.now(); subject.there {
			err = i.refers(ctx, n.client)
		}
	}
	if err != nil && i.now() == before && (i.subject == nil || i.subject.now() == subject) {
		f.fail("acknowledged, not deleted, and not whole: %s@%s: %v", i.repository, i.digest, err)
		return
	}
	f.count("checked")
}

// reader pulls images of all writers.
func (f *fire) reader(number int) func(context.Context) {
	random := newRand(f.seed, 100+uint64(number))
	return func(ctx context.Context) {
		f.mu.Lock()
		var i *image
		if len(f.images) > 0 {
			i = f.images[random.IntN(len(f.images))]
		}
		f.mu.Unlock()
		if i == nil {
			time.Sleep(10 * time.Millisecond) // until there is one
			return
		}
		f.check(ctx, f.nodes[random.IntN(len(f.nodes))], i)
	}
}

// whole checks all images that were acknowledged, by every node.
func (f *fire) whole(t *testing.T) {
	t.Helper()
	there := 0
	for _, i := range f.images {
		if !i.now().there {
			continue
		}
		there++
		for k, n := range f.nodes {
			if err := i.pull(t.Context(), n.client); err != nil {
				t.Errorf("at the end, node %d: %v", k+1, err)
			}
		}
	}
	t.Logf("%d images are whole at the end", there)
}

// deleteAll deletes every repository.
func (f *fire) deleteAll(t *testing.T) {
	t.Helper()
	all, err := list[struct{ Name string }](t.Context(), f.nodes[0], "repositories")
	harness.Must(t, err)
	for _, r := range all {
		reply, err := f.nodes[0].ask(t.Context(), http.MethodDelete, "repositories/"+escape(r.Name), reason)
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusOK))
	}
}
