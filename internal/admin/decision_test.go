package admin_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/internal/admin"
	"artifactstore/registry/fact"
)

func TestHoldsArePlacedListedAndReleased(t *testing.T) {
	s, h := newLife(t)
	image := s.pushImage("team/app", "v1", 1)
	s.pushImage("b", "v1", 2)
	until := h.now().Add(time.Hour).UTC().Truncate(time.Second)
	placed := of[admin.Hold](s.change("POST", "/holds", `{"name":"audit","repository":"team/app","digest":"`+sha256Of(image)+
		`","until":"`+until.In(time.FixedZone("", 7200)).Format(time.RFC3339)+`","reason":"audit of 2026"}`))
	if placed.Name != "audit" || placed.Repository != "team/app" || placed.Digest != blake3Of(image) || placed.Tag != "" || !placed.Until.Equal(until) ||
		placed.Actor != "admin" || placed.Reason != "audit of 2026" || placed.Sequence != uint64(s.lastEvent(fact.KindHoldPlaced).Sequence) {
		t.Errorf("placed %+v", placed)
	}
	for i := range 5 {
		s.change("POST", "/holds", fmt.Sprintf(`{"name":"h%d","repository":"b","reason":"because"}`, i)).want(200)
		s.change("POST", "/holds", fmt.Sprintf(`{"name":"h%d","repository":"b","tag":"v1","reason":"because"}`, i)).want(200)
	}
	if on := all[admin.Hold](s, at("team/app", "/holds"), 1, nil); !reflect.DeepEqual(on, []admin.Hold{placed}) {
		t.Errorf("on team/app are %+v", on)
	}
	everywhere, on := all[admin.Hold](s, "/holds", 3, nil), all[admin.Hold](s, at("b", "/holds"), 3, nil)
	if len(everywhere) != 11 || len(on) != 10 {
		t.Errorf("%d holds, %d of them on b", len(everywhere), len(on))
	}
	for _, hold := range on {
		if !slices.ContainsFunc(everywhere, func(other admin.Hold) bool { return reflect.DeepEqual(other, hold) }) {
			t.Errorf("%+v is not among all", hold)
		}
	}
	// It forbids, by name, to clients and to operators.
	s.client("DELETE", "/v2/team/app/manifests/"+sha256Of(image), nil).want(403)
	refused := s.change("DELETE", at("team/app", ""), `{"reason":"away"}`).refused(403, "DENIED").problem()
	if !slices.Equal(refused.Holds, []string{"audit"}) {
		t.Errorf("refused with %+v", refused)
	}
	// Until its time has come; and it is listed until it is released.
	h.advance(2 * time.Hour)
	if on := all[admin.Hold](s, at("team/app", "/holds"), 1, nil); len(on) != 1 || !on[0].Ended {
		t.Errorf("on team/app are %+v", on)
	}
	r := s.change("POST", "/holds/release", `{"name":"audit","repository":"team/app","digest":"`+sha256Of(image)+`","reason":"the audit is over"}`)
	if released := of[admin.HoldReleased](r); released != (admin.HoldReleased{Name: "audit", Repository: "team/app", Digest: sha256Of(image)}) {
		t.Errorf("released %+v", released)
	}
	s.given(fact.KindHoldReleased, "the audit is over", r)
	s.change("POST", "/holds/release", `{"name":"audit","repository":"team/app","reason":"again"}`).refused(404, "HOLD_UNKNOWN")
	s.get(at("nothing", "/holds")).refused(404, "NAME_UNKNOWN")
	for _, after := range []string{"x", "1/a", "x/a/b", "%00"} {
		s.get("/holds?after="+after).refused(400, "PARAMETER_INVALID")
	}
	s.get(at("b", "/holds?after=x")).refused(400, "PARAMETER_INVALID")
	for body, code := range map[string]string{
		`{"name":"audit","repository":"b"}`:                                                            "REASON_INVALID",
		`{"name":"Audit","repository":"b","reason":"x"}`:                                               "HOLD_INVALID",
		`{"name":"audit","repository":"b","tag":"v1","digest":"` + sha256Of(image) + `","reason":"x"}`: "HOLD_INVALID",
		`{"name":"audit","repository":"b","digest":"v1","reason":"x"}`:                                 "DIGEST_INVALID",
		`{"name":"audit","repository":"b","tag":"-","reason":"x"}`:                                     "TAG_INVALID",
		`{"name":"audit","repository":"B","reason":"x"}`:                                               "NAME_INVALID",
		`{"name":"audit","repository":"b","until":"2020-01-01T00:00:00Z","reason":"x"}`:                "HOLD_INVALID",
		`{"name":"audit","repository":"b","reason":"` + strings.Repeat("x", 1001) + `"}`:               "REASON_INVALID",
	} {
		s.change("POST", "/holds", body).refused(400, code)
	}
	for _, until := range []string{"9999-12-31T23:59:59.9999999Z", "9999-12-31T23:59:59-23:00"} { // which are of the year 10000
		s.change("POST", "/holds", `{"name":"audit","repository":"b","until":"`+until+`","reason":"x"}`).refused(400, "HOLD_INVALID")
	}
	s.change("POST", "/holds", `{"name":"audit","repository":"b","until":"0001-01-01T00:00:00Z","reason":"x"}`).refused(400, "BODY_INVALID")
	s.change("POST", "/holds", `{"name":"audit","repository":"c","reason":"x"}`).refused(404, "NAME_UNKNOWN")
	s.change("POST", "/holds", `{"name":"audit","repository":"b","tag":"v2","reason":"x"}`).refused(404, "MANIFEST_UNKNOWN")
}

