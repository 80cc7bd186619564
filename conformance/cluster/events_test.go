package cluster_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// follower is a consumer of a node's events, as server-sent events, from the
// beginning of the log on.
type follower struct {
	cancel context.CancelFunc

	mu     sync.Mutex
	got    []harness.Event
	failed error
	more   chan struct{} // closed when there is more, or it has failed
}

// follow starts a consumer that ends with the test.
func follow(t *testing.T, node *harness.Server) *follower {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	f := &follower{cancel: cancel, more: make(chan struct{})}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, node.AdminURL()+"/admin/v1/events", http.NoBody)
	harness.Must(t, err)
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultTransport.RoundTrip(req)
	harness.Must(t, err)
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("the events are answered with %s", resp.Status)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		f.end(errors.Join(f.read(resp.Body), resp.Body.Close()))
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return f
}

func (f *follower) read(body io.Reader) error {
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var e harness.Event
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			return err
		}
		f.mu.Lock()
		want := uint64(len(f.got) + 1)
		f.got = append(f.got, e)
		close(f.more)
		f.more = make(chan struct{})
		f.mu.Unlock()
		if e.Sequence != want {
			return fmt.Errorf("event %d came where %d was expected", e.Sequence, want)
		}
	}
	return lines.Err()
}

func (f *follower) end(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = errors.Join(errors.New("the stream has ended"), err)
	close(f.more)
	f.more = make(chan struct{})
}

// wait waits until what has come is enough.
func (f *follower) wait(t *testing.T, what string, enough func([]harness.Event) bool) []harness.Event {
	t.Helper()
	late := time.After(patience)
	for {
		f.mu.Lock()
		got, failed, more := f.got[:len(f.got):len(f.got)], f.failed, f.more
		f.mu.Unlock()
		if enough(got) {
			return got
		}
		if failed != nil {
			t.Fatalf("waiting for %s: %v", what, failed)
		}
		select {
		case <-more:
		case <-late:
			t.Fatalf("%s did not come within %v; there are %d events", what, patience, len(got))
		}
	}
}

// TestFollowerSeesWhatOtherNodesCommit: at once, in order and without a gap, also
// while a node that commits is killed.
func TestFollowerSeesWhatOtherNodesCommit(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	f := follow(t, c.Nodes[2])

	var waits []time.Duration
	for i := range 20 {
		image := harness.NewImage(uint64(i), 1, 100)
		tag := fmt.Sprintf("v%d", i)
		harness.Must(t, image.Push(t.Context(), all[i%2], "events/one", tag))
		began := time.Now()
		f.wait(t, "the tag that another node has moved", func(got []harness.Event) bool {
			return slices.ContainsFunc(got, func(e harness.Event) bool {
				return e.Kind == "v1.tag.moved" && strings.Contains(string(e.Payload), `"`+tag+`"`)
			})
		})
		waits = append(waits, time.Since(began))
	}
	slices.Sort(waits)
	t.Logf("after an answer its event came in %v, at most %v", waits[len(waits)/2], waits[len(waits)-1])

	const writers = 4
	ctx, stop := context.WithCancel(t.Context())
	var acknowledged atomic.Int64
	var writing sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				image := harness.NewImage(uint64(w+1)<<32+uint64(i), 1, 100)
				// One of the nodes is dead for a while.
				if image.Push(context.WithoutCancel(ctx), all[w%2], fmt.Sprintf("events/w%d", w), fmt.Sprintf("v%d", i)) == nil {
					acknowledged.Add(1)
				}
			}
		})
	}
	progress := func(what string) {
		t.Helper()
		before := acknowledged.Load()
		eventually(t, what, func() bool { return acknowledged.Load() > before+20 })
	}
	progress("writing on two nodes")
	harness.Must(t, c.Nodes[0].Kill())
	progress("writing on one node")
	harness.Must(t, c.Nodes[0].Start())
	progress("writing on two nodes again")
	stop()
	writing.Wait()

	log, err := c.Nodes[0].Events(0)
	harness.Must(t, err)
	got := f.wait(t, "the end of the log", func(got []harness.Event) bool { return len(got) >= len(log) })
	if !reflect.DeepEqual(got, log) {
		t.Errorf("the stream has other events than the log: %d and %d", len(got), len(log))
	}
	moved := 0
	for _, e := range log {
		if e.Kind == "v1.tag.moved" {
			moved++
		}
	}
	if moved < int(acknowledged.Load()) {
		t.Errorf("%d images were acknowledged, and %d tags moved", acknowledged.Load(), moved)
	}
}
