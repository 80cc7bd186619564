package life_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"artifactstore/conformance/harness"
)

// pool are byte sequences that all images are made of: half of them are kept in the
// database, the others are objects.
func pool(seed uint64) (all [][]byte) {
	for i := range uint64(10) {
		size := 2000
		if i%2 == 1 {
			size = 70_000 + int(i)*4000
		}
		all = append(all, harness.Random(seed+i, size))
	}
	return all
}

// image is a manifest in a repository: an image, a signature of one, or an index.
type image struct {
	repository, mediaType, digest string
	manifest                      []byte
	blobs                         [][]byte
	children                      []*image
	subject                       *image

	mu sync.Mutex
	state
}

// state is what a client may expect of an image.
type state struct {
	there   bool // it was acknowledged, and nobody has begun to delete it since
	changes int  // how often there has changed
}

func (i *image) now() state {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.state
}

func (i *image) set(there bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.state = state{there, i.changes + 1}
}

func (i *image) path() string { return "/v2/" + i.repository + "/manifests/" + i.digest }

// newImage makes an image of some byte sequences. Its number makes it unlike others;
// some are too large for the database.
func newImage(repository, number string, large bool, blobs [][]byte, subject *image) *image {
	m := harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest, Config: harness.Describe(harness.ImageConfig, blobs[0]),
		Layers: []harness.Descriptor{}, Annotations: map[string]string{"number": number}}
	for _, b := range blobs[1:] {
		m.Layers = append(m.Layers, harness.Describe(harness.ImageLayer, b))
	}
	if subject != nil {
		d := harness.Describe(subject.mediaType, subject.manifest)
		m.Subject, m.ArtifactType = &d, "application/vnd.example.signature"
	}
	return finish(&image{repository: repository, mediaType: m.MediaType, manifest: harness.Encode(m), blobs: blobs, subject: subject}, large)
}

func newIndex(repository, number string, children []*image) *image {
	m := harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, Manifests: []harness.Descriptor{}, Annotations: map[string]string{"number": number}}
	for _, c := range children {
		m.Manifests = append(m.Manifests, harness.Describe(c.mediaType, c.manifest))
	}
	return finish(&image{repository: repository, mediaType: m.MediaType, manifest: harness.Encode(m), children: children}, false)
}

func finish(i *image, large bool) *image {
	if large {
		i.manifest = append(i.manifest, bytes.Repeat([]byte(" "), 66_000)...)
	}
	i.digest = harness.SHA256(i.manifest)
	return i
}

// errAnswer is an answer that is not the one that was due.
type errAnswer struct {
	what   string
	status int
	body   []byte
}

func (e *errAnswer) Error() string {
	return fmt.Sprintf("%s: status %d: %.300s", e.what, e.status, e.body)
}

// due returns an error unless a request to a server was answered with one of the
// statuses.
func due(ctx context.Context, c *harness.Client, r harness.Request, statuses ...int) (harness.Reply, error) {
	reply, err := c.Do(ctx, r)
	if err == nil && !slices.Contains(statuses, reply.Status) {
		err = &errAnswer{r.Method + " " + r.Path, reply.Status, reply.Body}
	}
	return reply, err
}

// pull reads an image and all that it needs.
func (i *image) pull(ctx context.Context, c *harness.Client) error {
	if err := same(ctx, c, i.path(), i.manifest); err != nil {
		return err
	}
	for _, b := range i.blobs {
		if err := same(ctx, c, "/v2/"+i.repository+"/blobs/"+harness.SHA256(b), b); err != nil {
			return fmt.Errorf("of %s: %w", i.digest, err)
		}
	}
	for _, child := range i.children {
		if err := child.pull(ctx, c); err != nil {
			return fmt.Errorf("child of %s: %w", i.digest, err)
		}
	}
	return nil
}

func same(ctx context.Context, c *harness.Client, path string, want []byte) error {
	reply, err := due(ctx, c, harness.Request{Method: http.MethodGet, Path: path}, http.StatusOK)
	if err == nil && !bytes.Equal(reply.Body, want) {
		err = fmt.Errorf("%s: %d bytes that were not pushed", path, len(reply.Body))
	}
	return err
}

// refers looks for an image among the referrers of its subject.
func (i *image) refers(ctx context.Context, c *harness.Client) error {
	for path := "/v2/" + i.repository + "/referrers/" + i.subject.digest; path != ""; {
		reply, err := due(ctx, c, harness.Request{Method: http.MethodGet, Path: path}, http.StatusOK)
		if err != nil {
			return err
		}
		var index harness.Index
		if err := json.Unmarshal(reply.Body, &index); err != nil {
			return err
		}
		if slices.ContainsFunc(index.Manifests, func(d harness.Descriptor) bool { return d.Digest == i.digest }) {
			return nil
		}
		path = reply.Next()
	}
	return errors.New(i.digest + " is not among the referrers of its subject " + i.subject.digest)
}

// bring makes sure that a repository has a blob, as clients do: it asks, mounts from
// another repository, and pushes. It returns what it has done.
func (i *image) bring(ctx context.Context, c *harness.Client, b []byte, from string, parts bool) (done string, err error) {
	digest := harness.SHA256(b)
	reply, err := due(ctx, c, harness.Request{Method: http.MethodHead, Path: "/v2/" + i.repository + "/blobs/" + digest},
		http.StatusOK, http.StatusNotFound)
	if err != nil || reply.Status == http.StatusOK {
		return "found", err
	}
	uploads := "/v2/" + i.repository + "/blobs/uploads/"
	path := harness.AddQuery(harness.AddQuery(uploads, "mount", digest), "from", from)
	reply, err = due(ctx, c, harness.Request{Method: http.MethodPost, Path: path}, http.StatusCreated, http.StatusAccepted)
	if err != nil || reply.Status == http.StatusCreated {
		return "mounted", err
	}
	location, rest := reply.Header.Get("Location"), b
	if parts {
		half := len(b) / 2
		reply, err = due(ctx, c, harness.Request{Method: http.MethodPatch, Path: location, Header: harness.ChunkHeader(0, half), Body: b[:half]},
			http.StatusAccepted)
		if err != nil {
			return "", err
		}
		location, rest = reply.Header.Get("Location"), b[half:]
	}
	_, err = due(ctx, c, harness.Request{Method: http.MethodPut, Path: harness.AddQuery(location, "digest", digest), Body: rest}, http.StatusCreated)
	return "sent", err
}

// put pushes the manifest by its digest, with a tag.
func (i *image) put(ctx context.Context, c *harness.Client, tag string, statuses ...int) (harness.Reply, error) {
	path := i.path()
	if tag != "" {
		path = harness.AddQuery(path, "tag", tag)
	}
	return due(ctx, c, harness.Request{Method: http.MethodPut, Path: path, Body: i.manifest,
		Header: map[string]string{"Content-Type": i.mediaType}}, append(statuses, http.StatusCreated)...)
}