func TestPoliciesAreSetAndTold(t *testing.T) {
	s, _ := newLife(t)
	var p admin.Policies
	s.get("/policies").want(200).json(&p)
	if len(p.Sources) != 2 || p.Default != "permanent-record" || p.Grace.String() != "1w" || p.Classes["transient"].String() != "1w" || len(p.Policies) != 0 {
		t.Errorf("without policies: %+v", p)
	}
	r := s.setPolicies(policies)
	p = of[admin.Policies](r)
	if set := p.Sources[1]; set.Source != "admin" || set.Actor != "admin" || set.Reason != "as decided" || set.Sequence != uint64(s.lastEvent(fact.KindPoliciesSet).Sequence) ||
		len(set.Document.Policies) != 2 || p.Sources[0].Source != "configuration" || p.Sources[0].Set != nil {
		t.Errorf("sources %+v", p.Sources)
	}
	if len(p.Policies) != 2 || p.Policies[0].Source != "admin" || p.Policies[0].Policy.Name != "plans" || p.Grace.String() != "1h" || p.Classes["moment"].String() != "1h" {
		t.Errorf("in force %+v", p)
	}
	s.given(fact.KindPoliciesSet, "as decided", r)
	if again := of[admin.Policies](s.get("/policies")); !reflect.DeepEqual(again, p) {
		t.Errorf("told %+v", again)
	}
	// What is wrong is told, and nothing changes.
	s.setPolicies(`{"policies":[{"name":"p","repositories":["**"],"class":"nothing"}]}`).refused(400, "RETENTION_INVALID").says("nothing")
	s.setPolicies(`{"policies":[{"name":"p"}]}`).refused(400, "RETENTION_INVALID").says("p")
	s.setPolicies(`{"polices":[]}`).refused(400, "RETENTION_INVALID").says("polices")
	s.setPolicies(`[]`).refused(400, "RETENTION_INVALID")
	s.setPolicies(`null`).refused(400, "RETENTION_INVALID") // a program that had nothing to say
	s.change("PUT", "/policies", `{"document":{"default":"transient"}}`).refused(400, "REASON_INVALID")
	if again := of[admin.Policies](s.get("/policies")); !reflect.DeepEqual(again, p) {
		t.Errorf("in force %+v", again)
	}
	if p = of[admin.Policies](s.setPolicies(`{}`)); len(p.Policies) != 0 {
		t.Errorf("taken away, and there is %+v", p.Policies)
	}
}

