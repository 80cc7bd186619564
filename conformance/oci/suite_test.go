// Package oci_test runs the official conformance suite of the OCI distribution
// specification, and a table of bad requests, against the real server.
package oci_test

import (
	"os"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// TestSuite holds the server to the whole suite: nothing fails and nothing is
// skipped.
func TestSuite(t *testing.T) {
	suite := harness.NeedSuite(t)
	for _, profile := range harness.SuiteProfiles {
		t.Run(profile.Name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, profile.Server...)
			profile.HoldTo(t, suite, s.Host())
		})
	}
}
