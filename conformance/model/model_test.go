package model_test

import (
	"maps"
	"slices"
	"strings"

	"artifactstore/conformance/harness"
)

// blob is a byte sequence that the history may push, known by two digests.
type blob struct {
	data           []byte
	sha256, sha512 string
	// has512 tells that somebody has named it by its SHA-512. Before that a
	// server need not know that digest, so the history does not use it.
	has512 bool
}

func newBlob(data []byte) blob {
	return blob{data: data, sha256: harness.SHA256(data), sha512: harness.SHA512(data)}
}

// is tells whether a digest names the bytes.
func (b *blob) is(digest string) bool {
	return digest == b.sha256 || b.has512 && digest == b.sha512
}

// manifest is a manifest that the history may push.
type manifest struct {
	blob
	mediaType, artifactType string
	annotations             map[string]string
	blobs                   []*blob     // config and layers
	children                []*manifest // of an index
	subject                 string      // digest as written, or ""
}

// placed is a manifest in a repository.
type placed struct {
	order  int    // among all puts of the history
	digest string // by which it was pushed first
	class  class
}

type tag struct {
	manifest *manifest
	digest   string // that the tag answers with
}

// repository is a name, and what the repository of that name should hold.
type repository struct {
	name string
	*content
}

// content is what a repository should hold.
type content struct {
	exists    bool
	blobs     map[*blob]bool
	manifests map[*manifest]placed
	tags      map[string]tag
	life
}

func newContent() *content {
	return &content{blobs: map[*blob]bool{}, manifests: map[*manifest]placed{}, tags: map[string]tag{}, life: newLife()}
}

// upload is an open upload session.
type upload struct {
	repository *repository
	location   string
	data       []byte
}

// model is what the server should hold.
type model struct {
	repositories []*repository
	puts         int
	uploads      []*upload
	rules        document
	deleted      []*deleted
	undone       []uint64 // events that deleted repositories which were put back
}

func newModel(names ...string) *model {
	m := &model{}
	for _, name := range names {
		m.repositories = append(m.repositories, &repository{name, newContent()})
	}
	return m
}

// catalog is the sorted list of the repositories that exist.
func (m *model) catalog() []string {
	var names []string
	for _, r := range m.repositories {
		if r.exists {
			names = append(names, r.name)
		}
	}
	slices.Sort(names)
	return names
}

// holder tells whether any repository holds a blob.
func (m *model) holder(b *blob) bool {
	return slices.ContainsFunc(m.repositories, func(r *repository) bool { return r.blobs[b] })
}

func (r *repository) link(b *blob) {
	r.exists = true
	r.blobs[b] = true
}

// unknown is the code for what is absent.
func (r *repository) unknown(code string) string {
	if !r.exists {
		return "NAME_UNKNOWN"
	}
	return code
}

// find returns the manifest that a digest names, or nil.
func (r *repository) find(digest string) *manifest {
	for m := range r.manifests {
		if m.is(digest) {
			return m
		}
	}
	return nil
}

// references tells whether a manifest of the repository needs a blob.
func (r *repository) references(b *blob) bool {
	for m := range r.manifests {
		if slices.Contains(m.blobs, b) {
			return true
		}
	}
	return false
}

// complete tells whether everything is there that a manifest references.
func (r *repository) complete(m *manifest) bool {
	for _, b := range m.blobs {
		if !r.blobs[b] {
			return false
		}
	}
	for _, child := range m.children {
		if _, ok := r.manifests[child]; !ok {
			return false
		}
	}
	return true
}

// put makes a manifest part of the repository and moves tags to it.
func (r *repository) put(m *manifest, p placed, digest string, tags []string) {
	r.exists = true
	if digest == m.sha512 {
		m.has512 = true
	}
	if _, ok := r.manifests[m]; !ok {
		p.digest = digest
		r.manifests[m] = p
		delete(r.graves, m)
	}
	for _, name := range tags {
		r.moveTag(name, m, digest)
	}
}

// tagNames is the sorted list of tags.
func (r *repository) tagNames() []string { return slices.Sorted(maps.Keys(r.tags)) }

// referrers returns what refers to a digest, in the order of the puts.
func (r *repository) referrers(digest, artifactType string) []*manifest {
	names := []string{digest}
	if subject := r.find(digest); subject != nil {
		names = append(names, subject.sha256)
		if subject.has512 {
			names = append(names, subject.sha512)
		}
	}
	var found []*manifest
	for m := range r.manifests {
		if m.subject != "" && slices.Contains(names, m.subject) && (artifactType == "" || artifactType == m.artifactType) {
			found = append(found, m)
		}
	}
	slices.SortFunc(found, func(a, b *manifest) int { return r.manifests[a].order - r.manifests[b].order })
	return found
}

// after returns the part of a sorted list that follows a name.
func after(names []string, last string) []string {
	i, _ := slices.BinarySearchFunc(names, last, func(name, last string) int {
		if c := strings.Compare(name, last); c != 0 {
			return c
		}
		return -1 // the name itself does not follow
	})
	return names[i:]
}
