package cluster_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"

	"artifactstore/conformance/harness"
)

// TestRollingRestart: every node is restarted while clients push and pull through
// the load balancer. None of them notices.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	rounds := harness.Setting(t, roundsVariable, 2)
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	l := startLoad(t, c)
	for range rounds {
		for _, s := range c.Nodes {
			l.progress(t)
			c.TakeOut(t, s)
			stopWhileBusy(t, s)
			l.progress(t)
			harness.Must(t, s.Start())
			c.PutBack(s)
		}
	}
	l.progress(t)
	harness.Must(t, l.stop())
	t.Logf("%d pushes were acknowledged", l.done.Load())
	for i, s := range c.Nodes {
		client := s.Client()
		for place, image := range l.images {
			if err := pulled(t.Context(), client, place, image); err != nil {
				t.Errorf("node %d: %v", i+1, err)
			}
		}
		for digest, data := range l.blobs {
			if err := hasBlob(t.Context(), client, "rolling/uploads", digest, data); err != nil {
				t.Errorf("node %d: %v", i+1, err)
			}
		}
		client.Close()
	}
}

// stopWhileBusy stops a node in the middle of a request, which it answers first.
func stopWhileBusy(t *testing.T, s *harness.Server) {
	t.Helper()
	client := s.Client()
	defer client.Close()
	location, err := client.StartUpload(t.Context(), "rolling/slow")
	harness.Must(t, err)
	data := harness.Random(1, 1<<20)
	body, failed, replies := stream(t, s.URL()+location, 0, len(data))
	_, err = body.Write(data[:len(data)/2]) // comes back when the node has begun to read
	harness.Must(t, err)
	stopped := make(chan error, 1)
	go func() { stopped <- s.Stop() }()
	eventually(t, "the node to take no more requests", func() bool { return !s.Ready(t.Context()) })
	_, err = body.Write(data[len(data)/2:])
	harness.Must(t, err)
	harness.Must(t, <-failed)
	harness.Must(t, (<-replies).Expect(http.StatusAccepted))
	harness.Must(t, <-stopped)
}

// load is clients that push and pull until they are stopped.
type load struct {
	cancel context.CancelFunc
	wait   sync.WaitGroup
	done   atomic.Int64 // pushes that were acknowledged

	mu     sync.Mutex
	failed error
	images map[string]*harness.Image // by repository and tag, as "repository/manifests/tag"
	blobs  map[string][]byte         // pushed in chunks, by digest
}

func startLoad(t *testing.T, c *harness.Cluster) *load {
	const pushers, uploaders = 4, 2
	ctx, cancel := context.WithCancel(t.Context())
	l := &load{cancel: cancel, images: map[string]*harness.Image{}, blobs: map[string][]byte{}}
	worker := func(w int, push func(context.Context, *harness.Client, uint64) error) {
		l.wait.Go(func() {
			client := c.Client()
			defer client.Close()
			for i := uint64(w) << 32; ctx.Err() == nil; i++ {
				// A push that was begun is ended, so that nobody fails by being stopped.
				if err := push(context.WithoutCancel(ctx), client, i); err != nil {
					l.mu.Lock()
					l.failed = errors.Join(l.failed, err)
					l.mu.Unlock()
					return
				}
				l.done.Add(1)
			}
		})
	}
	for w := range pushers {
		worker(w, l.pushImage)
	}
	for w := range uploaders {
		worker(pushers+w, l.upload)
	}
	return l
}

// progress waits until the load has gone on for a while, or has failed.
func (l *load) progress(t *testing.T) {
	t.Helper()
	before := l.done.Load()
	eventually(t, "the load to go on", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.failed != nil || l.done.Load() > before+20
	})
}

// stop ends the load and returns what has failed.
func (l *load) stop() error {
	l.cancel()
	l.wait.Wait()
	return l.failed
}

// pushImage pushes an image and pulls it.
func (l *load) pushImage(ctx context.Context, client *harness.Client, i uint64) error {
	image := harness.NewImage(i, 1, 1_000+int(i%3)*50_000)
	repository, tag := fmt.Sprintf("rolling/app%d", i>>32), fmt.Sprintf("v%d", i%50)
	if err := image.Push(ctx, client, repository, tag); err != nil {
		return fmt.Errorf("push: %w", err)
	}
	place := repository + "/manifests/" + tag
	l.mu.Lock()
	l.images[place] = image
	l.mu.Unlock()
	return pulled(ctx, client, place, image)
}

// pulled returns an error unless an image comes back as it was pushed.
func pulled(ctx context.Context, client *harness.Client, place string, image *harness.Image) error {
	reply, err := client.Get(ctx, "/v2/"+place)
	if err == nil {
		err = reply.Expect(http.StatusOK)
	}
	if err != nil {
		return fmt.Errorf("pull %s: %w", place, err)
	}
	if got := harness.SHA256(reply.Body); got != image.Digest {
		return fmt.Errorf("%s is %s, pushed was %s", place, got, image.Digest)
	}
	return nil
}

// upload pushes a blob in chunks, each of which goes to another node.
func (l *load) upload(ctx context.Context, client *harness.Client, i uint64) error {
	const chunk = 80_000
	data := harness.Random(i, 3*chunk)
	location, err := client.StartUpload(ctx, "rolling/uploads")
	if err != nil {
		return fmt.Errorf("begin an upload: %w", err)
	}
	for offset := 0; offset < len(data); offset += chunk {
		reply, err := client.SendChunk(ctx, location, int64(offset), data[offset:offset+chunk])
		if err == nil {
			err = reply.Expect(http.StatusAccepted)
		}
		if err != nil {
			return fmt.Errorf("chunk at %d: %w", offset, err)
		}
		location = reply.Header.Get("Location")
	}
	digest := harness.SHA256(data)
	reply, err := client.Do(ctx, harness.Request{Method: http.MethodPut, Path: harness.AddQuery(location, "digest", digest)})
	if err == nil {
		err = reply.Expect(http.StatusCreated)
	}
	if err != nil {
		return fmt.Errorf("finish an upload: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.blobs[digest] = data
	return nil
}
