package importer

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"
)

// tree is a set of files by their slash-separated names: a folder, or an
// archive that stays as it is.
type tree interface {
	// open opens a file and returns its size; errMissing.
	open(name string) (io.ReadCloser, int64, error)
	Close() error
}

// folder is a tree on disk. Symbolic links that lead out of it are refused by
// the system.
type folder struct {
	*os.Root
}

func openFolder(dir string) (folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return folder{}, fmt.Errorf("open the folder: %w", err)
	}
	return folder{root}, nil
}

func (f folder) open(name string) (io.ReadCloser, int64, error) {
	// A pipe would be waited for, until somebody writes to it.
	file, err := f.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, 0, fileError(err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", name)
	}
	if err != nil {
		return nil, 0, errors.Join(err, file.Close())
	}
	return file, info.Size(), nil
}

// has tells whether there is a file or a folder.
func (f folder) has(name string) bool {
	_, err := f.Stat(name)
	return err == nil
}

// errLink: what should be the folder of a repository is a symbolic link.
var errLink = errors.New("its folder is a symbolic link, which is not followed: mount what it leads to in its place (mount --bind), or import from the registry while it runs")

func isLink(entry fs.DirEntry) bool { return entry.Type()&fs.ModeSymlink != 0 }

// fileError says of a file that is not there that it is missing.
func fileError(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return errMissing
	}
	return err
}

// entries lists what is in a folder, in no order, a thousand at a time; the
// list ends with the first error. A folder that is not there is empty.
func (f folder) entries(name string, yield func(fs.DirEntry, error) bool) {
	dir, err := f.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	if err != nil {
		yield(nil, err)
		return
	}
	defer func() { _ = dir.Close() }() // it is only read
	for {
		list, err := dir.ReadDir(1000)
		for _, entry := range list {
			if !yield(entry, nil) {
				return
			}
		}
		if err == io.EOF {
			return
		}
		if err != nil {
			yield(nil, err)
			return
		}
	}
}

// readAll reads a small file of a tree.
func readAll(t tree, name string, limit int64) (_ []byte, err error) {
	file, size, err := t.open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if size > limit {
		return nil, fmt.Errorf("%s has %d bytes, more than %d", name, size, limit)
	}
	return io.ReadAll(io.LimitReader(file, limit))
}

// archive is a tar file. Nothing of it is written to disk: it is read once for
// the places of its files, and then file by file.
type archive struct {
	file  *os.File
	parts map[string]part
}

// part is where a file of an archive is, or another name that it stands for.
type part struct {
	offset, size int64
	link         string
}

// compressions are the first bytes of what archives come compressed as.
var compressions = []struct{ magic, name, tool string }{
	{"\x1f\x8b", "gzip", "gunzip"},
	{"\x28\xb5\x2f\xfd", "zstd", "unzstd"},
	{"\xfd7zXZ\x00", "xz", "unxz"},
	{"BZh", "bzip2", "bunzip2"},
}

func openArchive(name string) (_ *archive, err error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open the archive: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, file.Close())
		}
	}()
	head := make([]byte, 8)
	n, err := file.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return nil, fmt.Errorf("read the archive: %w", err)
	}
	for _, c := range compressions {
		if strings.HasPrefix(string(head[:n]), c.magic) {
			return nil, fmt.Errorf("%s is compressed with %s: decompress it first ('%s --keep FILE') and import the .tar", name, c.name, c.tool)
		}
	}
	a := &archive{file: file, parts: make(map[string]part)}
	return a, a.index()
}

// index finds the places of all files.
func (a *archive) index() error {
	const maxEntries = 1 << 20
	reader := tar.NewReader(a.file)
	for {
		header, err := reader.Next()
		if err == io.EOF && len(a.parts) > 0 {
			return nil
		}
		if err == nil && len(a.parts) > maxEntries {
			err = fmt.Errorf("it has more than %d files", maxEntries)
		}
		if err != nil {
			return fmt.Errorf("%s is no tar archive that can be read: %w", a.file.Name(), err)
		}
		name := path.Clean("/" + header.Name)[1:]
		switch header.Typeflag {
		case tar.TypeReg:
			if sparse(header) {
				return fmt.Errorf("%s has the sparse file %q: pack it without --sparse", a.file.Name(), header.Name)
			}
			offset, err := a.file.Seek(0, io.SeekCurrent) // package tar reads no more than headers ahead
			if err != nil {
				return fmt.Errorf("read the archive: %w", err)
			}
			a.parts[name] = part{offset: offset, size: header.Size}
		case tar.TypeSymlink:
			a.parts[name] = part{link: path.Join("/", path.Dir(name), header.Linkname)[1:]}
		case tar.TypeLink:
			a.parts[name] = part{link: path.Clean("/" + header.Linkname)[1:]}
		}
	}
}

// sparse tells whether a file has fewer bytes in the archive than its size.
func sparse(header *tar.Header) bool {
	for key := range header.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return true
		}
	}
	return header.Typeflag == tar.TypeGNUSparse
}

func (a *archive) open(name string) (io.ReadCloser, int64, error) {
	const hops = 8 // links to links: nobody makes more
	for range hops {
		p, ok := a.parts[name]
		if !ok {
			return nil, 0, errMissing
		}
		if p.link == "" {
			return io.NopCloser(io.NewSectionReader(a.file, p.offset, p.size)), p.size, nil
		}
		name = p.link
	}
	return nil, 0, fmt.Errorf("%s is a link that leads nowhere", name)
}

func (a *archive) Close() error { return a.file.Close() }
