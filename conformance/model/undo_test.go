package model_test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"artifactstore/conformance/harness"
)

// undo asks for an event to be taken back.
func (h *history) undo(ctx context.Context, sequence uint64) (harness.Reply, error) {
	return h.ask(ctx, http.MethodPost, "undo", because(map[string]any{"sequence": sequence}))
}

// undone is what the server says that an undo has done.
type undone struct {
	Restored, Moved, Removed []string
	Left                     []struct{ Tag string }
}

// readUndone reads the answer to an undo that must have been possible.
func readUndone(reply harness.Reply) (u undone, err error) {
	if err := expect(reply, "undo", http.StatusOK, ""); err != nil {
		return u, err
	}
	return u, json.Unmarshal(reply.Body, &u)
}

func (h *history) deleteRepository(ctx context.Context) error {
	r := h.repository()
	reply, err := h.ask(ctx, http.MethodDelete, "repositories/"+escape(r.name), reasoned)
	if err != nil {
		return err
	}
	switch {
	case !r.exists:
		return expectProblem(reply, "delete of no repository", http.StatusNotFound, "NAME_UNKNOWN")
	case h.model.frozenRepository(r):
		return expectProblem(reply, "delete of a frozen repository", http.StatusForbidden, "DENIED")
	}
	if err := expect(reply, "delete of a repository", http.StatusOK, ""); err != nil {
		return err
	}
	gone := &deleted{of: r, content: r.content}
	r.content = newContent()
	h.model.deleted = append(h.model.deleted, gone)
	var answer struct{ Sequence uint64 }
	err = json.Unmarshal(reply.Body, &answer)
	gone.sequence = answer.Sequence
	return err
}

// restoreRepository puts a deleted repository back, if its name is free.
func (h *history) restoreRepository(ctx context.Context) error {
	if err := h.checkDeleted(ctx); err != nil || len(h.model.deleted) == 0 {
		return err
	}
	gone := pick(h, h.model.deleted)
	reply, err := h.undo(ctx, gone.sequence)
	if err != nil {
		return err
	}
	if gone.of.exists {
		return expectProblem(reply, "undo of the deletion of a repository whose name is taken", http.StatusConflict, "CONFLICT")
	}
	gone.of.content = gone.content
	h.model.deleted = slices.DeleteFunc(h.model.deleted, func(d *deleted) bool { return d == gone })
	h.model.undone = append(h.model.undone, gone.sequence)
	return expect(reply, "undo of the deletion of a repository", http.StatusOK, "")
}

// checkDeleted compares the list of deleted repositories.
func (h *history) checkDeleted(ctx context.Context) error {
	reply, err := h.ask(ctx, get, "deleted?n=1000", nil)
	if err != nil {
		return err
	}
	var list struct {
		Items []struct {
			Name     string
			Sequence uint64
		}
	}
	if err := json.Unmarshal(reply.Body, &list); err != nil {
		return err
	}
	got, want := map[uint64]string{}, map[uint64]string{}
	for _, item := range list.Items {
		got[item.Sequence] = item.Name
	}
	for _, d := range h.model.deleted {
		want[d.sequence] = d.of.name
	}
	if !maps.Equal(got, want) {
		return fmt.Errorf("the deleted repositories are %v, the model says %v", got, want)
	}
	return nil
}

// buried lists the deleted manifests of a repository in the order of their puts,
// and learns what events have deleted them.
func (h *history) buried(ctx context.Context, r *repository) ([]*manifest, error) {
	reply, err := h.ask(ctx, get, "repositories/"+escape(r.name)+"/deleted?n=1000", nil)
	if err != nil {
		return nil, err
	}
	if !r.exists {
		return nil, expectProblem(reply, "deleted manifests of no repository", http.StatusNotFound, "NAME_UNKNOWN")
	}
	var list struct {
		Items []struct {
			Digest   string
			Sequence uint64
		}
	}
	if err := json.Unmarshal(reply.Body, &list); err != nil {
		return nil, err
	}
	all := slices.SortedFunc(maps.Keys(r.graves), func(a, b *manifest) int { return r.graves[a].order - r.graves[b].order })
	if len(list.Items) != len(all) {
		return nil, fmt.Errorf("%d deleted manifests in %s, the model says %d", len(list.Items), r.name, len(all))
	}
	for i, m := range all {
		g := r.graves[m]
		if list.Items[i].Digest != g.digest {
			return nil, fmt.Errorf("deleted manifest %d in %s is %s, the model says %s", i, r.name, list.Items[i].Digest, g.digest)
		}
		g.sequence = list.Items[i].Sequence
	}
	return all, nil
}

