package importer

import (
	"errors"
	"fmt"
	"os"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Open finds out what a folder or a file is and returns it as a source. as is
// the repository for what has no name in there, or "".
func Open(name, as string) (Source, error) {
	if as != "" {
		if err := checkRepository(as); err != nil {
			return nil, err
		}
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return openDir(name, as)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is neither a folder nor a file: write what comes from it into a file, and import that", name)
	}
	a, err := openArchive(name)
	if err != nil {
		return nil, err
	}
	return opened(detectArchive(a, name, as))(a)
}

// opened closes what a source was to be made of if it was not.
func opened(s Source, err error) func(tree) (Source, error) {
	return func(t tree) (Source, error) {
		if err != nil {
			return nil, errors.Join(err, t.Close())
		}
		return s, nil
	}
}

func openDir(dir, as string) (Source, error) {
	f, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	return opened(detectFolder(f, dir, as))(f)
}

func detectFolder(f folder, dir, as string) (Source, error) {
	if s := openDistribution(dir, f); s != nil {
		return named(s, as)
	}
	if f.has(ocispec.ImageLayoutFile) || f.has(ocispec.ImageIndexFile) {
		return openOneLayout(f, fmt.Sprintf("an OCI layout (%s)", dir), as)
	}
	s, err := openZot(dir, f)
	if err != nil {
		return nil, err
	}
	if s != nil {
		return named(s, as)
	}
	return nil, fmt.Errorf(`%s is nothing that can be imported. What is understood:
  the folder of CNCF Distribution (Docker Registry), with docker/registry/v2 in it
  an OCI image layout, with index.json and blobs in it
  the root folder of zot, or another folder of OCI image layouts
  a tar archive of 'docker save', 'podman save', 'skopeo copy' or of an OCI image layout
Other registries are read while they run: --from-registry URL`, dir)
}

func openOneLayout(t tree, name, as string) (Source, error) {
	l, err := openLayout(t, name, as)
	if err == nil && !l.nameless && len(l.repositories) > 0 {
		return named(l, as)
	}
	return l, err
}

// named refuses a name for repositories that have names.
func named(s Source, as string) (Source, error) {
	if as != "" {
		return nil, fmt.Errorf("%s has names for its repositories: leave --as out", s)
	}
	return s, nil
}

func detectArchive(a *archive, name, as string) (Source, error) {
	if _, ok := a.parts[ocispec.ImageIndexFile]; ok {
		return openOneLayout(a, fmt.Sprintf("an OCI archive (%s)", name), as)
	}
	if _, ok := a.parts[savedManifest]; ok {
		s, err := openSaved(a, fmt.Sprintf("an archive of docker save (%s)", name), as)
		if err == nil && !s.nameless && len(s.repositories) > 0 {
			return named(s, as)
		}
		return s, err
	}
	return nil, fmt.Errorf("%s is nothing that can be imported: it has neither the index.json of an OCI layout nor the manifest.json of 'docker save' in it", name)
}
