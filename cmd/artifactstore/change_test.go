package main_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

func TestAStoreIsNotChangedBesideItsServer(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	data := filepath.Join(dir, "data")
	for _, line := range []string{"hold place a demo --reason x", "retention plan", "sweep", "scrub", "undo 1 --reason x"} {
		run(t, dir, nil, append(strings.Fields(line), "--data", data)...).expect(t, 1, "is in use by process ", "a running server is asked with --server")
	}
	for _, line := range []string{"hold list", "sweep --dry-run", "retention policies", "clock"} {
		run(t, dir, nil, append(strings.Fields(line), "--data", data)...).expect(t, 0)
	}
	run(t, dir, nil, "sweep", "--data", data, "--server", s.admin).expect(t, 2, "give only one of them")
	run(t, dir, nil, "sweep", "--data", filepath.Join(dir, "none")).expect(t, 1, "there is no store in")
	env := []string{"ARTIFACTSTORE_STORAGE_DRIVER=memory"}
	run(t, dir, env, "sweep", "--data", data).expect(t, 2, "keeps objects in the memory of its server")
}

// TestAClockThatWentAheadIsConfirmed: nothing expires before.
func TestAClockThatWentAheadIsConfirmed(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o750); err != nil {
		t.Fatal(err)
	}
	past := func() time.Time { return time.Now().Add(-72 * time.Hour) }
	ledger, err := metastore.Open(t.Context(), filepath.Join(data, "artifactstore.db"), metastore.Options{Now: past})
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(ledger.Migrate(t.Context(), nil), ledger.Update(t.Context(), registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		c := new(registry.Change)
		c.Add(&fact.PoliciesSet{Source: fact.SourceAdmin, Document: fact.Text("{}")})
		return c, nil
	}), ledger.Close())
	if err != nil {
		t.Fatal(err)
	}
	run(t, dir, nil, "retention", "plan", "--data", data).expect(t, 1, "'artifactstore clock --data "+data+"' shows")
	run(t, dir, nil, "clock", "--data", data).expect(t, 0, "went ahead from ", "nothing expires", "artifactstore clock confirm --data "+data)
	s := start(t, dir, nil)
	run(t, dir, nil, "status", "--server", s.admin).expect(t, 0, "see 'artifactstore clock'")
	s.stop()
	run(t, dir, nil, "clock", "confirm", "--reason", "it was off", "--data", data).expect(t, 0, "state    believed")
	run(t, dir, nil, "retention", "plan", "--data", data).expect(t, 0, "keep          0")
	run(t, dir, nil, "events", "--kind", "v1.clock.confirmed", "--data", data).expect(t, 0, "admin")
}

// TestScrubSaysWhatIsDamaged: and what to do about it.
func TestScrubSaysWhatIsDamaged(t *testing.T) {
	dir := t.TempDir()
	server := start(t, dir, nil)
	server.pushImage("demo", "v1", bytes.Repeat([]byte("large"), 20_000))
	server.stop()
	objects, err := filepath.Glob(filepath.Join(dir, "data", "store", "*", "*", "*", "*"))
	if err != nil || len(objects) != 1 {
		t.Fatalf("objects %v, %v", objects, err)
	}
	good, err := os.ReadFile(objects[0])
	if err != nil {
		t.Fatal(err)
	}
	write := func(content []byte) {
		t.Helper()
		if err := errors.Join(os.Remove(objects[0]), os.WriteFile(objects[0], content, 0o640)); err != nil {
			t.Fatal(err)
		}
	}
	write(append([]byte("x"), good[1:]...))
	run(t, dir, nil, "scrub", "--data", "data").expect(t, 1, "damaged            1\n", "DAMAGED", digest(good), "push the same again, which heals it")
	run(t, dir, nil, "storage", "damaged", "--data", "data").expect(t, 0, "DAMAGED", digest(good))
	run(t, dir, nil, "storage", "damaged", "--data", "data", "--json").expect(t, 0, `"damaged":true`, digest(good))
	run(t, dir, nil, "scrub", "--data", "data", "--json").expect(t, 1, `"ended":`, "push the same again")
	server = start(t, dir, nil)
	run(t, dir, nil, "status", "--server", server.admin).expect(t, 0, "1 contents are under quarantine", "scrub ")
	server.stop()
	write(good)
	run(t, dir, nil, "scrub", "--data", "data").expect(t, 0, "right again        1\n")
}

// TestErasingAsksAtATerminal: and does nothing without a yes.
func TestErasingAsksAtATerminal(t *testing.T) {
	script, err := exec.LookPath("script") // util-linux: runs a program in a terminal
	if err != nil {
		t.Skip(err)
	}
	dir := filled(t)
	_, show, _ := strings.Cut(run(t, dir, nil, "tag", "show", "demo:v1", "--data", "data").stdout, "digest ")
	name := "demo@" + strings.Fields(show)[0]
	for _, c := range []struct{ answer, want string }{{"no", "nothing was done"}, {"", "nothing was done"}, {"yes", "was erased"}} {
		run(t, dir, nil, "manifest", "show", name, "--data", "data").expect(t, 0)
		cmd := command(t, dir, []string{"ARTIFACTSTORE_RETENTION_ERASE=true"})
		cmd.Path, cmd.Args = script, []string{"script", "-qec", binary + " erase " + name + " --reason order --data data", "/dev/null"}
		cmd.Stdin = strings.NewReader(c.answer + "\n")
		out, err := cmd.CombinedOutput()
		if !strings.Contains(string(out), "Erase "+name+" for ever? Type yes to go on: ") || !strings.Contains(string(out), c.want) || (err == nil) != (c.answer == "yes") {
			t.Errorf("%q: %v\n%s", c.answer, err, out)
		}
	}
	run(t, dir, nil, "manifest", "show", name, "--data", "data").expect(t, 1, "no such manifest")
}
