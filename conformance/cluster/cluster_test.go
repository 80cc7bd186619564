// Package cluster_test checks what users see of several nodes on one PostgreSQL
// database and one bucket: as much as of one node, whichever of them answers,
// and also while nodes die.
package cluster_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Environment variables of this package's tests.
const (
	roundsVariable    = "CONFORMANCE_CLUSTER_ROUNDS"    // of what is tried again and again; default depends on the test
	historiesVariable = "CONFORMANCE_CLUSTER_HISTORIES" // of tags that are checked; default 6
	seedVariable      = "CONFORMANCE_SEED"              // of all that is random; default from the clock
)

// patience bounds what must happen soon, on a busy machine too.
const patience = time.Minute

// seed returns the seed of the test's random choices, and prints it.
func seed(t *testing.T) uint64 {
	t.Helper()
	s := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano())&0xffffff)
	t.Logf("%s=%d", seedVariable, s)
	return s
}

// clients returns a client of each node.
func clients(t *testing.T, c *harness.Cluster) []*harness.Client {
	t.Helper()
	all := make([]*harness.Client, len(c.Nodes))
	for i, s := range c.Nodes {
		all[i] = s.Client()
		t.Cleanup(all[i].Close)
	}
	return all
}

// get sends a GET that must be answered with one of the statuses.
func get(t *testing.T, c *harness.Client, path string, statuses ...int) harness.Reply {
	t.Helper()
	reply, err := c.Get(t.Context(), path)
	harness.Must(t, err)
	if err := reply.Expect(statuses...); err != nil {
		t.Fatalf("GET %s: %v", path, err)
	}
	return reply
}

// hasBlob returns an error unless a blob comes back as it was pushed.
func hasBlob(ctx context.Context, c *harness.Client, repository, digest string, data []byte) error {
	reply, err := c.Get(ctx, "/v2/"+repository+"/blobs/"+digest)
	if err != nil {
		return err
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return fmt.Errorf("blob %s: %w", digest, err)
	}
	if string(reply.Body) != string(data) {
		return fmt.Errorf("blob %s has %d bytes of digest %s", digest, len(reply.Body), harness.SHA256(reply.Body))
	}
	return nil
}

// eventually waits until a condition holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// together calls do for 0 to n-1 at once, and waits for all.
func together(n int, do func(int)) {
	var wait sync.WaitGroup
	begin := make(chan struct{})
	for i := range n {
		wait.Go(func() { <-begin; do(i) })
	}
	close(begin)
	wait.Wait()
}
