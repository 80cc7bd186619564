// Package life_test lets everything that makes and takes away happen at once:
// pushes, mounts, deletions, undoing them, and sweeps with the shortest times that
// can be set. What was acknowledged and not deleted must be whole at any moment, and
// what was deleted must be gone at the end.
package life_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// Environment variables of this package's tests.
const (
	secondsVariable = "CONFORMANCE_LIFE_SECONDS" // of each race; default 6
	roundsVariable  = "CONFORMANCE_LIFE_ROUNDS"  // kills of a sweep; default 2
	seedVariable    = "CONFORMANCE_SEED"         // of all that is random; default from the clock
)

// shortest are the settings by which everything goes as soon as it can.
var shortest = []string{
	"ARTIFACTSTORE_SWEEP_INTERVAL=1s", "ARTIFACTSTORE_SWEEP_AFTER=1s", "ARTIFACTSTORE_SWEEP_GRACE=1s", "ARTIFACTSTORE_SWEEP_RATE=0",
	"ARTIFACTSTORE_ERASE_DELAY=1s", "ARTIFACTSTORE_RETENTION_GRACE=1s", "ARTIFACTSTORE_RETENTION_INTERVAL=1s",
	`ARTIFACTSTORE_RETENTION_CLASSES={"blink": "1s"}`,
	`ARTIFACTSTORE_RETENTION_POLICIES=[{"name": "fading", "repositories": ["fading/**"], "class": "blink", "expire_tagged": true}]`,
	"ARTIFACTSTORE_RETENTION_ERASE=true", "ARTIFACTSTORE_LOG_LEVEL=warn",
}

// grace is the shortest of the times above.
const grace = time.Second

// node is a server as clients and operators reach it.
type node struct{ client, operator *harness.Client }

func reach(t *testing.T, s *harness.Server) node {
	t.Helper()
	n := node{s.Client(), harness.NewClient(s.AdminURL())}
	t.Cleanup(n.client.Close)
	t.Cleanup(n.operator.Close)
	return n
}

// ask sends a request to the operators' API, with a body as JSON.
func (n node) ask(ctx context.Context, method, path string, body any) (harness.Reply, error) {
	r := harness.Request{Method: method, Path: "/admin/v1/" + path}
	if body != nil {
		r.Header, r.Body = map[string]string{"Content-Type": "application/json"}, harness.Encode(body)
	}
	return n.operator.Do(ctx, r)
}

// reason is the body of a request that needs nothing else.
var reason = map[string]any{"reason": "a test"}

// swept is what a sweep says that it has done.
type swept struct {
	Condemned, Revived, Released, Forgotten, Erased struct{ Number int64 }
	Manifests, Repositories, Held, Failed           int64
}

// sweep sweeps; busy tells that another request does.
func (n node) sweep(ctx context.Context) (total swept, busy bool, err error) {
	return n.trySweep(ctx, false)
}

// trySweep is sweep, or, if it is dry, says what that would do.
func (n node) trySweep(ctx context.Context, dry bool) (total swept, busy bool, err error) {
	reply, err := n.ask(ctx, http.MethodPost, "sweep", map[string]any{"dryRun": dry})
	if err != nil {
		return total, false, err
	}
	if reply.Status == http.StatusConflict {
		return total, true, nil
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return total, false, fmt.Errorf("sweep: %w", err)
	}
	lines := bytes.Split(bytes.TrimSpace(reply.Body), []byte("\n"))
	var last struct {
		Result *struct{ Phases []swept }
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil || last.Result == nil {
		return total, false, fmt.Errorf("sweep: %w: it ended with %.500s", err, lines[len(lines)-1])
	}
	for _, p := range last.Result.Phases {
		total.Condemned.Number += p.Condemned.Number
		total.Revived.Number += p.Revived.Number
		total.Released.Number += p.Released.Number
		total.Forgotten.Number += p.Forgotten.Number
		total.Erased.Number += p.Erased.Number
		total.Manifests += p.Manifests
		total.Repositories += p.Repositories
		total.Failed += p.Failed
	}
	return total, false, nil
}

// list reads the first page of a list of the operators' API.
func list[T any](ctx context.Context, n node, path string) ([]T, error) {
	reply, err := n.ask(ctx, http.MethodGet, harness.AddQuery(path, "n", "1000"), nil)
	if err != nil {
		return nil, err
	}
	if err := reply.Expect(http.StatusOK); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var page struct{ Items []T }
	err = json.Unmarshal(reply.Body, &page)
	return page.Items, err
}

// escape makes a name one segment of a path.
func escape(name string) string { return url.PathEscape(name) }

// checked is what fsck has found.
type checked struct {
	Equal, Wrong         bool
	Blobs, Rows, Objects int64
	Findings             []struct{ Kind string }
}

// fsck reads everything that a store has, beside its servers or without, and fails the
// test unless all of it is right. What a sweep was about to note as deleted is.
func fsck(t *testing.T, s *harness.Server) (found checked) {
	t.Helper()
	out, err := s.Run("fsck", "--deep", "--json")
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	harness.Must(t, json.Unmarshal([]byte(out), &found))
	if found.Wrong || !found.Equal || slices.ContainsFunc(found.Findings, func(f struct{ Kind string }) bool { return f.Kind != "erased" }) {
		t.Errorf("fsck: %s", out)
	}
	return found
}

// lasting are views of what was, and of what is in force.
var lasting = []string{"tag_history", "policies", "clock"}

// nothingLeft sweeps until nothing is left of what was deleted, and fails the test if
// that never comes.
func nothingLeft(t *testing.T, n node, s *harness.Server) {
	t.Helper()
	const patience = 60 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(grace / 4) {
		_, _, err := n.sweep(t.Context())
		harness.Must(t, err)
		rows := left(t, n)
		if len(rows) == 0 {
			rows, err = s.CheckReplay()
			harness.Must(t, err)
			maps.DeleteFunc(rows, func(view string, count int) bool { return count == 0 || slices.Contains(lasting, view) })
		}
		if len(rows) == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("still there after %v of sweeps: %v", patience, rows)
		}
	}
	if found := fsck(t, s); found.Blobs+found.Rows+found.Objects > 0 || len(found.Findings) > 0 {
		t.Errorf("nothing is there, and of that fsck finds %+v", found)
	}
}

// left is what the operators' API says is there.
func left(t *testing.T, n node) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for _, path := range []string{"repositories", "deleted"} {
		all, err := list[struct{}](t.Context(), n, path)
		harness.Must(t, err)
		rows[path] = len(all)
	}
	reply, err := n.ask(t.Context(), http.MethodGet, "usage", nil)
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	var usage struct{ Stores []struct{ Blobs int } }
	harness.Must(t, json.Unmarshal(reply.Body, &usage))
	for _, store := range usage.Stores {
		rows["blobs"] += store.Blobs
	}
	maps.DeleteFunc(rows, func(_ string, count int) bool { return count == 0 })
	return rows
}

// seeded is a source of what is random, which the test prints.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed := harness.Setting(t, seedVariable, uint64(time.Now().UnixNano()))
	t.Logf("%s=%d", seedVariable, seed)
	return seed
}

func newRand(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }
