// Package oci_test runs the official conformance suite of the OCI distribution
// specification, and a table of bad requests, against the real server.
package oci_test

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// counts is the outcome of a run of the suite, from the root of its junit.xml.
type counts struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
	Disabled int `xml:"disabled,attr"`
}

func (c counts) passed() int { return c.Tests - c.Failures - c.Errors - c.Skipped - c.Disabled }

func (c counts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d errors, %d skipped, %d disabled by the profile",
		c.passed(), c.Failures, c.Errors, c.Skipped, c.Disabled)
}

// TestSuite holds the server to the whole suite: nothing fails and nothing is
// skipped. Besides address, repositories and TLS only the profile is set.
//
// The counts are those of a registry that passes everything, so that a suite
// that silently checks less is noticed. They are lower than the totals of
// registries with failures: where a way of pushing fails the suite tries the
// others, and counts each of them.
func TestSuite(t *testing.T) {
	suite := harness.Need(t, "conformance", "the official suite of the distribution specification")
	tests := []struct {
		name    string
		atLeast int      // checks that must have passed
		suite   []string // environment of the suite
		server  []string // environment of the server
	}{
		{"the stable profile 1.1", 860, []string{"OCI_VERSION=1.1"}, nil},
		{"the development profile", 986, []string{"OCI_VERSION=dev"}, nil},
		{"the development profile with sparse manifests", 1032,
			[]string{"OCI_VERSION=dev", "OCI_DATA_SPARSE=true"},
			[]string{"ARTIFACTSTORE_MANIFESTS_ALLOW_SPARSE=true"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := harness.Start(t, test.server...)
			got, report := runSuite(t, suite, s, test.suite)
			// The count is wanted in the output of every run, not only of a
			// verbose one.
			fmt.Printf("official suite, %s: %v\n", test.name, got)
			if got.Failures > 0 || got.Errors > 0 || got.Skipped > 0 || got.passed() < test.atLeast {
				t.Errorf("%v; want no failure, nothing skipped, at least %d passed\n%s",
					got, test.atLeast, failures(report))
			}
		})
	}
}

// runSuite runs the suite and returns the counts and the printed report.
func runSuite(t *testing.T, suite string, s *harness.Server, env []string) (counts, string) {
	t.Helper()
	dir := t.TempDir()
	tool := harness.Tool{Path: suite, Dir: dir, Env: append([]string{
		"OCI_REGISTRY=" + s.Host(), "OCI_TLS=disabled",
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2",
		"OCI_RESULTS_DIR=" + dir,
	}, env...)}
	// The suite ends with status 1 if a check fails; the report tells which.
	report, all, runErr := tool.Try()
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("the suite left no result: %v, %v\n%.4000s", err, runErr, all)
	}
	var got counts
	harness.Must(t, xml.Unmarshal(data, &got))
	if got.Tests == 0 {
		t.Fatalf("the suite counted no tests:\n%.4000s", report)
	}
	return got, report
}

// failures returns the lines of a report that are not about passed checks.
func failures(report string) string {
	var lines []string
	report, _, _ = strings.Cut(report, "Configuration:")
	for line := range strings.Lines(report) {
		if !strings.HasSuffix(strings.TrimSpace(line), ": Pass") {
			lines = append(lines, line)
		}
	}
	const limit = 200
	return strings.Join(lines[:min(len(lines), limit)], "")
}
