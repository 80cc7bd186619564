package failover_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestPostgresIsKilled kills the database under load. What comes while it is
// away for a short time waits, and succeeds; what comes while it is away for
// long is told to come again.
func TestPostgresIsKilled(t *testing.T) {
	t.Parallel() // much of it is waiting
	p := harness.StartPrivatePostgres(t)
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{Postgres: p, Env: environment})
	l := startLoad(t, c.URL)
	slowest := time.Duration(0)
	for round := range rounds(t) {
		l.await(t, 60+rand.IntN(60))
		harness.Must(t, p.Kill())
		killed := time.Now()
		waiting := askAll(t, c, fmt.Sprintf("round %d", round))
		time.Sleep(time.Duration(rand.IntN(2500)) * time.Millisecond) // how long it is away
		harness.Must(t, p.Start())
		for _, err := range waiting() {
			t.Errorf("a request of a short outage: %v", err)
		}
		slowest = max(slowest, time.Since(killed))
	}
	l.await(t, 60)
	harness.Must(t, p.Kill())
	saysUnavailable(t, c)
	harness.Must(t, p.Start())
	for i, node := range c.Nodes {
		awaitReady(t, i, node)
	}
	l.await(t, 60)
	l.finish(t)
	l.verify(t, c)
	fmt.Printf("failover: PostgreSQL killed %d times under load; requests that came meanwhile took %v at most\n",
		rounds(t)+1, slowest.Round(time.Millisecond))
}

// askAll asks every node, while the database is away, to store something and to
// read something. What it returns waits for the answers and gives the failures.
func askAll(t *testing.T, c *harness.Cluster, name string) func() []error {
	t.Helper()
	var wait sync.WaitGroup
	var mu sync.Mutex
	var failed []error
	ask := func(f func(context.Context, *harness.Client) error, node *harness.Server) {
		wait.Go(func() {
			client := node.Client()
			defer client.Close()
			if err := f(t.Context(), client); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed = append(failed, err)
			}
		})
	}
	for i, node := range c.Nodes {
		ask(func(ctx context.Context, client *harness.Client) error {
			blob := fmt.Appendf(nil, "%s of node %d", name, i)
			return client.PushBlob(ctx, "failover/away", harness.SHA256(blob), blob)
		}, node)
		ask(func(ctx context.Context, client *harness.Client) error {
			return sameBytes(ctx, client, "/v2/"+common+"/blobs/"+harness.SHA256(emptyConfig), emptyConfig)
		}, node)
	}
	return func() []error {
		wait.Wait()
		return failed
	}
}

// saysUnavailable asks every node for everything until it gives up waiting, which
// it says in its readiness and in the form of the specification.
func saysUnavailable(t *testing.T, c *harness.Cluster) {
	t.Helper()
	var wait sync.WaitGroup
	blob := []byte("while the database is away")
	for i, node := range c.Nodes {
		for _, r := range []harness.Request{
			{Method: http.MethodPost, Path: "/v2/failover/away/blobs/uploads/?digest=" + harness.SHA256(blob), Body: blob},
			{Method: http.MethodGet, Path: "/v2/" + common + "/blobs/" + harness.SHA256(emptyConfig)},
			{Method: http.MethodHead, Path: "/v2/" + common + "/manifests/shared"},
			{Method: http.MethodGet, Path: "/v2/" + common + "/tags/list"},
			{Method: http.MethodPost, Path: "/v2/failover/away/blobs/uploads/"},
		} {
			wait.Go(func() { isUnavailable(t, i, node, r) })
		}
	}
	wait.Wait()
	for i, node := range c.Nodes {
		awaitReadiness(t, i, node, http.StatusServiceUnavailable)
	}
}

// isUnavailable expects that a node asks the client to come again.
func isUnavailable(t *testing.T, i int, node *harness.Server, r harness.Request) {
	client := node.Client()
	defer client.Close()
	reply, err := client.Do(t.Context(), r)
	if err != nil {
		t.Errorf("node %d, %s %s: %v", i+1, r.Method, r.Path, err)
		return
	}
	if reply.Status != http.StatusServiceUnavailable || reply.Header.Get("Retry-After") == "" ||
		r.Method != http.MethodHead && reply.Code() != "UNAVAILABLE" {
		t.Errorf("node %d, %s %s: %d, Retry-After %q, %.300s", i+1, r.Method, r.Path, reply.Status,
			reply.Header.Get("Retry-After"), reply.Body)
	}
}

