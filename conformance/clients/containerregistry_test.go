package clients_test

import (
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	"artifactstore/conformance/harness"
)

// TestContainerRegistryLibrary pushes a multi-platform index with the library
// that crane, ko and cosign are made of, reads it back whole, copies it to
// another repository and attaches a manifest to it.
func TestContainerRegistryLibrary(t *testing.T) {
	t.Parallel()
	s := harness.Start(t)
	index := platforms(t, "amd64", "arm64")
	from := tagOf(t, s.Host()+"/library/from:v1")
	harness.Must(t, remote.WriteIndex(from, index))

	pulled, err := remote.Index(from)
	harness.Must(t, err)
	harness.Must(t, validate.Index(pulled))
	same(t, index, pulled)

	to := tagOf(t, s.Host()+"/library/to:v1")
	harness.Must(t, remote.WriteIndex(to, pulled)) // mounts the layers
	copied, err := remote.Index(to)
	harness.Must(t, err)
	same(t, index, copied)

	image, err := remote.Image(from, remote.WithPlatform(v1.Platform{OS: "linux", Architecture: "arm64"}))
	harness.Must(t, err)
	harness.Must(t, validate.Image(image))

	subject, err := remote.Head(from)
	harness.Must(t, err)
	note, err := random.Image(100, 1)
	harness.Must(t, err)
	note = mutate.Subject(note, *subject).(v1.Image)
	noteDigest, err := note.Digest()
	harness.Must(t, err)
	harness.Must(t, remote.Write(from.Context().Digest(noteDigest.String()), note))
	referrers, err := remote.Referrers(from.Context().Digest(subject.Digest.String()))
	harness.Must(t, err)
	list, err := referrers.IndexManifest()
	harness.Must(t, err)
	if len(list.Manifests) != 1 || list.Manifests[0].Digest != noteDigest {
		t.Errorf("referrers %v, want %s", list.Manifests, noteDigest)
	}

	harness.Must(t, remote.Delete(to))
	if _, err := remote.Head(to); err == nil {
		t.Error("a deleted tag is still served")
	}
}

// platforms makes an index of one random image a platform.
func platforms(t *testing.T, architectures ...string) v1.ImageIndex {
	t.Helper()
	index := v1.ImageIndex(empty.Index)
	for _, architecture := range architectures {
		image, err := random.Image(100_000, 3)
		harness.Must(t, err)
		config, err := image.ConfigFile()
		harness.Must(t, err)
		config = config.DeepCopy()
		config.OS, config.Architecture = "linux", architecture
		image, err = mutate.ConfigFile(image, config)
		harness.Must(t, err)
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image,
			Descriptor: v1.Descriptor{Platform: &v1.Platform{OS: "linux", Architecture: architecture}}})
	}
	return index
}

func tagOf(t *testing.T, text string) name.Tag {
	t.Helper()
	tag, err := name.NewTag(text, name.Insecure)
	harness.Must(t, err)
	return tag
}

// same fails the test unless two indexes have one digest.
func same(t *testing.T, want, got v1.ImageIndex) {
	t.Helper()
	a, err := want.Digest()
	harness.Must(t, err)
	b, err := got.Digest()
	harness.Must(t, err)
	if a != b {
		t.Errorf("digest %s, want %s", b, a)
	}
}
