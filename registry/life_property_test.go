package registry_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// The history of a registry: anything that clients, operators, time and the
// server itself do, in any order. After each step it is asked what went, and
// whether it might: by rules that are written here once more, as simple as they
// can be, from what was there before the step.

// documents are policies that an operator may set.
var documents = []string{
	`{}`,
	`{"policies":[{"name":"ci","repositories":["ci/*"],"class":"transient","choose":["raw-evidence"],"expire_untagged":"1d"}]}`,
	`{"policies":[{"name":"ci","repositories":["ci/*"],"class":"transient","expire_tagged":true,"keep":[{"name":"last","newest":2},{"name":"named","tags":["v1"]}]}]}`,
	`{"policies":[{"name":"all","repositories":["**"],"class":"transient","expire_tagged":true,"keep":[{"name":"fresh","pushed_within":"12d"}],"immutable_tags":[{"tags":["v2"]}]}]}`,
	`{"grace":"2d","policies":[{"name":"once","repositories":["rel"],"class":"transient","write_once":true,"expire_tagged":true},{"name":"rest","repositories":["**"],"expire_untagged":"3d"}]}`,
}

var (
	lifeRepositories = []string{"ci/a", "ci/b", "rel"}
	lifeTags         = []string{"v1", "v2", "main", "t1", "t2"}
)

// item is a manifest of a repository.
type item struct {
	repository string
	digest     identity.Digest // primary
}

// piece is what was pushed.
type piece struct {
	bytes    string
	children []identity.Digest // primary
	subject  identity.Digest   // primary
	config   identity.Digest
}

// state is all that there is, at one time.
type state struct {
	live         map[item]registry.ManifestItem
	graves       map[item]registry.Grave
	tags         map[string][]registry.TagState // by repository
	holds        []registry.Hold
	now, trusted time.Time
	policies     map[string]*retention.Policy // by repository
	head         uint64
}

func (s *state) inDoubt() bool { return s.trusted.Before(s.now) }

// history is one run.
type history struct {
	t      *rapid.T
	outer  *testing.T
	w      *world
	pieces map[identity.Digest]*piece // by primary digest
	pushes int
	seen   map[string]int
}

func (h *history) ok(err error) {
	if err != nil {
		h.t.Fatal(err)
	}
}

// may takes a refusal for an answer.
func (h *history) may(err error) {
	var refusal *registry.Error
	if err != nil && !errors.As(err, &refusal) {
		h.t.Fatal(err)
	}
}

func (h *history) repo(name string) *registry.Repository {
	r, err := h.w.Repository(name, caller)
	h.ok(err)
	return r
}

// state reads what there is.
func (h *history) state() *state {
	s := &state{live: map[item]registry.ManifestItem{}, graves: map[item]registry.Grave{}, tags: map[string][]registry.TagState{}, policies: map[string]*retention.Policy{}}
	h.ok(h.w.ledger.Read(context.Background(), func(v registry.View) error {
		s.now = v.Now()
		var err error
		s.trusted, err = v.Trusted()
		h.ok(err)
		head, err := v.Head()
		h.ok(err)
		s.head = uint64(head)
		for _, name := range lifeRepositories {
			all, err := v.ManifestItems(name, 0, 1000, 1000)
			h.ok(err)
			for _, m := range all {
				s.live[item{name, m.Blob.Digests.Primary()}] = m
			}
			deleted, err := v.GravesIn(name, 0, 1000)
			h.ok(err)
			for _, g := range deleted {
				s.graves[item{name, g.Blob.Digests.Primary()}] = g
			}
			s.tags[name], err = v.TagStates(name, "", 1000)
			h.ok(err)
			holds, err := v.HoldsIn(name)
			h.ok(err)
			s.holds = append(s.holds, holds...)
		}
		return nil
	}))
	for _, name := range lifeRepositories {
		policy, err := h.w.PolicyFor(context.Background(), name)
		h.ok(err)
		if policy != nil {
			s.policies[name] = &policy.Policy
		}
	}
	return s
}

