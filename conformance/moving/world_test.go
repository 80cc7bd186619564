package moving_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// world is what clients were told that a store has.
type world struct {
	want    map[string]string // sha256 of what is at a path, gone for nothing
	started []begun           // uploads on an earlier server
}

// begun is an upload of which a server had so many bytes.
type begun struct {
	location string
	size     int64
}

const gone = "gone"

func newWorld() *world { return &world{want: map[string]string{}} }

// sizes are inline, above the limit of that, and around the parts of S3, of which
// each has 5 MiB here.
var sizes = []int{0, 1, 1000, 65_536, 65_537, 200_000, 5 << 20, 5<<20 + 1}

// push pushes some of everything into repositories of its own.
func (w *world) push(t *testing.T, c *harness.Client, n uint64) {
	t.Helper()
	repository := fmt.Sprintf("moving/r%d", n)
	for i, size := range sizes {
		w.blob(t, c, repository, harness.Random(n<<8+uint64(i), size), i%3 == 2)
	}
	if n == 0 {
		w.blob(t, c, repository, harness.Random(98, 11<<20+7), false)
	}
	image := harness.NewImage(n, 3, 100_000)
	harness.Must(t, image.Push(t.Context(), c, repository, "v1"))
	for _, b := range append([][]byte{image.Config}, image.Layers...) {
		w.want["/v2/"+repository+"/blobs/"+harness.SHA256(b)] = harness.SHA256(b)
	}
	w.manifest(t, c, repository, "v2", harness.Encode(harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex,
		Manifests: []harness.Descriptor{harness.Describe(harness.ImageManifest, image.Manifest)}}))
	w.want["/v2/"+repository+"/manifests/v1"] = image.Digest

	subject := harness.Describe(harness.ImageManifest, image.Manifest)
	for i := range 3 {
		empty := []byte("{}")
		w.blob(t, c, repository, empty, false)
		refers := harness.Encode(harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest,
			ArtifactType: "application/vnd.example", Config: harness.Describe(harness.EmptyJSON, empty),
			Layers: []harness.Descriptor{}, Subject: &subject, Annotations: map[string]string{"number": fmt.Sprint(i)}})
		reference := harness.SHA256(refers)
		if i == 1 {
			reference = harness.SHA512(refers)
		}
		w.manifest(t, c, repository, reference, refers)
	}
	w.look(t, c, "/v2/"+repository+"/referrers/"+image.Digest)
	w.look(t, c, "/v2/"+repository+"/tags/list")
	w.remove(t, c, repository, n)
}

// remove pushes and deletes.
func (w *world) remove(t *testing.T, c *harness.Client, repository string, n uint64) {
	t.Helper()
	image := harness.NewImage(1000+n, 1, 70_000)
	harness.Must(t, image.Push(t.Context(), c, repository, "passing"))
	blob := harness.Random(n<<8+99, 80_000)
	w.blob(t, c, repository, blob, false)
	for _, path := range []string{"manifests/passing", "manifests/" + image.Digest, "blobs/" + harness.SHA256(blob)} {
		path = "/v2/" + repository + "/" + path
		reply, err := c.Do(t.Context(), harness.Request{Method: http.MethodDelete, Path: path})
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusAccepted))
		w.want[path] = gone
	}
}

func (w *world) blob(t *testing.T, c *harness.Client, repository string, data []byte, sha512 bool) {
	t.Helper()
	digest := harness.SHA256(data)
	w.want["/v2/"+repository+"/blobs/"+digest] = digest
	if sha512 {
		digest = harness.SHA512(data)
		w.want["/v2/"+repository+"/blobs/"+digest] = harness.SHA256(data)
	}
	harness.Must(t, c.PushBlob(t.Context(), repository, digest, data))
}

func (w *world) manifest(t *testing.T, c *harness.Client, repository, reference string, data []byte) {
	t.Helper()
	mediaType := harness.ImageManifest
	if strings.Contains(string(data), harness.ImageIndex) {
		mediaType = harness.ImageIndex
	}
	harness.Must(t, c.PutManifest(t.Context(), repository, reference, mediaType, data))
	w.want["/v2/"+repository+"/manifests/"+reference] = harness.SHA256(data)
}