func TestRetentionOfAManifestIsToldAndChanged(t *testing.T) {
	s, h := newLife(t)
	s.setPolicies(policies).want(200)
	image := s.pushImage("plans/app", "x", 1)
	manifest := at("plans/app", "/manifests/x")
	got := of[admin.Retention](s.get(manifest + "/retention"))
	if got.Class != "moment" || got.Rule != "policy plans" || got.Chosen || got.State != "current" || got.Expires == nil || got.Next == nil ||
		!strings.Contains(got.Reason, "moment") || got.Digest != sha256Of(image) || len(got.Holds) != 0 {
		t.Errorf("retention %+v", got)
	}
	until := got.Expires.Add(time.Hour)
	r := s.change("POST", manifest+"/extend", `{"until":"`+until.Format(time.RFC3339Nano)+`","reason":"one more hour"}`)
	if got = of[admin.Retention](r); !got.Extended || !got.Expires.Equal(until) {
		t.Errorf("extended: %+v", got)
	}
	s.given(fact.KindExtended, "one more hour", r)
	s.change("POST", manifest+"/extend", `{"until":"`+until.Format(time.RFC3339Nano)+`","reason":"no later"}`).refused(400, "RETENTION_INVALID")
	r = s.change("POST", manifest+"/class", `{"class":"raw-evidence","reason":"evidence"}`)
	if got = of[admin.Retention](r); got.Class != "raw-evidence" || !got.Chosen || got.Expires.Before(h.now().Add(80*24*time.Hour)) {
		t.Errorf("of another class: %+v", got)
	}
	s.given(fact.KindClassChanged, "evidence", r)
	if info := s.info("plans/app", "x"); info.Class != "raw-evidence" || !info.Expires.Equal(*got.Expires) {
		t.Errorf("info %+v", info)
	}
	if tag := of[admin.Tag](s.get(at("plans/app", "/tags/x"))); tag.Class != "raw-evidence" || !tag.Expires.Equal(*got.Expires) {
		t.Errorf("tag %+v", tag)
	}
	s.change("POST", manifest+"/class", `{"class":"nothing","reason":"x"}`).refused(400, "RETENTION_INVALID")
	// A hold on the repository freezes what is in it.
	s.change("POST", "/holds", `{"name":"audit","repository":"plans/app","reason":"audit"}`).want(200)
	if got = of[admin.Retention](s.get(manifest + "/retention")); len(got.Holds) != 1 || got.Holds[0].Name != "audit" || !strings.Contains(got.Reason, "audit") {
		t.Errorf("under a hold: %+v", got)
	}
	erase := at("plans/app", "/manifests/"+sha256Of(image)+"/erase")
	s.change("POST", erase, `{"reason":"by order"}`).refused(403, "DENIED")
	s.change("POST", "/holds/release", `{"name":"audit","repository":"plans/app","reason":"over"}`).want(200)
	s.change("POST", erase, `{}`).refused(400, "REASON_INVALID")
	r = s.change("POST", erase, `{"reason":"by order"}`)
	if erased := of[admin.Erased](r); erased != (admin.Erased{Repository: "plans/app", Digest: sha256Of(image)}) {
		t.Errorf("erased %+v", erased)
	}
	s.given(fact.KindManifestForgotten, "by order", r)
	s.get(manifest+"/retention").refused(404, "MANIFEST_UNKNOWN")
	s.get(at("nothing", "/manifests/x/retention")).refused(404, "NAME_UNKNOWN")
	s.change("POST", erase, `{"reason":"again"}`).refused(404, "MANIFEST_UNKNOWN")

	disabled := newServer(t)
	gone := disabled.pushImage("a", "v1", 1)
	disabled.change("POST", at("a", "/manifests/"+sha256Of(gone)+"/erase"), `{"reason":"by order"}`).refused(403, "UNSUPPORTED").says("retention.erase")
}

