package clients_test

import (
	"bytes"
	"io"
	"slices"
	"testing"

	"artifactstore/conformance/harness"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	"oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/registry/remote"
)

const signature = "application/vnd.example.signature"

// orasRepository returns a repository of the server as oras-go sees it.
func orasRepository(t *testing.T, s *harness.Server, name string) *remote.Repository {
	t.Helper()
	repository, err := remote.NewRepository(s.Host() + "/" + name)
	harness.Must(t, err)
	repository.PlainHTTP = true
	// No fallback to the tag schema: the referrers API must do.
	harness.Must(t, repository.SetReferrersCapability(true))
	return repository
}

// pack makes an artifact with one layer in a target and returns its manifest.
func pack(t *testing.T, target oras.Target, artifactType string, layer []byte, options oras.PackManifestOptions) ocispec.Descriptor {
	t.Helper()
	desc, err := oras.PushBytes(t.Context(), target, "application/octet-stream", layer)
	harness.Must(t, err)
	options.Layers = append(options.Layers, desc)
	manifest, err := oras.PackManifest(t.Context(), target, oras.PackManifestVersion1_1, artifactType, options)
	harness.Must(t, err)
	return manifest
}

// TestOrasLibrary takes an artifact through the library's flows.
func TestOrasLibrary(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := harness.Start(t)
	repository := orasRepository(t, s, "library/hello")
	layer := harness.Random(1, 300<<10)
	source := memory.New()
	artifact := pack(t, source, "application/vnd.example+type", layer, oras.PackManifestOptions{})
	harness.Must(t, source.Tag(ctx, artifact, "v1"))
	copied, err := oras.Copy(ctx, source, "v1", repository, "v1", oras.DefaultCopyOptions)
	harness.Must(t, err)
	if copied.Digest != artifact.Digest {
		t.Fatalf("pushed %s as %s", artifact.Digest, copied.Digest)
	}

	t.Run("what was pushed comes back", func(t *testing.T) {
		target := memory.New()
		pulled, err := oras.Copy(ctx, repository, "v1", target, "", oras.DefaultCopyOptions)
		harness.Must(t, err)
		if pulled.Digest != artifact.Digest {
			t.Errorf("pulled %s, want %s", pulled.Digest, artifact.Digest)
		}
		got, err := content.FetchAll(ctx, target, content.NewDescriptorFromBytes("application/octet-stream", layer))
		harness.Must(t, err)
		if !bytes.Equal(got, layer) {
			t.Error("the layer came back changed")
		}
	})
	t.Run("what is attached is a referrer, by its artifact type", func(t *testing.T) {
		attached := pack(t, repository, signature, []byte("signed"), oras.PackManifestOptions{Subject: &artifact})
		pack(t, repository, "application/vnd.example.sbom", []byte("{}"), oras.PackManifestOptions{Subject: &artifact})
		if got := referrers(t, repository, artifact, signature); !slices.Equal(got, []digest.Digest{attached.Digest}) {
			t.Errorf("signatures %v, want %s", got, attached.Digest)
		}
		if got := referrers(t, repository, artifact, ""); len(got) != 2 {
			t.Errorf("referrers %v, want two", got)
		}
	})
	t.Run("tags are listed in pages", func(t *testing.T) {
		repository.TagListPageSize = 2
		for _, tag := range []string{"v3", "v2", "v10"} {
			harness.Must(t, repository.Tag(ctx, artifact, tag))
		}
		var got []string
		harness.Must(t, repository.Tags(ctx, "", func(page []string) error {
			got = append(got, page...)
			return nil
		}))
		if want := []string{"v1", "v10", "v2", "v3"}; !slices.Equal(got, want) {
			t.Errorf("tags %v, want %v", got, want)
		}
	})
	t.Run("a blob is pushed, read at an offset and deleted", func(t *testing.T) {
		data := harness.Random(2, 200_000)
		desc := content.NewDescriptorFromBytes("application/octet-stream", data)
		harness.Must(t, repository.Blobs().Push(ctx, desc, bytes.NewReader(data)))
		readFrom(t, repository, desc, data, 150_000)
		harness.Must(t, repository.Blobs().Delete(ctx, desc))
		exists, err := repository.Blobs().Exists(ctx, desc)
		harness.Must(t, err)
		if exists {
			t.Error("a deleted blob exists")
		}
	})
	t.Run("a blob is mounted from another repository", func(t *testing.T) {
		target := orasRepository(t, s, "library/mounted")
		desc := content.NewDescriptorFromBytes("application/octet-stream", layer)
		unasked := func() (io.ReadCloser, error) {
			t.Error("the mount asked for the bytes")
			return io.NopCloser(bytes.NewReader(layer)), nil
		}
		harness.Must(t, target.Mount(ctx, desc, "library/hello", unasked))
	})
	t.Run("a manifest is deleted", func(t *testing.T) {
		gone := pack(t, repository, "application/vnd.example+type", []byte("gone"), oras.PackManifestOptions{})
		harness.Must(t, repository.Delete(ctx, gone))
		exists, err := repository.Exists(ctx, gone)
		harness.Must(t, err)
		if exists {
			t.Error("a deleted manifest exists")
		}
	})
}

