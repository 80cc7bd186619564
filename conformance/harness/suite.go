package harness

import (
	"encoding/xml"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// SuiteProfile is a way to run the official conformance suite of the OCI
// distribution specification.
type SuiteProfile struct {
	Name string
	// AtLeast is how many checks must have passed. It is the count of a registry
	// that passes everything, so that a suite that silently checks less is
	// noticed. It is lower than the totals of registries with failures: where a
	// way of pushing fails the suite tries the others, and counts each of them.
	AtLeast int
	// Suite is the environment of the suite, Server that of the servers.
	Suite, Server []string
}

// SuiteProfiles are all profiles that a server is held to.
var SuiteProfiles = []SuiteProfile{
	{"the stable profile 1.1", 860, []string{"OCI_VERSION=1.1"}, nil},
	{"the development profile", 986, []string{"OCI_VERSION=dev"}, nil},
	{"the development profile with sparse manifests", 1032,
		[]string{"OCI_VERSION=dev", "OCI_DATA_SPARSE=true"},
		[]string{"ARTIFACTSTORE_MANIFESTS_ALLOW_SPARSE=true"}},
}

// suiteCounts is the outcome of a run, from the root of its junit.xml.
type suiteCounts struct {
	Tests    int `xml:"tests,attr"`
	Failures int `xml:"failures,attr"`
	Errors   int `xml:"errors,attr"`
	Skipped  int `xml:"skipped,attr"`
	Disabled int `xml:"disabled,attr"`
}

func (c suiteCounts) passed() int { return c.Tests - c.Failures - c.Errors - c.Skipped - c.Disabled }

func (c suiteCounts) String() string {
	return fmt.Sprintf("%d passed, %d failed, %d errors, %d skipped, %d disabled by the profile",
		c.passed(), c.Failures, c.Errors, c.Skipped, c.Disabled)
}

// NeedSuite returns the path of the official suite, or skips the test.
func NeedSuite(t testing.TB) string {
	t.Helper()
	return Need(t, "conformance", "the official suite of the distribution specification")
}

// HoldTo fails the test unless a run of the suite against a registry, which is
// named as "127.0.0.1:port", fails nothing and skips nothing. Besides address,
// repositories and TLS only the profile is set.
func (p SuiteProfile) HoldTo(t testing.TB, suite, host string) {
	t.Helper()
	got, report := p.run(t, suite, host)
	// The count is wanted in the output of every run, not only of a verbose one.
	fmt.Printf("official suite, %s, %s: %v\n", t.Name(), p.Name, got)
	if got.Failures > 0 || got.Errors > 0 || got.Skipped > 0 || got.passed() < p.AtLeast {
		t.Errorf("%v; want no failure, nothing skipped, at least %d passed\n%s", got, p.AtLeast, suiteFailures(report))
	}
}

// run runs the suite and returns the counts and the printed report.
func (p SuiteProfile) run(t testing.TB, suite, host string) (suiteCounts, string) {
	t.Helper()
	dir := t.TempDir()
	tool := Tool{Path: suite, Dir: dir, Env: append([]string{
		"OCI_REGISTRY=" + host, "OCI_TLS=disabled",
		"OCI_REPO1=conformance/repo1", "OCI_REPO2=conformance/repo2",
		"OCI_RESULTS_DIR=" + dir,
	}, p.Suite...)}
	// The suite ends with status 1 if a check fails; the report tells which.
	report, all, runErr := tool.Try()
	data, err := os.ReadFile(filepath.Join(dir, "junit.xml"))
	if err != nil {
		t.Fatalf("the suite left no result: %v, %v\n%.4000s", err, runErr, all)
	}
	var got suiteCounts
	Must(t, xml.Unmarshal(data, &got))
	if got.Tests == 0 {
		t.Fatalf("the suite counted no tests:\n%.4000s", report)
	}
	return got, report
}

// suiteFailures returns the lines of a report that are not about passed checks.
func suiteFailures(report string) string {
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
