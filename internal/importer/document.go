package importer

import (
	"bytes"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of Docker's manifests.
const (
	dockerManifest      = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList          = "application/vnd.docker.distribution.manifest.list.v2+json"
	dockerSchema1       = "application/vnd.docker.distribution.manifest.v1+json"
	dockerSchema1Signed = "application/vnd.docker.distribution.manifest.v1+prettyjws"
	// artifactManifest was in drafts of OCI 1.1 and is gone.
	artifactManifest = "application/vnd.oci.artifact.manifest.v1+json"
)

// manifestTypes are the types that sources are asked for. Those that a
// registry of ours does not take are among them, to be reported by their name.
var manifestTypes = []string{
	ocispec.MediaTypeImageManifest, ocispec.MediaTypeImageIndex, dockerManifest, dockerList,
	artifactManifest, dockerSchema1Signed, dockerSchema1,
}

var errSchema1 = errors.New("it is of Docker schema 1, which is not supported: pull it with an engine that still can (Docker 25), push it again and import that")

// descriptors are those that a document lists.
type descriptors []ocispec.Descriptor

// UnmarshalJSON implements json.Unmarshaler. It refuses what takes many times
// its own size in memory: no descriptor is shorter than its digest, and "{}"
// can be written a million times.
func (d *descriptors) UnmarshalJSON(raw []byte) error {
	const few, shortest = 1000, 80
	decoder := json.NewDecoder(bytes.NewReader(raw))
	open, err := decoder.Token()
	if err != nil || open == nil {
		return err
	}
	if open != json.Delim('[') {
		return errors.New("its descriptors are no list")
	}
	*d = nil
	for decoder.More() {
		if len(*d) >= max(few, len(raw)/shortest) {
			return errors.New("it lists more than can have digests")
		}
		var one ocispec.Descriptor
		if err := decoder.Decode(&one); err != nil {
			return err
		}
		*d = append(*d, one)
	}
	return nil
}

// document is what an import needs to know of a manifest. It is read loosely:
// whether the manifest is right is for the registry to say.
type document struct {
	SchemaVersion int                 `json:"schemaVersion"`
	MediaType     string              `json:"mediaType"`
	Config        *ocispec.Descriptor `json:"config"`
	Layers        descriptors         `json:"layers"`
	Blobs         descriptors         `json:"blobs"` // of artifactManifest
	Manifests     descriptors         `json:"manifests"`
	Subject       *ocispec.Descriptor `json:"subject"`
}

// readManifest verifies a manifest and reads it. hint is its type by what
// refers to it, if anything.
func readManifest(m Manifest, d digest.Digest, hint string) (*document, error) {
	if got, err := digestOf(d.Algorithm(), m.Raw); err != nil {
		return nil, err
	} else if got != d {
		return nil, fmt.Errorf("the source has other bytes under this digest: they are %s", got)
	}
	doc := new(document)
	if err := json.Unmarshal(m.Raw, doc); err != nil {
		return nil, fmt.Errorf("it is no JSON of a manifest: %w", err)
	}
	for _, declared := range []string{m.MediaType, hint} {
		if doc.MediaType == "" && strings.HasPrefix(declared, "application/vnd.") {
			doc.MediaType = declared
		}
	}
	switch {
	case doc.SchemaVersion == 1, doc.MediaType == dockerSchema1, doc.MediaType == dockerSchema1Signed:
		return nil, errSchema1
	case doc.MediaType != "":
	case doc.Manifests != nil:
		doc.MediaType = ocispec.MediaTypeImageIndex
	default:
		doc.MediaType = ocispec.MediaTypeImageManifest
	}
	return doc, nil
}

// digestOf names bytes by an algorithm.
func digestOf(a digest.Algorithm, data []byte) (digest.Digest, error) {
	switch a {
	case digest.SHA256:
		sum := sha256.Sum256(data)
		return digest.NewDigestFromEncoded(a, hex.EncodeToString(sum[:])), nil
	case digest.SHA384:
		sum := sha512.Sum384(data)
		return digest.NewDigestFromEncoded(a, hex.EncodeToString(sum[:])), nil
	case digest.SHA512:
		sum := sha512.Sum512(data)
		return digest.NewDigestFromEncoded(a, hex.EncodeToString(sum[:])), nil
	}
	return "", fmt.Errorf("digests of %s cannot be verified", a)
}

// children returns the manifests that an index lists, and all blobs. An index
// may list blobs too: build caches are pushed that way.
func (doc *document) children() (manifests, blobs []ocispec.Descriptor) {
	if doc.Config != nil {
		blobs = append(blobs, *doc.Config)
	}
	blobs = append(append(blobs, doc.Layers...), doc.Blobs...)
	for _, child := range doc.Manifests {
		if isManifest(child.MediaType) {
			manifests = append(manifests, child)
		} else {
			blobs = append(blobs, child)
		}
	}
	return manifests, blobs
}

// isManifest tells whether a type is that of a manifest.
func isManifest(mediaType string) bool {
	for _, t := range manifestTypes {
		if t == mediaType {
			return true
		}
	}
	return false
}

// isIndex tells whether a type is that of an index.
func isIndex(mediaType string) bool {
	return mediaType == ocispec.MediaTypeImageIndex || mediaType == dockerList
}

// mayBeAbsent tells whether a blob is a layer that its owner does not allow to
// be copied to registries, or is to be fetched from elsewhere.
func mayBeAbsent(desc ocispec.Descriptor) bool {
	return len(desc.URLs) > 0 || strings.Contains(desc.MediaType, ".nondistributable.") || strings.Contains(desc.MediaType, ".foreign.")
}

// decode reads one JSON value into v.
func decode(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	return decoder.Decode(v)
}
