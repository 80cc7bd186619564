// Package importing_test brings into the real server what other registries and
// tools have written: a store of CNCF Distribution, OCI layouts, archives, and
// registries that are running. What is pulled from the server afterwards has to
// be what was pushed to them.
package importing_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// client returns a command line client with a home of its own.
func client(t *testing.T, name, why string) harness.Tool {
	t.Helper()
	home := t.TempDir()
	return harness.Tool{Path: harness.Need(t, name, why), Dir: home, Env: []string{"HOME=" + home, "DOCKER_CONFIG=" + home}}
}

func write(t *testing.T, dir, name string, data []byte) {
	t.Helper()
	harness.Must(t, os.WriteFile(filepath.Join(dir, name), data, 0o600))
}

// content is what a registry has: the digest of every tag, and the bytes of
// everything that tags lead to, by "repository tag" and "repository digest".
type content struct {
	tags  map[string]string
	bytes map[string][]byte
}

// all reads all that a registry has.
func all(t *testing.T, c *harness.Client) content {
	t.Helper()
	found := content{map[string]string{}, map[string][]byte{}}
	for _, repository := range list(t, c, "/v2/_catalog", "repositories") {
		for _, tag := range list(t, c, "/v2/"+repository+"/tags/list", "tags") {
			digest := found.manifest(t, c, repository, tag)
			found.tags[repository+" "+tag] = digest
		}
	}
	return found
}

// list returns all pages of a list of names.
func list(t *testing.T, c *harness.Client, path, member string) []string {
	t.Helper()
	var names []string
	for path += "?n=1000"; path != ""; {
		reply := get(t, c, path)
		var page map[string]json.RawMessage
		harness.Must(t, json.Unmarshal(reply.Body, &page))
		var more []string
		harness.Must(t, json.Unmarshal(page[member], &more))
		names = append(names, more...)
		path = reply.Next()
	}
	return names
}

func get(t *testing.T, c *harness.Client, path string) harness.Reply {
	t.Helper()
	reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodGet, Path: path, Header: map[string]string{"Accept": strings.Join([]string{
		harness.ImageManifest, harness.ImageIndex, "application/vnd.docker.distribution.manifest.v2+json",
		"application/vnd.docker.distribution.manifest.list.v2+json"}, ", ")}})
	harness.Must(t, err)
	if err := reply.Expect(http.StatusOK); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return reply
}

// manifest reads a manifest and everything below it.
func (found content) manifest(t *testing.T, c *harness.Client, repository, reference string) string {
	t.Helper()
	reply := get(t, c, "/v2/"+repository+"/manifests/"+reference)
	digest := harness.SHA256(reply.Body)
	if served := reply.Header.Get("Docker-Content-Digest"); served != digest {
		t.Errorf("%s:%s is served as %s and has the bytes of %s", repository, reference, served, digest)
	}
	found.bytes[repository+" "+digest] = reply.Body
	var m struct {
		Config            *harness.Descriptor
		Layers, Manifests []harness.Descriptor
	}
	harness.Must(t, json.Unmarshal(reply.Body, &m))
	for _, child := range m.Manifests {
		found.manifest(t, c, repository, child.Digest)
	}
	if m.Config != nil {
		m.Layers = append(m.Layers, *m.Config)
	}
	for _, blob := range m.Layers {
		found.bytes[repository+" "+blob.Digest] = get(t, c, "/v2/"+repository+"/blobs/"+blob.Digest).Body
	}
	return digest
}

// same fails the test unless a registry has all that another has, tag for tag
// and byte for byte.
func same(t *testing.T, c *harness.Client, want content) {
	t.Helper()
	got := all(t, c)
	for name, digest := range want.tags {
		if got.tags[name] != digest {
			t.Errorf("%s is %q, want %s", name, got.tags[name], digest)
		}
	}
	for name, data := range want.bytes {
		if !bytes.Equal(got.bytes[name], data) {
			t.Errorf("%s has %d bytes, want %d", name, len(got.bytes[name]), len(data))
		}
	}
	if len(got.tags) != len(want.tags) {
		t.Errorf("%d tags, want %d", len(got.tags), len(want.tags))
	}
}

// referrers returns the artifact types of what refers to a digest, by the API.
func referrers(t *testing.T, c *harness.Client, repository, digest string) []string {
	t.Helper()
	var index harness.Index
	harness.Must(t, json.Unmarshal(get(t, c, "/v2/"+repository+"/referrers/"+digest).Body, &index))
	var types []string
	for _, d := range index.Manifests {
		types = append(types, d.ArtifactType)
	}
	slices.Sort(types)
	return types
}

// push pushes an image in the two requests per blob that every registry takes.
func push(t *testing.T, c *harness.Client, image *harness.Image, repository, tag string) {
	t.Helper()
	for _, blob := range append([][]byte{image.Config}, image.Layers...) {
		pushBlob(t, c, repository, blob)
	}
	harness.Must(t, c.PutManifest(t.Context(), repository, tag, harness.ImageManifest, image.Manifest))
}

func pushBlob(t *testing.T, c *harness.Client, repository string, blob []byte) {
	t.Helper()
	location, err := c.StartUpload(t.Context(), repository)
	harness.Must(t, err)
	reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodPut, Path: harness.AddQuery(location, "digest", harness.SHA256(blob)),
		Header: map[string]string{"Content-Type": "application/octet-stream"}, Body: blob})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
}
