package manifest

import (
	"fmt"
	"slices"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
)

// Schema is the version of the native form that this package writes and reads.
const Schema = 1

// Manifest is the native form of a manifest: a function of the pushed bytes
// and, for the descriptors whose content is held, of BLAKE3 and SHA-256 alone.
type Manifest struct {
	Schema int64 `cbor:"schema"`
	Kind   Kind  `cbor:"kind"`
	// Source is the pushed bytes. Their media type is that of the manifest.
	Source Source `cbor:"source"`
	// ArtifactType is the artifactType member as written, or "".
	ArtifactType string            `cbor:"artifactType,omitempty"`
	Config       *Item             `cbor:"config,omitempty"` // of a package
	Layers       []Item            `cbor:"layers,omitempty"` // of a package
	Manifests    []Item            `cbor:"manifests,omitempty"`
	Subject      *Item             `cbor:"subject,omitempty"`
	Annotations  map[string]string `cbor:"annotations,omitempty"`
}

// Source is the pushed bytes that a native manifest was made from.
type Source struct {
	// Digests is exactly BLAKE3 and SHA-256, whatever digest the client
	// used, so that two servers agree.
	Digests   identity.DigestSet `cbor:"digests"`
	MediaType string             `cbor:"mediaType"`
	Size      int64              `cbor:"size"` // bytes
}

// Item is a descriptor in native form.
type Item struct {
	// Digests is exactly BLAKE3, SHA-256 and the named algorithm if the
	// content was held when the manifest was put, the named digest alone if not.
	Digests identity.DigestSet `cbor:"digests"`
	// Named is the algorithm of the digest as written.
	Named        identity.Algorithm `cbor:"named"`
	MediaType    string             `cbor:"mediaType"`
	Size         int64              `cbor:"size"` // bytes
	ArtifactType string             `cbor:"artifactType,omitempty"`
	URLs         []string           `cbor:"urls,omitempty"`
	Annotations  map[string]string  `cbor:"annotations,omitempty"`
	Platform     *Platform          `cbor:"platform,omitempty"`
}

// Digest returns the digest as written.
func (i *Item) Digest() identity.Digest {
	d, _ := i.Digests.Get(i.Named)
	return d
}

// Held tells whether the content was held when the manifest was put.
func (i *Item) Held() bool { return len(i.Digests) > 1 }

// Build makes the native form of a manifest. source and size are of the pushed
// bytes; source has at least BLAKE3 and SHA-256. resolve returns all digests of
// content that is held, given the digest as written, and false for the rest.
// The result shares lists and maps with p.
func Build(p *Parsed, source identity.DigestSet, size int64, resolve func(identity.Digest) (identity.DigestSet, bool)) *Manifest {
	m := &Manifest{
		Schema:       Schema,
		Kind:         p.Kind,
		Source:       Source{Digests: narrow(source), MediaType: p.MediaType, Size: size},
		ArtifactType: p.DeclaredArtifactType,
		Layers:       items(p.Layers, resolve),
		Manifests:    items(p.Manifests, resolve),
		Annotations:  p.Annotations,
	}
	if p.Config != nil {
		config := item(p.Config, resolve)
		m.Config = &config
	}
	if p.Subject != nil {
		subject := item(p.Subject, resolve)
		m.Subject = &subject
	}
	return m
}

func items(descriptors []Descriptor, resolve func(identity.Digest) (identity.DigestSet, bool)) []Item {
	list := make([]Item, len(descriptors))
	for i := range descriptors {
		list[i] = item(&descriptors[i], resolve)
	}
	return list
}

func item(d *Descriptor, resolve func(identity.Digest) (identity.DigestSet, bool)) Item {
	digests := identity.DigestSet{d.Digest}
	if held, ok := resolve(d.Digest); ok && held.Has(d.Digest) {
		digests = narrow(held, d.Digest.Algorithm())
	}
	return Item{Digests: digests, Named: d.Digest.Algorithm(), MediaType: d.MediaType, Size: d.Size,
		ArtifactType: d.ArtifactType, URLs: d.URLs, Annotations: d.Annotations, Platform: d.Platform}
}

// narrow keeps BLAKE3, SHA-256 and the named algorithms: what else is known of
// a byte sequence differs from server to server.
func narrow(set identity.DigestSet, named ...identity.Algorithm) identity.DigestSet {
	var kept identity.DigestSet
	for _, d := range set {
		a := d.Algorithm()
		if a == identity.BLAKE3 || a == identity.SHA256 || slices.Contains(named, a) {
			kept = append(kept, d)
		}
	}
	return kept
}

// Encode returns the canonical CBOR of m, which names it. It fails if m is not
// valid; what Build makes of a Parsed is.
func (m *Manifest) Encode() ([]byte, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("encode native manifest: %w", err)
	}
	return canon.Marshal(m)
}

// Decode reads what Encode wrote, and nothing else: its errors wrap ErrInvalid.
func Decode(data []byte) (*Manifest, error) {
	m := new(Manifest)
	if err := canon.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("decode native manifest: %w: %w", ErrInvalid, err)
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("decode native manifest: %w", err)
	}
	return m, nil
}

// JCS returns the JSON projection of m (RFC 8785).
func (m *Manifest) JCS() ([]byte, error) {
	data, err := m.Encode()
	if err != nil {
		return nil, err
	}
	return canon.ToJCS(data)
}

// FromJCS reads what JCS wrote, and nothing else: its errors wrap ErrInvalid.
func FromJCS(text []byte) (*Manifest, error) {
	data, err := canon.FromJCS(text)
	if err != nil {
		return nil, fmt.Errorf("decode native manifest: %w: %w", ErrInvalid, err)
	}
	return Decode(data)
}

// Digest returns the native digest: the BLAKE3 of the canonical CBOR.
func (m *Manifest) Digest() (identity.Digest, error) {
	data, err := m.Encode()
	if err != nil {
		return identity.Digest{}, err
	}
	return identity.FromBytes(identity.BLAKE3, data), nil
}
