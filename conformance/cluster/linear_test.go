package cluster_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"artifactstore/conformance/harness"
)

// act is what a client does with a tag.
type act struct {
	tag  int
	kind string // get, put, create (If-None-Match), swap (If-Match), delete
	from string // digest that swap wants to find
	to   string // digest of what put, create and swap bring
}

// result is what a client was told.
type result struct {
	// unknown: there was no answer, so it was done at any time since, or never.
	unknown bool
	done    bool
	digest  string // that get found, "" for none
}

// tags is a register for each tag, whose value is a digest or "" for none.
var tags = porcupine.Model{
	Partition: func(history []porcupine.Operation) [][]porcupine.Operation {
		parts := map[int][]porcupine.Operation{}
		for _, o := range history {
			tag := o.Input.(act).tag
			parts[tag] = append(parts[tag], o)
		}
		var all [][]porcupine.Operation
		for _, part := range parts {
			all = append(all, part)
		}
		return all
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		now, a, r := state.(string), input.(act), output.(result)
		applies := true
		switch a.kind {
		case "get":
			return r.unknown || r.digest == now, now
		case "create":
			applies = now == ""
		case "swap": // what is so already is as wanted
			applies = now == a.from || now == a.to
		case "delete":
			applies = now != ""
		}
		next := now
		if applies {
			next = a.to
		}
		return r.unknown || r.done == applies, next
	},
}

// TestTagsAreLinearizableAcrossNodes: clients move, create and delete a few tags
// on all nodes, one of which is killed and started again meanwhile.
func TestTagsAreLinearizableAcrossNodes(t *testing.T) {
	t.Parallel()
	histories := harness.Setting(t, historiesVariable, 6)
	first := seed(t)
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	all := clients(t, c)
	images := make([]*harness.Image, 6)
	for i := range images {
		images[i] = harness.NewImage(uint64(i), 1, 100)
	}
	for n := range histories {
		h := &history{all: all, images: images, repository: fmt.Sprintf("linear/h%d", n), began: time.Now()}
		for _, image := range images {
			harness.Must(t, image.Push(t.Context(), all[0], h.repository, image.Digest))
		}
		h.record(t, first+n, c.Nodes[n%3])
		switch porcupine.CheckOperationsTimeout(tags, h.operations, patience) {
		case porcupine.Illegal:
			t.Fatalf("history %d of seed %d is not linearizable: %+v", n, first, h.operations)
		case porcupine.Unknown:
			t.Fatalf("history %d of seed %d could not be checked within %v", n, first, patience)
		}
	}
}

// history is what clients did and were told.
type history struct {
	all        []*harness.Client
	images     []*harness.Image
	repository string
	began      time.Time

	mu         sync.Mutex
	operations []porcupine.Operation
}

// record has clients work while a node dies and comes back.
func (h *history) record(t *testing.T, seed uint64, dying *harness.Server) {
	const workers, acts = 6, 40
	var wait sync.WaitGroup
	half := make(chan struct{})
	for w := range workers {
		wait.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(w)))
			for i := range acts {
				if w == 0 && i == acts/2 {
					close(half)
				}
				h.do(t.Context(), w, random)
			}
		})
	}
	<-half
	harness.Must(t, dying.Kill())
	harness.Must(t, dying.Start())
	wait.Wait()
	// What the tags are in the end binds all that came before.
	for tag := range tagCount {
		h.keep(t.Context(), workers, h.all[tag%len(h.all)], act{tag: tag, kind: "get"})
	}
}

// tagCount is how many tags a history has.
const tagCount = 3

func (h *history) do(ctx context.Context, worker int, random *rand.Rand) {
	digest := func() string { return h.images[random.IntN(len(h.images))].Digest }
	a := act{tag: random.IntN(tagCount), kind: "get"}
	switch n := random.IntN(10); {
	case n < 2:
		a.kind, a.to = "put", digest()
	case n < 4:
		a.kind, a.to = "create", digest()
	case n < 6:
		a.kind, a.from, a.to = "swap", digest(), digest()
	case n < 7:
		a.kind = "delete"
	}
	h.keep(ctx, worker, h.all[random.IntN(len(h.all))], a)
}

// keep does it and writes it down. What was not answered may happen as late as
// it likes.
func (h *history) keep(ctx context.Context, worker int, node *harness.Client, a act) {
	call := time.Since(h.began)
	r := h.ask(ctx, node, a)
	o := porcupine.Operation{ClientId: worker, Input: a, Call: int64(call), Output: r, Return: int64(time.Since(h.began))}
	if r.unknown {
		o.Return = math.MaxInt64
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.unknown && a.kind == "get" {
		return
	}
	h.operations = append(h.operations, o)
}

func (h *history) ask(ctx context.Context, node *harness.Client, a act) result {
	request := harness.Request{Method: http.MethodPut, Path: fmt.Sprintf("/v2/%s/manifests/t%d", h.repository, a.tag),
		Header: map[string]string{"Content-Type": harness.ImageManifest}}
	for _, image := range h.images {
		if image.Digest == a.to {
			request.Body = image.Manifest
		}
	}
	switch a.kind {
	case "get":
		request.Method = http.MethodGet
	case "create":
		request.Header["If-None-Match"] = "*"
	case "swap":
		request.Header["If-Match"] = `"` + a.from + `"`
	case "delete":
		request.Method = http.MethodDelete
	}
	reply, err := node.Do(ctx, request)
	if err != nil {
		return result{unknown: true}
	}
	switch reply.Status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		return result{done: true, digest: reply.Header.Get("Docker-Content-Digest")}
	case http.StatusNotFound, http.StatusPreconditionFailed:
		return result{}
	}
	return result{unknown: true} // such as 503
}
