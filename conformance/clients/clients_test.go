// Package clients_test runs the clients that people use against the real
// server: the oras command and library, the Docker engine, crane, and the
// go-containerregistry library.
package clients_test

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// served returns the digest and media type of a manifest as the server has it.
func served(t *testing.T, s *harness.Server, repository, reference string) (digest, mediaType string) {
	t.Helper()
	reply, err := s.Client().Get(t.Context(), "/v2/"+repository+"/manifests/"+reference)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	digest = reply.Header.Get("Docker-Content-Digest")
	if got := harness.SHA256(reply.Body); got != digest {
		t.Errorf("%s:%s is served as %s and has the bytes of %s", repository, reference, digest, got)
	}
	return digest, reply.Header.Get("Content-Type")
}

// write puts a file into a folder and returns its path.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	harness.Must(t, os.WriteFile(path, data, 0o600))
	return path
}

// sameFile fails the test unless a file has these bytes.
func sameFile(t *testing.T, path string, want []byte) {
	t.Helper()
	got, err := os.ReadFile(path)
	harness.Must(t, err)
	if string(got) != string(want) {
		t.Errorf("%s came back with %d bytes of digest %s, not %d of %s",
			path, len(got), harness.SHA256(got), len(want), harness.SHA256(want))
	}
}
