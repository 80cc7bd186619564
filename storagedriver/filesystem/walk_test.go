//go:build unix

package filesystem_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

// listed pages through a store.
func listed(t *testing.T, d *filesystem.Driver, limit int) []storagedriver.Object {
	t.Helper()
	var all []storagedriver.Object
	for after := ""; ; after = all[len(all)-1].Name {
		page, err := d.Objects(t.Context(), after, limit)
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, page...); len(page) < limit {
			return all
		}
	}
}

func TestWhatIsNoObjectIsListedWithoutALocator(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	if err := errors.Join(put(t.Context(), d, "one", "abc"),
		d.Place(t.Context(), "b/c", 3, strings.NewReader("def"))); err != nil {
		t.Fatal(err)
	}
	own := d.Locate("one", blake3)
	placed := strings.TrimPrefix(filesystem.Name("b/c"), "objects/")
	objects := filepath.Join(dir, "objects")
	strangers := []string{
		".DS_Store", "0", "00/ab.tmp", "00/ab/" + blake3, "00/ab/" + blake3 + "-A", "00/ab/ff" + blake3[2:] + "-id",
		"00/ab/folder", "00/link", "00/zz", "a file", "ff", "foreign/00", "foreign/01/02/b.c", "foreign/file",
		"lost+found", "newline\n", "pipe", "\xff",
	}
	for _, folder := range []string{"00/ab/folder/deep", "00/zz", "lost+found/00/ab", "foreign/01/02", "empty/../01/02"} {
		must(t, os.MkdirAll(filepath.Join(objects, folder), 0o700))
	}
	must(t, os.Symlink(filepath.Join(objects, own), filepath.Join(objects, "00/link")))
	must(t, syscall.Mkfifo(filepath.Join(objects, "pipe"), 0o600))
	for _, name := range append(strangers, "lost+found/00/ab/"+blake3+"-one") {
		if _, err := os.Lstat(filepath.Join(objects, name)); err != nil {
			must(t, os.WriteFile(filepath.Join(objects, name), []byte("four"), 0o600))
		}
	}
	want := []string{fmt.Sprintf("%q 3 %q", own, own), fmt.Sprintf("%q 3 %q", placed, "b/c")}
	for _, name := range strangers {
		want = append(want, fmt.Sprintf("%q 4 %q", name, ""))
	}
	for i, name := range want {
		for _, odd := range []string{"folder", "link", "zz", "lost+found", "pipe"} {
			if strings.HasSuffix(name, odd+`" 4 ""`) {
				want[i] = strings.Replace(name, " 4 ", " 0 ", 1)
			}
		}
	}
	slices.Sort(want)
	for _, limit := range []int{1, 3, 100} {
		var got []string
		for _, o := range listed(t, d, limit) {
			got = append(got, fmt.Sprintf("%q %d %q", o.Name, o.Size, o.Locator))
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("in pages of %d listed\n%s\nwant\n%s", limit, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestAStoreWithoutItsFolderIsAwayAndNotEmpty(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	must(t, os.Remove(filepath.Join(dir, "objects")))
	if page, err := d.Objects(t.Context(), "", 10); !errors.Is(err, storagedriver.ErrUnavailable) || page != nil {
		t.Errorf("Objects: %v, %v", page, err)
	}
}

// What stands in the place of an object is none, whatever it leads to.
func TestOnlyAFileIsAnObject(t *testing.T) {
	for name, replace := range map[string]func(file, other string) error{
		"a folder":              func(file, _ string) error { return os.Mkdir(file, 0o700) },
		"a link to an object":   func(file, other string) error { return os.Symlink(filepath.Base(other), file) },
		"a link to nothing":     func(file, _ string) error { return os.Symlink("none", file) },
		"a link to itself":      func(file, _ string) error { return os.Symlink(filepath.Base(file), file) },
		"a link out":            func(file, _ string) error { return os.Symlink("/etc/passwd", file) },
		"a pipe":                func(file, _ string) error { return syscall.Mkfifo(file, 0o600) },
		"a file for its folder": func(file, _ string) error { return replaceFolder(filepath.Dir(file)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, ctx := t.TempDir(), t.Context()
			d := open(t, dir, nil)
			must(t, put(ctx, d, "one", "abc"), put(ctx, d, "two", "abc"))
			locator := d.Locate("one", blake3)
			file := filepath.Join(dir, "objects", locator)
			must(t, os.Remove(file), replace(file, filepath.Join(dir, "objects", d.Locate("two", blake3))))
			_, size := d.Size(ctx, locator)
			_, opened := d.Open(ctx, locator, 0, -1)
			for what, err := range map[string]error{"Size": size, "Open": opened} {
				if !errors.Is(err, storagedriver.ErrNotExist) {
					t.Errorf("%s: %v", what, err)
				}
			}
			for _, o := range listed(t, d, 10) {
				if o.Locator == locator {
					t.Errorf("it is listed: %+v", o)
				}
			}
		})
	}
}

func replaceFolder(folder string) error {
	return errors.Join(os.RemoveAll(folder), os.WriteFile(folder, nil, 0o600))
}