// held tells whether a hold freezes a manifest.
func (h *history) held(s *state, it item) bool {
	above := map[identity.Digest]bool{it.digest: true}
	for grown := true; grown; {
		grown = false
		for d, p := range h.pieces {
			if above[d] || !s.has(item{it.repository, d}) {
				continue
			}
			if slices.ContainsFunc(p.children, func(c identity.Digest) bool { return above[c] }) {
				above[d], grown = true, true
			}
		}
		for d := range above {
			if subject := h.pieces[d].subject; !subject.IsZero() && !above[subject] && s.has(item{it.repository, subject}) {
				above[subject], grown = true, true
			}
		}
	}
	for _, hold := range s.holds {
		t := hold.Target
		if t.Repository != it.repository || !hold.Until.IsZero() && !s.trusted.Before(hold.Until) {
			continue
		}
		switch {
		case t.Tag != "":
			if m, is := s.live[it]; is && slices.ContainsFunc(m.Tags, func(tag registry.TagState) bool { return tag.Name == t.Tag }) {
				return true
			}
		case t.Manifest.IsZero(), above[t.Manifest]:
			return true
		}
	}
	return false
}

func (s *state) has(it item) bool {
	_, live := s.live[it]
	_, deleted := s.graves[it]
	return live || deleted
}

// ended tells why a manifest that was live before may not be collected; "" if it may.
func (h *history) ended(before, after *state, it item) string {
	m, policy, now := before.live[it], before.policies[it.repository], before.trusted
	latest := m.Pushed
	if m.Untagged.After(latest) {
		latest = m.Untagged
	}
	over := !m.Expires.IsZero() && !now.Before(m.Expires)
	over = over || policy != nil && policy.ExpireUntagged > 0 && len(m.Tags) == 0 && !m.Chosen && !m.Extended &&
		!now.Before(latest.Add(time.Duration(policy.ExpireUntagged)))
	switch {
	case before.inDoubt():
		return "the clock is in doubt"
	case m.Marked.IsZero() || now.Before(m.Marked.Add(2*day)):
		return "it was not marked for the shortest grace"
	case !over:
		return "its end has not come"
	}
	for _, tag := range m.Tags {
		if why := h.keeps(before, it.repository, policy, tag, m.Pushed); why != "" {
			return why
		}
	}
	if policy != nil && len(m.Tags) == 0 {
		for _, k := range policy.Keep {
			if k.PushedWithin > 0 && len(k.Tags) == 0 && now.Before(m.Pushed.Add(time.Duration(k.PushedWithin))) {
				return "it was pushed lately"
			}
		}
	}
	for d, p := range h.pieces {
		if slices.Contains(p.children, it.digest) && after.has(item{it.repository, d}) {
			return "an index lists it"
		}
	}
	if subject := h.pieces[it.digest].subject; !subject.IsZero() && !m.Chosen {
		if _, live := after.live[item{it.repository, subject}]; live {
			return "its subject lives"
		}
	}
	return ""
}

// keeps tells why a tag keeps its manifest; "" if it does not.
func (h *history) keeps(s *state, repository string, policy *retention.Policy, tag registry.TagState, pushed time.Time) string {
	if policy == nil || !policy.ExpireTagged {
		return "tag " + tag.Name
	}
	newer := 0
	for _, other := range s.tags[repository] {
		if other.Moved.After(tag.Moved) {
			newer++
		}
	}
	if tag.Moved.After(pushed) {
		pushed = tag.Moved
	}
	for _, k := range policy.Keep {
		switch {
		case k.Newest > 0 && newer < k.Newest,
			k.PushedWithin > 0 && s.trusted.Before(pushed.Add(time.Duration(k.PushedWithin))),
			k.Newest == 0 && k.PushedWithin == 0 && slices.Contains(k.Tags, tag.Name):
			return "tag " + tag.Name + " by rule " + k.Name
		}
	}
	for _, i := range policy.ImmutableTags {
		if slices.Contains(i.Tags, tag.Name) {
			return "immutable tag " + tag.Name
		}
	}
	return ""
}

