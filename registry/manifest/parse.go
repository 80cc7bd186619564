package manifest

import (
	specs "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/canon"
)

// Limits bound what one manifest may hold, and so what reading it costs. The
// number of bytes is the caller's to bound; the depth is 64.
type Limits struct {
	// Descriptors counts the config, the layers, the manifests and the subject.
	Descriptors int
	// Entries counts annotations, URLs and platform features, in the
	// manifest and in all of its descriptors.
	Entries int
}

// DefaultLimits returns the limits that hold unless configured otherwise.
func DefaultLimits() Limits { return Limits{Descriptors: 10_000, Entries: 10_000} }

// Parse reads a pushed manifest. contentType is the header of the push, or "":
// then the mediaType member decides, and without that the shape.
//
// It refuses what two readers could understand differently and what the
// specification forbids; members that the specification does not know are
// ignored, unless only upper or lower case sets them apart from one that it
// knows; null stands for an absent member or an empty list. Every error is an
// *Error. The result keeps nothing of raw.
func Parse(raw []byte, contentType string, limits Limits) (*Parsed, error) {
	declared := essence(contentType)
	if declared != "" {
		if err := checkMediaType("Content-Type", declared); err != nil {
			return nil, err
		}
	}
	d := document{reader: reader{JSONReader: canon.NewJSONReader(raw), limits: limits}}
	if err := d.read(); err != nil {
		return nil, within("", err)
	}
	if err := d.decideType(declared); err != nil {
		return nil, err
	}
	if err := d.checkShape(); err != nil {
		return nil, err
	}
	return d.parsed(), nil
}

// document collects the members of a manifest of any kind.
type document struct {
	reader
	version                 int64
	mediaType, artifactType string
	config, subject         *Descriptor
	layers, manifests       []Descriptor
	// hasLayers and hasManifests tell that the list is there, perhaps empty.
	hasLayers, hasManifests bool
	annotations             map[string]string
}

// read reads the whole text.
func (d *document) read() error {
	if err := d.Object(d.member); err != nil {
		return err
	}
	return d.End()
}

func (d *document) member(name string) error {
	if err := checkName(name, documentMembers); err != nil {
		return err
	}
	switch name {
	case "layers":
		d.hasLayers = true
		return within(name, d.descriptors(&d.layers))
	case "manifests":
		d.hasManifests = true
		return within(name, d.descriptors(&d.manifests))
	}
	if null, err := d.Null(); null || err != nil {
		return err
	}
	switch name {
	case "schemaVersion":
		return within(name, d.integer(&d.version))
	case "mediaType":
		return within(name, d.text(&d.mediaType))
	case "artifactType":
		return within(name, d.typeName(&d.artifactType))
	case "config":
		return within(name, d.descriptor(&d.config))
	case "subject":
		return within(name, d.descriptor(&d.subject))
	case "annotations":
		return within(name, d.annotate(&d.annotations))
	default:
		return d.Skip() // its name may not be fit to be sent: no field
	}
}

// decideType settles the media type from the Content-Type, the mediaType
// member and the shape.
func (d *document) decideType(declared string) error {
	if d.version == 1 {
		return errSchema1()
	}
	if d.version != 2 {
		return &Error{Field: "schemaVersion", Problem: "must be 2"}
	}
	if d.mediaType != "" {
		if err := checkMediaType("mediaType", d.mediaType); err != nil {
			return err
		}
		if declared != "" && declared != d.mediaType {
			return &Error{Field: "mediaType", Problem: "must be the same as the Content-Type"}
		}
		return nil
	}
	switch {
	case declared == dockerManifest || declared == dockerList:
		return &Error{Field: "mediaType", Problem: "is missing, and required in a Docker manifest"}
	case declared != "":
		d.mediaType = declared
	case d.hasManifests:
		d.mediaType = specs.MediaTypeImageIndex
	case d.hasLayers && d.config != nil:
		d.mediaType = specs.MediaTypeImageManifest
	default:
		return &Error{Problem: "must have config and layers, or manifests"}
	}
	return nil
}

// checkShape makes sure that the members are those of the kind. A document that
// can be read as both kinds is refused (GHSA-qq97-vm5h-rrhg).
func (d *document) checkShape() error {
	isPackage := kinds[d.mediaType] == Package
	switch {
	case d.hasManifests && (d.hasLayers || d.config != nil):
		return &Error{Problem: "must not have both manifests and config or layers"}
	case isPackage && d.config == nil:
		return &Error{Field: "config", Problem: "is missing"}
	case isPackage && !d.hasLayers:
		return &Error{Field: "layers", Problem: "is missing"}
	case !isPackage && !d.hasManifests:
		return &Error{Field: "manifests", Problem: "is missing"}
	}
	return nil
}

func (d *document) parsed() *Parsed {
	p := &Parsed{
		Kind: kinds[d.mediaType], MediaType: d.mediaType,
		ArtifactType: d.artifactType, DeclaredArtifactType: d.artifactType,
		Config: d.config, Layers: d.layers, Manifests: d.manifests,
		Subject: d.subject, Annotations: d.annotations,
	}
	if p.ArtifactType == "" && p.Config != nil {
		p.ArtifactType = p.Config.MediaType
	}
	return p
}
