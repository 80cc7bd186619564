package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// enforce applies the policies and expects what is done.
func (w *world) enforce(t *testing.T, want registry.EnforceReport) {
	t.Helper()
	got, err := w.Enforce(t.Context(), registry.EnforceOptions{})
	must(t, err)
	want.Repositories, want.Manifests = got.Repositories, got.Manifests
	if got != want {
		t.Errorf("retention did %+v, want %+v", got, want)
	}
}

var nothingDone registry.EnforceReport

func TestWithoutPoliciesNothingIsLookedAt(t *testing.T) {
	w := open(t, registry.Options{})
	pushed(t, w.repo(t, "a"), 0, "")
	w.pass(t, 300*day)
	report, err := w.Enforce(t.Context(), registry.EnforceOptions{})
	must(t, err)
	if report != nothingDone {
		t.Errorf("got %+v", report)
	}
}

func TestAManifestExpiresAndGoesAfterItsGrace(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	gone := pushed(t, r, 1, "")
	named := pushed(t, r, 2, "", "v1")
	w.pass(t, 6*day)
	w.enforce(t, nothingDone)
	w.pass(t, 2*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	if m := w.info(t, "ci/a", gone); m == nil || m.Marked.IsZero() {
		t.Fatalf("the expired manifest is %+v", m)
	}
	if _, err := r.Manifest(t.Context(), registry.Reference{Digest: digest(gone)}); err != nil {
		t.Errorf("what has expired is not served: %v", err)
	}
	w.pass(t, 6*day)
	w.enforce(t, nothingDone)
	w.pass(t, 2*day)
	w.enforce(t, registry.EnforceReport{Collected: 1})
	w.enforce(t, nothingDone)
	if w.info(t, "ci/a", gone) != nil || w.info(t, "ci/a", named) == nil {
		t.Error("the wrong manifest is gone")
	}
}

func TestWhatIsKeptAgainIsRenewed(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	m := pushed(t, r, 0, "")
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.events(t, &fact.TagMoved{Repository: "ci/a", Tag: "late", To: w.info(t, "ci/a", m).Blob.Digests.Primary(), Digest: digest(m)})
	w.enforce(t, registry.EnforceReport{Renewed: 1})
	if now := w.info(t, "ci/a", m); !now.Marked.IsZero() || now.Class != "transient" || now.Expires.IsZero() {
		t.Errorf("the manifest is %+v", now)
	}
	w.pass(t, 8*day)
	w.enforce(t, nothingDone)
	// The whole grace runs again.
	must(t, r.DeleteManifest(t.Context(), tagged("late")))
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.pass(t, 6*day)
	w.enforce(t, nothingDone)
}

func TestAChildStaysAsLongAsItsIndexCanBe(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	child := pushed(t, r, 1, "")
	w.pass(t, day)
	list := index(t, r, "v1", child)
	w.pass(t, 8*day)
	w.enforce(t, nothingDone) // the tag keeps the index, the index its child
	must(t, r.DeleteManifest(t.Context(), tagged("v1")))
	w.enforce(t, registry.EnforceReport{Marked: 1})
	if w.info(t, "ci/a", list).Marked.IsZero() {
		t.Error("the index has not expired")
	}
	w.enforce(t, nothingDone) // an index that has expired is there, and keeps its child
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Collected: 1})
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Collected: 1})
}

// A deleted index can be put back, and would lack its child.
func TestAChildOfADeletedIndexIsNotCollected(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	child := pushed(t, r, 1, "")
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.pass(t, 6*day)
	list := index(t, r, "", child)
	must(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(list)}))
	w.pass(t, 3*day)
	w.enforce(t, nothingDone)
	plan, err := w.MakePlan(t.Context(), operator, registry.PlanRequest{})
	must(t, err)
	page, _, err := w.PlanItems(t.Context(), plan.ID, "", 0, 10)
	must(t, err)
	if len(page) != 1 || page[0].Action != registry.PlanWait || !strings.Contains(page[0].Reason, "can be put back") {
		t.Errorf("plan %+v", page)
	}
	w.pass(t, 5*day)
	w.sweep(t) // which forgets the index
	w.enforce(t, registry.EnforceReport{Collected: 1})
}

func TestAReferrerStaysWithItsSubject(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	subject := pushed(t, r, 1, "", "v1")
	signature := pushed(t, r, 2, subject)
	early := pushed(t, r, 3, "something that is pushed later")
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	if w.info(t, "ci/a", early).Marked.IsZero() || !w.info(t, "ci/a", signature).Marked.IsZero() {
		t.Error("the wrong referrer has expired")
	}
}

// While the clock is in doubt nothing expires, whatever it says.
func TestNothingExpiresWhileTheClockIsInDoubt(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	m := pushed(t, w.repo(t, "ci/a"), 0, "")
	w.clock.advance(1000 * day)
	for range 2 {
		report, err := w.Enforce(t.Context(), registry.EnforceOptions{})
		must(t, err)
		if !report.InDoubt || report.Marked+report.Collected != 0 {
			t.Errorf("got %+v", report)
		}
		_, err = w.MakePlan(t.Context(), operator, registry.PlanRequest{})
		refused(t, err, registry.Conflict)
		pushed(t, w.repo(t, "ci/b"), 0, "") // with which the log says that it jumped
	}
	if w.info(t, "ci/a", m) == nil {
		t.Fatal("the manifest is gone")
	}
	w.events(t, &fact.ClockConfirmed{At: w.clock.Now().UnixMicro()})
	w.enforce(t, registry.EnforceReport{Marked: 1})
}