// judge compares what there was with what there is after a step.
func (h *history) judge(step string, before, after *state) {
	for it := range before.live {
		if _, live := after.live[it]; live {
			continue
		}
		if h.held(before, it) {
			h.t.Fatalf("%s took %v, which is held", step, it)
		}
		if _, deleted := after.graves[it]; deleted {
			if step != "delete" {
				h.t.Fatalf("%s deleted %v", step, it)
			}
			continue
		}
		if step != "enforce" && step != "plan" {
			h.t.Fatalf("%s took %v", step, it)
		}
		if why := h.ended(before, after, it); why != "" {
			h.t.Fatalf("%s took %v: %s", step, it, why)
		}
		h.seen["collected"]++
	}
	for it, g := range before.graves {
		if after.has(it) {
			continue
		}
		if step != "sweep" || h.held(before, it) || before.trusted.Before(g.Deleted.Add(2*day)) {
			h.t.Fatalf("%s forgot %v, deleted %s", step, it, g.Deleted)
		}
		h.seen["forgotten"]++
	}
	h.complete(step, after)
}

// complete expects that of all that can be pulled, or put back, no blob is missing.
func (h *history) complete(step string, s *state) {
	h.ok(h.w.ledger.Read(context.Background(), func(v registry.View) error {
		for it := range maps.Keys(s.live) {
			h.blob(v, step, it)
		}
		for it := range maps.Keys(s.graves) {
			h.blob(v, step, it)
		}
		return nil
	}))
}

func (h *history) blob(v registry.View, step string, it item) {
	p := h.pieces[it.digest]
	if b, err := v.Blob(it.digest); err != nil || b == nil {
		h.t.Fatalf("%s lost the bytes of %v: %v", step, it, err)
	}
	if p.config.IsZero() {
		return
	}
	if b, _, err := v.LinkedBlob(it.repository, p.config); err != nil || b == nil {
		h.t.Fatalf("%s lost a blob of %v: %v", step, it, err)
	}
}

// pick draws one of the live manifests, in an order that does not change.
func (h *history) pick(s *state) (it item, ok bool) {
	all := slices.SortedFunc(maps.Keys(s.live), func(a, b item) int {
		return strings.Compare(a.repository+a.digest.String(), b.repository+b.digest.String())
	})
	if len(all) == 0 {
		return item{}, false
	}
	return all[rapid.IntRange(0, len(all)-1).Draw(h.t, "which")], true
}

// push pushes an image, or an index of some, or a referrer of one.
func (h *history) push(s *state) {
	name := rapid.SampledFrom(lifeRepositories).Draw(h.t, "repository")
	r := h.repo(name)
	h.pushes++
	var text string
	mediaType, p := "application/vnd.oci.image.manifest.v1+json", &piece{}
	related, some := h.pick(s)
	some = some && related.repository == name
	switch kind := rapid.IntRange(0, 3).Draw(h.t, "kind"); {
	case kind == 0 && some: // an index
		mediaType = "application/vnd.oci.image.index.v1+json"
		child := h.pieces[related.digest]
		of := descriptor(s.live[related].MediaType, child.bytes)
		data, err := json.Marshal(map[string]any{"schemaVersion": 2, "mediaType": mediaType, "manifests": []any{of}, "annotations": map[string]string{"n": fmt.Sprint(h.pushes)}})
		h.ok(err)
		text, p.children = string(data), []identity.Digest{related.digest}
	default:
		config := fmt.Sprintf("config %d", h.pushes)
		d, err := r.PushBlob(context.Background(), digest(config), whole(config))
		h.ok(err)
		p.config = d
		subject := ""
		if kind == 1 && some {
			subject, p.subject = h.pieces[related.digest].bytes, related.digest
		}
		text = body(config, h.pushes, subject)
	}
	p.bytes = text
	ref := registry.Reference{Digest: digest(text)}
	push := image(ref, text)
	push.MediaType = mediaType
	if rapid.IntRange(0, 2).Draw(h.t, "tagged") == 0 {
		push.Tags = []string{rapid.SampledFrom(lifeTags).Draw(h.t, "tag")}
	}
	if _, err := r.PutManifest(context.Background(), push); err != nil {
		h.may(err) // the policy forbids to move the tag
		return
	}
	h.pieces[identity.FromBytes(identity.BLAKE3, []byte(text))] = p
}

