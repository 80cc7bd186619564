//go:build unix

package filesystem_test

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/durable"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

func TestForeignLocatorsHaveAFolderOfTheirOwn(t *testing.T) {
	own := "00/ab/" + blake3 + "-one"
	for locator, want := range map[string]string{
		own:                            "objects/" + own,
		"a":                            "objects/foreign/ca/97/a",
		"objects/ab/cd":                "objects/foreign/3f/1b/objects.ab.cd",
		"layout":                       "objects/foreign/1d/c5/layout",
		"00/ab/" + blake3:              "objects/foreign/ce/d4/00.ab." + blake3,
		"00/ac/" + blake3 + "-one":     "objects/foreign/65/ae/00.ac." + blake3 + "-one",
		"foreign/ca/97/a":              "objects/foreign/a4/d3/foreign.ca.97.a",
		"00/ab/" + blake3 + "-one/two": "objects/foreign/8b/2b/00.ab." + blake3 + "-one.two",
	} {
		if got := filesystem.Name(locator); got != want {
			t.Errorf("%q is %q, want %q", locator, got, want)
		}
	}
}

// No two locators share a file, none leads out of objects, and no file of one
// is a folder of another, whatever the locators are.
func FuzzNames(f *testing.F) {
	own := "00/ab/" + blake3 + "-one"
	for _, pair := range [][2]string{{"a", "a/b"}, {own, own + "/x"}, {own, "00/ab"}, {"a/b", "a-b"}, {"-", "--"}, {"foreign/ca/97/a", "a"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if storagedriver.CheckLocator(a) != nil || storagedriver.CheckLocator(b) != nil || a == b {
			return
		}
		for _, pair := range [][2]string{{a, b}, {b, a}} {
			one, other := filesystem.Name(pair[0]), filesystem.Name(pair[1])
			if one == other || strings.HasPrefix(one, other+"/") {
				t.Errorf("%q is %q, %q is %q", pair[0], one, pair[1], other)
			}
			if !strings.HasPrefix(one, "objects/") || !filepath.IsLocal(one) || filepath.Clean(one) != one || len(filepath.Base(one)) > 255 {
				t.Errorf("%q is %q", pair[0], one)
			}
		}
	})
}

func TestPlaceFlushesInOrder(t *testing.T) {
	var trace []string
	d := open(t, t.TempDir(), func(op durable.Op, name string) error {
		if strings.HasPrefix(name, "staging/place") {
			name = "staging/place..."
		}
		trace = append(trace, fmt.Sprintf("%s %s", op, name))
		return nil
	})
	trace = nil
	if err := d.Place(t.Context(), "a", 3, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create staging/place...", "write staging/place...", "sync staging/place...", "close staging/place...",
		"mkdir objects/foreign", "syncdir objects",
		"mkdir objects/foreign/ca", "syncdir objects/foreign",
		"mkdir objects/foreign/ca/97", "syncdir objects/foreign/ca",
		"rename staging/place...", "syncdir objects/foreign/ca/97",
	}
	if !slices.Equal(trace, want) {
		t.Errorf("it did\n%s\nwant\n%s", strings.Join(trace, "\n"), strings.Join(want, "\n"))
	}
	trace = nil
	if err := d.Place(t.Context(), "a", 3, strings.NewReader("")); err != nil {
		t.Fatal(err)
	}
	if want := []string{"syncdir objects/foreign/ca/97"}; !slices.Equal(trace, want) {
		t.Errorf("placing again did %q, want %q", trace, want)
	}
}

// Every operation fails once, alone or as the last of the process. What was
// reported as placed is there; else there is nothing, or all of it; whatever is
// left beside it is listed and can be discarded.
func TestNoFalseSuccessOfPlaceWhateverFails(t *testing.T) {
	for _, cause := range []error{errInjected, fs.ErrPermission, errFull} {
		for _, down := range []bool{false, true} {
			for n, clean := 1, false; !clean; n++ {
				dir := t.TempDir()
				open(t, dir, nil)
				fault, fired := failing(n, down, cause)
				d, err := filesystem.Open(dir, filesystem.Options{Fault: fault})
				if err == nil {
					err = errors.Join(d.Place(t.Context(), "a/b", 9, strings.NewReader("the bytes")), d.Close())
				}
				clean = !fired() && err == nil
				again := open(t, dir, nil)
				got := content(t, again, "a/b")
				if err == nil && got != "the bytes" || got != "" && got != "the bytes" {
					t.Errorf("%v, down %v, operation %d: the object is %q although Place said %v", cause, down, n, got, err)
				}
				ids, err := again.Staged(t.Context())
				for _, id := range ids {
					err = errors.Join(err, again.Discard(t.Context(), id, nil))
				}
				if err := errors.Join(err, again.Delete(t.Context(), "a/b")); err != nil {
					t.Errorf("operation %d: what is left cannot be removed: %v", n, err)
				}
				for _, name := range files(t, dir) {
					if strings.HasPrefix(name, "-") && !strings.HasSuffix(name, " layout") {
						t.Errorf("operation %d: %s is left", n, name)
					}
				}
			}
		}
	}
}

func TestReadOnlyPlacesNothing(t *testing.T) {
	dir := t.TempDir()
	owner := open(t, dir, nil)
	if err := owner.Place(t.Context(), "a", 3, strings.NewReader("abc")); err != nil {
		t.Fatal(err)
	}
	d, err := filesystem.Open(dir, filesystem.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	for _, locator := range []string{"a", "b"} {
		if err := d.Place(t.Context(), locator, 3, strings.NewReader("abc")); !errors.Is(err, durable.ErrReadOnly) {
			t.Errorf("Place at %s: %v", locator, err)
		}
	}
	if got := content(t, d, "a"); got != "abc" {
		t.Errorf("the object is %q", got)
	}
}
