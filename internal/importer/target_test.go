package importer_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"artifactstore/internal/importer"
	"artifactstore/internal/inproc"
	"artifactstore/registry"
)

// TestAnotherRegistryIsNoTarget: the default of --to is where the old registry
// often listens, and that one would say that it has everything already.
func TestAnotherRegistryIsNoTarget(t *testing.T) {
	must(t, newHome(t, registry.Options{}).target().Ping(t.Context()))
	other := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
		_, _ = io.WriteString(w, "{}")
	})
	target, err := importer.NewTarget(importer.Endpoint{Host: "old", PlainHTTP: true, Transport: inproc.Transport(other)})
	must(t, err)
	if err := target.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "another registry than artifactstore: name the server with --to") {
		t.Errorf("another registry: %v", err)
	}
}
