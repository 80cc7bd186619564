package model_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"artifactstore/conformance/harness"
)

// manifest returns one that was made before, or a new one that the repository
// is likely to have everything for.
func (h *history) manifest(r *repository) *manifest {
	if len(h.made) > 0 && h.IntN(3) == 0 {
		again := pick(h, h.made)
		if !r.complete(again) {
			again = pick(h, h.made) // a second chance
		}
		return again
	}
	m := h.newManifest(r)
	h.made = append(h.made, m)
	return m
}

// newManifest makes an image, an artifact or an index. Its number among the
// annotations makes it unlike all others.
func (h *history) newManifest(r *repository) *manifest {
	m := &manifest{annotations: map[string]string{"number": fmt.Sprint(len(h.made))}}
	if h.IntN(8) == 0 {
		m.annotations[classAnnotation] = pick(h, []string{"raw-evidence", "raw-evidence", "transient", "permanent-record", "none-such"})
	}
	if h.IntN(2) == 0 {
		m.artifactType = pick(h, []string{"application/vnd.example.one", "application/vnd.example.two"})
	}
	subject := h.subject()
	if subject != nil {
		m.subject = subject.Digest
	}
	if len(h.made) > 0 && h.IntN(4) == 0 {
		h.fillIndex(m, r, subject)
		return m
	}
	image := harness.Manifest{SchemaVersion: 2, MediaType: harness.ImageManifest, ArtifactType: m.artifactType,
		Config: h.describe(h.use(m, r), harness.ImageConfig), Layers: []harness.Descriptor{},
		Subject: subject, Annotations: m.annotations}
	for range h.IntN(4) {
		image.Layers = append(image.Layers, h.describe(h.use(m, r), harness.ImageLayer))
	}
	if m.artifactType == "" {
		m.artifactType = harness.ImageConfig // what the specification falls back to
	}
	data := harness.Encode(image)
	if h.IntN(12) == 0 {
		data = append(data, bytes.Repeat([]byte(" "), 66_000)...) // too large for the database
	}
	m.blob, m.mediaType = newBlob(data), harness.ImageManifest
	return m
}

// use makes a manifest reference a blob, mostly one that the repository holds.
func (h *history) use(m *manifest, r *repository) *blob {
	b := h.likely(r)
	m.blobs = append(m.blobs, b)
	return b
}

func (h *history) likely(r *repository) *blob {
	const rarely, tries = 60, 30
	b := pick(h, h.blobs)
	for range tries {
		if r.blobs[b] || h.IntN(rarely) == 0 {
			break
		}
		b = pick(h, h.blobs)
	}
	return b
}

func (h *history) fillIndex(m *manifest, r *repository, subject *harness.Descriptor) {
	index := harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, ArtifactType: m.artifactType,
		Manifests: []harness.Descriptor{}, Subject: subject, Annotations: m.annotations}
	for range h.IntN(4) {
		child := pick(h, h.made)
		if _, ok := r.manifests[child]; !ok {
			child = pick(h, h.made) // a second chance
		}
		m.children = append(m.children, child)
		index.Manifests = append(index.Manifests, h.describe(&child.blob, child.mediaType))
	}
	m.blob, m.mediaType = newBlob(harness.Encode(index)), harness.ImageIndex
}

func (h *history) describe(b *blob, mediaType string) harness.Descriptor {
	return harness.Descriptor{MediaType: mediaType, Digest: h.digest(b), Size: int64(len(b.data))}
}

// subject returns the descriptor of a manifest that may or may not be pushed,
// or nil.
func (h *history) subject() *harness.Descriptor {
	if h.IntN(3) > 0 || len(h.made) == 0 {
		return nil
	}
	// A few subjects get many referrers, so that there are pages.
	of := h.made[min(h.IntN(len(h.made)), h.IntN(len(h.made)), h.IntN(len(h.made)))]
	d := h.describe(&of.blob, of.mediaType)
	return &d
}

