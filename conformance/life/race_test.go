package life_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"testing"

	"artifactstore/conformance/harness"
)

// TestEverythingAtOnce: pushes, mounts, deletions, undoing and sweeps at full speed, on
// one node and on two.
func TestEverythingAtOnce(t *testing.T) {
	t.Run("SQLite and a folder", func(t *testing.T) {
		s := harness.Start(t, shortest...)
		race(t, s)
	})
	t.Run("two nodes on PostgreSQL and S3", func(t *testing.T) {
		c := harness.StartCluster(t, 2, harness.ClusterOptions{Env: shortest})
		race(t, c.Nodes...)
	})
}

// wanted is what has to be done in a race, or it proves little.
var wanted = []string{"pushes", "blobs found", "blobs mounted", "blobs sent", "blobs deleted", "tags deleted", "manifests deleted",
	"manifests put back", "manifests erased", "manifests that were blobs", "repositories deleted", "repositories put back", "checked",
	"attacks", "faded", "repairs", "scrubs", "looks", "plans executed", "blobs condemned", "blobs released", "blobs forgotten",
	"objects erased", "manifests forgotten", "repositories forgotten"}

func race(t *testing.T, servers ...*harness.Server) {
	f := newFire(t, servers...)
	h := f.hold(t)
	work := []func(context.Context){h.attack}
	for i := range writers {
		work = append(work, f.writer(i))
	}
	for i := range readers {
		work = append(work, f.reader(i))
	}
	for i := range operators {
		work = append(work, f.operator(i))
	}
	for _, n := range f.nodes {
		work = append(work, f.sweeper(n))
	}
	f.burn(t, wanted, work...)
	f.whole(t)
	fsck(t, servers[0]) // beside what still goes on
	h.release(t)
	f.deleteAll(t)
	nothingLeft(t, f.nodes[0], servers[0])
}

// kinds counts the events of the log.
func kinds(t *testing.T, s *harness.Server) map[string]int {
	t.Helper()
	events, err := s.Events(0)
	harness.Must(t, err)
	count := map[string]int{}
	for _, e := range events {
		count[e.Kind]++
	}
	t.Logf("%d events: %v", len(events), count)
	return count
}

// held is a repository with an index under a hold.
type held struct {
	f     *fire
	index *image
	hold  map[string]any
}

// hold makes a repository of which an index is under a hold, and deletes the index'
// signature, which the hold keeps as well.
func (f *fire) hold(t *testing.T) *held {
	t.Helper()
	const repository = "life/held"
	c := f.nodes[0].client
	child := newImage(repository, "held", true, f.pool[:3], nil)
	h := &held{f: f, index: newIndex(repository, "held", []*image{child})}
	h.hold = map[string]any{"name": "audit", "repository": repository, "digest": h.index.digest, "reason": "a test"}
	for _, b := range child.blobs {
		_, err := child.bring(t.Context(), c, b, repository, false)
		harness.Must(t, err)
	}
	for _, i := range []*image{child, h.index} {
		_, err := i.put(t.Context(), c, "held")
		harness.Must(t, err)
		i.set(true)
	}
	reply, err := f.nodes[0].ask(t.Context(), http.MethodPost, "holds", h.hold)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	return h
}

// attack tries to delete what is held in every way, and pulls it.
func (h *held) attack(ctx context.Context) {
	child := h.index.children[0]
	n := h.f.nodes[0]
	repository := "repositories/" + escape(child.repository)
	for _, i := range []*image{child, h.index} {
		if _, err := due(ctx, n.client, harness.Request{Method: http.MethodDelete, Path: i.path()}, http.StatusForbidden); err != nil {
			h.f.fail("held: %v", err)
		}
		h.refused(ctx, n, http.MethodPost, repository+"/manifests/"+i.digest+"/erase")
	}
	blob := harness.Request{Method: http.MethodDelete, Path: "/v2/" + child.repository + "/blobs/" + harness.SHA256(child.blobs[1])}
	if _, err := due(ctx, n.client, blob, http.StatusMethodNotAllowed); err != nil {
		h.f.fail("held: %v", err)
	}
	h.refused(ctx, n, http.MethodDelete, repository)
	h.f.check(ctx, n, h.index)
	h.f.count("attacks")
}

func (h *held) refused(ctx context.Context, n node, method, path string) {
	reply, err := n.ask(ctx, method, path, reason)
	if err == nil {
		err = reply.Expect(http.StatusForbidden)
	}
	if err == nil && !bytes.Contains(reply.Body, []byte(`"holds":["audit"]`)) {
		err = fmt.Errorf("refused for another reason: %.300s", reply.Body)
	}
	if err != nil {
		h.f.fail("held: %s %s: %v", method, path, err)
	}
}

// release pulls what was held a last time, and releases it.
func (h *held) release(t *testing.T) {
	t.Helper()
	for _, n := range h.f.nodes {
		harness.Must(t, h.index.pull(t.Context(), n.client))
	}
	reply, err := h.f.nodes[0].ask(t.Context(), http.MethodPost, "holds/release", h.hold)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
}
