package model_test

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// How many histories run on every backend, and how long they are.
const (
	equalSeedsVariable = "CONFORMANCE_EQUAL_SEEDS" // default 1
	equalOpsVariable   = "CONFORMANCE_EQUAL_OPS"   // default 500
)

// backend is a way to keep a store.
type backend struct {
	name    string
	forgets bool
	place   func(*testing.T) harness.Place
}

var backends = []backend{
	{"SQLite and a folder", false, func(*testing.T) harness.Place { return harness.Place{} }},
	{"SQLite and memory", true, func(*testing.T) harness.Place { return harness.Place{Memory: true} }},
	{"SQLite and S3", false, func(t *testing.T) harness.Place { return harness.Place{S3: harness.StartS3(t)} }},
	{"PostgreSQL and a folder", false, func(t *testing.T) harness.Place {
		return harness.Place{Postgres: harness.StartPostgres(t)}
	}},
	{"PostgreSQL and memory", true, func(t *testing.T) harness.Place {
		return harness.Place{Postgres: harness.StartPostgres(t), Memory: true}
	}},
	{"PostgreSQL and S3", false, func(t *testing.T) harness.Place {
		return harness.Place{Postgres: harness.StartPostgres(t), S3: harness.StartS3(t), Prefix: "equal"}
	}},
}

// TestBackendsAreEqual runs one history on every pair of a database and a
// place for objects. All answers must be the same, and so must be all that can be
// asked for afterwards, but for what no two stores have in common.
func TestBackendsAreEqual(t *testing.T) {
	first, count := uint64(1), number(t, equalSeedsVariable, 1)
	if seed := number(t, seedVariable, *seedFlag); seed != 0 {
		first, count = seed, 1
	}
	ops := number(t, equalOpsVariable, 500)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			outcomes := make([]outcome, len(backends))
			t.Run("run", func(t *testing.T) {
				for i, b := range backends {
					t.Run(b.name, func(t *testing.T) {
						t.Parallel()
						outcomes[i] = b.run(t, seed, ops)
					})
				}
			})
			if t.Failed() {
				t.Fatalf("%s=%d repeats the history", seedVariable, seed)
			}
			for i, b := range backends[1:] {
				if other := outcomes[i+1]; other.rows != nil { // nil: it was skipped
					outcomes[0].compare(t, backends[0].name, other, b.name)
				}
			}
		})
	}
}

// outcome is what came of a history: its answers, and the state it left.
type outcome struct {
	answers []string
	state   []string
	rows    map[string]int // of each view
}

func (b backend) run(t *testing.T, seed, ops uint64) outcome {
	place := b.place(t)
	place.Data = t.TempDir() + "/data"
	h := newHistory(t, seed, harness.StartIn(t, harness.Config{Data: place.Data, File: place.Make(t), Env: []string{eraseEnabled}}))
	h.forgets, h.script = b.forgets, new(transcript)
	// Parts of S3 have 5 MiB here: these need several, and leave a rest.
	h.chunks = []int{70_000, 300_000, 3 << 20, 5<<20 + 1, 12 << 20}
	for i, size := range []int{5 << 20, 11<<20 + 7} {
		large := newBlob(harness.Random(seed<<8+100+uint64(i), size))
		h.blobs = append(h.blobs, &large)
	}
	err := h.run(t.Context(), ops)
	var state []string
	if err == nil {
		state, err = h.dump(t.Context())
	}
	if err != nil {
		t.Fatalf("%v\nthe last requests:\n%s", err, strings.Join(h.trail, "\n"))
	}
	rows, err := h.server.CheckReplay()
	harness.Must(t, err)
	return outcome{answers: h.script.lines, state: state, rows: rows}
}

func (o outcome) compare(t *testing.T, name string, other outcome, otherName string) {
	t.Helper()
	for _, part := range []struct {
		what     string
		one, two []string
	}{{"the answers", o.answers, other.answers}, {"the states", o.state, other.state}} {
		if i := difference(part.one, part.two); i >= 0 {
			t.Errorf("%s differ in line %d:\n%s: %.2000s\n%s: %.2000s", part.what, i+1,
				name, lineOf(part.one, i), otherName, lineOf(part.two, i))
		}
	}
	if !maps.Equal(o.rows, other.rows) {
		t.Errorf("the views have other numbers of rows:\n%s: %v\n%s: %v", name, o.rows, otherName, other.rows)
	}
	// Equal is what is empty, too.
	if len(o.answers) < 200 || len(o.state) < 200 || len(emptyViews(o.rows)) > 0 {
		t.Errorf("%d answers, %d lines of state and %v rows prove little", len(o.answers), len(o.state), o.rows)
	}
}

// difference returns the first line in which two texts differ, or -1.
func difference(one, two []string) int {
	for i := range max(len(one), len(two)) {
		if lineOf(one, i) != lineOf(two, i) {
			return i
		}
	}
	return -1
}

func lineOf(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(the end)"
}

// dump reads all that the server tells of its state, by the operators' API.
func (h *history) dump(ctx context.Context) ([]string, error) {
	client := harness.NewClient(h.server.AdminURL())
	defer client.Close()
	d := &dump{ctx: ctx, client: client, script: new(transcript)}
	d.read("usage")
	d.uploads()
	for _, path := range []string{"holds", "deleted"} {
		d.list(path, 3)
	}
	d.read("policies")
	pulls := d.events()
	for _, r := range d.list("repositories", 2) {
		d.repository(escape(r["name"]))
	}
	for _, b := range h.blobs {
		d.digest(b.sha256)
		if b.has512 {
			d.digest(b.sha512)
		}
	}
	for _, m := range h.made {
		d.digest(m.sha256)
	}
	renumber(d.script.lines, pulls)
	renumber(h.script.lines, pulls)
	return d.script.lines, d.err
}
