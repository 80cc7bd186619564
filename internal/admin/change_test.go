package admin_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// hands is a clock that goes on by itself, and is put forward.
type hands struct{ ahead atomic.Int64 }

func (h *hands) now() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }

func (h *hands) advance(d time.Duration) { h.ahead.Add(int64(d)) }

// put changes what a test needs of a server that decides about life and death.
func (h *hands) put(o *settings) {
	o.now, o.registry.AllowErase, o.registry.SweepAfter, o.registry.SweepGrace = h.now, true, time.Minute, time.Minute
	o.registry.EraseDelay = time.Minute
}

// newLife returns a server whose clock the test has in its hands.
func newLife(t testing.TB) (*server, *hands) {
	h := new(hands)
	return newServer(t, h.put), h
}

// result is the result of an answer that is a stream of work.
func result[R any](r *reply) (result R) {
	r.t.Helper()
	lines := bytes.Split(bytes.TrimSpace(r.want(200, "Content-Type: application/x-ndjson").body), []byte("\n"))
	var last admin.Line[json.RawMessage, R]
	must(r.t, json.Unmarshal(lines[len(lines)-1], &last))
	if last.Result == nil {
		r.t.Fatalf("%s: ends with %s", r.what, lines[len(lines)-1])
	}
	for _, text := range lines[:len(lines)-1] {
		var line admin.Line[json.RawMessage, R]
		must(r.t, json.Unmarshal(text, &line))
		if line.Progress == nil {
			r.t.Errorf("%s: has the line %s", r.what, text)
		}
	}
	return *last.Result
}

// of reads a whole answer.
func of[T any](r *reply) (v T) {
	r.t.Helper()
	r.want(200).json(&v)
	return v
}

// says checks what a refusal tells people.
func (r *reply) says(part string) {
	r.t.Helper()
	if p := r.problem(); !strings.Contains(p.Detail, part) {
		r.t.Errorf("%s: says %q, and nothing of %q", r.what, p.Detail, part)
	}
}

func (r *reply) problem() (p admin.Problem) {
	r.t.Helper()
	r.json(&p)
	return p
}

// lastEvent is the last event of a kind.
func (s *server) lastEvent(kind string) (last eventlog.Event) {
	s.t.Helper()
	page, err := s.ledger.Events().Read(s.t.Context(), 0, 10_000)
	must(s.t, err)
	for _, e := range page {
		if string(e.Kind) == kind {
			last = e
		}
	}
	if last.Sequence == 0 {
		s.t.Fatalf("no event %s", kind)
	}
	return last
}

// given checks that an event was caused by an operator's request, for a reason.
func (s *server) given(kind, reason string, by *reply) {
	s.t.Helper()
	e := s.lastEvent(kind)
	if e.Actor != "admin" || e.Request != by.header.Get("X-Request-Id") || e.Reason() != reason {
		s.t.Errorf("event %s by %s in request %s, for %q; want request %s and %q", kind, e.Actor, e.Request, e.Reason(), by.header.Get("X-Request-Id"), reason)
	}
}

// orphans makes objects in the store that nothing names, and that are not young.
func (s *server) orphans(n int) {
	s.t.Helper()
	of := s.find(content(8, 3*inlineLimit)).Receipt.Locator
	var path string
	must(s.t, filepath.WalkDir(filepath.Join(s.dir, "store"), func(p string, _ fs.DirEntry, err error) error {
		if strings.HasSuffix(filepath.ToSlash(p), of) {
			path = p
		}
		return err
	}))
	data, err := os.ReadFile(path)
	must(s.t, err)
	old := time.Now().Add(-48 * time.Hour)
	for i := range n {
		orphan := fmt.Sprintf("%s-%032x", path[:strings.LastIndexByte(path, '-')], i)
		must(s.t, os.WriteFile(orphan, data, 0o640))
		must(s.t, os.Chtimes(orphan, old, old))
	}
}

