package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestRedirects: a GET of what is in the bucket leads there, if it is large
// enough; all else is answered by the node.
func TestRedirects(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 1, harness.ClusterOptions{})
	const inline, limit = 64 << 10, 1 << 20
	nodes := map[string]struct {
		*harness.Server
		above int // larger blobs are redirected
	}{
		"never":      {c.Nodes[0], 1 << 40},
		"always":     {c.AddNode(t, "ARTIFACTSTORE_NODE_NAME=always", "ARTIFACTSTORE_S3_REDIRECT=always"), inline},
		"above 1MiB": {c.AddNode(t, "ARTIFACTSTORE_NODE_NAME=above", "ARTIFACTSTORE_S3_REDIRECT=above 1MiB"), limit},
	}
	pusher := c.Nodes[0].Client()
	for i, size := range []int{0, 10, inline, inline + 1, limit, limit + 1, part + 1} {
		data := harness.Random(uint64(i), size)
		digest := harness.SHA256(data)
		harness.Must(t, pusher.PushBlob(t.Context(), "redirect/app", digest, data))
		for rule, node := range nodes {
			t.Run(fmt.Sprintf("%s, %d bytes", rule, size), func(t *testing.T) {
				held(t, node.Server, c.S3.Endpoint, digest, data, size > node.above)
			})
		}
	}
	image := harness.NewImage(1, 1, 100)
	harness.Must(t, image.Push(t.Context(), pusher, "redirect/app", "v1"))
	for _, node := range nodes {
		get(t, node.Client(), "/v2/redirect/app/manifests/v1", http.StatusOK)
	}
	for i, s := range c.Nodes {
		if strings.Contains(s.Output(), "X-Amz-Signature") || strings.Contains(s.Output(), c.S3.SecretKey) {
			t.Errorf("node %d logs what gives access to the bucket", i+1)
		}
	}
}

// held holds a node to how it serves a blob: itself, or from S3 at an endpoint.
func held(t *testing.T, s *harness.Server, endpoint, digest string, data []byte, redirected bool) {
	client := s.Client()
	defer client.Close()
	path := "/v2/redirect/app/blobs/" + digest
	head, err := client.Do(t.Context(), harness.Request{Method: http.MethodHead, Path: path})
	harness.Must(t, err)
	if head.Status != http.StatusOK || head.Header.Get("Content-Length") != fmt.Sprint(len(data)) || head.Header.Get("Docker-Content-Digest") != digest {
		t.Errorf("HEAD is answered with %d, %v", head.Status, head.Header)
	}
	if !redirected {
		harness.Must(t, hasBlob(t.Context(), client, "redirect/app", digest, data))
		return
	}
	reply := get(t, client, path, http.StatusTemporaryRedirect)
	if reply.Header.Get("Docker-Content-Digest") != digest {
		t.Errorf("the redirect has the headers %v", reply.Header)
	}
	for _, part := range []string{"", "bytes=10-19"} { // clients resume, with the same URL or a new one
		want := data
		if part != "" {
			want = data[10:20]
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.URL()+path, http.NoBody)
		harness.Must(t, err)
		if part != "" {
			req.Header.Set("Range", part)
		}
		resp, err := http.DefaultClient.Do(req) // follows the redirect
		harness.Must(t, err)
		got, err := io.ReadAll(resp.Body)
		harness.Must(t, errors.Join(err, resp.Body.Close()))
		if string(got) != string(want) || !strings.HasPrefix(endpoint, "http://"+resp.Request.URL.Host) {
			t.Errorf("range %q: behind the redirect, at %s, are %d bytes of digest %s", part, resp.Request.URL.Host, len(got), harness.SHA256(got))
		}
	}
}
