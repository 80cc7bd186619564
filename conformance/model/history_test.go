// Package model_test compares the server with a model: random histories of
// requests run against both, with restarts in between, and every answer must be
// the model's. A failure prints its seed, which repeats the history.
package model_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// Environment variables of this test.
const (
	seedVariable  = "CONFORMANCE_SEED"        // run this history alone
	seedsVariable = "CONFORMANCE_MODEL_SEEDS" // how many histories; default 20
	opsVariable   = "CONFORMANCE_MODEL_OPS"   // operations of a history; default 1000
)

// eraseEnabled lets operators erase.
const eraseEnabled = "ARTIFACTSTORE_RETENTION_ERASE=true"

var seedFlag = flag.Uint64("seed", 0, "run the history of this seed alone; like "+seedVariable)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// number returns the number in an environment variable, or a default.
func number(t *testing.T, variable string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 63)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// TestServerIsTheModel runs the histories.
func TestServerIsTheModel(t *testing.T) {
	first, count := uint64(1), number(t, seedsVariable, 20)
	if seed := number(t, seedVariable, *seedFlag); seed != 0 {
		first, count = seed, 1
	}
	ops := number(t, opsVariable, 1000)
	for seed := first; seed < first+count; seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(t, seed, harness.Start(t, eraseEnabled))
			if err := h.run(t.Context(), ops); err != nil {
				t.Errorf("%v\nthe last requests:\n%s\n%s=%d repeats the history", err, strings.Join(h.trail, "\n"), seedVariable, seed)
			}
		})
	}
}

// history is one random history: the server, the model, and what can be pushed.
type history struct {
	*rand.Rand
	server *harness.Server
	client *harness.Client
	// operator speaks to the operators' API.
	operator *harness.Client
	model    *model
	blobs    []*blob
	made     []*manifest
	trail    []string // the last requests and their answers

	forgets bool        // the server loses objects when it ends, so it stays
	chunks  []int       // sizes of chunks that come rarely
	script  *transcript // of all requests, if it is not nil
}

// tagPool sorts differently by bytes than by letters, numbers or length.
var tagPool = []string{"v1", "v10", "v2", "latest", "A", "a", "a.b", "a-b", "a_b", "_", "0", "Z9"}

func newHistory(t *testing.T, seed uint64, server *harness.Server) *history {
	t.Helper()
	h := &history{Rand: rand.New(rand.NewPCG(seed, 1)), server: server, chunks: []int{70000}}
	h.client, h.operator = h.server.Client(), harness.NewClient(h.server.AdminURL())
	t.Cleanup(h.client.Close)
	t.Cleanup(h.operator.Close)
	h.model = newModel("a", "a/b", "a-b", "c/d/e")
	// Most are small and go to the database, some are above its limit.
	for i, size := range []int{0, 1, 2, 17, 100, 333, 1000, 1024, 2000, 4096, 5000, 65536, 65537, 70000} {
		b := newBlob(harness.Random(seed<<8+uint64(i), size))
		h.blobs = append(h.blobs, &b)
	}
	return h
}

// operation is one kind of request, with how often it comes.
type operation struct {
	weight int
	run    func(*history, context.Context) error
}

var operations = []operation{
	{12, (*history).pushBlob}, {6, (*history).mountBlob}, {8, (*history).readBlob}, {4, (*history).deleteBlob},
	{5, (*history).startUpload}, {12, (*history).appendUpload}, {4, (*history).misplaceChunk}, {4, (*history).askUpload},
	{8, (*history).finishUpload}, {2, (*history).finishWrongly}, {2, (*history).cancelUpload},
	{20, (*history).putManifest}, {8, (*history).putConditionally}, {10, (*history).readManifest},
	{4, (*history).deleteManifest}, {3, (*history).deleteTag},
	{8, (*history).listTags}, {8, (*history).listReferrers}, {3, (*history).listRepositories},
	{3, (*history).placeHold}, {4, (*history).releaseHold}, {1, (*history).setPolicies},
	{3, (*history).changeClass}, {3, (*history).erase}, {1, (*history).sweep},
	{3, (*history).restoreManifest}, {4, (*history).undoTag}, {2, (*history).undoInVain},
	{2, (*history).deleteRepository}, {2, (*history).restoreRepository},
}

// run runs a number of operations, restarts the server three times on the way,
// and reads everything at the end.
func (h *history) run(ctx context.Context, ops uint64) error {
	total := 0
	for _, op := range operations {
		total += op.weight
	}
	restarts := map[uint64]bool{h.Uint64N(ops): true, h.Uint64N(ops): true, h.Uint64N(ops): true}
	for i := range ops {
		if restarts[i] {
			if err := h.restart(); err != nil {
				return fmt.Errorf("operation %d: %w", i, err)
			}
		}
		choice := h.IntN(total)
		for _, op := range operations {
			if choice -= op.weight; choice >= 0 {
				continue
			}
			if err := op.run(h, ctx); err != nil {
				return fmt.Errorf("operation %d: %w", i, err)
			}
			break
		}
	}
	if err := h.leaveSomething(ctx); err != nil {
		return err
	}
	if err := h.readEverything(ctx); err != nil {
		return err
	}
	return h.noEmptyView()
}

