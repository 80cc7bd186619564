package manifest

import (
	"errors"
	"fmt"
	"slices"
	"unicode/utf8"

	"artifactstore/internal/canon"
	"artifactstore/registry/identity"
)

// ErrInvalid: the bytes are not the native form of a manifest.
var ErrInvalid = errors.New("invalid native manifest")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrInvalid, fmt.Errorf(format, args...))
}

// validate checks what the types leave open.
func (m *Manifest) validate() error {
	kind, known := kinds[m.Source.MediaType]
	switch {
	case m.Schema != Schema:
		return invalid("schema %d", m.Schema)
	case !known || kind != m.Kind:
		return invalid("source.mediaType does not fit the kind")
	case m.ArtifactType != "" && !isMediaType(m.ArtifactType):
		return invalid("artifactType is no media type")
	case kind == Package && (m.Config == nil || len(m.Manifests) > 0):
		return invalid("package without config or with manifests")
	case kind == Index && (m.Config != nil || len(m.Layers) > 0):
		return invalid("index with config or layers")
	}
	if err := m.Source.validate(); err != nil {
		return err
	}
	if err := m.validateItems(); err != nil {
		return err
	}
	return validateTexts("annotations", m.Annotations)
}

func (m *Manifest) validateItems() error {
	for _, i := range []*Item{m.Config, m.Subject} {
		if i == nil {
			continue
		}
		if err := i.validate(); err != nil {
			return err
		}
	}
	for _, list := range [][]Item{m.Layers, m.Manifests} {
		for i := range list {
			if err := list[i].validate(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Source) validate() error {
	if !hasExactly(s.Digests, identity.BLAKE3, identity.SHA256) {
		return invalid("source.digests is not BLAKE3 and SHA-256")
	}
	return validateSize(s.Size)
}

func (i *Item) validate() error {
	held := hasExactly(i.Digests, identity.BLAKE3, identity.SHA256, i.Named)
	switch {
	case !held && !hasExactly(i.Digests, i.Named):
		return invalid("digests do not fit the named algorithm")
	case !isMediaType(i.MediaType):
		return invalid("mediaType is no media type")
	case i.ArtifactType != "" && !isMediaType(i.ArtifactType):
		return invalid("artifactType is no media type")
	}
	if err := validateSize(i.Size); err != nil {
		return err
	}
	if err := validateText("urls", i.URLs...); err != nil {
		return err
	}
	if err := validateTexts("annotations", i.Annotations); err != nil {
		return err
	}
	if p := i.Platform; p != nil {
		return errors.Join(validateText("platform", p.Architecture, p.OS, p.OSVersion, p.Variant),
			validateText("platform", p.OSFeatures...), validateText("platform", p.Features...))
	}
	return nil
}

// hasExactly tells whether set is a valid set of the algorithms that are wanted
// and no others.
func hasExactly(set identity.DigestSet, want ...identity.Algorithm) bool {
	for _, a := range want {
		if _, ok := set.Get(a); !ok {
			return false
		}
	}
	for _, d := range set {
		if !slices.Contains(want, d.Algorithm()) {
			return false
		}
	}
	return set.Validate() == nil
}

func validateSize(n int64) error {
	if n < 0 || n > canon.MaxInteger {
		return invalid("size %d", n)
	}
	return nil
}

// validateText refuses text that neither CBOR nor JSON can carry. Decoding has
// done so already; values made by hand have not been decoded.
func validateText(field string, texts ...string) error {
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return invalid("%s has text that is not UTF-8", field)
		}
	}
	return nil
}

func validateTexts(field string, texts map[string]string) error {
	for name, s := range texts {
		if err := validateText(field, name, s); err != nil {
			return err
		}
	}
	return nil
}