// again pushes what is there once more.
func (h *history) again(s *state) {
	it, ok := h.pick(s)
	if !ok {
		return
	}
	push := image(registry.Reference{Digest: digest(h.pieces[it.digest].bytes)}, h.pieces[it.digest].bytes)
	push.MediaType = s.live[it].MediaType
	_, err := h.repo(it.repository).PutManifest(context.Background(), push)
	h.may(err)
}

func (h *history) rules(document string) {
	d, err := retention.ParseDocument([]byte(document))
	h.ok(err)
	_, err = h.w.SetPolicies(context.Background(), operator, fact.SourceAdmin, d, "a reason")
	h.ok(err)
}

func (h *history) hold(s *state) {
	it, ok := h.pick(s)
	if !ok {
		return
	}
	request := registry.HoldRequest{Name: rapid.SampledFrom([]string{"one", "two"}).Draw(h.t, "hold"), Repository: it.repository, Reason: "a reason"}
	switch rapid.IntRange(0, 3).Draw(h.t, "on") {
	case 0:
	case 1:
		request.Reference = tagged(rapid.SampledFrom(lifeTags).Draw(h.t, "tag"))
	default:
		request.Reference = registry.Reference{Digest: it.digest}
	}
	if rapid.Bool().Draw(h.t, "ends") {
		request.Until = s.now.Add(time.Duration(rapid.IntRange(1, 15).Draw(h.t, "days")) * day)
	}
	_, err := h.w.PlaceHold(context.Background(), operator, request)
	h.may(err)
}

func (h *history) release(s *state) {
	if len(s.holds) == 0 {
		return
	}
	hold := s.holds[rapid.IntRange(0, len(s.holds)-1).Draw(h.t, "hold")]
	ref := registry.Reference{Tag: hold.Target.Tag, Digest: hold.Target.Manifest}
	h.ok(h.w.ReleaseHold(context.Background(), operator, hold.Name, hold.Target.Repository, ref, "a reason"))
}

func (h *history) undo(s *state) {
	for it, g := range s.graves {
		_, err := h.w.Undo(context.Background(), operator, g.By, "a reason")
		h.may(err)
		if err == nil {
			after := h.state()
			for _, child := range h.pieces[it.digest].children {
				if !after.has(item{it.repository, child}) {
					h.t.Fatalf("%v is back without its child %s", it, child)
				}
			}
		}
		return
	}
}

// plan makes a plan and executes it, with or without something between.
func (h *history) plan(*state) {
	info, err := h.w.MakePlan(context.Background(), operator, registry.PlanRequest{})
	if h.may(err); err != nil {
		return // the clock is in doubt
	}
	items, _, err := h.w.PlanItems(context.Background(), info.ID, "", 0, 10_000)
	h.ok(err)
	if rapid.IntRange(0, 3).Draw(h.t, "something between") == 0 {
		h.step(rapid.SampledFrom([]string{"push", "again", "tag", "untag", "delete", "hold", "release", "policies", "pass", "enforce"}).Draw(h.t, "between"))
	}
	before := h.state()
	_, err = h.w.ExecutePlan(context.Background(), operator, info.ID, nil)
	after := h.state()
	if err != nil {
		var stale *registry.PlanStale
		if !errors.As(err, &stale) && !before.inDoubt() {
			h.t.Fatal(err)
		}
		if after.head != before.head {
			h.t.Fatalf("a plan that is refused made %d events: %v", after.head-before.head, err)
		}
		h.seen["refused"]++
		return
	}
	named := map[item]string{}
	for _, d := range items {
		named[item{d.Repository, d.Manifest}] = d.Action
	}
	for it, was := range before.live {
		is, live := after.live[it]
		action := named[it]
		marked := !is.Marked.IsZero()
		good := live && is.Marked.Equal(was.Marked)
		switch action {
		case registry.PlanMark:
			good = live && marked && was.Marked.IsZero()
		case registry.PlanRenew:
			good = live && !marked && !was.Marked.IsZero()
		case registry.PlanCollect:
			good = !live
		}
		if !good {
			h.t.Fatalf("the plan was to %q %v; it was %+v, and is %+v (%t)", action, it, was.Manifest, is.Manifest, live)
		}
	}
	h.seen["executed"]++
}

