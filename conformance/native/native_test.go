// Package native_test checks the promise of the native manifest: two servers
// that are fed the same complete content give it the same native digest,
// whatever the order, the way and the digest algorithms of the pushes.
package native_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// content is an index of two images, and a signature of the index.
type content struct {
	images    []*harness.Image
	index     []byte
	signature []byte // a manifest, whose only blob is the empty config
}

var emptyConfig = []byte("{}")

func newContent() content {
	c := content{images: []*harness.Image{harness.NewImage(1, 3, 1000), harness.NewImage(2, 2, 100_000)}}
	index := harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, Annotations: map[string]string{"b": "2", "a": "1"}}
	for _, image := range c.images {
		index.Manifests = append(index.Manifests, harness.Describe(harness.ImageManifest, image.Manifest))
	}
	c.index = harness.Encode(index)
	subject := harness.Describe(harness.ImageIndex, c.index)
	c.signature = harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
		ArtifactType: "application/vnd.example.signature", Config: harness.Describe(harness.EmptyJSON, emptyConfig),
		Layers: []harness.Descriptor{}, Subject: &subject})
	return c
}

func (c content) blobs() [][]byte {
	blobs := [][]byte{emptyConfig}
	for _, image := range c.images {
		blobs = append(append(blobs, image.Config), image.Layers...)
	}
	return blobs
}

// pushPlainly pushes everything in one piece, in order, by SHA-256 and tag.
func (c content) pushPlainly(t *testing.T, client *harness.Client) {
	ctx := t.Context()
	for _, blob := range c.blobs() {
		harness.Must(t, client.PushBlob(ctx, "native/plain", harness.SHA256(blob), blob))
	}
	for i, image := range c.images {
		harness.Must(t, client.PutManifest(ctx, "native/plain", fmt.Sprintf("image%d", i), harness.ImageManifest, image.Manifest))
	}
	harness.Must(t, client.PutManifest(ctx, "native/plain", "index", harness.ImageIndex, c.index))
	harness.Must(t, client.PutManifest(ctx, "native/plain", "signature", harness.ImageManifest, c.signature))
}

// pushOddly pushes everything in chunks, backwards, each blob also by SHA-512,
// after other content, and manifests by their SHA-512 digest.
func (c content) pushOddly(t *testing.T, client *harness.Client) {
	ctx := t.Context()
	harness.Must(t, harness.NewImage(99, 1, 10).Push(ctx, client, "native/other", "v1"))
	blobs := c.blobs()
	slices.Reverse(blobs)
	for _, blob := range blobs {
		chunked(t, client, "native/odd", harness.SHA512(blob), blob)
		harness.Must(t, client.PushBlob(ctx, "native/odd", harness.SHA256(blob), blob))
	}
	for _, image := range slices.Backward(c.images) {
		harness.Must(t, client.PutManifest(ctx, "native/odd", harness.SHA512(image.Manifest), harness.ImageManifest, image.Manifest))
	}
	harness.Must(t, client.PutManifest(ctx, "native/odd", harness.SHA512(c.index), harness.ImageIndex, c.index))
	harness.Must(t, client.PutManifest(ctx, "native/odd", harness.SHA512(c.signature), harness.ImageManifest, c.signature))
}

// chunked pushes a blob in two chunks and an empty end.
func chunked(t *testing.T, client *harness.Client, repository, digest string, data []byte) {
	t.Helper()
	location, err := client.StartUpload(t.Context(), repository)
	harness.Must(t, err)
	for offset, half := 0, len(data)/2; offset < len(data); {
		end := offset + half
		if offset > 0 {
			end = len(data)
		}
		reply, err := client.SendChunk(t.Context(), location, int64(offset), data[offset:end])
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusAccepted))
		location, offset = reply.Header.Get("Location"), end
	}
	reply, err := client.Do(t.Context(), harness.Request{Method: http.MethodPut, Path: harness.AddQuery(location, "digest", digest)})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
}

// natives returns the native digest of every manifest of a repository, by the
// primary digest of the pushed bytes, as the log tells them.
func natives(t *testing.T, s *harness.Server, repository string) map[string]string {
	t.Helper()
	events, err := s.Events(0)
	harness.Must(t, err)
	found := map[string]string{}
	for _, e := range events {
		if e.Kind != "v1.manifest.put" {
			continue
		}
		var put struct {
			Repository string `json:"repository"`
			Manifest   string `json:"manifest"`
			Native     string `json:"native"`
		}
		harness.Must(t, json.Unmarshal(e.Payload, &put))
		if put.Repository == repository {
			found[put.Manifest] = put.Native
		}
	}
	return found
}

func TestTwoServersAgreeOnNativeDigests(t *testing.T) {
	content := newContent()
	plain, odd := harness.Start(t), harness.Start(t)
	content.pushPlainly(t, plain.Client())
	content.pushOddly(t, odd.Client())
	one, other := natives(t, plain, "native/plain"), natives(t, odd, "native/odd")
	const manifests = 4
	if len(one) != manifests || !maps.Equal(one, other) {
		t.Errorf("native digests of %d manifests differ:\n%v\n%v", manifests, one, other)
	}
	distinct := map[string]bool{}
	for manifest, native := range one {
		distinct[native] = true
		if !strings.HasPrefix(native, "blake3:") || native == manifest {
			t.Errorf("manifest %s has the native digest %s", manifest, native)
		}
	}
	if len(distinct) != manifests {
		t.Errorf("%d manifests have %d native digests", manifests, len(distinct))
	}
}
