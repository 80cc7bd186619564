package harness

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Cluster is several servers on one PostgreSQL database and one bucket of S3,
// and what stands in front of them.
type Cluster struct {
	Nodes    []*Server
	Postgres *Postgres
	S3       *S3
	// Config is the configuration file of all nodes.
	Config string
	// URL is the address of a load balancer that gives each request to the next
	// node, as "http://127.0.0.1:port". A node that takes no connection is left
	// out; nothing that was sent is sent again.
	URL string

	mu   sync.Mutex
	in   []*Server        // to which the load balancer gives requests
	out  map[*Server]bool // those of them that it does not for now
	busy map[*Server]int  // requests that it has given to each, and that have not ended
}

// ClusterOptions say how a cluster differs from the usual one.
type ClusterOptions struct {
	// Postgres is the database; nil is a new one on the server of all tests.
	Postgres *Postgres
	// DSN is how nodes reach it; empty is Postgres.DSN().
	DSN string
	// Endpoint is how nodes reach S3; empty is the server itself.
	Endpoint string
	// S3 is the bucket; nil is a new one.
	S3 *S3
	// Env is added to the environment of every node, as "KEY=value".
	Env []string
}

// StartCluster starts n nodes; with none there is a migrated store and its
// configuration. When the test ends they are stopped, and it
// fails unless replaying the log gives the live state.
func StartCluster(t testing.TB, n int, o ClusterOptions) *Cluster {
	t.Helper()
	c := &Cluster{Postgres: o.Postgres, S3: o.S3, out: map[*Server]bool{}, busy: map[*Server]int{}}
	if c.Postgres == nil {
		c.Postgres = StartPostgres(t)
	}
	if c.S3 == nil {
		c.S3 = StartS3(t)
	}
	if o.DSN == "" {
		o.DSN = c.Postgres.DSN()
	}
	if o.Endpoint == "" {
		o.Endpoint = c.S3.Endpoint
	}
	c.Config = filepath.Join(t.TempDir(), "artifactstore.yaml")
	Must(t, os.WriteFile(c.Config, []byte(clusterConfig(t, c.S3, o)), 0o600))
	binary, err := Binary()
	Must(t, err)
	Tool{Path: binary}.Run(t, "migrate", "--config", c.Config)
	for i := range n {
		c.AddNode(t, slices.Concat(o.Env, []string{fmt.Sprintf("ARTIFACTSTORE_NODE_NAME=node%d", i+1)})...)
	}
	c.URL = c.balance(t)
	t.Cleanup(func() { c.finish(t) })
	return c
}

func clusterConfig(t testing.TB, s *S3, o ClusterOptions) string {
	access, secret := s.CredentialFiles(t)
	return fmt.Sprintf(`database:
  driver: postgres
  dsn: %q
storage:
  driver: s3
s3:
  bucket: %s
  endpoint: %s
  path_style: true
  access_key_id_file: %s
  secret_access_key_file: %s
`, o.DSN, s.Bucket, o.Endpoint, access, secret)
}

// AddNode starts one more node, with more environment, and returns it.
func (c *Cluster) AddNode(t testing.TB, env ...string) *Server {
	t.Helper()
	s, err := Open(c.node(t, env))
	Must(t, err)
	c.add(s)
	return s
}

// LaunchNode is AddNode for a node that need not get ready.
func (c *Cluster) LaunchNode(t testing.TB, env ...string) *Server {
	t.Helper()
	s, err := Launch(c.node(t, env))
	Must(t, err)
	c.add(s)
	return s
}

func (c *Cluster) node(t testing.TB, env []string) Config {
	return Config{Data: filepath.Join(t.TempDir(), "data"), Env: env, File: c.Config}
}

func (c *Cluster) add(s *Server) {
	c.Nodes = append(c.Nodes, s)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.in = append(c.in, s)
}

// TakeOut makes the load balancer give no more requests to a node, and waits
// until those that it has given to it have ended.
func (c *Cluster) TakeOut(t testing.TB, s *Server) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[s] = true
	for deadline := time.Now().Add(requestTimeout); c.busy[s] > 0; {
		c.mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		c.mu.Lock()
		if time.Now().After(deadline) {
			t.Fatalf("a node is still busy after %v", requestTimeout)
		}
	}
}

// PutBack makes the load balancer give requests to a node again.
func (c *Cluster) PutBack(s *Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.out, s)
}

// balanced are the nodes to which the load balancer may give requests.
func (c *Cluster) balanced() []*Server {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.in)
}

// enter tells whether a node may get a request, which leave ends.
func (c *Cluster) enter(s *Server) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.out[s] {
		c.busy[s]++
	}
	return !c.out[s]
}

func (c *Cluster) leave(s *Server) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.busy[s]--
}

// counted is the body of a node's answer, whose end is that of the request.
type counted struct {
	io.ReadCloser
	leave func()
}

func (a *counted) Close() error {
	a.leave()
	return a.ReadCloser.Close()
}

// finish stops the nodes that run and checks the log.
func (c *Cluster) finish(t testing.TB) {
	for i, s := range c.Nodes {
		if err := s.Stop(); err != nil {
			t.Errorf("node %d: %v", i+1, err)
		}
	}
	if len(c.Nodes) == 0 {
		return
	}
	if _, err := c.Nodes[0].CheckReplay(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		for i, s := range c.Nodes {
			t.Logf("node %d printed, at the end:\n%s", i+1, tail(s.Output(), 4000))
		}
	}
}

// Client returns a client of the load balancer.
func (c *Cluster) Client() *Client { return NewClient(c.URL) }

// Host is the address of the load balancer without its scheme.
func (c *Cluster) Host() string { return strings.TrimPrefix(c.URL, "http://") }

// balance starts the load balancer, which ends with the test.
func (c *Cluster) balance(t testing.TB) string {
	var turn atomic.Uint64
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		Rewrite:       func(r *httputil.ProxyRequest) { r.Out.URL.Scheme = "http"; r.SetXForwarded() },
		Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			nodes := c.balanced()
			failures := errors.New("no node takes a connection")
			first := turn.Add(1)
			for i := range uint64(len(nodes)) {
				node := nodes[(first+i)%uint64(len(nodes))]
				if !c.enter(node) {
					continue
				}
				leave := sync.OnceFunc(func() { c.leave(node) })
				r.URL.Host = node.Host()
				resp, err := try(r)
				if err == nil {
					resp.Body = &counted{resp.Body, leave}
					return resp, nil
				}
				leave()
				var dial *net.OpError
				if !errors.As(err, &dial) || dial.Op != "dial" {
					return nil, err
				}
				failures = errors.Join(failures, err)
			}
			return nil, failures
		}),
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			http.Error(w, err.Error(), http.StatusBadGateway)
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.URL
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// try sends a request once. Its body stays open for another node if this one
// takes no connection.
func try(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return clusterTransport.RoundTrip(r)
	}
	attempt := r.Clone(r.Context())
	attempt.Body = io.NopCloser(r.Body)
	return clusterTransport.RoundTrip(attempt)
}

var clusterTransport = &http.Transport{
	DisableCompression: true,
	DisableKeepAlives:  true, // a node that died must not be found out by a request that was sent to it
}
