package backup_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/backup"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a store on disk.
type world struct {
	dir    string
	ledger *metastore.Store
	files  *filesystem.Driver
	staged int
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{dir: t.TempDir()}
	w.open(t)
	t.Cleanup(func() { _ = errors.Join(w.ledger.Close(), w.files.Close()) })
	return w
}

func (w *world) open(t testing.TB) {
	t.Helper()
	var err error
	w.ledger, err = metastore.Open(context.Background(), filepath.Join(w.dir, "db"), metastore.Options{Log: slog.New(slog.DiscardHandler)})
	must(t, err)
	must(t, w.ledger.Migrate(context.Background(), nil))
	w.files, err = filesystem.Open(filepath.Join(w.dir, "store"), filesystem.Options{})
	must(t, err)
}

func (w *world) source() backup.Source {
	return backup.Source{Ledger: w.ledger, Objects: map[string]backup.Objects{"files": w.files}}
}

func (w *world) target() backup.Target {
	return backup.Target{Ledger: w.ledger, Objects: map[string]storagedriver.Driver{"files": w.files}}
}

// commit appends events without looking at the state.
func (w *world) commit(t testing.TB, entries ...registry.Entry) {
	t.Helper()
	must(t, w.ledger.Update(context.Background(), registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		return &registry.Change{Entries: entries}, nil
	}))
}

func (w *world) repository(t testing.TB, name string) {
	t.Helper()
	w.commit(t, registry.Entry{Fact: &fact.RepositoryCreated{Repository: name}})
}

// object puts bytes into the store of files and returns their receipt.
func (w *world) object(t testing.TB, content string) fact.Receipt {
	t.Helper()
	w.staged++
	id := fmt.Sprintf("o%d", w.staged)
	stage, err := w.files.Stage(t.Context(), id)
	must(t, err)
	_, err = stage.Write([]byte(content))
	must(t, errors.Join(err, stage.Close()))
	locator := w.files.Locate(id, primary(content).Hex())
	must(t, w.files.Publish(t.Context(), id, nil, int64(len(content)), locator))
	return fact.Receipt{Store: "files", Locator: locator}
}

func primary(content string) identity.Digest {
	return identity.FromBytes(identity.BLAKE3, []byte(content))
}

// large stores bytes as an object.
func (w *world) large(t testing.TB, content string) fact.Receipt {
	t.Helper()
	receipt := w.object(t, content)
	w.commit(t, registry.Entry{Fact: &fact.BlobStored{
		Digests: identity.Of([]byte(content), identity.SHA512), Size: int64(len(content)), Receipt: receipt,
	}})
	return receipt
}

// small stores bytes as a content row.
func (w *world) small(t testing.TB, content string) {
	t.Helper()
	w.commit(t, registry.Entry{Content: []byte(content), Fact: &fact.BlobStored{
		Digests: identity.Of([]byte(content)), Size: int64(len(content)), Receipt: fact.Receipt{Store: fact.Content},
	}})
}

// moved brings stored bytes to a new object.
func (w *world) moved(t testing.TB, content string, from fact.Receipt) fact.Receipt {
	t.Helper()
	to := w.object(t, content)
	w.commit(t, registry.Entry{Fact: &fact.BlobMoved{Blob: primary(content), From: from, To: to}})
	return to
}

// path is the file of an object.
func (w *world) path(r fact.Receipt) string {
	return filepath.Join(w.dir, "store", filepath.FromSlash(filesystem.Name(r.Locator)))
}

func (w *world) head(t testing.TB) eventlog.Head {
	t.Helper()
	head, err := w.ledger.Events().Head(context.Background())
	must(t, err)
	return head
}

func (w *world) log(t testing.TB) (all []metastore.Recorded) {
	t.Helper()
	for {
		page, err := w.ledger.Recorded(context.Background(), eventlog.Sequence(len(all)), 1000)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// whole checks a copy: its log is a beginning of the source's, its views are
// what that says, and every object that they name has the right bytes.
func (w *world) whole(t testing.TB, source *world) {
	t.Helper()
	have, want := w.log(t), source.log(t)
	if n := len(have); n > len(want) || n > 0 && !reflect.DeepEqual(have, want[:n]) {
		t.Fatal("the log is not a beginning of the source's")
	}
	report, err := w.ledger.Check(context.Background(), nil)
	must(t, err)
	if report.Missing > 0 {
		t.Errorf("%d content rows are missing", report.Missing)
	}
	objects, err := w.ledger.Objects(context.Background(), 0, 10_000)
	must(t, err)
	for _, o := range objects {
		r, err := w.files.Open(context.Background(), o.Receipt.Locator, 0, -1)
		if err != nil {
			t.Errorf("the object of event %d: %v", o.Sequence, err)
			continue
		}
		data, err := io.ReadAll(r)
		must(t, errors.Join(err, r.Close()))
		if primary(string(data)) != o.Digests.Primary() {
			t.Errorf("the object of event %d has other bytes", o.Sequence)
		}
	}
}

// copyTo runs a backup that must not fail.
func (w *world) copyTo(t testing.TB, to *world) backup.Result {
	t.Helper()
	result, err := backup.Run(t.Context(), w.source(), to.target(), nil)
	must(t, err)
	if head := to.head(t); head != result.Head {
		t.Errorf("the result says %+v, the copy's head is %+v", result.Head, head)
	}
	return result
}

// populated has content rows, objects, and one that was moved.
func populated(t testing.TB) *world {
	t.Helper()
	w := newWorld(t)
	w.repository(t, "demo")
	for i := range 6 {
		w.small(t, fmt.Sprint("small ", i))
		w.large(t, fmt.Sprint("large ", i))
	}
	w.large(t, "")
	w.large(t, string(bytes.Repeat([]byte("more than one piece "), 200_000)))
	first := w.large(t, "healed")
	must(t, os.Remove(w.path(first)))
	w.moved(t, "healed", first)
	return w
}
