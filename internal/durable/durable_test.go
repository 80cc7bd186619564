//go:build unix

package durable_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"

	"artifactstore/internal/durable"
)

var errInjected = errors.New("injected")

func open(t testing.TB, dir string, fault durable.Fault) *durable.Tree {
	t.Helper()
	tree, err := durable.Open(dir, durable.Options{Fault: fault})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tree.Close() })
	return tree
}

// failOn makes every operation of one kind fail while it is armed.
func failOn(op durable.Op, armed *bool, err error) durable.Fault {
	return func(o durable.Op, _ string) error {
		if *armed && o == op {
			return err
		}
		return nil
	}
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, tree *durable.Tree, name string) []byte {
	t.Helper()
	f, err := tree.Open(name)
	must(t, err)
	data, err := io.ReadAll(f)
	must(t, err, f.Close())
	return data
}

func TestOpenMakesAllFolders(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b", "c")
	open(t, dir, nil)
	open(t, dir, nil) // and takes what is there
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm()&^durable.FolderMode != 0 {
		t.Errorf("mode is %v", info.Mode())
	}
}

func TestWriteFileIsWholeOrAbsent(t *testing.T) {
	for n := 1; ; n++ {
		dir, count := t.TempDir(), 0
		tree := open(t, dir, func(durable.Op, string) error {
			if count++; count >= n {
				return errInjected
			}
			return nil
		})
		err := tree.WriteFile("folder/file", []byte("content"))
		if err == nil {
			t.Fatal("WriteFile succeeds without its folder")
		}
		err = tree.MakeDir("folder")
		if err == nil {
			err = tree.WriteFile("folder/file", []byte("content"))
		}
		got, missing := os.ReadFile(filepath.Join(dir, "folder", "file"))
		if missing == nil && string(got) != "content" {
			t.Fatalf("operation %d: the file is %q", n, got)
		}
		if err == nil {
			if string(got) != "content" || count >= n {
				t.Errorf("a clean run left %q after %d operations", got, count)
			}
			return
		}
	}
}

func TestNamesOutsideTheTreeAreRefused(t *testing.T) {
	tree := open(t, filepath.Join(t.TempDir(), "root"), nil)
	for _, name := range []string{"../x", "/etc/passwd", "a/../../x"} {
		if _, err := tree.Create(name); err == nil {
			t.Errorf("Create(%q) succeeds", name)
		}
		if _, err := tree.Open(name); err == nil {
			t.Errorf("Open(%q) succeeds", name)
		}
		if err := tree.Remove(name); err == nil {
			t.Errorf("Remove(%q) succeeds", name)
		}
	}
}

func TestAppendCutsTheTail(t *testing.T) {
	tree := open(t, t.TempDir(), nil)
	f, err := tree.Create("f")
	must(t, err)
	_, err = f.Write([]byte("kept and dropped"))
	must(t, err, f.Close())
	f, err = tree.Append("f", 4)
	must(t, err)
	_, err = f.Write([]byte("!"))
	must(t, err, f.Close())
	if got := read(t, tree, "f"); string(got) != "kept!" {
		t.Errorf("the file is %q", got)
	}
	if _, err := tree.Append("f", 6); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Append beyond the end: %v", err)
	}
}

// What is written in pieces of any size, with zeros among them, is what the
// file holds, also where write-back was started on the way.
func TestFileHoldsWhatWasWritten(t *testing.T) {
	tree := open(t, t.TempDir(), nil)
	f, err := tree.Create("f")
	must(t, err)
	var want []byte
	random := rand.NewChaCha8([32]byte{1})
	for i := range 60 {
		piece := make([]byte, 1+(i*7919)%700_000)
		if i%3 != 0 {
			_, _ = random.Read(piece) // never fails
		}
		_, err := f.Write(piece)
		must(t, err)
		want = append(want, piece...)
	}
	_, err = f.Write(make([]byte, 1<<20))
	must(t, err, f.Sync(), f.Close())
	if got := read(t, tree, "f"); !bytes.Equal(got, append(want, make([]byte, 1<<20)...)) {
		t.Errorf("the file has %d bytes, want %d, or they differ", len(got), len(want)+1<<20)
	}
}

func TestAFileThatFailedAcceptsNothingMore(t *testing.T) {
	armed := false
	tree := open(t, t.TempDir(), failOn(durable.OpWrite, &armed, syscall.ENOSPC))
	f, err := tree.Create("f")
	must(t, err)
	armed = true
	if n, err := f.Write([]byte("abcd")); n != 2 || !durable.Full(err) {
		t.Errorf("Write: %d, %v", n, err)
	}
	armed = false
	if n, err := f.Write([]byte("ef")); n != 0 || !durable.Full(err) {
		t.Errorf("Write after a failed one: %d, %v", n, err)
	}
	if err := f.Sync(); !durable.Full(err) {
		t.Errorf("Sync after a failed write: %v", err)
	}
	must(t, tree.Err())
}

