// Package failover_test kills, pauses and cuts off what a cluster is made of
// while writers push, and checks that nothing that was acknowledged is lost and
// nothing is there twice.
package failover_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Environment variables of this package's tests.
const (
	roundsVariable = "CONFORMANCE_FAILOVER_ROUNDS" // how often each thing is killed; default 3
	pauseVariable  = "CONFORMANCE_FAILOVER_PAUSE"  // seconds that a node is paused for; default 7
	seedVariable   = "CONFORMANCE_SEED"            // of all that is random; default from the clock
)

const (
	nodes   = 3
	writers = 8
	// maxTakeover is three times what is promised: the machine may be busy.
	maxTakeover = 15 * time.Second
)

// environment of all nodes: parts are as small as S3 allows.
var environment = []string{"ARTIFACTSTORE_S3_PART_SIZE=5MiB"}

func rounds(t *testing.T) int { return int(harness.Setting(t, roundsVariable, 3)) }

// takeover measures how long the other nodes take until each has acknowledged a
// push that was begun now.
func takeover(t *testing.T, c *harness.Cluster, lost int, name string) time.Duration {
	t.Helper()
	began := time.Now()
	var wait sync.WaitGroup
	for i, node := range c.Nodes {
		if i == lost {
			continue
		}
		wait.Go(func() {
			client := node.Client()
			defer client.Close()
			blob := fmt.Appendf(nil, "%s %d %d", name, i, began.UnixNano())
			if err := client.PushBlob(t.Context(), "failover/takeover", harness.SHA256(blob), blob); err != nil {
				t.Errorf("node %d, with node %d away: %v", i+1, lost+1, err)
			}
		})
	}
	wait.Wait()
	took := time.Since(began)
	if took > maxTakeover {
		t.Errorf("the other nodes took %v", took)
	}
	return took
}

// TestNodeIsKilled kills one node after the other under load.
func TestNodeIsKilled(t *testing.T) {
	t.Parallel() // much of it is waiting
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{Env: environment})
	l := startLoad(t, c.URL)
	slowest := time.Duration(0)
	for round := range rounds(t) {
		l.await(t, 60+rand.IntN(60))
		victim := round % nodes
		harness.Must(t, c.Nodes[victim].Kill())
		slowest = max(slowest, takeover(t, c, victim, "killed"))
		l.await(t, 30)
		harness.Must(t, c.Nodes[victim].Start())
	}
	l.finish(t)
	l.verify(t, c)
	fmt.Printf("failover: %d kills of a node; the others took %v at most to acknowledge again\n", rounds(t), slowest.Round(time.Millisecond))
}

// TestNodeIsPaused stops a node where it is, which may be within a transaction,
// and lets it go on when the others have done so without it.
func TestNodeIsPaused(t *testing.T) {
	t.Parallel() // much of it is waiting
	pause := time.Duration(harness.Setting(t, pauseVariable, 7)) * time.Second
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{Env: environment})
	l := startLoad(t, c.URL)
	slowest := time.Duration(0)
	for round := range max(1, rounds(t)*2/3) {
		l.await(t, 60+rand.IntN(60))
		victim := round % nodes
		harness.Must(t, c.Nodes[victim].Pause())
		paused := time.Now()
		slowest = max(slowest, takeover(t, c, victim, "paused"))
		time.Sleep(time.Until(paused.Add(pause))) // how long it is away, not a wait for something
		harness.Must(t, c.Nodes[victim].Resume())
	}
	l.await(t, 60)
	l.finish(t)
	l.verify(t, c)
	fmt.Printf("failover: nodes paused for %v; the others took %v at most to acknowledge again\n", pause, slowest.Round(time.Millisecond))
}
