// Package manifest reads the manifests that clients push, and keeps them in
// artifactstore's native form.
//
// Parse reads an OCI image manifest, an OCI index, a Docker schema 2 manifest or
// a manifest list strictly. Build makes the native Manifest of it, whose
// canonical CBOR names it: two servers that hold the same content give the
// same native digest to the same pushed bytes. The pushed bytes themselves are
// kept elsewhere and served verbatim.
//
// docs/format/manifest.md describes the native form byte by byte.
package manifest

import (
	"slices"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
)

// Kind is what a manifest is in the native model.
type Kind string

// The kinds of manifests.
const (
	// Package has a config and ordered layers: an image, or any artifact.
	Package Kind = "package"
	// Index has ordered manifests.
	Index Kind = "index"
)

// The roles of a Reference.
const (
	RoleConfig   = "config"
	RoleLayer    = "layer"
	RoleManifest = "manifest"
)

// Parsed is what a pushed manifest says. It is read only.
type Parsed struct {
	Kind Kind
	// MediaType is one of the four that are accepted, whether the
	// Content-Type, the manifest's own member or its shape told.
	MediaType string
	// ArtifactType is the type under which referrers are listed and
	// filtered: the declared one, else for a package that of the config.
	ArtifactType string
	// DeclaredArtifactType is the artifactType member, or "".
	DeclaredArtifactType string
	Config               *Descriptor  // not nil in a package, nil in an index
	Layers               []Descriptor // of a package
	Manifests            []Descriptor // of an index
	Subject              *Descriptor  // or nil
	Annotations          map[string]string
}

// Descriptor is a descriptor as written (OCI image specification,
// descriptor.md). Embedded data was checked and is not kept: it is the content
// that the digest names.
type Descriptor struct {
	MediaType    string
	Digest       identity.Digest
	Size         int64 // bytes, 0 to 2^53-1
	ArtifactType string
	URLs         []string
	Annotations  map[string]string
	Platform     *Platform // or nil
}

// Platform is what a manifest of an index runs on. Its members are "" or empty
// if they are absent.
type Platform struct {
	Architecture string   `cbor:"architecture,omitempty"`
	OS           string   `cbor:"os,omitempty"`
	OSVersion    string   `cbor:"os.version,omitempty"`
	OSFeatures   []string `cbor:"os.features,omitempty"`
	Variant      string   `cbor:"variant,omitempty"`
	Features     []string `cbor:"features,omitempty"` // Docker's manifest lists alone
}

// Reference is one descriptor of a manifest and what it is there for. The
// subject is no reference: it may be absent, and does not keep its target.
type Reference struct {
	Role string
	Descriptor
	// NonDistributable: a layer that the registry need not have, since its
	// media type says so or it is to be fetched from URLs.
	NonDistributable bool
}

// References returns the config and the layers of a package, or the manifests
// of an index, in the order of the manifest. An index may also list blobs;
// KindOf(MediaType) tells them apart.
func (p *Parsed) References() []Reference {
	refs := make([]Reference, 0, 1+len(p.Layers)+len(p.Manifests))
	if p.Config != nil {
		refs = append(refs, Reference{Role: RoleConfig, Descriptor: *p.Config})
	}
	for _, d := range p.Layers {
		apart := len(d.URLs) > 0 || slices.Contains(nondistributable, d.MediaType)
		refs = append(refs, Reference{Role: RoleLayer, Descriptor: d, NonDistributable: apart})
	}
	for _, d := range p.Manifests {
		refs = append(refs, Reference{Role: RoleManifest, Descriptor: d})
	}
	return refs
}

// ReferrerDescriptor returns the OCI descriptor, as canonical JSON, by which
// the referrers of the subject list this manifest, given the digest and size of
// the pushed bytes (OCI distribution specification, "Listing Referrers"). It is
// nil only if p did not come from Parse and holds what JSON cannot carry.
func ReferrerDescriptor(p *Parsed, digest identity.Digest, size int64) []byte {
	d := map[string]any{"mediaType": p.MediaType, "digest": digest.String(), "size": size}
	if p.ArtifactType != "" {
		d["artifactType"] = p.ArtifactType
	}
	if len(p.Annotations) > 0 {
		annotations := make(map[string]any, len(p.Annotations))
		for name, value := range p.Annotations {
			annotations[name] = value
		}
		d["annotations"] = annotations
	}
	text, err := canon.JCS(d)
	if err != nil {
		return nil
	}
	return text
}
