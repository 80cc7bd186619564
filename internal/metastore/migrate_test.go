package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

func TestNewStoreMustBeMigratedOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.db")
	s, err := metastore.Open(t.Context(), path, metastore.Options{})
	must(t, err)
	if err := s.Healthy(); !errors.Is(err, metastore.ErrOutdated) {
		t.Errorf("healthy: %v", err)
	}
	for name, err := range map[string]error{
		"Update":  s.Update(t.Context(), caller, registry.Keys{}, decided(facts(&fact.RepositoryCreated{Repository: "r"}))),
		"Read":    s.Read(t.Context(), func(registry.View) error { return nil }),
		"Head":    func() error { _, err := s.Events().Head(t.Context()); return err }(),
		"Check":   func() error { _, err := s.Check(t.Context(), nil); return err }(),
		"Rebuild": s.Rebuild(t.Context(), nil),
	} {
		if !errors.Is(err, metastore.ErrOutdated) || !errors.Is(err, metastore.ErrEmpty) {
			t.Errorf("%s gave %v", name, err)
		}
	}
	var ran []string
	progress := func(m metastore.Migration) { ran = append(ran, m.Name) }
	must(t, s.Migrate(t.Context(), progress))
	if len(ran) == 0 || ran[0] != "initial" {
		t.Errorf("migrations %v", ran)
	}
	ran = nil
	must(t, s.Migrate(t.Context(), progress))
	if len(ran) != 0 {
		t.Errorf("migrations %v ran again", ran)
	}
	if s.UncleanStart() {
		t.Error("the start of a new store is unclean")
	}
	must(t, s.Close())
}

func TestStoreThatOnlyNewerProgramsMayWriteIsRefused(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	must(t, s.Close())
	s.raw(t, "INSERT INTO migrations VALUES (9999, 'from the future', 0); UPDATE head SET format = 9999")
	for _, readOnly := range []bool{false, true} {
		_, err := s.opened(metastore.Options{ReadOnly: readOnly})
		if !errors.Is(err, metastore.ErrNewer) {
			t.Errorf("read only %v: opened with %v", readOnly, err)
		}
	}
}

