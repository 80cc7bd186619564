package harness

import (
	"context"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
)

// Media types of the OCI image specification.
const (
	ImageManifest = "application/vnd.oci.image.manifest.v1+json"
	ImageIndex    = "application/vnd.oci.image.index.v1+json"
	ImageConfig   = "application/vnd.oci.image.config.v1+json"
	ImageLayer    = "application/vnd.oci.image.layer.v1.tar"
	EmptyJSON     = "application/vnd.oci.empty.v1+json"
)

// SHA256 is the sha256 digest of some bytes.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// SHA512 is the sha512 digest of some bytes.
func SHA512(data []byte) string {
	sum := sha512.Sum512(data)
	return "sha512:" + hex.EncodeToString(sum[:])
}

// Random returns n bytes that follow from the seed.
func Random(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	data := make([]byte, n)
	// ChaCha8's Read fills the slice and never fails.
	_, _ = rand.NewChaCha8(key).Read(data)
	return data
}

// Descriptor is an OCI descriptor.
type Descriptor struct {
	MediaType    string            `json:"mediaType"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Digest       string            `json:"digest"`
	Size         int64             `json:"size"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// Describe returns the descriptor of some bytes, by their sha256 digest.
func Describe(mediaType string, data []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: SHA256(data), Size: int64(len(data))}
}

// Manifest is an OCI image manifest, to be pushed.
type Manifest struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Config        Descriptor        `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Index is an OCI image index, to be pushed.
type Index struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType,omitempty"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject,omitempty"`
	Annotations   map[string]string `json:"annotations,omitempty"`
}

// Encode returns the JSON of a value that the tests made themselves; it
// panics if that cannot be encoded.
func Encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// Image is a small image: its blobs and the manifest that names them.
type Image struct {
	Config   []byte
	Layers   [][]byte
	Manifest []byte
	Digest   string // of the manifest, sha256
}

// NewImage returns an image with a configuration of 1 KiB and layers of a
// size, all of which follow from the seed.
func NewImage(seed uint64, layers, layerSize int) *Image {
	const configSize = 1024
	image := &Image{Config: jsonOfSize(seed, configSize)}
	manifest := Manifest{
		SchemaVersion: 2, MediaType: ImageManifest,
		Config: Describe(ImageConfig, image.Config), Layers: []Descriptor{},
	}
	for i := range layers {
		layer := Random(seed*1000+uint64(i)+1, layerSize)
		image.Layers = append(image.Layers, layer)
		manifest.Layers = append(manifest.Layers, Describe(ImageLayer, layer))
	}
	image.Manifest = Encode(manifest)
	image.Digest = SHA256(image.Manifest)
	return image
}

// jsonOfSize returns a JSON object of exactly size bytes.
func jsonOfSize(seed uint64, size int) []byte {
	const frame = len(`{"architecture":"amd64","os":"linux","seed":""}`)
	filler := hex.EncodeToString(Random(seed, size))[:size-frame]
	return []byte(`{"architecture":"amd64","os":"linux","seed":"` + filler + `"}`)
}

// Push pushes the image's blobs and then its manifest, by tag or digest.
func (image *Image) Push(ctx context.Context, c *Client, repository, reference string) error {
	for _, blob := range append([][]byte{image.Config}, image.Layers...) {
		if err := c.PushBlob(ctx, repository, SHA256(blob), blob); err != nil {
			return err
		}
	}
	return c.PutManifest(ctx, repository, reference, ImageManifest, image.Manifest)
}
