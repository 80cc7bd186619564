package deploy_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestSystemdUnit checks what the unit promises, and lets systemd judge it.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	text := example(t, "systemd/artifactstore.service")
	set := directives(text)
	for name, want := range map[string]string{
		"User": "artifactstore", "StateDirectory": "artifactstore", "Restart": "on-failure", "TimeoutStopSec": "45",
		"ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "NoNewPrivileges": "yes",
		"MemoryDenyWriteExecute": "yes", "RestrictAddressFamilies": "AF_INET AF_INET6", "CapabilityBoundingSet": "", "UMask": "0027",
	} {
		if got := set[name]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	if got := set["SystemCallFilter"]; len(got) == 0 || got[0] != "@system-service" {
		t.Errorf("SystemCallFilter is %q", got)
	}
	binary, err := harness.Binary()
	harness.Must(t, err)
	unit := write(t, filepath.Join(t.TempDir(), "artifactstore.service"), substitute(t, text, "/usr/local/bin/artifactstore", binary))
	systemd := harness.Tool{Path: harness.Need(t, "systemd-analyze", "the systemd unit is one of the ways to run the server")}
	if _, all, err := systemd.Try("verify", unit); err != nil || strings.Contains(all, "artifactstore.service:") {
		t.Errorf("systemd does not accept the unit: %v\n%s", err, all)
	}
	const exposure = "15" // 1.5 of 10
	if _, all, err := systemd.Try("security", "--offline=true", "--no-pager", "--threshold="+exposure, unit); err != nil {
		t.Errorf("systemd finds the unit too open: %v\n%s", err, all)
	}
}

// directives returns the values of every directive of a unit, in order.
func directives(unit string) map[string][]string {
	set := make(map[string][]string)
	for line := range strings.Lines(unit) {
		line = strings.TrimSpace(line)
		if name, value, ok := strings.Cut(line, "="); ok && !strings.HasPrefix(line, "#") {
			set[name] = append(set[name], value)
		}
	}
	return set
}