// A newer program may have added what this one can do without: the two run side
// by side until the head says otherwise.
func TestStoreThatANewerProgramMigratedIsUsedWhileTheHeadAllowsIt(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	must(t, s.Close())
	s.raw(t, "INSERT INTO migrations VALUES (9999, 'from the future', 0)")
	s.open(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
	s.check(t)
}

func TestUncleanStartIsNoticed(t *testing.T) {
	s := checked(t)
	populated(t, s)
	s.reopen(t)
	if s.UncleanStart() {
		t.Error("unclean after Close")
	}
	// A copy of the files of a running store is what a crash leaves.
	copied := filepath.Join(t.TempDir(), "copy.db")
	for _, suffix := range []string{"", "-wal"} {
		data, err := os.ReadFile(s.path + suffix)
		must(t, err)
		must(t, os.WriteFile(copied+suffix, data, 0o640))
	}
	crashed := &store{path: copied}
	crashed.open(t)
	if !crashed.UncleanStart() {
		t.Error("clean after a crash")
	}
	crashed.check(t, "tags")
	must(t, crashed.Close())
}

func TestReadOnlyStoreRunsBesideTheWriter(t *testing.T) {
	s := checked(t)
	populated(t, s)
	beside, err := s.opened(metastore.Options{ReadOnly: true})
	must(t, err)
	before, err := beside.Events().Head(t.Context())
	must(t, err)
	if err := beside.Update(t.Context(), caller, registry.Keys{}, decided(facts(&fact.RepositoryCreated{Repository: "r"}))); !errors.Is(err, metastore.ErrReadOnly) {
		t.Errorf("Update gave %v", err)
	}
	if err := beside.Rebuild(t.Context(), nil); !errors.Is(err, metastore.ErrReadOnly) {
		t.Errorf("Rebuild gave %v", err)
	}
	waited := make(chan error, 1)
	go func() { waited <- beside.Events().Wait(t.Context(), before.Sequence) }()
	s.update(t, facts(&fact.RepositoryCreated{Repository: "r"}))
	must(t, <-waited)
	report, err := beside.Check(t.Context(), nil)
	must(t, err)
	if report.Head.Sequence != before.Sequence+1 {
		t.Errorf("checked up to %d", report.Head.Sequence)
	}
	must(t, beside.Close())
}

func TestReadOnlyStoreReadsWhatWasClosed(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	must(t, s.Close())
	before, err := os.ReadFile(s.path)
	must(t, err)
	r, err := s.opened(metastore.Options{ReadOnly: true})
	must(t, err)
	_, err = eventlog.Verify(t.Context(), r.Events())
	must(t, err)
	_, err = r.Check(t.Context(), nil)
	must(t, err)
	must(t, r.Close())
	after, err := os.ReadFile(s.path)
	must(t, err)
	if string(before) != string(after) {
		t.Error("the file was changed")
	}
}

func TestOpenReportsWhatIsNoStore(t *testing.T) {
	dir := t.TempDir()
	if _, err := metastore.Open(t.Context(), filepath.Join(dir, "none.db"), metastore.Options{ReadOnly: true}); err == nil {
		t.Error("a missing file was opened for reading")
	}
	garbage := filepath.Join(dir, "garbage.db")
	must(t, os.WriteFile(garbage, []byte(repeat("no database ", 1000)), 0o640))
	if _, err := metastore.Open(t.Context(), garbage, metastore.Options{}); err == nil {
		t.Error("garbage was opened")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := metastore.Open(ctx, filepath.Join(dir, "a.db"), metastore.Options{}); err == nil {
		t.Error("opened with a context that has ended")
	}
}

// TestStoreOfTheFirstVersionIsMigratedWithItsContent: the store got as far as
// migration 1, which is what an older program left, and has rows in every table.
func TestStoreOfTheFirstVersionIsMigratedWithItsContent(t *testing.T) {
	model := create(t, metastore.Options{})
	populated(t, model)
	model.update(t, &registry.Change{Puts: []registry.Upload{{ID: "u1", State: registry.UploadOpen}, {ID: "u2", State: registry.UploadFinished}}})
	must(t, model.Close())

	old := &store{path: filepath.Join(t.TempDir(), "old.db")}
	firstVersion(t, old.path)
	tables := []string{"events", "objects", "repositories", "blobs", "links", "manifests", "manifest_references",
		"referrers", "tags", "tag_history", "uploads", "secrets", "head"}
	statements := []string{"ATTACH '" + model.path + "' AS model"}
	for _, table := range tables {
		columns := old.columns(t, table) // the model may have more
		statements = append(statements, "DELETE FROM main."+table,
			fmt.Sprintf("INSERT INTO main.%s (%s) SELECT %s FROM model.%s", table, columns, columns, table))
	}
	old.raw(t, strings.Join(statements, ";\n"))
	rows := old.dump(t)
	before := make(map[string]int)
	for _, table := range tables {
		before[table] = old.count(t, "SELECT count(*) FROM "+table)
	}

	var err error
	old.Store, err = metastore.Open(t.Context(), old.path, old.options)
	must(t, err)
	if err := old.Healthy(); !errors.Is(err, metastore.ErrOutdated) {
		t.Errorf("healthy before the migration: %v", err)
	}
	var ran []string
	must(t, old.Migrate(t.Context(), func(m metastore.Migration) { ran = append(ran, m.Name) }))
	if len(ran) == 0 || ran[0] != "inspection" {
		t.Errorf("migrations %v", ran)
	}
	old.check(t, "repositories", "blobs", "links", "manifests", "references", "referrers", "tags", "tag_history")
	for _, table := range tables {
		if got := old.count(t, "SELECT count(*) FROM "+table); got != before[table] {
			t.Errorf("%s has %d rows, had %d", table, got, before[table])
		}
	}
	if old.dump(t) != rows {
		t.Error("the migration changed rows of views")
	}
	old.read(t, func(v registry.View) error {
		holders, err := v.Holders(primary("image"), 0, 10)
		if len(holders) != 1 || !holders[0].Manifest {
			t.Errorf("holders %v", holders)
		}
		users, nativeErr := v.NativeOf(primary("native of image"), 10)
		uploads, uploadErr := v.Uploads("", 10)
		if len(users) != 1 || len(uploads) != 1 || uploads[0].ID != "u1" {
			t.Errorf("native form of %v, uploads %v", users, uploads)
		}
		return errors.Join(err, nativeErr, uploadErr)
	})
	old.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
	head, err := old.Events().Head(t.Context())
	must(t, err)
	must(t, old.SetCursor(t.Context(), "f", head.Cursor()))
	if done, err := old.Cursor(t.Context(), "f"); err != nil || done != head.Cursor() {
		t.Errorf("the cursor is %s, %v", done, err)
	}
	must(t, old.Close())
}

// columns are those of a table, as SQL lists them.
func (s *store) columns(t *testing.T, table string) string {
	t.Helper()
	var names []string
	db := s.db(t)
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("SELECT name FROM pragma_table_info($1)", table)
		for rows.Next() {
			names = append(names, rows.Text(0))
		}
		return rows.Close()
	}))
	must(t, db.Close())
	return strings.Join(names, ", ")
}

// firstVersion makes a store that only migration 1 has run on.
func firstVersion(t *testing.T, path string) {
	t.Helper()
	s, err := metastore.Open(t.Context(), path, metastore.Options{})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	err = s.Migrate(ctx, func(metastore.Migration) { cancel() }) // one that runs is not interrupted
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("migrated with %v", err)
	}
	must(t, s.Close())
}