// push is a push of a manifest, and what the model knows of it.
type push struct {
	repository *repository
	manifest   *manifest
	reference  string
	digest     string   // that the answer names
	further    []string // tags of the query
	tags       []string // all tags
	header     map[string]string
}

func (h *history) newPush() push {
	r := h.repository()
	p := push{repository: r, manifest: h.manifest(r)}
	p.header = map[string]string{"Content-Type": p.manifest.mediaType}
	p.digest = p.manifest.sha256
	if h.IntN(2) == 0 {
		p.reference = pick(h, tagPool)
		p.tags = []string{p.reference}
		return p
	}
	if h.IntN(3) == 0 {
		p.digest = p.manifest.sha512
	}
	p.reference = p.digest
	for range h.IntN(3) {
		if name := pick(h, tagPool); !slices.Contains(p.further, name) {
			p.further = append(p.further, name)
		}
	}
	p.tags = p.further
	return p
}

func (h *history) putManifest(ctx context.Context) error { return h.put(ctx, h.newPush(), always) }

// putConditionally pushes under a condition that may or may not hold.
func (h *history) putConditionally(ctx context.Context) error {
	p := h.newPush()
	if len(p.tags) == 0 {
		return nil
	}
	if h.IntN(3) == 0 {
		p.header["If-None-Match"] = "*"
		return h.put(ctx, p, func(_ tag, exists bool) bool { return !exists })
	}
	match := pick(h, p.tags)
	digest := harness.SHA256([]byte("something else"))
	if current, ok := p.repository.tags[match]; ok && h.IntN(4) > 0 {
		digest = h.digest(&current.manifest.blob)
	}
	p.header["If-Match"] = `"` + digest + `"`
	return h.put(ctx, p, func(t tag, exists bool) bool {
		return exists && (t.manifest == p.manifest || t.manifest.is(digest))
	})
}

// refusal is the status with which a push of a manifest is refused, or 0.
func (p push) refusal(m *model, condition func(tag, bool) bool) int {
	r := p.repository
	if !r.complete(p.manifest) {
		return http.StatusBadRequest
	}
	for _, name := range p.tags {
		t, exists := r.tags[name]
		if !condition(t, exists) {
			return http.StatusPreconditionFailed
		}
		if exists && t.manifest != p.manifest && m.frozenTag(r, name) {
			return http.StatusForbidden
		}
	}
	if _, there := r.manifests[p.manifest]; !there {
		if _, allowed := m.rules.class(r.name, p.manifest.annotations[classAnnotation]); !allowed {
			return http.StatusForbidden
		}
	}
	return 0
}

// refusalCodes are the codes of the refusals of a push.
var refusalCodes = map[int]string{
	http.StatusBadRequest: "MANIFEST_BLOB_UNKNOWN", http.StatusPreconditionFailed: "PRECONDITION_FAILED",
	http.StatusForbidden: "DENIED",
}

func always(tag, bool) bool { return true }

func (h *history) put(ctx context.Context, p push, condition func(tag, bool) bool) error {
	path := "/v2/" + p.repository.name + "/manifests/" + p.reference
	for _, name := range p.further {
		path = harness.AddQuery(path, "tag", name)
	}
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPut, Path: path, Header: p.header, Body: p.manifest.data})
	if err != nil {
		return err
	}
	if status := p.refusal(h.model, condition); status != 0 {
		return expect(reply, "put of a manifest", status, refusalCodes[status])
	}
	if err := expect(reply, "put of a manifest", http.StatusCreated, ""); err != nil {
		return err
	}
	h.model.puts++
	given, _ := h.model.rules.class(p.repository.name, p.manifest.annotations[classAnnotation])
	p.repository.put(p.manifest, placed{order: h.model.puts, class: given}, p.digest, p.tags)
	if got := reply.Header.Values("OCI-Tag"); !slices.Equal(split(got), p.further) {
		return fmt.Errorf("put of a manifest: OCI-Tag is %q, the model says %q", got, p.further)
	}
	if err := expectHeader(reply, "put of a manifest", "OCI-Subject", p.manifest.subject); err != nil {
		return err
	}
	return expectHeader(reply, "put of a manifest", "Docker-Content-Digest", p.digest)
}

