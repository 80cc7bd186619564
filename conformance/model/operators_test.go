package model_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"

	"artifactstore/conformance/harness"
)

// ask sends a request to the operators' API. A body is sent as JSON.
func (h *history) ask(ctx context.Context, method, path string, body any) (harness.Reply, error) {
	r := harness.Request{Method: method, Path: "/admin/v1/" + path}
	if body != nil {
		r.Header, r.Body = map[string]string{"Content-Type": "application/json"}, harness.Encode(body)
	}
	reply, err := h.operator.Do(ctx, r)
	h.note(fmt.Sprintf("%s %s %s -> %d %.200s", r.Method, r.Path, r.Body, reply.Status, reply.Body))
	if h.script != nil && err == nil {
		err = h.script.addOperators(r, reply)
	}
	return reply, err
}

// expectProblem is expect for the operators' API.
func expectProblem(reply harness.Reply, what string, status int, code string) error {
	if err := expect(reply, what, status, ""); err != nil {
		return err
	}
	var problem struct{ Code string }
	if err := json.Unmarshal(reply.Body, &problem); err != nil || problem.Code != code {
		return fmt.Errorf("%s: code %q, the model says %s", what, problem.Code, code)
	}
	return nil
}

// reasoned is the body of a request that needs nothing but a reason.
var reasoned = map[string]any{"reason": "the history says so"}

// because adds a reason to a body.
func because(body map[string]any) map[string]any {
	maps.Copy(body, reasoned)
	return body
}

// onHold returns a random hold of a repository that may or may not be there.
func (h *history) onHold(r *repository) hold {
	on := hold{name: pick(h, []string{"audit", "audit", "case-1"})}
	switch h.IntN(6) {
	case 0:
	case 1, 2, 3:
		on.tag = pick(h, tagPool)
	default:
		if len(h.made) > 0 {
			on.manifest = pick(h, h.made)
		}
	}
	return on
}

// body is how a request names a hold.
func (h *history) body(r *repository, on hold) map[string]any {
	body := because(map[string]any{"name": on.name, "repository": r.name})
	if on.tag != "" {
		body["tag"] = on.tag
	}
	if on.manifest != nil {
		body["digest"] = h.digest(&on.manifest.blob)
	}
	return body
}

func (h *history) placeHold(ctx context.Context) error {
	r := h.repository()
	return h.hold(ctx, r, h.onHold(r))
}

func (h *history) hold(ctx context.Context, r *repository, on hold) error {
	body := h.body(r, on)
	if h.IntN(2) == 0 {
		body["until"] = "2999-01-01T00:00:00Z"
	}
	reply, err := h.ask(ctx, http.MethodPost, "holds", body)
	if err != nil {
		return err
	}
	_, tagged := r.tags[on.tag]
	switch {
	case !r.exists:
		return expectProblem(reply, "hold on no repository", http.StatusNotFound, "NAME_UNKNOWN")
	case on.tag != "" && !tagged, on.manifest != nil && !r.has(on.manifest) && r.graves[on.manifest] == nil:
		return expectProblem(reply, "hold on nothing", http.StatusNotFound, "MANIFEST_UNKNOWN")
	}
	r.holds[on] = true
	return expect(reply, "hold", http.StatusOK, "")
}

// releaseHold releases a hold, mostly one that is there.
func (h *history) releaseHold(ctx context.Context) error {
	r := h.repository()
	on := h.onHold(r)
	all := slices.SortedFunc(maps.Keys(r.holds), func(a, b hold) int {
		return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.tag, b.tag), cmp.Compare(orderOf(a.manifest), orderOf(b.manifest)))
	})
	if len(all) > 0 && h.IntN(4) > 0 {
		on = pick(h, all)
	}
	reply, err := h.ask(ctx, http.MethodPost, "holds/release", h.body(r, on))
	if err != nil {
		return err
	}
	switch {
	case !r.exists:
		return expectProblem(reply, "release of a hold on no repository", http.StatusNotFound, "NAME_UNKNOWN")
	case !r.holds[on]:
		return expectProblem(reply, "release of a hold that is not there", http.StatusNotFound, "HOLD_UNKNOWN")
	}
	delete(r.holds, on)
	return expect(reply, "release of a hold", http.StatusOK, "")
}

// orderOf orders manifests by something that no two have in common.
func orderOf(m *manifest) string {
	if m == nil {
		return ""
	}
	return m.sha256
}

func (h *history) setPolicies(ctx context.Context) error {
	return h.set(ctx, documents[min(h.IntN(len(documents)), h.IntN(len(documents)))])
}

func (h *history) set(ctx context.Context, d document) error {
	reply, err := h.ask(ctx, http.MethodPut, "policies", because(map[string]any{"document": d}))
	if err != nil {
		return err
	}
	h.model.rules = d
	return expect(reply, "policies", http.StatusOK, "")
}

// manifestPath is a manifest of a repository in the operators' API.
func (h *history) manifestPath(r *repository, m *manifest, verb string) string {
	return "repositories/" + escape(r.name) + "/manifests/" + h.digest(&m.blob) + "/" + verb
}

