package importer

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// distributionRoots are the places of a distribution store below the folder
// that is named, most likely first.
var distributionRoots = []string{"docker/registry/v2", "registry/v2", "v2", "."}

// distribution is the folder of CNCF Distribution (Docker Registry 2 and 3) and
// of what is built on it. Its layout is described in the source of distribution,
// registry/storage/paths.go. It may be in use: what appears meanwhile is seen or
// not.
type distribution struct {
	folder
	dir, root string
	links     map[string]bool // names whose folder is a symbolic link
}

// openDistribution returns nil if the folder is no store of distribution.
func openDistribution(dir string, f folder) *distribution {
	for _, root := range distributionRoots {
		if f.has(path.Join(root, "repositories")) && f.has(path.Join(root, "blobs")) {
			return &distribution{folder: f, dir: dir, root: root}
		}
	}
	return nil
}

func (s *distribution) String() string { return fmt.Sprintf("a distribution store (%s)", s.dir) }

// Repositories implements Source. Every folder with manifests is a repository,
// and may have others below it.
func (s *distribution) Repositories(ctx context.Context) ([]string, error) {
	var names []string
	s.links = make(map[string]bool)
	var walk func(name string) error
	walk = func(name string) error {
		if len(name) > 255 || len(names) > maxNames {
			return fmt.Errorf("list repositories: %.40q has too many or too long names below it", name)
		}
		for entry, err := range s.list(path.Join("repositories", name)) {
			if err := firstError(ctx.Err(), err); err != nil {
				return fmt.Errorf("list repositories: %w", err)
			}
			switch {
			case entry.Name() == "_manifests":
				names = append(names, name)
			case strings.HasPrefix(entry.Name(), "_"):
			case isLink(entry):
				names = append(names, path.Join(name, entry.Name()))
				s.links[path.Join(name, entry.Name())] = true
			case entry.IsDir():
				if err := walk(path.Join(name, entry.Name())); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := walk(""); err != nil {
		return nil, err
	}
	slices.Sort(names)
	return names, nil
}

// list lists a folder of the store.
func (s *distribution) list(name string) iter.Seq2[fs.DirEntry, error] {
	return func(yield func(fs.DirEntry, error) bool) { s.entries(path.Join(s.root, name), yield) }
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Repository implements Source.
func (s *distribution) Repository(name string) (Repository, error) {
	if err := checkRepository(name); err != nil {
		return nil, err
	}
	if s.links[name] {
		return nil, errLink
	}
	return distributionRepository{s, path.Join("repositories", name)}, nil
}

type distributionRepository struct {
	*distribution
	home string
}

// Tags implements Repository.
func (r distributionRepository) Tags(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for entry, err := range r.list(path.Join(r.home, "_manifests/tags")) {
			if err != nil {
				yield("", fmt.Errorf("list tags: %w", err))
				return
			}
			if !yield(entry.Name(), checkTag(entry.Name())) {
				return
			}
		}
	}
}

// Resolve implements Repository.
func (r distributionRepository) Resolve(_ context.Context, tag string) (digest.Digest, error) {
	return r.link(path.Join("_manifests/tags", tag, "current"))
}

// Manifests implements Repository: every revision that was not deleted.
func (r distributionRepository) Manifests(context.Context) iter.Seq2[digest.Digest, error] {
	return func(yield func(digest.Digest, error) bool) {
		const revisions = "_manifests/revisions"
		for algorithm, err := range r.list(path.Join(r.home, revisions)) {
			if err != nil {
				yield("", fmt.Errorf("list manifests: %w", err))
				return
			}
			for revision, err := range r.list(path.Join(r.home, revisions, algorithm.Name())) {
				if err != nil {
					yield("", fmt.Errorf("list manifests: %w", err))
					return
				}
				d := digest.NewDigestFromEncoded(digest.Algorithm(algorithm.Name()), revision.Name())
				if !r.linked("_manifests/revisions", d) {
					continue // deleted
				}
				if !yield(d, checkDigest(d)) {
					return
				}
			}
		}
	}
}

// link reads the file "link" of a folder of the repository.
func (r distributionRepository) link(name string) (digest.Digest, error) {
	const limit = 1 << 10
	text, err := readAll(r, path.Join(r.root, r.home, name, "link"), limit)
	if err != nil {
		return "", err
	}
	d := digest.Digest(strings.TrimSpace(string(text)))
	return d, checkDigest(d)
}

// linked tells whether the repository has something of this digest: the bytes
// are kept for all repositories together, and a repository serves what it has a
// link to.
func (r distributionRepository) linked(kind string, d digest.Digest) bool {
	return r.has(path.Join(r.root, r.home, kind, d.Algorithm().String(), d.Encoded(), "link"))
}

// content opens the bytes of a digest. Bytes that were pushed by another
// algorithm than SHA-256 are kept under their SHA-256, which the link names.
func (r distributionRepository) content(d digest.Digest, kind string) (io.ReadCloser, int64, error) {
	if err := checkDigest(d); err != nil {
		return nil, 0, err
	}
	kept, err := r.link(path.Join(kind, d.Algorithm().String(), d.Encoded()))
	if err != nil {
		return nil, 0, err
	}
	return r.open(path.Join(r.root, "blobs", kept.Algorithm().String(), kept.Encoded()[:2], kept.Encoded(), "data"))
}

// Manifest implements Repository.
func (r distributionRepository) Manifest(_ context.Context, d digest.Digest) (Manifest, error) {
	return readOpened(r.content(d, "_manifests/revisions"))
}

// Blob implements Repository.
func (r distributionRepository) Blob(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return sized(desc)(r.content(desc.Digest, "_layers"))
}

// HasBlob implements Repository.
func (r distributionRepository) HasBlob(ctx context.Context, desc ocispec.Descriptor) error {
	return closed(r.Blob(ctx, desc))
}

// readOpened reads the file of a manifest and closes it.
func readOpened(file io.ReadCloser, size int64, err error) (Manifest, error) {
	if err != nil {
		return Manifest{}, err
	}
	defer file.Close() // it is only read
	if size > MaxManifest {
		return Manifest{}, fmt.Errorf("it has %d bytes, and a manifest at most %d", size, MaxManifest)
	}
	raw, err := io.ReadAll(io.LimitReader(file, MaxManifest))
	return Manifest{Raw: raw}, err
}

// sized returns the file of a blob if it is as long as the descriptor says.
func sized(desc ocispec.Descriptor) func(io.ReadCloser, int64, error) (io.ReadCloser, error) {
	return func(file io.ReadCloser, size int64, err error) (io.ReadCloser, error) {
		if err == nil && size != desc.Size {
			err = firstError(file.Close(), errSize(size, desc.Size))
		}
		if err != nil {
			return nil, err
		}
		return file, nil
	}
}

// closed closes what was opened to see whether it can be.
func closed(file io.ReadCloser, err error) error {
	if err != nil {
		return err
	}
	return file.Close()
}
