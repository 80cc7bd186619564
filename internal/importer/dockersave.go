package importer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/opencontainers/go-digest"
	specs "github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// savedImage is an image in the manifest.json of `docker save`.
type savedImage struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// saved is an archive of `docker save` that has no OCI layout: one of an engine
// before version 25, or what podman and skopeo call docker-archive. It has the
// configuration and the layers of each image, uncompressed, and no manifest; one
// is made of them, always the same.
type saved struct {
	*layouts
	// made are the manifests that the archive does not have.
	made map[digest.Digest][]byte
	// places are the names of blobs in the archive.
	places map[digest.Digest]string
}

const savedManifest = "manifest.json"

// openSaved reads the archive. What has no name there gets the name as.
func openSaved(a *archive, name, as string) (*saved, error) {
	s := &saved{layouts: &layouts{tree: a, name: name, repositories: make(map[string]*layoutRepository)},
		made: make(map[digest.Digest][]byte), places: make(map[digest.Digest]string)}
	data, err := readAll(a, savedManifest, maxIndex)
	if err != nil {
		return nil, fmt.Errorf("read %s of the archive: %w", savedManifest, err)
	}
	var images []savedImage
	if err := decode(data, &images); err != nil {
		return nil, fmt.Errorf("read %s of the archive: %w", savedManifest, err)
	}
	for _, image := range images {
		if err := s.add(image, as); err != nil {
			return nil, fmt.Errorf("image %s of the archive: %w", image.Config, err)
		}
	}
	return s, nil
}

func (s *saved) add(image savedImage, as string) error {
	desc, err := s.manifest(image)
	if err != nil {
		return err
	}
	for _, name := range image.RepoTags {
		repository, tag, err := splitName(name)
		if err != nil {
			return err
		}
		if err := s.repository(repository, "").add(desc, cmp.Or(tag, "latest")); err != nil {
			return err
		}
	}
	if len(image.RepoTags) > 0 {
		return nil
	}
	if as == "" {
		return errNoName
	}
	s.nameless = true
	return s.repository(as, "").add(desc, "")
}

// manifest makes the manifest of an image.
func (s *saved) manifest(image savedImage) (ocispec.Descriptor, error) {
	config, err := readAll(s.tree, image.Config, MaxManifest)
	if err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read the configuration: %w", err)
	}
	var parsed ocispec.Image
	if err := decode(config, &parsed); err != nil {
		return ocispec.Descriptor{}, fmt.Errorf("read the configuration: %w", err)
	}
	if len(parsed.RootFS.DiffIDs) != len(image.Layers) {
		return ocispec.Descriptor{}, fmt.Errorf("its configuration is that of %d layers, and there are %d", len(parsed.RootFS.DiffIDs), len(image.Layers))
	}
	m := ocispec.Manifest{Versioned: specs.Versioned{SchemaVersion: 2}, MediaType: ocispec.MediaTypeImageManifest,
		Config: s.place(ocispec.MediaTypeImageConfig, digest.FromBytes(config), int64(len(config)), image.Config), Layers: []ocispec.Descriptor{}}
	for i, name := range image.Layers {
		layer, err := s.layer(name, parsed.RootFS.DiffIDs[i])
		if err != nil {
			return ocispec.Descriptor{}, fmt.Errorf("read the layer %s: %w", name, err)
		}
		m.Layers = append(m.Layers, layer)
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	d := digest.FromBytes(raw)
	s.made[d] = raw
	return ocispec.Descriptor{MediaType: m.MediaType, Digest: d, Size: int64(len(raw))}, nil
}

// place notes where a blob is and describes it.
func (s *saved) place(mediaType string, d digest.Digest, size int64, name string) ocispec.Descriptor {
	s.places[d] = name
	return ocispec.Descriptor{MediaType: mediaType, Digest: d, Size: size}
}

// layer describes a layer. The configuration has the digest of the uncompressed
// layer, which is checked when it is copied; only one that is compressed is read
// for its own.
func (s *saved) layer(name string, diffID digest.Digest) (_ ocispec.Descriptor, err error) {
	file, size, err := s.open(name)
	if err != nil {
		return ocispec.Descriptor{}, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	head := make([]byte, 2)
	n, err := io.ReadFull(file, head)
	if err != nil && err != io.ErrUnexpectedEOF && err != io.EOF {
		return ocispec.Descriptor{}, err
	}
	if string(head[:n]) != compressions[0].magic {
		return s.place(ocispec.MediaTypeImageLayer, diffID, size, name), checkDigest(diffID)
	}
	hash := sha256.New()
	hash.Write(head)
	if _, err := io.Copy(hash, file); err != nil {
		return ocispec.Descriptor{}, err
	}
	d := digest.NewDigestFromEncoded(digest.SHA256, hex.EncodeToString(hash.Sum(nil)))
	return s.place(ocispec.MediaTypeImageLayerGzip, d, size, name), nil
}

// Repository implements Source.
func (s *saved) Repository(name string) (Repository, error) {
	r, err := s.layouts.Repository(name)
	if err != nil {
		return nil, err
	}
	return savedRepository{r, s}, nil
}

// savedRepository has its names from the archive, and finds content by them.
type savedRepository struct {
	Repository
	saved *saved
}

// Manifest implements Repository.
func (r savedRepository) Manifest(_ context.Context, d digest.Digest) (Manifest, error) {
	raw, ok := r.saved.made[d]
	if !ok {
		return Manifest{}, errMissing
	}
	return Manifest{MediaType: ocispec.MediaTypeImageManifest, Raw: raw}, nil
}

// Blob implements Repository.
func (r savedRepository) Blob(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	name, ok := r.saved.places[desc.Digest]
	if !ok {
		return nil, errMissing
	}
	return sized(desc)(r.saved.open(name))
}

// HasBlob implements Repository.
func (r savedRepository) HasBlob(ctx context.Context, desc ocispec.Descriptor) error {
	return closed(r.Blob(ctx, desc))
}
