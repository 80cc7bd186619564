package cluster_test

import (
	"net/http"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestSessionBeginsAgainOnAnotherNode: a node has put together what was staged, to
// read it again, and refused it; the client sends other bytes to another node.
// Nothing is left by which a sweep would take them for the first ones.
func TestSessionBeginsAgainOnAnotherNode(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	all := clients(t, c)
	begun, err := all[0].Do(t.Context(), harness.Request{Method: http.MethodPost, Path: "/v2/team/app/blobs/uploads/?digest-algorithm=sha256"})
	harness.Must(t, err)
	harness.Must(t, begun.Expect(http.StatusAccepted))
	u := &upload{t: t, location: begun.Header.Get("Location"), data: harness.Random(8, part+1000)}
	harness.Must(t, u.put(all[1], harness.SHA512(nil)).Expect(http.StatusBadRequest))
	u.data = harness.Random(9, 1<<20)
	harness.Must(t, u.put(all[0], harness.SHA256(u.data)).Expect(http.StatusCreated))
	u.served(all, harness.SHA256(u.data))
	for _, key := range c.S3.Content(t, c.S3.Bucket) {
		if !strings.HasPrefix(key, "objects/") {
			t.Errorf("%s is left in the bucket", key)
		}
	}
}
