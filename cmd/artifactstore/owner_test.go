package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// ownerOf reads what the place of objects says of whose they are.
func ownerOf(t *testing.T, dir string) string {
	t.Helper()
	line, err := os.ReadFile(filepath.Join(dir, "data", "store", "owner"))
	harness.Must(t, err)
	return string(line)
}

// TestADatabaseIsRefusedTheObjectsOfAnother: cleaning up among them would be the
// end of what the other one is taking in.
func TestADatabaseIsRefusedTheObjectsOfAnother(t *testing.T) {
	dir, other := filled(t), filled(t)
	mine := ownerOf(t, dir)
	theirs := filepath.Join(other, "data", "store")
	if mine == ownerOf(t, other) || !strings.HasPrefix(mine, "artifactstore objects of log ") {
		t.Errorf("the owner is %q", mine)
	}
	harness.Must(t, errors.Join(
		os.Rename(filepath.Join(dir, "data", "store"), filepath.Join(dir, "store")), os.CopyFS(filepath.Join(dir, "data", "store"), os.DirFS(theirs)),
		os.WriteFile(filepath.Join(dir, "data", "store", "staging", "theirs"), []byte("on its way"), 0o600)))
	advice := []string{"are those of another store", "put the database back", filepath.Join("data", "store", "owner")}
	run(t, dir, nil, "serve").expect(t, 1, advice...)
	run(t, dir, nil, "backup", "--data", "data", "--to", "copy").expect(t, 1, advice...)
	run(t, dir, nil, "repo", "list", "--data", "data").expect(t, 1, advice...)
	run(t, dir, nil, "rebuild", "--check").expect(t, 0) // it needs no objects
	if _, err := os.Stat(filepath.Join(dir, "data", "store", "staging", "theirs")); err != nil {
		t.Error(err)
	}
	// As the advice says.
	harness.Must(t, os.Remove(filepath.Join(dir, "data", "store", "owner")))
	start(t, dir, nil).stop()
	if now := ownerOf(t, dir); now != mine {
		t.Errorf("the owner is %q, and not %q", now, mine)
	}
}

func TestABackupIsServedAndTriedAsTheStoreItIs(t *testing.T) {
	dir := filled(t)
	run(t, dir, nil, "backup", "--data", "data", "--to", "restored/data").expect(t, 0)
	if mine, copied := ownerOf(t, dir), ownerOf(t, filepath.Join(dir, "restored")); copied != mine {
		t.Errorf("the owner of the copy is %q, and not %q", copied, mine)
	}
	run(t, filepath.Join(dir, "restored"), nil, "epoch", "--data", "data", "--reason", "restored").expect(t, 0)
	s := start(t, filepath.Join(dir, "restored"), nil)
	s.pushImage("demo", "v2", []byte("three"))
	s.stop()
}

// TestAStoreOfAnOlderVersionIsOwnedByItsDatabase: it says nothing of whose it is.
func TestAStoreOfAnOlderVersionIsOwnedByItsDatabase(t *testing.T) {
	dir := filled(t)
	mine := ownerOf(t, dir)
	harness.Must(t, os.Remove(filepath.Join(dir, "data", "store", "owner")))
	run(t, dir, nil, "repo", "list", "--data", "data").expect(t, 0, "demo")
	if _, err := os.Stat(filepath.Join(dir, "data", "store", "owner")); err == nil {
		t.Error("looking at a store changes it")
	}
	start(t, dir, nil).stop()
	if now := ownerOf(t, dir); now != mine {
		t.Errorf("the owner is %q, and not %q", now, mine)
	}
}
