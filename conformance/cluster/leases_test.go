package cluster_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// lease is who does background work, as the database has it.
type lease struct {
	node           string // its name
	fence, expires int64
}

// leaseTime is how long a lease is taken for, in the microseconds of its rows.
const leaseTime = 15_000_000

// leaseOf returns the lease of the work that removes expired uploads.
func leaseOf(t *testing.T, c *harness.Cluster) (l lease) {
	t.Helper()
	row := c.Postgres.SQL(t, `SELECT coalesce(n.name, ''), l.fence, l.expires FROM leases l
		LEFT JOIN nodes n ON n.id = l.holder WHERE l.name = 'uploads'`)
	columns := strings.Split(row, "|")
	if len(columns) != 3 {
		return l
	}
	l.node = columns[0]
	var err error
	l.fence, err = strconv.ParseInt(columns[1], 10, 64)
	harness.Must(t, err)
	l.expires, err = strconv.ParseInt(columns[2], 10, 64)
	harness.Must(t, err)
	return l
}

// TestBackgroundWorkMovesToAnotherNode: one node at a time removes expired
// uploads, another one when it is killed, but not before its lease is over, and
// another one at once when it stops.
func TestBackgroundWorkMovesToAnotherNode(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 3, harness.ClusterOptions{})
	holder := func(other lease) lease {
		t.Helper()
		var l lease
		eventually(t, fmt.Sprintf("a holder of the lease after %+v", other), func() bool {
			l = leaseOf(t, c)
			return l.node != "" && l.node != other.node && l.expires > other.expires
		})
		return l
	}
	number := func(l lease) int {
		t.Helper()
		n, err := strconv.Atoi(strings.TrimPrefix(l.node, "node"))
		harness.Must(t, err)
		return n - 1
	}
	first := holder(lease{})
	live := c.Nodes[(number(first)+1)%3].Client()
	defer live.Close()
	u := start(t, live, harness.Random(1, part+1000))
	u.patch(live, len(u.data))

	harness.Must(t, c.Nodes[number(first)].Kill())
	first = leaseOf(t, c)                               // it may have been prolonged until then
	c.Postgres.SQL(t, "UPDATE uploads SET expires = 1") // nobody looks before the lease moves
	second := holder(first)
	taken := second.expires - leaseTime
	t.Logf("taken over %.1f s after its end", float64(taken-first.expires)/1e6)
	if taken < first.expires || second.fence <= first.fence {
		t.Errorf("the lease %+v was taken over as %+v", first, second)
	}
	eventually(t, "the expired upload to be removed by the new holder", func() bool {
		return c.Postgres.SQL(t, "SELECT count(*) FROM uploads") == "0"
	})
	if left := append(c.S3.Uploads(t, c.S3.Bucket), c.S3.Content(t, c.S3.Bucket)...); len(left) != 0 {
		t.Errorf("in the bucket is left: %v", left)
	}

	harness.Must(t, c.Nodes[number(second)].Stop())
	if l := leaseOf(t, c); l.fence == second.fence && l.expires != 0 {
		t.Errorf("a node that stopped has not given its lease back: %+v", l)
	}
	third := holder(lease{node: second.node})
	t.Logf("given back by %s, taken by %s", second.node, third.node)
	if third.fence <= second.fence {
		t.Errorf("the lease %+v was taken over as %+v", second, third)
	}
}

// TestNodeWithOtherRulesIsNotReady until those with whose rules it disagrees are
// gone.
func TestNodeWithOtherRulesIsNotReady(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	odd := c.LaunchNode(t, "ARTIFACTSTORE_NODE_NAME=odd", "ARTIFACTSTORE_DELETE_ENABLED=false")
	ready := func(s *harness.Server) bool { return s.Ready(t.Context()) }
	if ready(odd) {
		t.Error("a node with other rules is ready")
	}
	// The line is written when the answer has gone out.
	eventually(t, "the node to say why", func() bool { return strings.Contains(odd.Output(), "NOT_READY") })
	log := odd.Output()
	for _, word := range []string{"delete.enabled", "node1", "make it the same on all nodes"} {
		if !strings.Contains(log, word) {
			t.Errorf("the log of the node does not say %q:\n%s", word, log)
		}
	}
	for i, s := range c.Nodes[:2] {
		if !ready(s) {
			t.Errorf("node %d is not ready because of another one", i+1)
		}
	}
	harness.Must(t, c.Nodes[0].Stop())
	eventually(t, "the node to see that one has gone", func() bool { return !ready(odd) && strings.Contains(odd.Output(), "node2") })
	if !ready(c.Nodes[1]) {
		t.Error("node 2 is not ready any more")
	}
	harness.Must(t, c.Nodes[1].Stop())
	eventually(t, "the node to become ready", func() bool { return ready(odd) })

	// Now it is the one that has run for longest.
	late := c.LaunchNode(t, "ARTIFACTSTORE_NODE_NAME=late")
	if ready(late) {
		t.Error("a node is ready whose rules differ from those of the one that runs")
	}
	if !ready(odd) {
		t.Error("the node is not ready any more")
	}
}
