package main_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

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

func TestLogPrintsEventsBesideAServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))

	r := run(t, dir, nil, "log")
	r.expect(t, 0, "v1.repository.created", "v1.blob.stored", "v1.manifest.put", "v1.tag.moved")
	line := regexp.MustCompile(`^ +\d+  \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z  v1\.[a-z]+\.[a-z]+ +anonymous  \S+$`)
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	for i, l := range strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n") {
		if !line.MatchString(l) || !strings.HasPrefix(strings.TrimSpace(l), fmt.Sprint(i+1)+"  ") {
			t.Errorf("line %d is %q", i+1, l)
		}
	}
	if last := lines[len(lines)-1]; !strings.HasSuffix(last, "  demo:v1") {
		t.Errorf("the last event is %q", last)
	}

	after := run(t, dir, nil, "log", "--after", fmt.Sprint(len(lines)-1))
	if after.code != 0 || after.stdout != lines[len(lines)-1]+"\n" {
		t.Errorf("--after printed %q", after.stdout)
	}
	kinds := run(t, dir, nil, "log", "--kind", "v1.tag.moved", "--kind", "v1.repository.created")
	if kinds.code != 0 || strings.Count(kinds.stdout, "\n") != 2 {
		t.Errorf("--kind printed %q", kinds.stdout)
	}
}

func TestLogPrintsJSON(t *testing.T) {
	dir := filled(t)
	r := run(t, dir, nil, "log", "--json")
	r.expect(t, 0)
	sequence := 0
	for line := range strings.Lines(r.stdout) {
		var e struct {
			Sequence                                                                     int
			Time, Kind, Subject, Actor, Request, ID, PayloadDigest, PrivateDigest, Chain string
			Payload                                                                      map[string]any
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		sequence++
		at, err := time.Parse(time.RFC3339Nano, e.Time)
		if err != nil || time.Since(at) < 0 || time.Since(at) > time.Hour {
			t.Errorf("time %q (%v)", e.Time, err)
		}
		if e.Sequence != sequence || len(e.ID) != 32 || len(e.Chain) != 64 || e.Request == "" || len(e.Payload) == 0 ||
			!strings.HasPrefix(e.PayloadDigest, "blake3:") || !strings.HasPrefix(e.PrivateDigest, "blake3:") {
			t.Errorf("event %d is %s", sequence, line)
		}
		if e.Kind == "v1.tag.moved" && (e.Payload["repository"] != "demo" || e.Payload["tag"] != "v1") {
			t.Errorf("payload of %s", line)
		}
	}
	if sequence == 0 {
		t.Error("no events")
	}
}

func TestLogFollows(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	out := newOutput()
	cmd := command(t, dir, nil, "log", "--follow", "--kind", "v1.tag.moved")
	cmd.Stdout = out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	var err error
	go func() { err = cmd.Wait(); close(ended) }()
	for _, tag := range []string{"v1", "v2"} {
		s.pushImage("demo", tag, []byte("one"))
		if out.await("demo:"+tag, ended) == nil {
			t.Fatalf("the move of %s was not printed: %s", tag, out)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	<-ended
	if err != nil {
		t.Errorf("log --follow ended with %v after SIGINT", err)
	}
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
	for _, args := range [][]string{{"serve"}, {"rebuild", "--check"}} {
		run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0"}, args...).expect(t, 1, "the views are incomplete and must be rebuilt; run 'artifactstore rebuild'")
	}
	run(t, dir, nil, "log").expect(t, 0, "v1.tag.moved")
	run(t, dir, nil, "rebuild").expect(t, 0)
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}

func TestAStoreOfANewerVersionIsRefused(t *testing.T) {
	dir := filled(t)
	edit(t, dir, "INSERT INTO migrations (version, name, applied) VALUES (4711, 'from the future', 0)")
	for _, args := range [][]string{{"serve"}, {"log"}, {"rebuild"}, {"rebuild", "--check"}, {"migrate"}} {
		run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:0"}, args...).expect(t, 1,
			"newer version", "4711", "use that version or a later one")
	}
	edit(t, dir, "DELETE FROM migrations WHERE version = 4711")
	run(t, dir, nil, "rebuild", "--check").expect(t, 0)
}
