// Package deploy_test holds the examples in configs/ of how to run the server to
// what they promise: the systemd unit, and the composition with nginx.
package deploy_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// example returns an example configuration.
func example(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "configs", filepath.FromSlash(name)))
	harness.Must(t, err)
	return string(data)
}

// substitute replaces each of some texts, which must all be there.
func substitute(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if !strings.Contains(text, pairs[i]) {
			t.Fatalf("%q is not in the example", pairs[i])
		}
		text = strings.ReplaceAll(text, pairs[i], pairs[i+1])
	}
	return text
}

// write writes a file that everybody may read.
func write(t *testing.T, path, text string) string {
	t.Helper()
	harness.Must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}