func TestHoldsWinOverTheEnd(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	m := pushed(t, r, 0, "")
	target := fact.Target{Repository: "ci/a", Manifest: w.info(t, "ci/a", m).Blob.Digests.Primary()}
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.events(t, &fact.HoldPlaced{Name: "audit", Target: target, Until: w.clock.Now().Add(20 * day).UnixMicro()})
	w.pass(t, 19*day)
	w.enforce(t, nothingDone)
	w.pass(t, 2*day)
	w.enforce(t, registry.EnforceReport{Collected: 1})
}

const newest = `{"policies":[{"name":"ci","repositories":["ci/**"],"class":"transient","expire_tagged":true,
	"keep":[{"name":"last","newest":2}]}]}`

// The tags are ranked by when they moved. What goes takes its tags with it.
func TestTheNewestTagsAreKept(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, newest)
	r := w.repo(t, "ci/a")
	var all []string
	for i := range 5 {
		all = append(all, pushed(t, r, i, "", fmt.Sprintf("v%d", i)))
	}
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 3})
	w.pass(t, 8*day)
	// One that was kept goes, and one that has expired moves up.
	must(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(all[4])}))
	w.enforce(t, registry.EnforceReport{Collected: 2, Tags: 2, Renewed: 1})
	page, err := r.Tags(t.Context(), "", 10)
	must(t, err)
	if got := strings.Join(page.Names, " "); got != "v2 v3" {
		t.Errorf("tags %s, want v2 v3", got)
	}
}

func TestAManifestOfManyTagsGoesWithAllOfThem(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"ci","repositories":["ci/**"],"class":"transient","expire_tagged":true}]}`)
	r := w.repo(t, "ci/a")
	others := []string{pushed(t, r, 1, ""), pushed(t, r, 2, "")}
	m := pushed(t, r, 0, "")
	const tags = 2500
	primary := w.info(t, "ci/a", m).Blob.Digests.Primary()
	for i := 0; i < tags; i += 500 {
		var moves []fact.Fact
		for n := range 500 {
			moves = append(moves, &fact.TagMoved{Repository: "ci/a", Tag: fmt.Sprintf("t%04d", i+n), To: primary, Digest: digest(m)})
		}
		w.events(t, moves...)
	}
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 3})
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Collected: 3, Tags: tags})
	for _, m := range append(others, m) {
		if w.info(t, "ci/a", m) != nil {
			t.Error("a manifest is there")
		}
	}
}

// What happens between the look and the act counts.
func TestEachManifestIsDecidedAgainBeforeItGoes(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, newest)
	r := w.repo(t, "ci/a")
	kept := pushed(t, r, 1, "", "v1")
	pushed(t, r, 2, "", "v2")
	pushed(t, r, 3, "", "v3")
	w.pass(t, 8*day)
	w.enforce(t, registry.EnforceReport{Marked: 1})
	w.pass(t, 8*day)
	between := &interrupted{Ledger: w.ledger}
	reg := w.over(t, between, nil)
	// A tag goes, so that v1 is among the newest two.
	between.before = func() { must(t, r.DeleteManifest(t.Context(), tagged("v3"))) }
	report, err := reg.Enforce(t.Context(), registry.EnforceOptions{})
	must(t, err)
	if report.Collected != 0 || report.Renewed != 1 || report.Marked != 1 { // what v3 named
		t.Errorf("retention did %+v", report)
	}
	if w.info(t, "ci/a", kept) == nil {
		t.Error("a manifest went whose tag had moved up")
	}
}

func TestAClassThatIsNoMoreEndsNothing(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, `{"classes":{"nightly":"1d"},"policies":[{"name":"ci","repositories":["ci/**"],"class":"nightly"}]}`)
	pushed(t, w.repo(t, "ci/a"), 0, "")
	w.policies(t, fact.SourceAdmin, `{}`)
	w.pass(t, 3*day)
	w.enforce(t, nothingDone)
}

// A transaction that is lost, or whose outcome is not known, is no harm: the next
// run does what is left.
func TestEnforceCanBeCutOffAnywhere(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, newest)
	for _, name := range []string{"ci/a", "ci/b"} {
		for i := range 40 {
			pushed(t, w.repo(t, name), i, "", fmt.Sprintf("v%d", i))
		}
	}
	w.pass(t, 8*day)
	cut := errors.New("cut off")
	for n := 0; ; n++ {
		ledger := &interrupted{Ledger: w.ledger}
		if n%2 == 0 {
			calls := 0
			ledger.update = func(registry.View) error {
				if calls++; calls == 2 {
					return cut
				}
				return nil
			}
		} else {
			ledger.after = func() error { return registry.ErrUnknown }
		}
		_, err := w.over(t, ledger, nil).Enforce(t.Context(), registry.EnforceOptions{})
		if err == nil {
			break
		}
		if n > 20 {
			t.Fatalf("it does not come to an end: %v", err)
		}
	}
	marked := 0
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		for _, name := range []string{"ci/a", "ci/b"} {
			all, err := v.Ending(name, 0, 1000)
			must(t, err)
			for _, m := range all {
				if !m.Marked.IsZero() {
					marked++
				}
			}
		}
		return nil
	}))
	if marked != 76 {
		t.Errorf("%d manifests have expired, want 76", marked)
	}
}

// interrupted is a ledger in which something happens at the first Update that
// has a change.
type interrupted struct {
	registry.Ledger
	before func()                    // before it
	update func(registry.View) error // in it
	after  func() error              // after it, instead of its outcome
}

func (l *interrupted) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if before := l.before; before != nil {
		l.before = nil
		before()
	}
	err := l.Ledger.Update(ctx, caller, keys, func(v registry.View) (*registry.Change, error) {
		if l.update != nil {
			if err := l.update(v); err != nil {
				return nil, err
			}
		}
		return decide(v)
	})
	if after := l.after; after != nil && err == nil {
		l.after = nil
		return after()
	}
	return err
}