// split undoes the joining of several values of a header.
func split(values []string) []string {
	var all []string
	for _, value := range values {
		for part := range strings.SplitSeq(value, ",") {
			all = append(all, strings.TrimSpace(part))
		}
	}
	return all
}

// readManifest reads by tag or digest.
func (h *history) readManifest(ctx context.Context) error {
	r, method := h.repository(), pick(h, []string{get, head})
	if len(h.made) == 0 || h.IntN(2) == 0 {
		return h.checkTag(ctx, r, pick(h, tagPool), method)
	}
	return h.checkManifest(ctx, r, pick(h, h.made), method)
}

func (h *history) checkTag(ctx context.Context, r *repository, name, method string) error {
	t, exists := r.tags[name]
	if !exists {
		t.manifest = nil
	}
	return h.checkReference(ctx, r, name, t.digest, t.manifest, method)
}

func (h *history) checkManifest(ctx context.Context, r *repository, m *manifest, method string) error {
	digest := h.digest(&m.blob)
	if _, ok := r.manifests[m]; !ok {
		m = nil
	}
	return h.checkReference(ctx, r, digest, digest, m, method)
}

// checkReference reads a reference and compares with a manifest, nil for none.
func (h *history) checkReference(ctx context.Context, r *repository, reference, digest string, m *manifest, method string) error {
	reply, err := h.do(ctx, harness.Request{Method: method, Path: "/v2/" + r.name + "/manifests/" + reference})
	if err != nil {
		return err
	}
	const what = "read of a manifest"
	if m == nil {
		return expect(reply, what, http.StatusNotFound, r.unknown("MANIFEST_UNKNOWN"))
	}
	if err := expect(reply, what, http.StatusOK, ""); err != nil {
		return err
	}
	if method == get && !bytes.Equal(reply.Body, m.data) {
		return fmt.Errorf("%s: bytes of %s, the model says %s", what, harness.SHA256(reply.Body), m.sha256)
	}
	if err := expectHeader(reply, what, "Content-Type", m.mediaType); err != nil {
		return err
	}
	return expectHeader(reply, what, "Docker-Content-Digest", digest)
}

func (h *history) deleteManifest(ctx context.Context) error {
	if len(h.made) == 0 {
		return nil
	}
	return h.remove(ctx, h.repository(), pick(h, h.made))
}

func (h *history) remove(ctx context.Context, r *repository, m *manifest) error {
	reply, err := h.do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/" + r.name + "/manifests/" + h.digest(&m.blob)})
	if err != nil {
		return err
	}
	switch {
	case !r.has(m):
		return expect(reply, "delete of a manifest", http.StatusNotFound, r.unknown("MANIFEST_UNKNOWN"))
	case h.model.frozen(r, m):
		return expect(reply, "delete of a frozen manifest", http.StatusForbidden, "DENIED")
	}
	r.bury(m)
	return expect(reply, "delete of a manifest", http.StatusAccepted, "")
}

func (h *history) deleteTag(ctx context.Context) error {
	r, name := h.repository(), pick(h, tagPool)
	reply, err := h.do(ctx, harness.Request{Method: http.MethodDelete, Path: "/v2/" + r.name + "/manifests/" + name})
	if err != nil {
		return err
	}
	t, ok := r.tags[name]
	switch {
	case !ok:
		return expect(reply, "delete of a tag", http.StatusNotFound, r.unknown("MANIFEST_UNKNOWN"))
	case h.model.frozenTag(r, name):
		return expect(reply, "delete of a frozen tag", http.StatusForbidden, "DENIED")
	}
	r.dropTag(name, t.manifest)
	return expect(reply, "delete of a tag", http.StatusAccepted, "")
}
