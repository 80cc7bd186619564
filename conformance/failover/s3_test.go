package failover_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// s3Faults are what happens to requests, one kind after the other.
func s3Faults(seed uint64) map[string]harness.Rule {
	lost := func(operation string) harness.Rule {
		random := rand.New(rand.NewPCG(seed, 1))
		return func(r *http.Request) harness.Fault {
			if harness.Operation(r) == operation && random.IntN(10) < 4 {
				return harness.Fault{Lose: true}
			}
			return harness.Fault{}
		}
	}
	return map[string]harness.Rule{
		"1: 503 SlowDown":                        harness.Share(seed, 0.3, harness.SlowDown),
		"2: resets":                              harness.Share(seed, 0.15, harness.Fault{Reset: true}),
		"3: lost answers of PutObject":           lost("PutObject"),
		"4: of UploadPart":                       lost("UploadPart"),
		"5: of CreateMultipartUpload":            lost("CreateMultipartUpload"),
		"6: of CompleteMultipartUpload":          lost("CompleteMultipartUpload"),
		"7: lost answers of all":                 harness.Share(seed, 0.2, harness.Fault{Lose: true}),
		"8: CompleteMultipartUpload fails late":  late,
		"9: answers that break off after a byte": harness.Share(seed, 0.1, harness.Fault{Cut: 1}),
	}
}

// late answers completing an upload with an error when it was done.
func late(r *http.Request) harness.Fault {
	if harness.Operation(r) == "CompleteMultipartUpload" && rand.IntN(2) == 0 {
		return harness.Fault{Err: "InternalError"}
	}
	return harness.Fault{}
}

// TestS3Fails lets requests to the bucket fail under load, a node dies as well,
// and clients give up. When the sessions have expired nothing of what was begun
// is left, and each object in the bucket is one that the log names.
func TestS3Fails(t *testing.T) {
	t.Parallel() // much of it is waiting
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{S3: server, Endpoint: proxy.URL(),
		Env: append(environment, "ARTIFACTSTORE_UPLOADS_EXPIRE=1m")})
	l := startLoad(t, c.URL, func(w *writer) { w.larger = true })
	seed := rand.Uint64()
	t.Logf("faults by seed %d", seed)
	faults := s3Faults(seed)
	for round := range max(1, rounds(t)/3) {
		for _, name := range slices.Sorted(maps.Keys(faults)) {
			proxy.Set(faults[name])
			l.await(t, 40)
			giveUp(t, c)
			t.Logf("round %d, %s: %d requests acknowledged", round, name, l.requests())
		}
		harness.Must(t, c.Nodes[round%nodes].Kill())
		l.await(t, 20)
		harness.Must(t, c.Nodes[round%nodes].Start())
	}
	l.end()
	l.running.Wait() // while it still fails
	proxy.Set(nil)
	l.finish(t)
	l.verify(t, c)
	ended := time.Now()

	time.Sleep(time.Until(ended.Add(62 * time.Second))) // the sessions expire by the database's clock
	for _, node := range c.Nodes {
		harness.Must(t, node.Restart()) // which purges
	}
	awaitSwept(t, server)
	events := l.verify(t, c)
	named := locators(t, events)
	orphans := 0
	for _, key := range server.Content(t, server.Bucket) {
		if locator, ok := strings.CutPrefix(key, "objects/"); !ok || !named[locator] {
			orphans++
			t.Errorf("%s is in the bucket, and no event names it", key)
		}
	}
	fmt.Printf("failover: S3 failed in %d ways, %d requests acknowledged, nothing lost; %d objects in the log, %d orphans\n",
		len(faults), l.requests(), len(named), orphans)
}