// restoreManifest puts a deleted manifest back.
func (h *history) restoreManifest(ctx context.Context) error {
	r := h.repository()
	all, err := h.buried(ctx, r)
	if err != nil || len(all) == 0 {
		return err
	}
	m := pick(h, all)
	g := r.graves[m]
	reply, err := h.undo(ctx, g.sequence)
	if err != nil {
		return err
	}
	if !r.restorable(m) {
		return expectProblem(reply, "undo of the deletion of what needs what is gone", http.StatusConflict, "CONFLICT")
	}
	var moved, left []string
	n := r.restore(m)
	for _, name := range slices.Sorted(maps.Keys(g.tags)) {
		if at := g.tags[name]; at < len(r.moves[name]) {
			left = append(left, name)
			continue
		}
		r.moveTag(name, m, r.moves[name][g.tags[name]-2].digest)
		moved = append(moved, name)
	}
	u, err := readUndone(reply)
	if err != nil {
		return err
	}
	var gotLeft []string
	for _, l := range u.Left {
		gotLeft = append(gotLeft, l.Tag)
	}
	if len(u.Restored) != n || !slices.Equal(u.Moved, moved) || !slices.Equal(gotLeft, left) || len(u.Removed) > 0 {
		return fmt.Errorf("undo %.600s, the model says %d manifests, tags %q, and leaves %q", reply.Body, n, moved, left)
	}
	return nil
}

// undoTag takes back what has happened to a tag last.
func (h *history) undoTag(ctx context.Context) error {
	r, name := h.repository(), pick(h, tagPool)
	sequence, err := h.lastMove(ctx, r, name)
	if err != nil || sequence == 0 {
		return err
	}
	reply, err := h.undo(ctx, sequence)
	if err != nil {
		return err
	}
	last := r.moves[name][len(r.moves[name])-1]
	if last.to != nil && last.from != last.to && h.model.frozenTag(r, name) {
		return expectProblem(reply, "undo of the move of a frozen tag", http.StatusForbidden, "DENIED")
	}
	r.undone = append(r.undone, sequence)
	if last.from == nil {
		r.dropTag(name, last.to)
		u, err := readUndone(reply)
		if err == nil && !slices.Equal(u.Removed, []string{name}) {
			err = fmt.Errorf("undo of a new tag: %.300s", reply.Body)
		}
		return err
	}
	if !r.restorable(last.from) {
		return expectProblem(reply, "undo of a tag of what is gone", http.StatusConflict, "CONFLICT")
	}
	n := r.restore(last.from)
	r.moveTag(name, last.from, r.moves[name][len(r.moves[name])-2].digest)
	u, err := readUndone(reply)
	if err == nil && (!slices.Equal(u.Moved, []string{name}) || len(u.Restored) != n || len(u.Removed) > 0) {
		err = fmt.Errorf("undo of the move of a tag: %.300s, the model says %d manifests", reply.Body, n)
	}
	return err
}

// lastMove compares the latest part of a tag's history, and returns the last event,
// 0 for none.
func (h *history) lastMove(ctx context.Context, r *repository, name string) (uint64, error) {
	const some = 3
	reply, err := h.ask(ctx, get, fmt.Sprintf("repositories/%s/tags/%s/history?n=%d", escape(r.name), name, some), nil)
	if err != nil {
		return 0, err
	}
	if !r.exists {
		return 0, expectProblem(reply, "history of a tag of no repository", http.StatusNotFound, "NAME_UNKNOWN")
	}
	var list struct {
		Items []struct {
			From, To string
			Sequence uint64
		}
	}
	if err := json.Unmarshal(reply.Body, &list); err != nil {
		return 0, err
	}
	moves := r.moves[name]
	if len(list.Items) != min(some, len(moves)) {
		return 0, fmt.Errorf("tag %s in %s has %d moves, the model says %d", name, r.name, len(list.Items), len(moves))
	}
	for i, item := range list.Items {
		if m := moves[len(moves)-1-i]; (item.From == "") != (m.from == nil) || (item.To == "") != (m.to == nil) {
			return 0, fmt.Errorf("move %d from the end of tag %s in %s is %+v, the model says from %t to %t", i, name, r.name, item, m.from != nil, m.to != nil)
		}
	}
	if len(moves) == 0 {
		return 0, nil
	}
	return list.Items[0].Sequence, nil
}

// undoInVain asks for what cannot be undone: what was undone before, events of
// another kind, and events that are yet to come.
func (h *history) undoInVain(ctx context.Context) error {
	r := h.repository()
	sequence, status, code := uint64(1), http.StatusConflict, "CONFLICT" // the first repository was made
	all := append(slices.Clone(r.undone), h.model.undone...)
	switch {
	case h.IntN(10) == 0:
		sequence, status, code = 1<<40, http.StatusNotFound, "EVENT_UNKNOWN"
	case len(all) > 0:
		sequence = pick(h, all)
	case h.model.puts == 0:
		return nil // there may be no event yet
	}
	reply, err := h.undo(ctx, sequence)
	if err != nil {
		return err
	}
	return expectProblem(reply, "undo in vain", status, code)
}
