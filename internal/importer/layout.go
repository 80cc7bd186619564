package importer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// containerdName is where containerd and Docker put the whole name of an image.
const containerdName = "io.containerd.image.name"

// maxIndex bounds the index.json of a layout: zot keeps that of a repository
// with a hundred thousand manifests in one.
const maxIndex = 64 << 20

// errNoName: a source has images without names.
var errNoName = errors.New("it does not say which repository they belong to: name one with --as, as in '--as team/app'")

// layouts is one OCI image layout or several, in a folder or an archive. The
// whole of each index.json is held in memory.
type layouts struct {
	tree
	name         string
	repositories map[string]*layoutRepository
	nameless     bool // some have no name there
}

// layoutRepository is what a layout has of one repository.
type layoutRepository struct {
	tree
	dir      string // of the layout
	tags     map[string]digest.Digest
	untagged []digest.Digest
	types    map[digest.Digest]string
	broken   error // why it cannot be read
}

// openLayout reads the layout in a folder or an archive. What has no name there
// gets the name as.
func openLayout(t tree, name, as string) (*layouts, error) {
	l := &layouts{tree: t, name: name, repositories: make(map[string]*layoutRepository)}
	return l, l.read(".", func(desc ocispec.Descriptor) (string, string, error) {
		repository, tag, err := nameOf(desc)
		if err == nil && repository == "" {
			repository, l.nameless = as, true
		}
		if err == nil && repository == "" {
			err = errNoName
		}
		return repository, tag, err
	})
}

// nameOf returns the names that a layout gives to a manifest, "" where it gives
// none.
func nameOf(desc ocispec.Descriptor) (repository, tag string, err error) {
	ref := desc.Annotations[ocispec.AnnotationRefName]
	if full := desc.Annotations[containerdName]; full != "" {
		repository, tag, err = splitName(full)
		return repository, cmp.Or(tag, ref), err
	}
	if strings.ContainsAny(ref, "/:") {
		return splitName(ref)
	}
	return "", ref, nil
}

// openZot reads a folder of layouts, each the repository that its path names.
// That is how zot keeps what it has. It returns nil if there is none.
func openZot(dir string, f folder) (*layouts, error) {
	l := &layouts{tree: f, name: fmt.Sprintf("a zot store or another folder of OCI layouts (%s)", dir),
		repositories: make(map[string]*layoutRepository)}
	found, err := l.walk(f, "")
	if err != nil || !found {
		return nil, err
	}
	return l, nil
}

// walk finds the layouts below a folder. One that cannot be read is a repository
// that cannot.
func (l *layouts) walk(f folder, name string) (found bool, err error) {
	var below []string
	for entry, err := range func(yield func(fs.DirEntry, error) bool) { f.entries(cmp.Or(name, "."), yield) } {
		if err != nil {
			return found, fmt.Errorf("list repositories: %w", err)
		}
		child := path.Join(name, entry.Name())
		if checkRepository(child) != nil {
			continue
		}
		if entry.IsDir() {
			below = append(below, child)
		} else if isLink(entry) {
			l.repository(child, child).broken = errLink
		}
	}
	slices.Sort(below)
	if name != "" && f.has(path.Join(name, ocispec.ImageIndexFile)) {
		found = true
		l.repository(name, name).broken = l.read(name, func(desc ocispec.Descriptor) (string, string, error) {
			_, tag, err := nameOf(desc)
			return name, tag, err
		})
		below = slices.DeleteFunc(below, func(b string) bool { return path.Base(b) == ocispec.ImageBlobsDir })
	}
	for _, b := range below {
		inside, err := l.walk(f, b)
		if found = found || inside; err != nil {
			return found, err
		}
	}
	return found, nil
}

// read reads the index of a layout.
func (l *layouts) read(dir string, name func(ocispec.Descriptor) (repository, tag string, err error)) error {
	file := path.Join(dir, ocispec.ImageIndexFile)
	data, err := readAll(l.tree, file, maxIndex)
	if err != nil {
		return fmt.Errorf("read %s of the layout: %w", file, err)
	}
	var index document
	if err := decode(data, &index); err != nil {
		return fmt.Errorf("read %s of the layout: %w", file, err)
	}
	for _, desc := range index.Manifests {
		repository, tag, err := name(desc)
		if err != nil {
			return fmt.Errorf("%s has manifests such as %s, and %w", file, desc.Digest, err)
		}
		if err := l.repository(repository, dir).add(desc, tag); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
	}
	return nil
}

func (l *layouts) repository(name, dir string) *layoutRepository {
	r := l.repositories[name]
	if r == nil {
		r = &layoutRepository{tree: l.tree, dir: dir, tags: make(map[string]digest.Digest), types: make(map[digest.Digest]string)}
		l.repositories[name] = r
	}
	return r
}

func (r *layoutRepository) add(desc ocispec.Descriptor, tag string) error {
	if err := checkDigest(desc.Digest); err != nil {
		return err
	}
	r.types[desc.Digest] = desc.MediaType
	if tag == "" {
		r.untagged = append(r.untagged, desc.Digest)
		return nil
	}
	if other, ok := r.tags[tag]; ok && other != desc.Digest {
		return fmt.Errorf("the tag %s is that of both %s and %s", tag, other, desc.Digest)
	}
	r.tags[tag] = desc.Digest
	return nil
}

func (l *layouts) String() string { return l.name }

// Repositories implements Source.
func (l *layouts) Repositories(context.Context) ([]string, error) {
	return slices.Sorted(maps.Keys(l.repositories)), nil
}

// Repository implements Source.
func (l *layouts) Repository(name string) (Repository, error) {
	if r := l.repositories[name]; r != nil {
		return r, r.broken
	}
	return &layoutRepository{tree: l.tree}, checkRepository(name)
}

// Tags implements Repository.
func (r *layoutRepository) Tags(context.Context) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, tag := range slices.Sorted(maps.Keys(r.tags)) {
			if !yield(tag, checkTag(tag)) {
				return
			}
		}
	}
}

// Resolve implements Repository.
func (r *layoutRepository) Resolve(_ context.Context, tag string) (digest.Digest, error) {
	d, ok := r.tags[tag]
	if !ok {
		return "", errMissing
	}
	return d, nil
}

// Manifests implements Repository.
func (r *layoutRepository) Manifests(context.Context) iter.Seq2[digest.Digest, error] {
	return func(yield func(digest.Digest, error) bool) {
		for _, d := range r.untagged {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (r *layoutRepository) content(d digest.Digest) (io.ReadCloser, int64, error) {
	if err := checkDigest(d); err != nil {
		return nil, 0, err
	}
	return r.open(path.Join(r.dir, ocispec.ImageBlobsDir, d.Algorithm().String(), d.Encoded()))
}

// Manifest implements Repository.
func (r *layoutRepository) Manifest(_ context.Context, d digest.Digest) (Manifest, error) {
	m, err := readOpened(r.content(d))
	m.MediaType = r.types[d]
	return m, err
}

// Blob implements Repository.
func (r *layoutRepository) Blob(_ context.Context, desc ocispec.Descriptor) (io.ReadCloser, error) {
	return sized(desc)(r.content(desc.Digest))
}

// HasBlob implements Repository.
func (r *layoutRepository) HasBlob(ctx context.Context, desc ocispec.Descriptor) error {
	return closed(r.Blob(ctx, desc))
}
