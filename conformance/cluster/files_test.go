package cluster_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestFilesBelongToOneNode: with the objects in a folder the database has one
// node, which may come back at once; another folder may take over only when the
// lease of the first is over.
func TestFilesBelongToOneNode(t *testing.T) {
	t.Parallel()
	p := harness.StartPostgres(t)
	file := filepath.Join(t.TempDir(), "artifactstore.yaml")
	harness.Must(t, os.WriteFile(file, fmt.Appendf(nil, "database:\n  driver: postgres\n  dsn: %q\n", p.DSN()), 0o600))
	binary, err := harness.Binary()
	harness.Must(t, err)
	harness.Tool{Path: binary}.Run(t, "migrate", "--config", file, "--data", t.TempDir())
	config := func(name string) harness.Config {
		return harness.Config{Data: filepath.Join(t.TempDir(), name), File: file, Env: []string{"ARTIFACTSTORE_NODE_NAME=" + name}}
	}
	refused := func(when string) {
		t.Helper()
		other, err := harness.Open(config("second"))
		if err == nil {
			t.Fatalf("%s: another folder is accepted: %v", when, other.Kill())
		}
		for _, words := range []string{"the store is in use", "first", "several nodes need storage.driver s3"} {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("%s: the refusal does not say %q: %v", when, words, err)
			}
		}
	}

	first := harness.StartIn(t, config("first"))
	client := first.Client()
	defer client.Close()
	image := harness.NewImage(1, 2, 300_000)
	harness.Must(t, image.Push(t.Context(), client, "files/app", "v1"))
	refused("while it runs")
	harness.Must(t, first.Kill())
	refused("after it was killed")
	began := time.Now()
	harness.Must(t, first.Start())
	t.Logf("the same folder was ready again after %v", time.Since(began).Round(time.Millisecond))
	for _, layer := range image.Layers {
		harness.Must(t, hasBlob(t.Context(), client, "files/app", harness.SHA256(layer), layer))
	}
	refused("after it has come back")

	harness.Must(t, first.Kill())
	var second *harness.Server
	eventually(t, "another folder to be accepted", func() bool {
		second, err = harness.Open(config("second"))
		return err == nil
	})
	t.Cleanup(func() { harness.Must(t, second.Stop()) })
	left := p.SQL(t, "SELECT count(*) FROM leases WHERE name = 'files' AND fence > 1")
	if left != "1" {
		t.Errorf("the lease has gone to another folder without a new fence: %s", p.SQL(t, "SELECT * FROM leases"))
	}
	if err := first.Start(); err == nil || !strings.Contains(err.Error(), "second") {
		t.Errorf("the first folder is accepted although another one has taken over: %v", err)
	}
	// What is in the database alone is served by whoever has it.
	get(t, second.Client(), "/v2/files/app/manifests/v1", http.StatusOK)
}
