package clients_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestCrane pushes a multi-platform index from a layout folder, pulls it,
// copies it between repositories and checks it.
func TestCrane(t *testing.T) {
	t.Parallel()
	crane := harness.HomeTool(t, "crane", "crane is one of the clients that must work")
	s := harness.Start(t)
	from, to := s.Host()+"/crane/from", s.Host()+"/crane/to"
	digest := writeLayout(t, filepath.Join(crane.Dir, "layout"))

	crane.Run(t, "push", "--insecure", "--index", "layout", from+":v1")
	if got := strings.TrimSpace(crane.Run(t, "digest", "--insecure", from+":v1")); got != digest {
		t.Fatalf("pushed %s as %s", digest, got)
	}
	crane.Run(t, "validate", "--insecure", "--remote", from+":v1")
	crane.Run(t, "copy", "--insecure", from+":v1", to+":v1")
	if got, mediaType := served(t, s, "crane/to", "v1"); got != digest || mediaType != harness.ImageIndex {
		t.Errorf("copied %s as %s of type %s", digest, got, mediaType)
	}
	crane.Run(t, "validate", "--insecure", "--remote", to+":v1")

	crane.Run(t, "tag", "--insecure", to+"@"+digest, "v2")
	if got := strings.Fields(crane.Run(t, "ls", "--insecure", to)); !slices.Equal(got, []string{"v1", "v2"}) {
		t.Errorf("tags %v", got)
	}
	if got := strings.Fields(crane.Run(t, "catalog", "--insecure", s.Host())); !slices.Equal(got, []string{"crane/from", "crane/to"}) {
		t.Errorf("repositories %v", got)
	}
	crane.Run(t, "pull", "--insecure", "--format", "oci", to+":v1", "pulled")
	index, err := os.ReadFile(filepath.Join(crane.Dir, "pulled", "blobs", "sha256", strings.TrimPrefix(digest, "sha256:")))
	harness.Must(t, err)
	if harness.SHA256(index) != digest {
		t.Error("the index came back changed")
	}
	crane.Run(t, "delete", "--insecure", to+"@"+digest)
	if _, _, err := crane.Try("manifest", "--insecure", to+":v2"); err == nil {
		t.Error("a tag outlived its manifest")
	}
}

// writeLayout makes an OCI image layout whose index.json lists two images of
// different platforms, and returns the digest of the index.
func writeLayout(t *testing.T, dir string) string {
	t.Helper()
	blobs := filepath.Join(dir, "blobs", "sha256")
	harness.Must(t, os.MkdirAll(blobs, 0o700))
	add := func(data []byte) { write(t, blobs, strings.TrimPrefix(harness.SHA256(data), "sha256:"), data) }
	index := harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex}
	for _, platform := range []string{"amd64", "arm64"} {
		// Only images with as many layers as their config says are valid.
		config := []byte(`{"architecture":"` + platform + `","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{},"history":[]}`)
		manifest := harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
			Config: harness.Describe(harness.ImageConfig, config), Layers: []harness.Descriptor{}})
		add(config)
		add(manifest)
		index.Manifests = append(index.Manifests, harness.Describe(harness.ImageManifest, manifest))
	}
	data := harness.Encode(index)
	write(t, dir, "index.json", data)
	write(t, dir, "oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`))
	return harness.SHA256(data)
}