// step does one thing.
func (h *history) step(what string) {
	ctx, before := context.Background(), h.state()
	switch what {
	case "push":
		h.push(before)
	case "again":
		h.again(before)
	case "tag":
		if it, ok := h.pick(before); ok {
			push := image(tagged(rapid.SampledFrom(lifeTags).Draw(h.t, "tag")), h.pieces[it.digest].bytes)
			push.MediaType = before.live[it].MediaType
			_, err := h.repo(it.repository).PutManifest(ctx, push)
			h.may(err)
		}
	case "untag":
		h.may(h.repo(rapid.SampledFrom(lifeRepositories).Draw(h.t, "repository")).DeleteManifest(ctx, tagged(rapid.SampledFrom(lifeTags).Draw(h.t, "tag"))))
	case "delete":
		if it, ok := h.pick(before); ok {
			h.may(h.repo(it.repository).DeleteManifest(ctx, registry.Reference{Digest: it.digest}))
		}
	case "undo":
		h.undo(before)
	case "extend":
		if it, ok := h.pick(before); ok {
			_, err := h.repo(it.repository).Extend(ctx, registry.Reference{Digest: it.digest}, before.now.Add(20*day), "a reason")
			h.may(err)
		}
	case "class":
		if it, ok := h.pick(before); ok {
			_, err := h.repo(it.repository).ChangeClass(ctx, registry.Reference{Digest: it.digest}, "transient", "a reason")
			h.may(err)
		}
	case "hold":
		h.hold(before)
	case "release":
		h.release(before)
	case "policies":
		h.rules(rapid.SampledFrom(documents).Draw(h.t, "document"))
	case "pass":
		h.w.pass(h.outer, time.Duration(rapid.IntRange(1, 240).Draw(h.t, "hours"))*time.Hour)
	case "jump":
		h.w.clock.advance(time.Duration(rapid.IntRange(25, 1000).Draw(h.t, "hours")) * time.Hour)
	case "confirm":
		_, err := h.w.ConfirmClock(ctx, operator, "a reason")
		h.may(err)
	case "enforce":
		report, err := h.w.Enforce(ctx, registry.EnforceOptions{})
		h.ok(err)
		h.seen["marked"] += int(report.Marked)
		h.seen["renewed"] += int(report.Renewed)
	case "sweep":
		_, err := h.w.Sweep(ctx, registry.SweepOptions{})
		h.ok(err)
	case "plan":
		h.plan(before)
		return // which was judged there, step by step
	}
	h.judge(what, before, h.state())
}

// weighted are the steps, those that are to come often several times.
var weighted = strings.Fields(`push push push push push push again tag untag delete undo extend class hold release policies
	pass pass pass pass pass pass pass pass jump enforce enforce enforce enforce enforce enforce sweep sweep plan plan`)

// TestNothingIsTakenThatIsKept: whatever happens, nothing that is held and nothing
// whose end has not come is ever gone, and a plan does what it showed.
func TestNothingIsTakenThatIsKept(t *testing.T) {
	if !flag.Parsed() || flag.Lookup("rapid.checks").Value.String() == "100" {
		must(t, flag.Set("rapid.checks", "20"))
		defer func() { must(t, flag.Set("rapid.checks", "100")) }()
	}
	seen := map[string]int{}
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{t: rt, outer: t, w: open(t, registry.Options{}), pieces: map[identity.Digest]*piece{}, seen: seen}
		h.rules(rapid.SampledFrom(documents[1:]).Draw(rt, "document"))
		for range rapid.IntRange(20, 100).Draw(rt, "steps") {
			h.step(rapid.SampledFrom(weighted).Draw(rt, "step"))
			if h.state().inDoubt() && rapid.Bool().Draw(rt, "confirm") {
				h.step("confirm")
			}
		}
	})
	t.Logf("seen: %v", seen)
}
