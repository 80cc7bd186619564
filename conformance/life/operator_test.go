package life_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"artifactstore/conformance/harness"
)

// operator looks at the store and repairs it while it changes. There is nothing to
// be repaired.
func (f *fire) operator(number int) func(context.Context) {
	random := newRand(f.seed, 200+uint64(number))
	return func(ctx context.Context) {
		n := f.nodes[random.IntN(len(f.nodes))]
		var err error
		switch random.IntN(8) {
		case 0:
			err = f.repair(ctx, n)
		case 1:
			err = f.scrub(ctx, n)
		case 2, 3:
			err = f.plan(ctx, n)
		default:
			err = f.look(ctx, n, random)
		}
		if err != nil {
			f.fail("operator: %v", err)
		}
	}
}

// work asks for something that takes its time, and reads what comes of it into
// result, a pointer. It tells whether that was done, and not refused because of the
// state.
func (n node) work(ctx context.Context, path string, body, result any) (done bool, err error) {
	reply, err := n.ask(ctx, http.MethodPost, path, body)
	if err == nil {
		err = reply.Expect(http.StatusOK, http.StatusConflict)
	}
	if err != nil || reply.Status == http.StatusConflict {
		return false, err
	}
	lines := bytes.Split(bytes.TrimSpace(reply.Body), []byte("\n"))
	var last struct {
		Result  json.RawMessage
		Problem *struct{ Status int }
	}
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		return false, err
	}
	if last.Problem != nil && last.Problem.Status == http.StatusConflict {
		return false, nil
	}
	if last.Result == nil {
		return false, fmt.Errorf("%s ended with %.500s", path, lines[len(lines)-1])
	}
	return true, json.Unmarshal(last.Result, result)
}

// repair lets fsck repair what it finds: at most that it was about to be noted that
// something was deleted.
func (f *fire) repair(ctx context.Context, n node) error {
	var result struct {
		Findings []struct{ Kind, Subject, Problem string }
	}
	if _, err := n.work(ctx, "fsck", map[string]any{"deep": true, "repair": true}, &result); err != nil {
		return err
	}
	for _, found := range result.Findings {
		if found.Kind != "erased" {
			return fmt.Errorf("fsck found %+v", found)
		}
	}
	f.count("repairs")
	return nil
}

func (f *fire) scrub(ctx context.Context, n node) error {
	var result struct{ Damaged, Healed, Mended int64 }
	if _, err := n.work(ctx, "scrub", map[string]any{}, &result); err != nil {
		return err
	}
	if result.Damaged+result.Healed+result.Mended > 0 {
		return fmt.Errorf("a scrub found %+v", result)
	}
	f.count("scrubs")
	return nil
}

// plan makes a plan and executes it, if nothing that it names has changed.
func (f *fire) plan(ctx context.Context, n node) error {
	var made struct{ ID string }
	if done, err := n.work(ctx, "plans", map[string]any{"repositories": []string{"fading/**"}}, &made); err != nil || !done {
		return err
	}
	var executed struct{ State string }
	done, err := n.work(ctx, "plans/"+made.ID+"/execute", map[string]any{}, &executed)
	if err != nil {
		return err
	}
	if done && executed.State != "executed" {
		return fmt.Errorf("plan %s was executed and is %s", made.ID, executed.State)
	}
	if done {
		f.count("plans executed")
	}
	return nil
}

// look asks what is known of something.
func (f *fire) look(ctx context.Context, n node, random *rand.Rand) error {
	digest := harness.SHA256(f.pool[random.IntN(len(f.pool))])
	repository := escape(f.names[random.IntN(len(f.names))])
	paths := []string{"digests/" + digest, "digests/" + digest + "/why", "repositories/" + repository + "/usage", "usage", "deleted", "storage/damaged"}
	path := paths[random.IntN(len(paths))]
	reply, err := n.ask(ctx, http.MethodGet, path, nil)
	if err == nil {
		// One such request at a time is answered.
		err = reply.Expect(http.StatusOK, http.StatusNotFound, http.StatusTooManyRequests)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	f.count("looks")
	return nil
}

// eraseManifest erases a manifest, live or deleted. Nothing brings it back.
func (w *writer) eraseManifest(ctx context.Context, s *shelf) error {
	i := w.some(s, w.IntN(2) == 0)
	if i == nil || s.needed(i) {
		return nil
	}
	there := i.now().there
	i.set(false)
	reply, err := w.node().ask(ctx, http.MethodPost, "repositories/"+escape(s.name)+"/manifests/"+i.digest+"/erase", reason)
	if err != nil {
		return err
	}
	if err := reply.Expect(http.StatusOK, http.StatusNotFound); err != nil || there && reply.Status != http.StatusOK {
		return fmt.Errorf("erase %s@%s, which is there: %t: %w %.300s", s.name, i.digest, there, err, reply.Body)
	}
	for tag, of := range s.tags {
		if of == i {
			delete(s.tags, tag)
		}
	}
	for k := range s.gone {
		if s.gone[k].image == i {
			s.gone[k].begun = time.Time{}
		}
	}
	w.f.count("manifests erased")
	return nil
}

// blobToo makes the bytes of a manifest a blob as well, and deletes that again.
func (w *writer) blobToo(ctx context.Context, s *shelf) error {
	i := w.some(s, true)
	if i == nil {
		return nil
	}
	at := w.shelves[w.IntN(len(w.shelves))]
	if at.deleted != nil {
		return nil // it would be made anew
	}
	other := at.name
	if err := w.node().client.PushBlob(ctx, other, i.digest, i.manifest); err != nil {
		return err
	}
	if w.IntN(3) == 0 {
		return nil // a sweep takes it
	}
	_, err := due(ctx, w.node().client, harness.Request{Method: http.MethodDelete, Path: "/v2/" + other + "/blobs/" + i.digest}, http.StatusAccepted, http.StatusMethodNotAllowed)
	w.f.count("manifests that were blobs")
	return err
}