// changeClass gives a manifest another class, or puts off the end that its class
// gives it.
func (h *history) changeClass(ctx context.Context) error {
	if len(h.made) == 0 {
		return nil
	}
	r, m := h.repository(), pick(h, h.made)
	p, there := r.manifests[m]
	extend, year := h.IntN(2) == 0, 2100+h.IntN(100)
	name := pick(h, []string{"transient", "raw-evidence", "raw-evidence", "release-evidence", permanent})
	path, body := h.manifestPath(r, m, "class"), map[string]any{"class": name}
	if extend {
		path, body = h.manifestPath(r, m, "extend"), map[string]any{"until": fmt.Sprintf("%d-01-01T00:00:00Z", year)}
	}
	reply, err := h.ask(ctx, http.MethodPost, path, because(body))
	if err != nil {
		return err
	}
	switch {
	case !there:
		return expectProblem(reply, "retention of nothing", http.StatusNotFound, r.unknown("MANIFEST_UNKNOWN"))
	case extend && (!p.class.ends || year <= p.class.extended):
		return expectProblem(reply, "extension to what is not later", http.StatusBadRequest, "RETENTION_INVALID")
	case extend:
		p.class.extended = year
	case p.class.given && p.class.name == name:
		return expectProblem(reply, "change to the same class", http.StatusBadRequest, "RETENTION_INVALID")
	case p.class.permanent():
		return expectProblem(reply, "other class of a permanent record", http.StatusForbidden, "DENIED")
	default:
		p.class = newClass(name, true)
	}
	r.manifests[m] = p
	if err := expect(reply, "retention", http.StatusOK, ""); err != nil {
		return err
	}
	return expectRetention(reply, p.class, r.heldManifest(m))
}

// expectRetention compares what is said of the retention of a manifest.
func expectRetention(reply harness.Reply, c class, held bool) error {
	var got struct {
		Class, State string
		Expires      string
		Extended     bool
		Holds        []any
	}
	if err := json.Unmarshal(reply.Body, &got); err != nil {
		return err
	}
	if got.Class != c.name || got.State != "current" || (got.Expires != "") != c.ends ||
		got.Extended != (c.extended > 0) || (len(got.Holds) > 0) != held {
		return fmt.Errorf("retention %.300s, the model says %+v, held %t", reply.Body, c, held)
	}
	if c.extended > 0 && got.Expires != fmt.Sprintf("%d-01-01T00:00:00Z", c.extended) {
		return fmt.Errorf("the end is %s, the model says %d", got.Expires, c.extended)
	}
	return nil
}

// erase erases a manifest. One that was named by its SHA-512 is left: once its
// bytes are gone the server need not know that digest of what is pushed again.
func (h *history) erase(ctx context.Context) error {
	r := h.repository()
	all := slices.DeleteFunc(slices.Clone(h.made), func(m *manifest) bool { return m.has512 })
	if len(all) == 0 {
		return nil
	}
	m := pick(h, all)
	if there := slices.DeleteFunc(all, func(m *manifest) bool { return !r.has(m) && r.graves[m] == nil }); len(there) > 0 && h.IntN(5) > 0 {
		m = pick(h, there)
	}
	return h.eraseFrom(ctx, r, m)
}

func (h *history) eraseFrom(ctx context.Context, r *repository, m *manifest) error {
	reply, err := h.ask(ctx, http.MethodPost, h.manifestPath(r, m, "erase"), reasoned)
	if err != nil {
		return err
	}
	switch {
	case !r.has(m) && r.graves[m] == nil:
		return expectProblem(reply, "erasure of nothing", http.StatusNotFound, r.unknown("MANIFEST_UNKNOWN"))
	case r.heldManifest(m):
		return expectProblem(reply, "erasure of what is held", http.StatusForbidden, "DENIED")
	}
	r.erase(m)
	return expect(reply, "erasure", http.StatusOK, "")
}

// sweep sweeps, or says that it would. The time for anything to go has not come.
func (h *history) sweep(ctx context.Context) error {
	reply, err := h.ask(ctx, http.MethodPost, "sweep", map[string]any{"dryRun": h.IntN(2) == 0})
	if err != nil {
		return err
	}
	if err := expect(reply, "sweep", http.StatusOK, ""); err != nil {
		return err
	}
	var last struct {
		Result *struct{ Phases []map[string]any }
	}
	lines := bytes.Split(bytes.TrimSpace(reply.Body), []byte("\n"))
	if err := json.Unmarshal(lines[len(lines)-1], &last); err != nil {
		return err
	}
	if last.Result == nil || len(last.Result.Phases) != 5 {
		return fmt.Errorf("sweep: %.600s", reply.Body)
	}
	for _, phase := range last.Result.Phases {
		for name, count := range phase {
			if amount, ok := count.(map[string]any); ok {
				count = amount["number"]
			}
			if name != "phase" && name != "visited" && count != float64(0) {
				return fmt.Errorf("a sweep before anything is due: %s is %v in %v", name, count, phase)
			}
		}
	}
	return nil
}
