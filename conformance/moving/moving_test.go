// Package moving_test moves whole stores between databases and places for
// objects with the command line, and starts servers on what comes of it.
package moving_test

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// result is what `artifactstore copy --json` prints, and how it ended.
type result struct {
	Log      string `json:"log"`
	Sequence uint64 `json:"sequence"`
	Chain    string `json:"chain"`
	Events   int    `json:"events"`
	Objects  int    `json:"objects"`
	Bytes    int64  `json:"bytes"`
	Damaged  int    `json:"damaged"`
	Damages  []struct {
		Subject, Locator, Problem string
	} `json:"damages"`

	code int
	all  string // that it printed
}

// run runs a verb and returns what it printed, and its exit code.
func run(t *testing.T, args ...string) (out, all string, code int) {
	t.Helper()
	binary, err := harness.Binary()
	harness.Must(t, err)
	out, all, err = harness.Tool{Path: binary}.Try(args...)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return out, all, exit.ExitCode()
	}
	harness.Must(t, err)
	return out, all, 0
}

// verb runs a verb that must not fail.
func verb(t *testing.T, args ...string) string {
	t.Helper()
	out, all, code := run(t, args...)
	if code != 0 {
		t.Fatalf("artifactstore %s: exit code %d\n%s", strings.Join(args, " "), code, all)
	}
	return out
}

// refused runs a verb that must end with a code and texts.
func refused(t *testing.T, code int, args []string, texts ...string) {
	t.Helper()
	_, all, got := run(t, args...)
	if got != code {
		t.Errorf("artifactstore %s: exit code %d, want %d\n%s", strings.Join(args, " "), got, code, all)
	}
	has(t, all, texts...)
}

func has(t *testing.T, all string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(all, text) {
			t.Errorf("%q is not in\n%s", text, all)
		}
	}
}

// tryCopy copies from one configuration to another.
func tryCopy(t *testing.T, from, to string) result {
	t.Helper()
	out, all, code := run(t, "copy", "--json", "--from", from, "--to", to)
	r := result{code: code, all: all}
	if out != "" {
		if err := json.Unmarshal([]byte(out), &r); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
	}
	return r
}

// move copies a store on which nobody works, which must not fail, and checks
// that the copy's log and views are the source's.
func move(t *testing.T, from, to string) result {
	t.Helper()
	r := tryCopy(t, from, to)
	if r.code != 0 || r.Damaged != 0 {
		t.Fatalf("exit code %d, %+v\n%s", r.code, r, r.all)
	}
	if logOf(t, from) != logOf(t, to) {
		t.Error("the logs differ")
	}
	source, target := verb(t, "rebuild", "--check", "--config", from), verb(t, "rebuild", "--check", "--config", to)
	if source != target || !strings.HasPrefix(target, "log "+r.Log+": ") {
		t.Errorf("the check of the source says\n%s\nthat of the copy\n%s", source, target)
	}
	return r
}

// logOf is the whole log of a store, a line for each event.
func logOf(t *testing.T, config string) string {
	t.Helper()
	return verb(t, "events", "--json", "--config", config)
}

// serve starts a server on a store. It is stopped when the test ends, if not
// before.
func serve(t *testing.T, config string) *harness.Server {
	t.Helper()
	return harness.StartIn(t, harness.Config{File: config})
}

// TestAStoreMovesAround goes from the smallest store to the largest, to another
// database and prefix, and back. On every one of them pushes go on.
func TestAStoreMovesAround(t *testing.T) {
	t.Parallel()
	bucket := harness.StartS3(t)
	places := []harness.Place{
		{Data: t.TempDir() + "/first"},
		{Postgres: harness.StartPostgres(t), S3: bucket},
		{Postgres: harness.StartPostgres(t), S3: bucket, Prefix: "another/place"},
		{Data: t.TempDir() + "/s3", S3: bucket, Prefix: "third"},
		{Postgres: harness.StartPostgres(t), Data: t.TempDir() + "/postgres"},
		{Data: t.TempDir() + "/last"},
	}
	w := newWorld()
	from := places[0].Make(t)
	for i, place := range places {
		to := from
		if i > 0 {
			to = place.Config(t)
			if r := move(t, from, to); r.Objects == 0 || r.Events != int(r.Sequence) {
				t.Errorf("move %d: %+v", i, r)
			}
			if r := move(t, from, to); r.Objects != 0 || r.Events != 0 || r.Bytes != 0 {
				t.Errorf("move %d again: %+v", i, r)
			}
		}
		s := serve(t, to)
		w.check(t, s.Client())
		w.push(t, s.Client(), uint64(i))
		if i == 0 {
			w.lose(t, s, place)
		}
		w.check(t, s.Client())
		w.begin(t, s.Client())
		harness.Must(t, s.Stop())
		from = to
	}
}