// look remembers what is answered now.
func (w *world) look(t *testing.T, c *harness.Client, path string) {
	t.Helper()
	reply, err := c.Get(t.Context(), path)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	w.want[path] = harness.SHA256(reply.Body)
}

// lose removes an object from a data folder and pushes its content again, which
// gives it another place.
func (w *world) lose(t *testing.T, s *harness.Server, p harness.Place) {
	t.Helper()
	data := harness.Random(7777, 300_000)
	w.blob(t, s.Client(), "moving/lost", data, false)
	harness.Must(t, os.Remove(objectFile(t, s, p, harness.SHA256(data))))
	w.blob(t, s.Client(), "moving/lost", data, false)
	events, err := s.Events(0)
	harness.Must(t, err)
	for _, e := range events {
		if e.Kind == "v1.blob.moved" {
			return
		}
	}
	t.Error("no blob was moved")
}

// locator is where the event that stored a blob says that it is.
func locator(t *testing.T, s *harness.Server, digest string) string {
	t.Helper()
	events, err := s.Events(0)
	harness.Must(t, err)
	for _, e := range events {
		var payload struct {
			Digests []string
			Receipt struct{ Locator string }
		}
		harness.Must(t, json.Unmarshal(e.Payload, &payload))
		if e.Kind == "v1.blob.stored" && strings.Contains(fmt.Sprint(payload.Digests), digest) {
			return payload.Receipt.Locator
		}
	}
	t.Fatalf("no event stored %s", digest)
	return ""
}

// objectFile is the file of a blob in a data folder.
func objectFile(t *testing.T, s *harness.Server, p harness.Place, digest string) string {
	t.Helper()
	return filepath.Join(p.Data, "store", "objects", locator(t, s, digest))
}

// check reads everything, and finds nothing of uploads that were begun elsewhere.
func (w *world) check(t *testing.T, c *harness.Client) {
	t.Helper()
	defer c.Close()
	for path, digest := range w.want {
		reply, err := c.Get(t.Context(), path)
		harness.Must(t, err)
		got := gone
		if reply.Status == http.StatusOK {
			got = harness.SHA256(reply.Body)
		} else if err := reply.Expect(http.StatusNotFound); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		if got != digest {
			t.Errorf("%s: %s, want %s", path, got, digest)
		}
	}
	for _, u := range w.started {
		u.isEmpty(t, c)
	}
	w.started = nil
}

// begin begins uploads that will not be finished, small and large.
func (w *world) begin(t *testing.T, c *harness.Client) {
	t.Helper()
	for _, size := range []int{100, 6 << 20} {
		location, err := c.StartUpload(t.Context(), "moving/begun")
		harness.Must(t, err)
		reply, err := c.SendChunk(t.Context(), location, 0, harness.Random(1, size))
		harness.Must(t, err)
		harness.Must(t, reply.Expect(http.StatusAccepted))
		w.started = append(w.started, begun{reply.Header.Get("Location"), int64(size)})
	}
}

// isEmpty finds that nothing is left of an upload: it does not go on where it
// was, says so, and takes the bytes again from the first one.
func (u begun) isEmpty(t *testing.T, c *harness.Client) {
	t.Helper()
	reply, err := c.SendChunk(t.Context(), u.location, u.size, []byte("more"))
	harness.Must(t, err)
	if reply.Status != http.StatusRequestedRangeNotSatisfiable || reply.Header.Get("Range") != "0-0" {
		t.Errorf("an upload goes on in a copy: %d %s %s", reply.Status, reply.Header, reply.Body)
	}
	data := harness.Random(uint64(u.size), 1000)
	reply, err = c.Do(t.Context(), harness.Request{Method: http.MethodPut, Body: data,
		Path: harness.AddQuery(u.location, "digest", harness.SHA256(data))})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
}