// giveUp begins uploads and leaves them: one that is spilled in its middle, one
// that breaks off, and one that its client cancels.
func giveUp(t *testing.T, c *harness.Cluster) {
	t.Helper()
	client := c.Client()
	defer client.Close()
	data := harness.Random(rand.Uint64(), severalSize)
	for i, size := range []int{200 << 10, severalSize} {
		location, err := client.StartUpload(t.Context(), "failover/givenup")
		if err != nil {
			continue // it fails, as is the idea
		}
		reply, err := client.SendChunk(t.Context(), location, 0, data[:size])
		if err == nil && i == 0 && reply.Status == http.StatusAccepted {
			_, _ = client.Do(t.Context(), harness.Request{Method: http.MethodDelete, Path: reply.Header.Get("Location")})
		}
	}
}

// awaitSwept waits until nothing is left of what was begun.
func awaitSwept(t *testing.T, server *harness.S3) {
	t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		left := server.Uploads(t, server.Bucket)
		for _, key := range server.Keys(t, server.Bucket) {
			if strings.HasPrefix(key, "staging/") {
				left = append(left, key)
			}
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("after the sweep there are: %v", left)
			return
		}
	}
}

// locators are those of all objects that the log names.
func locators(t *testing.T, events []harness.Event) map[string]bool {
	t.Helper()
	named := map[string]bool{}
	for _, e := range events {
		if e.Kind != "v1.blob.stored" {
			continue
		}
		var p struct {
			Receipt struct{ Store, Locator string }
		}
		harness.Must(t, json.Unmarshal(e.Payload, &p))
		if p.Receipt.Store == "files" {
			named[p.Receipt.Locator] = true
		}
	}
	return named
}

// TestS3IsAway takes the bucket away for a while. What is in the database is
// served; pushes, and reads of large blobs, are told to come again.
func TestS3IsAway(t *testing.T) {
	t.Parallel() // much of it is waiting
	server := harness.StartS3(t)
	proxy := harness.StartFaultProxy(t, server.Endpoint)
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{S3: server, Endpoint: proxy.URL(), Env: environment})
	client := c.Client()
	t.Cleanup(client.Close)
	const repository = "failover/bucket"
	image := harness.NewImage(rand.Uint64()>>16, 1, 100<<10)
	harness.Must(t, image.Push(t.Context(), client, repository, "v1"))
	l := startLoad(t, c.URL)
	l.await(t, 60)
	proxy.Set(harness.Share(1, 1, harness.Fault{Reset: true}))

	var wait sync.WaitGroup
	for i, node := range c.Nodes {
		wait.Go(func() { withoutBucket(t, i, node, repository, image) })
	}
	wait.Wait()
	proxy.Set(nil)
	for i, node := range c.Nodes {
		awaitReady(t, i, node)
	}
	harness.Must(t, image.Push(t.Context(), client, repository, "v2"))
	l.await(t, 60)
	l.finish(t)
	l.verify(t, c)
}

// withoutBucket asks a node for everything while the bucket is away.
func withoutBucket(t *testing.T, i int, node *harness.Server, repository string, image *harness.Image) {
	client := node.Client()
	defer client.Close()
	layer, small := harness.SHA256(image.Layers[0]), harness.SHA256(image.Config)
	for _, r := range []harness.Request{
		{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/?digest=" + layer, Body: image.Layers[0]},
		{Method: http.MethodGet, Path: "/v2/" + repository + "/blobs/" + layer},
		{Method: http.MethodPost, Path: "/v2/" + repository + "/blobs/uploads/?digest=" + small, Body: image.Config},
		{Method: http.MethodPut, Path: "/v2/" + repository + "/manifests/away", Body: image.Manifest,
			Header: map[string]string{"Content-Type": harness.ImageManifest}},
	} {
		isUnavailable(t, i, node, r)
	}
	for path, want := range map[string][]byte{"manifests/v1": image.Manifest, "blobs/" + small: image.Config} {
		if err := sameBytes(t.Context(), client, "/v2/"+repository+"/"+path, want); err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
	}
	awaitReadiness(t, i, node, http.StatusServiceUnavailable)
}