func TestWhatWasDeletedIsListedAndPutBack(t *testing.T) {
	s, _ := newLife(t)
	image := s.pushImage("team/app", "v1", 1)
	s.client("DELETE", "/v2/team/app/manifests/"+sha256Of(image), nil).want(202)
	deleted := all[admin.DeletedManifest](s, at("team/app", "/deleted"), 1, nil)
	if len(deleted) != 1 || deleted[0].Digest != sha256Of(image) || deleted[0].Until.Sub(deleted[0].Deleted) != 7*24*time.Hour {
		t.Fatalf("deleted %+v", deleted)
	}
	r := s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d,"reason":"a mistake"}`, deleted[0].Sequence))
	if undone := of[admin.Undone](r); !slices.Equal(undone.Restored, []string{sha256Of(image)}) || !slices.Equal(undone.Moved, []string{"v1"}) ||
		undone.Kind != fact.KindManifestDeleted || undone.Repository != "team/app" || undone.Sequence != deleted[0].Sequence {
		t.Errorf("undone %+v", undone)
	}
	s.given(fact.KindManifestRestored, "a mistake", r)
	s.client("GET", "/v2/team/app/manifests/v1", nil).want(200).bytes(image)
	s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d,"reason":"again"}`, deleted[0].Sequence)).refused(409, "CONFLICT")
	s.change("POST", "/undo", `{"sequence":1000000,"reason":"x"}`).refused(404, "EVENT_UNKNOWN")
	s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d}`, deleted[0].Sequence)).refused(400, "REASON_INVALID")

	r = s.change("DELETE", at("team/app", ""), `{"reason":"the team is gone"}`)
	gone := of[admin.DeletedRepository](r)
	if gone.Name != "team/app" || !strings.HasPrefix(gone.DeletedName, "team/app#") || gone.Sequence != uint64(s.lastEvent(fact.KindRepositoryDeleted).Sequence) {
		t.Errorf("deleted %+v", gone)
	}
	s.given(fact.KindRepositoryDeleted, "the team is gone", r)
	s.get(at("team/app", "")).refused(404, "NAME_UNKNOWN")
	if list := all[admin.DeletedRepository](s, "/deleted", 1, nil); !reflect.DeepEqual(list, []admin.DeletedRepository{gone}) {
		t.Errorf("deleted are %+v", list)
	}
	s.change("POST", "/holds", `{"name":"audit","repository":"`+gone.DeletedName+`","reason":"audit"}`).want(200)
	if on := all[admin.Hold](s, "/repositories/"+strings.NewReplacer("/", "%2F", "#", "%23").Replace(gone.DeletedName)+"/holds", 1, nil); len(on) != 1 {
		t.Errorf("holds %+v", on)
	}
	s.change("POST", "/undo", fmt.Sprintf(`{"sequence":%d,"reason":"it is back"}`, gone.Sequence)).want(200)
	s.client("GET", "/v2/team/app/manifests/v1", nil).want(200).bytes(image)
	s.change("DELETE", at("nothing", ""), `{"reason":"x"}`).refused(404, "NAME_UNKNOWN")

}

func TestPlanIsMadeShownAndExecuted(t *testing.T) {
	s, h := newLife(t)
	s.setPolicies(policies).want(200)
	for i, tag := range []string{"v1", "v2", "v3", "fixed", "x"} {
		s.pushImage("plans/app", tag, 1+i)
	}
	s.pushImage("other", "x", 9)
	h.advance(2 * time.Hour)
	made := result[admin.Plan](s.change("POST", "/plans", `{"repositories":["plans/*"]}`))
	if made.State != "open" || made.Actor != "admin" || made.Repositories != 1 || !slices.Equal(made.Patterns, []string{"plans/*"}) ||
		made.Actions["expire"].Manifests != 2 || made.Actions["keep"].Manifests != 3 || made.Done != nil {
		t.Errorf("made %+v", made)
	}
	items := all[admin.PlanItem](s, "/plans/"+made.ID+"/items", 2, nil)
	why := map[string]string{}
	for _, item := range items {
		why[item.Tags[0]] = item.Action + ": " + item.Reason
	}
	for tag, want := range map[string]string{"v1": "expire", "v2": "releases", "v3": "releases", "fixed": "immutable", "x": "expire"} {
		if !strings.Contains(why[tag], want) {
			t.Errorf("%s: %q, and nothing of %q", tag, why[tag], want)
		}
	}
	var some admin.Page[admin.PlanItem]
	s.get("/plans/" + made.ID + "/items?action=expire&n=1").want(200).json(&some)
	if len(some.Items) != 1 || some.Items[0].Action != "expire" || some.Next == "" {
		t.Errorf("page %+v", some)
	}
	s.get("/plans/"+made.ID+"/items?action=burn").refused(400, "PARAMETER_INVALID")
	s.get("/plans/"+made.ID+"/items?action=keep&action=wait").refused(400, "PARAMETER_INVALID")
	for _, after := range []string{"x", "1", "x.y"} {
		s.get("/plans?after="+after).refused(400, "PARAMETER_INVALID")
	}
	s.change("POST", "/plans", `{"repositories":[""]}`).refused(400, "RETENTION_INVALID")

	r := s.change("POST", "/plans/"+made.ID+"/execute", `{}`)
	if done := result[admin.Plan](r); done.State != "executed" || done.Done == nil || done.Done.Marked != 2 {
		t.Errorf("executed %+v", done)
	}
	if e := s.lastEvent(fact.KindExpired); e.Actor != "admin" || e.Request != r.header.Get("X-Request-Id") {
		t.Errorf("expired by %s in %s", e.Actor, e.Request)
	}
	if got := of[admin.Retention](s.get(at("plans/app", "/manifests/x/retention"))); got.Marked == nil || got.State != "expired" {
		t.Errorf("retention %+v", got)
	}

	// A plan that something has touched since is refused, with what that was.
	stale := result[admin.Plan](s.change("POST", "/plans", `{"repositories":["plans/*"]}`))
	s.pushImage("plans/app", "x", 20)
	moved := s.lastEvent(fact.KindTagMoved).Sequence
	problem := s.change("POST", "/plans/"+stale.ID+"/execute", `{}`).refused(409, "CONFLICT").problem()
	if !slices.ContainsFunc(problem.Events, func(e admin.LaterEvent) bool { return e.Sequence == uint64(moved) && e.Subject == "plans/app:x" }) || problem.Done == nil {
		t.Errorf("refused with %+v", problem)
	}
	if refused := of[admin.Plan](s.get("/plans/" + stale.ID)); refused.State != "refused" || refused.Done == nil || refused.Done.Problem == "" {
		t.Errorf("refused %+v", refused)
	}
	if list := all[admin.Plan](s, "/plans", 1, nil); len(list) != 2 || list[0].ID != stale.ID || list[1].ID != made.ID {
		t.Errorf("plans %+v", list)
	}
}

func TestBytesOfARepositoryAreToldByWhoElseHasThem(t *testing.T) {
	s, h := newLife(t)
	shared := content(1, 1000)
	d := s.pushBlob("a", shared)
	s.client("POST", "/v2/b/blobs/uploads/?mount="+d+"&from=a", nil).want(201)
	own := s.pushImage("a", "v1", 2)
	h.advance(time.Hour)
	result[admin.SweepReport](s.change("POST", "/sweep", `{}`))
	exclusive := 220 + int64(len(own))
	got := of[admin.Usage](s.get(at("a", "/usage")))
	if got.Bytes != 1000+exclusive || got.Shared != 1000 || got.Exclusive != exclusive || got.Condemned != 0 {
		t.Errorf("usage %+v", got)
	}
	s.pushBlob("a", content(3, 500))
	h.advance(time.Hour)
	report := result[admin.SweepReport](s.change("POST", "/sweep", `{}`))
	if report.DryRun || len(report.Phases) != 5 || report.Phases[0].Phase != "links" {
		t.Errorf("swept %+v", report)
	}
	if got = of[admin.Usage](s.get(at("a", "/usage"))); got.Condemned != 500 {
		t.Errorf("usage %+v", got)
	}
	why := of[admin.Why](s.get("/digests/" + sha256Of(content(1002, 200)) + "/why"))
	var kinds []string
	for _, r := range why.Chains[0].Reasons {
		kinds = append(kinds, r.Kind)
	}
	if why.Digest != sha256Of(content(1002, 200)) || len(why.Chains) != 1 || why.Chains[0].Repository != "a" || !slices.Contains(kinds, "layer") || !slices.Contains(kinds, "tag") {
		t.Errorf("why %+v", why)
	}
	s.get("/digests/"+sha256Of(nil)+"/why").refused(404, "BLOB_UNKNOWN")
}

func TestClockIsToldAndConfirmed(t *testing.T) {
	s, h := newLife(t)
	if got := of[admin.Clock](s.get("/clock")); got.Jumped || got.Watched != nil {
		t.Errorf("clock %+v", got)
	}
	s.pushImage("a", "v1", 1)
	s.change("POST", "/clock/confirm", `{"reason":"it is right"}`).refused(409, "CONFLICT")
	h.advance(48 * time.Hour)
	got := of[admin.Clock](s.get("/clock"))
	if !got.Jumped || got.Since == nil || got.Until == nil || got.Now.Sub(got.Trusted) < 47*time.Hour {
		t.Errorf("clock %+v", got)
	}
	if status := of[admin.Status](s.get("/status")); !status.ClockJumped {
		t.Errorf("status %+v", status)
	}
	s.change("POST", "/plans", `{}`).refused(409, "CONFLICT")
	s.change("POST", "/clock/confirm", `{}`).refused(400, "REASON_INVALID")
	r := s.change("POST", "/clock/confirm", `{"reason":"the machine was off"}`)
	if got := of[admin.Clock](r); got.Jumped || got.Now.Sub(got.Trusted) > time.Minute {
		t.Errorf("clock %+v", got)
	}
	s.given(fact.KindClockConfirmed, "the machine was off", r)
}

func TestDamageIsFoundToldAndHealed(t *testing.T) {
	s, _ := newLife(t)
	data := content(1, 3*inlineLimit)
	d := s.pushBlob("a", data)
	s.damage(d, func(data []byte) []byte { data[7] ^= 1; return data })
	report := result[admin.ScrubReport](s.change("POST", "/scrub", `{}`))
	if report.Damaged != 1 || report.Ended == nil {
		t.Errorf("scrub %+v", report)
	}
	damaged := all[admin.Digest](s, "/storage/damaged", 1, nil)
	if len(damaged) != 1 || !damaged[0].Damaged || !slices.Contains(damaged[0].Digests, d) {
		t.Errorf("damaged %+v", damaged)
	}
	if status := of[admin.Status](s.get("/status")); status.Damaged != 1 || status.Scrub == nil || status.Scrub.Damaged != 1 {
		t.Errorf("status %+v", status)
	}
	s.client("GET", "/v2/a/blobs/"+d, nil).want(404)
	checked := result[admin.FsckReport](s.change("POST", "/fsck", `{"deep":true}`))
	if n := checked.Counts["quarantined"]; n.Found != 1 || len(checked.Findings) != 1 || checked.Findings[0].Problem == "" {
		t.Errorf("fsck %+v", checked)
	}
	s.pushBlob("a", data)
	s.client("GET", "/v2/a/blobs/"+d, nil).want(200).bytes(data)
	if status := of[admin.Status](s.get("/status")); status.Damaged != 0 {
		t.Errorf("status %+v", status)
	}
}
