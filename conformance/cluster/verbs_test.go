package cluster_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestVerbsChangeAStoreBesideItsNodes: they are one node more, and all nodes obey.
func TestVerbsChangeAStoreBesideItsNodes(t *testing.T) {
	t.Parallel()
	c := harness.StartCluster(t, 2, harness.ClusterOptions{})
	client := c.Nodes[0].Client()
	harness.Must(t, harness.NewImage(1, 1, 1000).Push(t.Context(), client, "team/app", "v1"))
	binary, err := harness.Binary()
	harness.Must(t, err)
	tool := harness.Tool{Path: binary, Env: []string{"ARTIFACTSTORE_NODE_NAME=operator", "ARTIFACTSTORE_DATA=" + filepath.Join(t.TempDir(), "data")}}

	tool.Run(t, "hold", "place", "audit", "team/app:v1", "--reason", "audit", "--config", c.Config)
	for _, node := range c.Nodes {
		reply, err := node.Client().Do(t.Context(), harness.Request{Method: "DELETE", Path: "/v2/team/app/manifests/v1"})
		harness.Must(t, err)
		if err := reply.Expect(403); err != nil || !strings.Contains(string(reply.Body), "audit") {
			t.Errorf("%v: %s", err, reply.Body)
		}
	}
	plan := tool.Run(t, "retention", "plan", "--all", "--config", c.Config)
	if !strings.Contains(plan, "kept: hold audit") {
		t.Error(plan)
	}
	tool.Run(t, "sweep", "--config", c.Config)
	tool.Run(t, "scrub", "--config", c.Config)
	tool.Run(t, "hold", "release", "audit", "team/app:v1", "--reason", "over", "--server", c.Nodes[1].AdminURL())

	// One with other rules changes nothing.
	text, err := os.ReadFile(c.Config)
	harness.Must(t, err)
	other := filepath.Join(t.TempDir(), "other.yaml")
	harness.Must(t, os.WriteFile(other, append(text, "retention:\n  grace: 2d\n"...), 0o600))
	out, all, err := tool.Try("hold", "place", "audit", "team/app", "--reason", "audit", "--config", other)
	if err == nil || !strings.Contains(all, "retention") || !strings.Contains(all, "--server") {
		t.Errorf("%v: %s%s", err, out, all)
	}
}