const policies = `{"classes":{"moment":"1h"},"default":"permanent-record","grace":"1h","policies":[
	{"name":"plans","repositories":["plans/**"],"class":"moment","choose":["raw-evidence"],"expire_tagged":true,"expire_untagged":"1d",
	 "keep":[{"name":"releases","tags":["v*"],"newest":2},{"name":"used","pulled_within":"1d"},{"name":"new","tags":["n*"],"pushed_within":"30m"}],
	 "immutable_tags":[{"tags":["fixed"],"until":"2999-01-01"}]},
	{"name":"archive","repositories":["archive"],"class":"permanent-record","write_once":true}]}`

// setPolicies sets policies through the API.
func (s *server) setPolicies(document string) *reply {
	s.t.Helper()
	return s.change("PUT", "/policies", `{"document":`+document+`,"reason":"as decided"}`)
}

// everyChange asks for all that can be changed, with all that an answer can have,
// in a store that furnish has filled.
func (s *server) everyChange(h *hands) {
	s.t.Helper()
	s.setPolicies(policies).want(200)
	s.get("/policies").want(200)
	s.everyHold(h)
	s.everyRetention(h)
	s.everyUndo()
	s.everyPlan(h)
	s.everyWork(h)
	s.commit(&fact.ClockJumped{From: h.now().UnixMicro(), To: h.now().Add(time.Hour).UnixMicro()})
	s.get("/status").want(200)
	s.get("/clock").want(200)
	s.change("POST", "/clock/confirm", `{"reason":"the clock is right"}`).want(200)
}

func (s *server) everyHold(h *hands) {
	s.t.Helper()
	app := s.digest("team/app", "v1")
	until := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	for _, on := range []string{"", `,"tag":"v1"`, `,"digest":"` + app + `"`} {
		s.change("POST", "/holds", `{"name":"audit","repository":"team/app","reason":"audit","until":"`+until+`"`+on+`}`).want(200)
		s.change("POST", "/holds", `{"name":"other","repository":"team/app","reason":"audit"`+on+`}`).want(200)
	}
	all[admin.Hold](s, "/holds", 1, nil)
	all[admin.Hold](s, at("team/app", "/holds"), 1, nil)
	s.change("DELETE", at("team/app", ""), `{"reason":"away"}`).refused(403, "DENIED")
	s.get(at("team/app", "/manifests/v1/retention")).want(200)
	s.get("/digests/" + app + "/why").want(200)
	s.get("/digests/" + sha256Of(content(1001, 200)) + "/why").want(200) // its layer
	h.advance(2 * time.Hour)
	s.get("/holds").want(200)
	for _, name := range []string{"audit", "other"} {
		for _, on := range []string{"", `,"tag":"v1"`, `,"digest":"` + app + `"`} {
			s.change("POST", "/holds/release", `{"name":"`+name+`","repository":"team/app","reason":"over"`+on+`}`).want(200)
		}
	}
}

func (s *server) everyRetention(h *hands) {
	s.t.Helper()
	s.pushImage("plans/own", "one", 201)
	s.pushImage("plans/app", "gone", 200)
	manifest := at("plans/own", "/manifests/one")
	s.change("POST", manifest+"/extend", `{"until":"`+h.now().Add(2*time.Hour).UTC().Format(time.RFC3339)+`","reason":"needed"}`).want(200)
	s.change("POST", manifest+"/class", `{"class":"raw-evidence","reason":"evidence"}`).want(200)
	s.get(manifest + "/retention").want(200)
	// A marked one that was pulled, and has lost its tag.
	primary := s.find(s.image("plans/own", 201, "")).Digests.Primary()
	day := h.now().Truncate(24 * time.Hour).UnixMicro()
	s.commit(&fact.ManifestPulled{Repository: "plans/own", Day: day, Manifests: []identity.Digest{primary}},
		&fact.Expired{Repository: "plans/own", Manifest: primary, Why: "expired 1 h ago: class moment"})
	s.get(manifest + "/info").want(200)
	h.advance(2 * time.Hour)
	s.get(at("plans/app", "/manifests/gone/retention")).want(200) // expired
	s.get(at("plans/own", "/tags/one")).want(200)
	digest := s.digest("plans/own", "one")
	s.client("DELETE", "/v2/plans/own/manifests/one", nil).want(202)
	s.get(at("plans/own", "/manifests/"+digest+"/retention")).want(200)
	s.change("POST", at("plans/own", "/manifests/"+digest+"/erase"), `{"reason":"by order"}`).want(200)
	s.pushImage("archive", "v1", 202)
	s.change("DELETE", at("archive", ""), `{"reason":"away"}`).refused(403, "DENIED")
}

