package main_test

import (
	"path/filepath"
	"regexp"
	"testing"

	"github.com/ncruces/go-sqlite3"
)

// edit runs SQL on the database of a folder behind the program's back.
func edit(t *testing.T, dir, sql string) {
	t.Helper()
	db, err := sqlite3.Open(filepath.Join(dir, "data", "artifactstore.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Exec(sql); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// filled makes a store with an image in it, and stops its server.
func filled(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))
	s.pushImage("demo", "v1", []byte("two"))
	s.stop()
	return dir
}

func TestRebuildMakesWhatCheckAccepts(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))
	r := run(t, dir, nil, "rebuild", "--check") // beside the server
	r.expect(t, 0, "running hash", "rows equal")
	for _, view := range []string{"repositories", "blobs", "links", "manifests", "tags"} {
		if !regexp.MustCompile(`(?m)^` + view + ` +[1-9]\d* rows equal$`).MatchString(r.stdout) {
			t.Errorf("no rows of %s:\n%s", view, r.stdout)
		}
	}
	s.stop()
	run(t, dir, nil, "rebuild").expect(t, 0, "The views were rebuilt from ")
	if again := run(t, dir, nil, "rebuild", "--check"); again.code != 0 || again.stdout != r.stdout {
		t.Errorf("after a rebuild: %d\n%s%s\nbefore\n%s", again.code, again.stdout, again.stderr, r.stdout)
	}
	run(t, dir, nil, "migrate").expect(t, 0, "The store is up to date.")
}

func TestCheckFindsAChangedRowAndRebuildMendsIt(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "UPDATE tags SET name = 'v2'")
	run(t, dir, nil, "rebuild", "--check").expect(t, 1, "a view is not what the log says: view tags: row ", "'artifactstore rebuild'")
	run(t, dir, nil, "rebuild").expect(t, 0)
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}

func TestCheckFindsAChangedEventAndRebuildLeavesTheViews(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "UPDATE events SET actor = 'somebody' WHERE sequence = 3")
	run(t, dir, nil, "rebuild", "--check").expect(t, 1, "the log is not what was written: event 3: ")
	run(t, dir, nil, "rebuild").expect(t, 1, "the log is damaged, so the views were left as they are: event 3: ")
	s := start(t, dir, nil)
	if status, _ := s.do("GET", "/v2/demo/manifests/v1", nil); status != 200 {
		t.Errorf("GET of a manifest: %d", status)
	}
}

func TestAnInterruptedRebuildMustBeFinished(t *testing.T) {
	dir := filled(t)
	// What a rebuild leaves that was killed before its first page.
	edit(t, dir, "DELETE FROM tags; DELETE FROM tag_history; DELETE FROM referrers; DELETE FROM manifest_references; DELETE FROM manifests; "+
		"DELETE FROM links; DELETE FROM blobs; DELETE FROM repositories; INSERT INTO state (name, value) VALUES ('rebuild', 0)")
	for _, args := range [][]string{{"serve"}, {"rebuild", "--check"}, {"repo", "list", "--data", "data"}} {
		run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0"}, args...).expect(t, 1, "the views are incomplete and must be rebuilt; run 'artifactstore rebuild'")
	}
	run(t, dir, nil, "events", "--data", "data").expect(t, 0, "v1.tag.moved")
	run(t, dir, nil, "rebuild").expect(t, 0)
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}

func TestAStoreOfANewerVersionIsRefused(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "UPDATE head SET format = 4711")
	for _, args := range [][]string{{"serve"}, {"events", "--data", "data"}, {"repo", "list", "--data", "data"}, {"rebuild"}, {"rebuild", "--check"}, {"migrate"}} {
		run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0"}, args...).expect(t, 1,
			"newer version", "4711", "use that version or a later one")
	}
	edit(t, dir, "UPDATE head SET format = 1")
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}
