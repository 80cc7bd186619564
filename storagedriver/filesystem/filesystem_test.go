//go:build unix

package filesystem_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/durable"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/filesystem"
)

const blake3 = "00ab54a98ceb1f0ad2000000000000000000000000000000000000000000beef"

func open(t *testing.T, dir string, fault durable.Fault) *filesystem.Driver {
	t.Helper()
	d, err := filesystem.Open(dir, filesystem.Options{Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// folder is a driver that knows its folder, to open it again.
type folder struct {
	*filesystem.Driver
	dir string
}

func TestDriver(t *testing.T) {
	drivertest.Run(t,
		func(t *testing.T) storagedriver.Driver {
			dir := t.TempDir()
			return folder{open(t, dir, nil), dir}
		},
		func(t *testing.T, old storagedriver.Driver) storagedriver.Driver {
			dir := old.(folder).dir
			return folder{open(t, dir, nil), dir}
		})
}

// stage stages data under an id.
func stage(ctx context.Context, d storagedriver.Driver, id, data string) error {
	s, err := d.Stage(ctx, id)
	if err != nil {
		return err
	}
	_, err = s.Write([]byte(data))
	_, saved := s.Save(ctx)
	return errors.Join(err, saved, s.Close())
}

// put stages and publishes data.
func put(ctx context.Context, d storagedriver.Driver, id, data string) error {
	if err := stage(ctx, d, id, data); err != nil {
		return err
	}
	return d.Publish(ctx, id, nil, int64(len(data)), d.Locate(id, blake3))
}

// content reads an object, "" if it is missing.
func content(t *testing.T, d storagedriver.Driver, locator string) string {
	t.Helper()
	r, err := d.Open(t.Context(), locator, 0, -1)
	if errors.Is(err, storagedriver.ErrNotExist) {
		return ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	text := new(strings.Builder)
	if _, err := r.(*os.File).WriteTo(text); err != nil {
		t.Fatal(err)
	}
	return text.String()
}

// files lists what is below dir, with modes.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		rel, _ := filepath.Rel(dir, name)
		names = append(names, fmt.Sprintf("%v %s", info.Mode(), filepath.ToSlash(rel)))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestLayoutOnDisk(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data", "store")
	d := open(t, dir, nil)
	if err := put(t.Context(), d, "one", "abc"); err != nil {
		t.Fatal(err)
	}
	if err := stage(t.Context(), d, "two", "def"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"drwxr-x--- .",
		"-rw-r----- layout",
		"drwxr-x--- objects",
		"drwxr-x--- objects/00",
		"drwxr-x--- objects/00/ab",
		"-rw-r----- objects/00/ab/" + blake3 + "-one",
		"drwxr-x--- staging",
		"-rw-r----- staging/two",
	}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("the folder has\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestAFolderOfAnotherLayoutIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "layout"), []byte("artifactstore filesystem layout 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := filesystem.Open(dir, filesystem.Options{}); err == nil || !strings.Contains(err.Error(), "layout 2") {
		t.Errorf("Open: %v", err)
	}
}

func TestAFileThatIsNoFolderIsRefused(t *testing.T) {
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := filesystem.Open(name, filesystem.Options{}); err == nil {
		t.Error("Open succeeds")
	}
}

// A link out of the store, planted at a place where the driver writes or
// reads, leads nowhere.
func TestLinksOutOfTheStoreAreNotFollowed(t *testing.T) {
	dir, outside := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(outside, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	d := open(t, dir, nil)
	if err := put(t.Context(), d, "one", "abc"); err != nil {
		t.Fatal(err)
	}
	locator := d.Locate("one", blake3)
	object := filepath.Join(dir, "objects", locator)
	if err := errors.Join(os.Remove(object), os.Symlink(outside, object),
		os.Symlink(outside, filepath.Join(dir, "staging", "two"))); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Open(t.Context(), locator, 0, -1); err == nil {
		t.Error("Open follows a link out of the store")
	}
	if _, err := d.Stage(t.Context(), "two"); err == nil {
		t.Error("Stage follows a link out of the store")
	}
	if got, _ := os.ReadFile(outside); string(got) != "secret" {
		t.Errorf("the file outside is now %q", got)
	}
}

func TestPublishFlushesInOrder(t *testing.T) {
	var trace []string
	d := open(t, t.TempDir(), func(op durable.Op, name string) error {
		trace = append(trace, fmt.Sprintf("%s %s", op, name))
		return nil
	})
	trace = nil
	if err := put(t.Context(), d, "one", "abc"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"create staging/one", "write staging/one", "close staging/one",
		"create staging/one", "sync staging/one", "close staging/one",
		"mkdir objects/00", "syncdir objects",
		"mkdir objects/00/ab", "syncdir objects/00",
		"rename staging/one", "syncdir objects/00/ab",
	}
	if !slices.Equal(trace, want) {
		t.Errorf("the first publish did\n%s\nwant\n%s", strings.Join(trace, "\n"), strings.Join(want, "\n"))
	}
	trace = nil
	if err := put(t.Context(), d, "two", "abc"); err != nil {
		t.Fatal(err)
	}
	flushes := slices.DeleteFunc(trace, func(s string) bool { return !strings.HasPrefix(s, "sync") })
	if want := []string{"sync staging/two", "syncdir objects/00/ab"}; !slices.Equal(flushes, want) {
		t.Errorf("the second publish flushed %q, want %q", flushes, want)
	}
}

var errInjected = errors.New("injected")

// failing makes the n-th operation fail, and all later ones too if down.
func failing(n int, down bool, err error) (fault durable.Fault, fired func() bool) {
	count := 0
	return func(durable.Op, string) error {
		count++
		if count == n || down && count > n {
			return err
		}
		return nil
	}, func() bool { return count >= n }
}

// Every operation fails once: alone, or as the last thing that the process
// did. A publish that reported success has made the object durable; one that
// did not has left the object whole or absent; everything can be removed.
func TestNoFalseSuccessWhateverFails(t *testing.T) {
	for _, cause := range []error{errInjected, fs.ErrPermission, errFull} {
		for _, down := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v down=%v", cause, down), func(t *testing.T) {
				for n := 1; ; n++ {
					if clean := sweep(t, n, down, cause); clean {
						break
					}
				}
			})
		}
	}
}

func sweep(t *testing.T, n int, down bool, cause error) (clean bool) {
	dir := t.TempDir()
	open(t, dir, nil) // the folders are there
	fault, fired := failing(n, down, cause)
	d, err := filesystem.Open(dir, filesystem.Options{Fault: fault})
	if err == nil {
		err = errors.Join(put(t.Context(), d, "one", "the bytes"), d.Close())
	}
	if err != nil && !errors.Is(err, cause) && !errors.Is(err, storagedriver.ErrBroken) {
		t.Errorf("operation %d: the error is %v", n, err)
	}

	again := open(t, dir, nil)
	locator := again.Locate("one", blake3)
	got := content(t, again, locator)
	if err == nil && got != "the bytes" || got != "" && got != "the bytes" {
		t.Errorf("operation %d: the object is %q although publish said %v", n, got, err)
	}
	if err := errors.Join(again.Discard(t.Context(), "one", nil), again.Delete(t.Context(), locator)); err != nil {
		t.Errorf("operation %d: what is left cannot be removed: %v", n, err)
	}
	for _, name := range files(t, dir) {
		if strings.Contains(name, "one") {
			t.Errorf("operation %d: %s is left", n, name)
		}
	}
	return !fired() && err == nil
}

func TestAfterAFailedFlushNothingIsWritten(t *testing.T) {
	for _, flush := range []durable.Op{durable.OpSync, durable.OpSyncDir} {
		t.Run(string(flush), func(t *testing.T) {
			dir, armed := t.TempDir(), false
			d := open(t, dir, func(op durable.Op, _ string) error {
				if armed && op == flush {
					armed = false // a second flush would succeed, and lie
					return errInjected
				}
				return nil
			})
			ctx := t.Context()
			if err := errors.Join(put(ctx, d, "old", "old"), stage(ctx, d, "new", "new"), stage(ctx, d, "other", "other")); err != nil {
				t.Fatal(err)
			}
			armed = true
			locator := d.Locate("new", blake3)
			if err := d.Publish(ctx, "new", nil, 3, locator); !errors.Is(err, errInjected) {
				t.Fatalf("Publish whose flush failed: %v", err)
			}
			_, staging := d.Stage(ctx, "more")
			_, health := d.Health(ctx)
			for what, err := range map[string]error{
				"Publish again":   d.Publish(ctx, "new", nil, 3, locator),
				"Publish another": d.Publish(ctx, "other", nil, 5, d.Locate("other", blake3)),
				"Stage":           staging,
				"Delete":          d.Delete(ctx, d.Locate("old", blake3)),
				"Health":          health,
			} {
				if !errors.Is(err, storagedriver.ErrBroken) {
					t.Errorf("%s: %v", what, err)
				}
			}
			if got := content(t, d, d.Locate("old", blake3)); got != "old" {
				t.Errorf("reading does not go on: %q", got)
			}

			again := open(t, dir, nil)
			if err := again.Publish(ctx, "new", nil, 3, locator); !errors.Is(err, storagedriver.ErrNotExist) {
				t.Errorf("bytes that could not be flushed are published later: %v", err)
			}
			if err := again.Publish(ctx, "other", nil, 5, again.Locate("other", blake3)); err != nil {
				t.Errorf("bytes that were not touched are lost: %v", err)
			}
		})
	}
}

func TestAFullDiskSpoilsOnlyTheUpload(t *testing.T) {
	for _, op := range []durable.Op{durable.OpCreate, durable.OpWrite, durable.OpSync, durable.OpMkdir, durable.OpRename} {
		t.Run(string(op), func(t *testing.T) {
			full := false
			d := open(t, t.TempDir(), func(o durable.Op, _ string) error {
				if full && o == op {
					return errFull
				}
				return nil
			})
			ctx := t.Context()
			full = true
			if err := put(ctx, d, "one", "abc"); !errors.Is(err, storagedriver.ErrFull) {
				t.Errorf("put on a full disk: %v", err)
			}
			if err := d.Discard(ctx, "one", nil); err != nil {
				t.Errorf("discard on a full disk: %v", err)
			}
			full = false
			if err := put(ctx, d, "two", "abc"); err != nil {
				t.Errorf("put when there is room again: %v", err)
			}
		})
	}
}

func TestNamesThatNoStagedObjectHasAreNotListed(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	for _, name := range []string{"ok", "NOT", "lost+found", ".nfs01"} {
		if err := os.WriteFile(filepath.Join(dir, "staging", name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if ids, err := d.Staged(t.Context()); err != nil || !slices.Equal(ids, []string{"ok"}) {
		t.Errorf("Staged: %q, %v", ids, err)
	}
}

func TestZerosTakeNoDisk(t *testing.T) {
	dir := t.TempDir()
	d := open(t, dir, nil)
	if err := put(t.Context(), d, "one", string(make([]byte, 8<<20))); err != nil {
		t.Fatal(err)
	}
	if size, err := d.Size(t.Context(), d.Locate("one", blake3)); err != nil || size != 8<<20 {
		t.Errorf("Size: %d, %v", size, err)
	}
	if used := blocks(t, filepath.Join(dir, "objects", d.Locate("one", blake3))); used > 1<<20 {
		t.Errorf("8 MiB of zeros take %d bytes", used)
	}
}

func TestReadOnlyReadsAndChangesNothing(t *testing.T) {
	dir := t.TempDir()
	owner, ctx := open(t, dir, nil), t.Context()
	if err := errors.Join(put(ctx, owner, "one", "abc"), stage(ctx, owner, "two", "def")); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	d, err := filesystem.Open(dir, filesystem.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Close() }()
	locator := d.Locate("one", blake3)
	if got := content(t, d, locator); got != "abc" {
		t.Errorf("the object is %q", got)
	}
	_, staging := d.Stage(ctx, "more")
	_, resuming := d.Resume(ctx, "two", nil, 3)
	for what, err := range map[string]error{
		"Stage": staging, "Resume": resuming,
		"Publish": d.Publish(ctx, "two", nil, 3, d.Locate("two", blake3)),
		"Confirm": d.Publish(ctx, "one", nil, 3, locator),
		"Discard": d.Discard(ctx, "two", nil),
		"Delete":  d.Delete(ctx, locator),
	} {
		if !errors.Is(err, durable.ErrReadOnly) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := d.Health(ctx); err != nil {
		t.Errorf("refused writes have broken the store: %v", err)
	}
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("the folder has\n%s\nand had\n%s", strings.Join(after, "\n"), strings.Join(before, "\n"))
	}
}

func TestReadOnlyMakesNoStore(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{dir, filepath.Join(dir, "none")} {
		if _, err := filesystem.Open(name, filesystem.Options{ReadOnly: true}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("Open of %s: %v", name, err)
		}
	}
	if got := files(t, dir); len(got) != 1 {
		t.Errorf("left %v", got)
	}
}