// TestOrasLibraryCopiesAnIndex copies an index and what refers to it between
// repositories.
func TestOrasLibraryCopiesAnIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := harness.Start(t)
	from, to := orasRepository(t, s, "library/from"), orasRepository(t, s, "library/to")
	var children []harness.Descriptor
	for _, platform := range []string{"amd64", "arm64"} {
		child := pack(t, from, "application/vnd.example+type", []byte(platform), oras.PackManifestOptions{})
		children = append(children, harness.Descriptor{MediaType: child.MediaType, Digest: child.Digest.String(), Size: child.Size})
	}
	index, err := oras.TagBytes(ctx, from, ocispec.MediaTypeImageIndex,
		harness.Encode(harness.Index{SchemaVersion: 2, MediaType: harness.ImageIndex, Manifests: children}), "v1")
	harness.Must(t, err)
	pack(t, from, signature, []byte("signed"), oras.PackManifestOptions{Subject: &index})

	copied, err := oras.ExtendedCopy(ctx, from, "v1", to, "v1", oras.DefaultExtendedCopyOptions)
	harness.Must(t, err)
	if copied.Digest != index.Digest {
		t.Errorf("copied %s as %s", index.Digest, copied.Digest)
	}
	if got := referrers(t, to, index, signature); len(got) != 1 {
		t.Errorf("the copy has the referrers %v", got)
	}
}

func referrers(t *testing.T, repository *remote.Repository, subject ocispec.Descriptor, artifactType string) []digest.Digest {
	t.Helper()
	var found []digest.Digest
	harness.Must(t, repository.Referrers(t.Context(), subject, artifactType, func(page []ocispec.Descriptor) error {
		for _, r := range page {
			found = append(found, r.Digest)
		}
		return nil
	}))
	return found
}

// readFrom reads a blob from an offset on, which asks for a range.
func readFrom(t *testing.T, repository *remote.Repository, desc ocispec.Descriptor, data []byte, offset int64) {
	t.Helper()
	body, err := repository.Blobs().Fetch(t.Context(), desc)
	harness.Must(t, err)
	defer body.Close()
	seeker, ok := body.(io.Seeker)
	if !ok {
		t.Fatal("the server does not offer ranges")
	}
	_, err = seeker.Seek(offset, io.SeekStart)
	harness.Must(t, err)
	got, err := io.ReadAll(body)
	harness.Must(t, err)
	if !bytes.Equal(got, data[offset:]) {
		t.Errorf("%d bytes from %d on are not those of the blob", len(got), offset)
	}
}