func TestAFailedFlushBreaksTheTree(t *testing.T) {
	armed := true
	tree := open(t, t.TempDir(), failOn(durable.OpSync, &armed, errInjected))
	must(t, tree.MakeDir("d"))
	f, err := tree.Create("f")
	must(t, err)
	other, err := tree.Create("other")
	must(t, err)
	if err := f.Sync(); !errors.Is(err, errInjected) {
		t.Fatalf("Sync: %v", err)
	}
	armed = false
	_, create := tree.Create("g")
	_, appending := tree.Append("f", 0)
	_, write := other.Write([]byte("x"))
	for what, err := range map[string]error{
		"Err": tree.Err(), "Create": create, "Append": appending, "Write": write, "MakeDir": tree.MakeDir("e"),
		"Publish": tree.Publish("other", "d/other"), "Erase": tree.Erase("other"), "SyncDir": tree.SyncDir("d"),
		"Confirm": tree.Confirm("d/other"),
	} {
		if !errors.Is(err, durable.ErrBroken) || !errors.Is(err, errInjected) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := f.Sync(); !errors.Is(err, errInjected) {
		t.Errorf("the flush is repeated: %v", err)
	}
	must(t, tree.Remove("other"), f.Close(), other.Close())
}

func TestAFullDiskAtTheFlushSpoilsOnlyTheFile(t *testing.T) {
	armed := true
	tree := open(t, t.TempDir(), failOn(durable.OpSync, &armed, syscall.EDQUOT))
	f, err := tree.Create("f")
	must(t, err)
	if err := f.Sync(); !durable.Full(err) {
		t.Errorf("Sync: %v", err)
	}
	armed = false
	if err := f.Sync(); !durable.Full(err) {
		t.Errorf("the flush is repeated: %v", err)
	}
	must(t, tree.Err(), tree.WriteFile("g", nil))
}

func TestAFailedWriteBackIsAFailedFlush(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("write-back is started on Linux alone")
	}
	for _, cause := range []error{errInjected, syscall.ENOSPC} {
		armed, dir := true, t.TempDir()
		tree := open(t, dir, failOn(durable.OpWriteBack, &armed, cause))
		f, err := tree.Create("f")
		must(t, err)
		piece := bytes.Repeat([]byte("x"), 1<<20)
		for range 16 {
			if _, err = f.Write(piece); err != nil {
				break
			}
		}
		if !errors.Is(err, cause) || durable.Full(cause) != (tree.Err() == nil) {
			t.Errorf("Write: %v, the tree: %v", err, tree.Err())
		}
		if _, err := os.Stat(filepath.Join(dir, "f")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the file is still there: %v", err)
		}
		must(t, f.Close())
	}
}

func TestAFailedLastFlushTakesTheNameBack(t *testing.T) {
	armed := false
	dir := t.TempDir()
	tree := open(t, dir, failOn(durable.OpSyncDir, &armed, errInjected))
	must(t, tree.MakeDir("d"))
	f, err := tree.Create("f")
	must(t, err, f.Sync(), f.Close())
	armed = true
	if err := tree.Publish("f", "d/f"); !errors.Is(err, errInjected) {
		t.Errorf("Publish: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "d", "f")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the name is still there: %v", err)
	}
}

func TestEraseOfNothingSucceeds(t *testing.T) {
	tree := open(t, t.TempDir(), nil)
	must(t, tree.Erase("nothing"), tree.Erase("no/folder"))
}

func TestEachFolderIsMadeDurableOnce(t *testing.T) {
	var flushed []string
	tree := open(t, t.TempDir(), func(op durable.Op, name string) error {
		if op == durable.OpSyncDir {
			flushed = append(flushed, name)
		}
		return nil
	})
	must(t, tree.MakeDir("a/b"), tree.MakeDir("a/c"), tree.MakeDir("a/b"))
	if want := []string{".", "a", "a"}; !slices.Equal(flushed, want) {
		t.Errorf("flushed %q, want %q", flushed, want)
	}
}

func TestCloseReportsItsFailure(t *testing.T) {
	armed := true
	tree := open(t, t.TempDir(), failOn(durable.OpClose, &armed, errInjected))
	f, err := tree.Create("f")
	must(t, err)
	if err := f.Close(); !errors.Is(err, errInjected) {
		t.Errorf("Close: %v", err)
	}
}
