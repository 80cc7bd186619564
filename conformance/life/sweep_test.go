package life_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestManifestAfterHeadAndSweep: a client that was told that a blob is there pushes its
// manifest, although a sweep has found meanwhile that nothing uses the blob.
func TestManifestAfterHeadAndSweep(t *testing.T) {
	t.Parallel()
	s := harness.Start(t, append(shortest, "ARTIFACTSTORE_SWEEP_INTERVAL=0", "ARTIFACTSTORE_SWEEP_GRACE=1h")...)
	n := reach(t, s)
	i := newImage("late/app", "1", false, pool(seeded(t))[:4], nil)
	for _, b := range i.blobs {
		harness.Must(t, n.client.PushBlob(t.Context(), i.repository, harness.SHA256(b), b))
	}
	for ripe := false; !ripe; time.Sleep(grace / 10) {
		total, _, err := n.trySweep(t.Context(), true)
		harness.Must(t, err)
		ripe = total.Condemned.Number == int64(len(i.blobs))
	}
	for _, b := range i.blobs {
		ask(t, n, i, http.MethodHead, "blobs/"+harness.SHA256(b), http.StatusOK)
	}
	_, _, err := n.sweep(t.Context())
	harness.Must(t, err)
	for _, b := range i.blobs {
		digest := harness.SHA256(b)
		ask(t, n, i, http.MethodHead, "blobs/"+digest, http.StatusNotFound)
		mount := harness.Request{Method: http.MethodPost, Path: "/v2/late/other/blobs/uploads/?mount=" + digest + "&from=" + i.repository}
		_, err := due(t.Context(), n.client, mount, http.StatusAccepted)
		harness.Must(t, err)
		harness.Must(t, same(t.Context(), n.client, "/v2/"+i.repository+"/blobs/"+digest, b))
	}
	_, err = i.put(t.Context(), n.client, "v1")
	harness.Must(t, err)
	for _, b := range i.blobs {
		ask(t, n, i, http.MethodHead, "blobs/"+harness.SHA256(b), http.StatusOK)
	}
	_, _, err = n.sweep(t.Context())
	harness.Must(t, err)
	harness.Must(t, i.pull(t.Context(), n.client))
	if done := kinds(t, s); done["v1.blob.revived"] != len(i.blobs) || done["v1.blob.condemned"] != len(i.blobs) {
		t.Errorf("of %d blobs the log says %v", len(i.blobs), done)
	}
	fsck(t, s)
}

// ask sends a request about something in the repository of an image.
func ask(t *testing.T, n node, i *image, method, what string, status int) {
	t.Helper()
	_, err := due(t.Context(), n.client, harness.Request{Method: method, Path: "/v2/" + i.repository + "/" + what}, status)
	harness.Must(t, err)
}

// litter pushes blobs that nothing uses, and manifests that it deletes.
func litter(t *testing.T, n node, seed uint64) {
	t.Helper()
	for k := range uint64(60) {
		size := 100 + int(k)
		if k%3 == 0 {
			size += 70_000
		}
		b := harness.Random(seed<<8+k, size)
		repository := fmt.Sprintf("litter/r%d", k%4)
		harness.Must(t, n.client.PushBlob(t.Context(), repository, harness.SHA256(b), b))
		if k%4 > 0 {
			continue
		}
		i := newImage(repository, fmt.Sprint(seed, k), k%8 == 0, [][]byte{b}, nil)
		for _, method := range []string{http.MethodPut, http.MethodDelete} {
			_, err := due(t.Context(), n.client, harness.Request{Method: method, Path: i.path(), Body: i.manifest,
				Header: map[string]string{"Content-Type": i.mediaType}}, http.StatusCreated, http.StatusAccepted)
			harness.Must(t, err)
		}
	}
}

// keep pushes an image that is to stay.
func keep(t *testing.T, n node, seed uint64) *image {
	t.Helper()
	i := newImage("kept/app", "1", true, pool(seed), nil)
	for _, b := range i.blobs {
		_, err := i.bring(t.Context(), n.client, b, i.repository, true)
		harness.Must(t, err)
	}
	_, err := i.put(t.Context(), n.client, "v1")
	harness.Must(t, err)
	return i
}

// TestKilledInASweep kills the server in the middle of sweeps. What it had done is
// right, and the next sweeps do the rest.
func TestKilledInASweep(t *testing.T) {
	t.Parallel()
	seed := seeded(t)
	random := newRand(seed, 7)
	s := harness.Start(t, shortest...)
	n := reach(t, s)
	kept := keep(t, n, seed)
	const lives = 4 * grace // of what is condemned, forgotten and erased
	for round := range harness.Setting(t, roundsVariable, 2) {
		litter(t, n, seed+round)
		kills := 0
		for until := time.Now().Add(lives); time.Now().Before(until); kills++ {
			killSweeping(t, s, n, time.Duration(random.IntN(60))*time.Millisecond)
			if kills%4 == 0 {
				fsck(t, s)
			}
			harness.Must(t, s.Start())
		}
		t.Logf("%d kills", kills)
		harness.Must(t, kept.pull(t.Context(), n.client))
	}
	fsck(t, s)
	f := &fire{nodes: []node{n}}
	f.deleteAll(t)
	nothingLeft(t, n, s)
}

// killSweeping kills a server that sweeps without a pause, after a time.
func killSweeping(t *testing.T, s *harness.Server, n node, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var wait sync.WaitGroup
	wait.Go(func() {
		for ctx.Err() == nil {
			if _, _, err := n.sweep(ctx); err != nil {
				return // it was killed
			}
		}
	})
	time.Sleep(after) // the moment of the kill
	harness.Must(t, s.Kill())
	cancel()
	wait.Wait()
	n.client.Close()
	n.operator.Close()
}

// TestNodeKilledInASweep: the other node goes on, with sweeps and with all else.
func TestNodeKilledInASweep(t *testing.T) {
	t.Parallel()
	seed := seeded(t)
	c := harness.StartCluster(t, 2, harness.ClusterOptions{Env: shortest})
	lives, dies := reach(t, c.Nodes[0]), reach(t, c.Nodes[1])
	kept := keep(t, lives, seed)
	litter(t, dies, seed)
	killSweeping(t, c.Nodes[1], dies, 2*grace+time.Duration(newRand(seed, 7).IntN(int(grace))))
	harness.Must(t, kept.pull(t.Context(), lives.client))
	litter(t, lives, seed+1)
	f := &fire{nodes: []node{lives}}
	f.deleteAll(t)
	nothingLeft(t, lives, c.Nodes[0])
}