// leaveSomething makes sure that there is something to compare of what a history may
// have taken back: a hold, a deleted manifest, an object that is to go, and policies.
func (h *history) leaveSomething(ctx context.Context) error {
	if err := h.set(ctx, documents[0]); err != nil {
		return err
	}
	r := &repository{"left", newContent()}
	h.model.repositories = append(h.model.repositories, r)
	var made []*manifest
	for i, size := range []int{0, 66_000} {
		m := &manifest{annotations: map[string]string{"left": fmt.Sprint(i)}, mediaType: harness.ImageIndex}
		m.blob = newBlob(append(harness.Encode(harness.Index{SchemaVersion: 2, MediaType: m.mediaType,
			Manifests: []harness.Descriptor{}, Annotations: m.annotations}), bytes.Repeat([]byte(" "), size)...))
		header := map[string]string{"Content-Type": m.mediaType}
		if err := h.put(ctx, push{repository: r, manifest: m, reference: m.sha256, digest: m.sha256, header: header}, always); err != nil {
			return err
		}
		made = append(made, m)
	}
	h.made = append(h.made, made...)
	if err := h.remove(ctx, r, made[0]); err != nil {
		return err
	}
	if err := h.eraseFrom(ctx, r, made[1]); err != nil {
		return err
	}
	if err := h.hold(ctx, r, hold{name: "audit"}); err != nil {
		return err
	}
	return h.set(ctx, documents[1])
}

// clockView has rows only after a jump of the clock.
const clockView = "clock"

// emptyViews are those without rows that should have some: comparing them would
// prove nothing.
func emptyViews(rows map[string]int) (empty []string) {
	for view, n := range rows {
		if n == 0 && view != clockView {
			empty = append(empty, view)
		}
	}
	return empty
}

// noEmptyView fails if a view has no rows, or does not follow from the log.
func (h *history) noEmptyView() error {
	rows, err := h.server.CheckReplay()
	if empty := emptyViews(rows); len(empty) > 0 {
		err = errors.Join(err, fmt.Errorf("the views %v have no rows after the history", empty))
	}
	return err
}

// restart ends the server, gently or not, and starts it again.
func (h *history) restart() error {
	h.note("restart")
	h.client.Close()
	h.operator.Close()
	end := h.server.Stop
	if h.IntN(2) == 0 {
		end = h.server.Kill
	}
	if h.forgets {
		return nil
	}
	return errors.Join(end(), h.server.Start())
}

func (h *history) note(line string) {
	const keep = 25
	if h.trail = append(h.trail, line); len(h.trail) > keep {
		h.trail = h.trail[1:]
	}
}

// do sends a request and remembers it for the report of a failure.
func (h *history) do(ctx context.Context, r harness.Request) (harness.Reply, error) {
	reply, err := h.client.Do(ctx, r)
	line := fmt.Sprintf("%s %s (%d bytes)", r.Method, r.Path, len(r.Body))
	for name, value := range r.Header {
		if name != "Content-Type" {
			line += fmt.Sprintf(" %s: %s", name, value)
		}
	}
	h.note(fmt.Sprintf("%s -> %d %s", line, reply.Status, reply.Code()))
	if h.script != nil && err == nil {
		h.script.add(r, reply)
	}
	return reply, err
}

// open starts an upload and returns where it goes on.
func (h *history) open(ctx context.Context, r *repository) (string, error) {
	reply, err := h.do(ctx, harness.Request{Method: http.MethodPost, Path: "/v2/" + r.name + "/blobs/uploads/"})
	if err != nil {
		return "", err
	}
	return reply.Header.Get("Location"), expect(reply, "start of an upload", http.StatusAccepted, "")
}

// expect compares a reply with the status and, unless it is "", the error code
// that the model says.
func expect(reply harness.Reply, what string, status int, code string) error {
	if reply.Status != status {
		return fmt.Errorf("%s: status %d, the model says %d %s: %.300s", what, reply.Status, status, code, reply.Body)
	}
	if code != "" && len(reply.Body) > 0 && reply.Code() != code {
		return fmt.Errorf("%s: code %s, the model says %s", what, reply.Code(), code)
	}
	return nil
}

// expectHeader compares one header of a reply.
func expectHeader(reply harness.Reply, what, name, want string) error {
	if got := reply.Header.Get(name); got != want {
		return fmt.Errorf("%s: %s is %q, the model says %q", what, name, got, want)
	}
	return nil
}

// pick returns a random element.
func pick[T any](h *history, from []T) T { return from[h.IntN(len(from))] }

func (h *history) repository() *repository { return pick(h, h.model.repositories) }

// digest returns one of the digests by which a blob is known.
func (h *history) digest(b *blob) string {
	if b.has512 && h.IntN(3) == 0 {
		return b.sha512
	}
	return b.sha256
}

const get, head = http.MethodGet, http.MethodHead