func (s *server) everyUndo() {
	s.t.Helper()
	gone := s.pushImage("team/undo", "a", 203)
	s.putManifest("team/undo", "b", imageType, gone).want(201)
	s.pushImage("team/undo", "c", 204)
	undo := func(kind string) *reply {
		return s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d,"reason":"a mistake"}`, s.lastEvent(kind).Sequence))
	}
	undo(fact.KindTagMoved).want(200) // which made the tag
	s.client("DELETE", "/v2/team/undo/manifests/"+sha256Of(gone), nil).want(202)
	deleted := s.lastEvent(fact.KindManifestDeleted).Sequence
	s.pushImage("team/undo", "b", 205)
	s.client("DELETE", "/v2/team/undo/manifests/"+s.digest("team/undo", "b"), nil).want(202)
	all[admin.DeletedManifest](s, at("team/undo", "/deleted"), 1, nil)
	s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d,"reason":"a mistake"}`, deleted)).want(200)
	for _, repository := range []string{"team/gone", "team/away"} {
		s.pushImage(repository, "v1", 206)
		s.change("DELETE", at(repository, ""), `{"reason":"away"}`).want(200)
	}
	all[admin.DeletedRepository](s, "/deleted", 1, nil)
	undo(fact.KindRepositoryDeleted).want(200)
}

func (s *server) everyPlan(h *hands) {
	s.t.Helper()
	for i, tag := range []string{"v1", "v2", "v3", "n1", "fixed", "held", "x1"} {
		s.pushImage("plans/app", tag, 210+i)
	}
	s.change("POST", "/holds", `{"name":"audit","repository":"plans/app","tag":"held","reason":"audit"}`).want(200)
	h.advance(2 * time.Hour)
	made := result[admin.Plan](s.change("POST", "/plans", `{"repositories":["plans/**"]}`))
	stale := result[admin.Plan](s.change("POST", "/plans", `{}`))
	plan := "/plans/" + made.ID
	s.get(plan).want(200)
	all[admin.PlanItem](s, plan+"/items", 2, nil)
	s.change("POST", plan+"/execute", `{}`).want(200)
	s.change("POST", plan+"/execute", `{}`).refused(409, "CONFLICT")
	var touched []fact.Fact
	for i := range 60 {
		name, on := fmt.Sprint("h", i), fact.Target{Repository: "plans/app"}
		touched = append(touched, &fact.HoldPlaced{Name: name, Target: on}, &fact.HoldReleased{Name: name, Target: on})
	}
	s.commit(touched...)
	s.change("POST", "/plans/"+stale.ID+"/execute", `{}`).refused(409, "CONFLICT")
	s.get("/plans/" + stale.ID).want(200) // which tells why it was refused
	all[admin.Plan](s, "/plans", 1, nil)
	s.get("/plans/nothing").refused(404, "PLAN_UNKNOWN")
}

func (s *server) everyWork(h *hands) {
	s.t.Helper()
	lost := content(220, 3*inlineLimit)
	d := s.pushBlob("team/app", lost)
	s.pushBlob("team/app", content(221, 3*inlineLimit))
	h.advance(time.Hour)
	s.change("POST", "/sweep", `{"dryRun":true}`).want(200)
	s.change("POST", "/sweep", `{}`).want(200)
	s.damage(d, func([]byte) []byte { return nil })
	s.damage(sha256Of(content(221, 3*inlineLimit)), func(data []byte) []byte { data[1] ^= 1; return data })
	s.change("POST", "/scrub", `{}`).want(200)
	all[admin.Digest](s, "/storage/damaged", 1, nil)
	s.get("/digests/" + d).want(200)
	s.get("/digests/" + s.digest("team/app", "large")).want(200)
	s.orphans(60)
	h.advance(20 * time.Hour)
	s.change("POST", "/fsck", `{"deep":true}`).want(200)
	s.change("POST", "/fsck", `{"repair":true}`).want(200)
	s.change("POST", "/fsck", `{"repair":true,"manyOrphans":true}`).want(200)
}
