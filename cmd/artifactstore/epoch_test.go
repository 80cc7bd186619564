package main_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

func TestReasonOfAnEpochIsAText(t *testing.T) {
	dir := filled(t)
	for _, reason := range []string{" ", strings.Repeat("x", 1001), "\xff"} {
		run(t, dir, nil, "epoch", "--reason", reason).expect(t, 2, "--reason is")
	}
	run(t, dir, nil, "epoch", "--reason", "the disk failed").expect(t, 0)
	run(t, dir, nil, "events", "--data", "data", "--json", "--kind", "v1.log.epoch_started").expect(t, 0, `"reason":"the disk failed"`)
}

func TestEpochNeedsTheStoreForItself(t *testing.T) {
	dir := t.TempDir()
	start(t, dir, nil)
	run(t, dir, nil, "epoch", "--reason", "restored").expect(t, 1, "is in use by process")
}

// TestFollowersAreToldOfARestore: whoever has seen events that the backup does not
// have, however far the restored log grows.
func TestFollowersAreToldOfARestore(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("one"))
	run(t, dir, nil, "backup", "--to", "copy").expect(t, 0)
	kept := endOfLog(t, dir, "data")
	s.pushImage("demo", "v2", []byte("lost"))
	lost := endOfLog(t, dir, "data")
	s.stop()

	run(t, dir, nil, "epoch", "--data", "copy", "--reason", "restored").expect(t, 0)
	copied := filepath.Join(dir, "copy")
	for _, where := range [][]string{{"--data", copied}, {"--server", ""}} {
		if where[0] == "--server" {
			again := start(t, dir, nil, "--data", copied)
			again.pushImage("demo", "v2", []byte("lost")) // the same again
			again.pushImage("demo", "v3", []byte("three"))
			where[1] = again.admin
		}
		for _, more := range [][]string{nil, {"--follow"}, {"--kind", "v1.tag.moved"}, {"--follow", "--kind", "v1.tag.moved"}} {
			args := append(append([]string{"events", "--after", lost}, where...), more...)
			run(t, dir, nil, args...).expect(t, 1, "the log has diverged from what was followed", "start over without --after")
		}
		run(t, dir, nil, append([]string{"events", "--after", kept}, where...)...).expect(t, 0, "v1.log.epoch_started")
	}
}

// endOfLog is the cursor behind the last event of a store.
func endOfLog(t *testing.T, dir, data string) string {
	t.Helper()
	r := run(t, dir, nil, "status", "--json", "--data", data)
	var s struct {
		Log struct {
			ID, Chain string
			Sequence  int
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &s); err != nil {
		t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
	}
	return fmt.Sprintf("%s:%d:%s", s.Log.ID, s.Log.Sequence, s.Log.Chain)
}
