package cluster_test

import (
	"testing"

	"artifactstore/conformance/harness"
)

// TestSuite holds three nodes behind a load balancer to the whole suite, as one
// server is held to it: each request goes to another node.
func TestSuite(t *testing.T) {
	suite := harness.NeedSuite(t)
	for _, profile := range harness.SuiteProfiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			c := harness.StartCluster(t, 3, harness.ClusterOptions{Env: profile.Server})
			profile.HoldTo(t, suite, c.Host())
		})
	}
}