// awaitReady waits until a node is ready by itself.
func awaitReady(t *testing.T, i int, node *harness.Server) {
	t.Helper()
	awaitReadiness(t, i, node, http.StatusOK)
}

func awaitReadiness(t *testing.T, i int, node *harness.Server, status int) {
	t.Helper()
	client := node.Client()
	defer client.Close()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		reply, err := client.Get(t.Context(), "/readyz")
		if err == nil && reply.Status == status {
			return
		}
		if time.Now().After(deadline) {
			t.Errorf("node %d: /readyz does not become %d: %d %s, %v", i+1, status, reply.Status, reply.Body, err)
			return
		}
	}
}

// TestFailoverToSynchronousStandby kills the primary under load and makes the
// standby, which every commit has waited for, the primary.
func TestFailoverToSynchronousStandby(t *testing.T) {
	t.Parallel() // much of it is waiting
	for round := range max(1, rounds(t)/5) {
		t.Run(fmt.Sprintf("round %d", round+1), failOver)
	}
}

func failOver(t *testing.T) {
	p := harness.StartPrivatePostgres(t)
	standby := p.Standby(t)
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{Postgres: p, Env: environment,
		DSN: p.DSNAt(p.Host(), standby.Host()) + "&target_session_attrs=read-write"})
	l := startLoad(t, c.URL)
	l.await(t, 200+rand.IntN(100))
	harness.Must(t, p.Kill())
	killed := time.Now()
	waiting := askAll(t, c, "failover")
	standby.Promote(t)
	for _, err := range waiting() {
		t.Errorf("a request of the failover: %v", err)
	}
	took := time.Since(killed)
	l.await(t, 100)
	l.finish(t)
	l.verify(t, c)
	fmt.Printf("failover: to a synchronous standby under load; requests that came meanwhile took %v at most\n", took.Round(time.Millisecond))
}

// TestCommitsLoseTheirAnswers cuts connections around COMMIT: before it reaches
// the server, once it has committed, and while it may be at it.
func TestCommitsLoseTheirAnswers(t *testing.T) {
	t.Parallel() // much of it is waiting
	p := harness.StartPostgres(t)
	proxy := harness.StartWireProxy(t, p.Host())
	c := harness.StartCluster(t, nodes, harness.ClusterOptions{Postgres: p, Env: environment, DSN: p.DSNAt(proxy.Host())})
	faults := []harness.WireFault{
		{Drop: true}, {Lose: true}, {Blind: true}, {Lose: true, Delay: 20 * time.Millisecond},
		{Hang: 300 * time.Millisecond}, {Delay: 50 * time.Millisecond},
	}
	l := startLoad(t, c.URL)
	proxy.Set(func() harness.WireFault {
		if rand.IntN(10) < 6 {
			return harness.WireFault{}
		}
		return faults[rand.IntN(len(faults))]
	})
	want := rounds(t) * 100
	for _, met := proxy.Counts(); met < want; _, met = proxy.Counts() {
		l.await(t, 5)
	}
	proxy.Set(nil)
	l.finish(t)
	l.verify(t, c)
	commits, met := proxy.Counts()
	fmt.Printf("failover: %d of %d commits met a fault of the network\n", met, commits)
}

// TestNodeIsCutOff takes the network between one node and the database away,
// without a word. The others go on; it comes back by itself.
func TestNodeIsCutOff(t *testing.T) {
	t.Parallel() // much of it is waiting
	p := harness.StartPostgres(t)
	proxy := harness.StartWireProxy(t, p.Host())
	c := harness.StartCluster(t, nodes-1, harness.ClusterOptions{Postgres: p, Env: environment})
	lost := len(c.Nodes)
	c.AddNode(t, append(environment, "ARTIFACTSTORE_NODE_NAME=lost", "ARTIFACTSTORE_DATABASE_DSN="+p.DSNAt(proxy.Host()))...)
	l := startLoad(t, c.URL)
	l.await(t, 100)
	proxy.Darken()
	took := takeover(t, c, lost, "cut off")
	time.Sleep(2 * time.Second) // how long it is cut off
	proxy.Light()
	awaitReady(t, lost, c.Nodes[lost])
	l.await(t, 60)
	l.finish(t)
	l.verify(t, c)
	fmt.Printf("failover: a node cut off from the database; the others took %v to acknowledge again\n", took.Round(time.Millisecond))
}
