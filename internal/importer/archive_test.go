package importer_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"artifactstore/internal/importer"
)

// TestADamagedArchiveIsReadOrRefused: cut off anywhere, or with a byte of its
// headers changed, it makes nothing fail but itself, and all that comes out of
// it fits into it.
func TestADamagedArchiveIsReadOrRefused(t *testing.T) {
	a := image(1, nil)
	layouted := files{}
	layout(layouted, "", []ocispec.Descriptor{named(a, refName, "app:v1")}, a)
	saved := files{"c.json": a.blobs[0], "l.tar": a.blobs[1],
		"manifest.json": encode([]map[string]any{{"Config": "c.json", "RepoTags": []string{"app:v1"}, "Layers": []string{"l.tar"}}})}
	path, read := filepath.Join(t.TempDir(), "damaged.tar"), 0
	for _, one := range []files{layouted, saved} {
		whole, err := os.ReadFile(one.archive(t))
		must(t, err)
		const block = 512
		for cut := 0; cut < len(whole); cut += block {
			read += readArchive(t, path, whole[:cut])
		}
		for i := 0; i < len(whole); i += 53 {
			changed := append([]byte(nil), whole...)
			changed[i] ^= byte(1 + i%255)
			read += readArchive(t, path, changed)
		}
	}
	if read == 0 {
		t.Error("no archive was read at all")
	}
}

// readArchive reads all of an archive that can be, and returns how many
// contents it had.
func readArchive(t *testing.T, path string, data []byte) (read int) {
	t.Helper()
	must(t, os.WriteFile(path, data, 0o600))
	src, err := importer.Open(path, "")
	if err != nil {
		return 0
	}
	defer func() { must(t, src.Close()) }()
	names, err := src.Repositories(t.Context())
	must(t, err)
	for _, name := range names {
		r, err := src.Repository(name)
		must(t, err)
		for tag, err := range r.Tags(t.Context()) {
			if err != nil {
				continue
			}
			d, err := r.Resolve(t.Context(), tag)
			must(t, err)
			m, _ := r.Manifest(t.Context(), d) // it may be missing
			blob, err := r.Blob(t.Context(), ocispec.Descriptor{Digest: d, Size: int64(len(m.Raw))})
			if err != nil {
				continue
			}
			n, err := io.Copy(io.Discard, blob)
			if n > int64(len(data)) {
				t.Errorf("read %d bytes of %d: %v", n, len(data), err)
			}
			must(t, blob.Close())
			read++
		}
	}
	return read
}
