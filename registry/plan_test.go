package registry_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// plan makes a plan of all repositories and returns it with its items.
func (w *world) plan(t *testing.T, patterns ...string) (*registry.PlanInfo, []registry.PlanDecision) {
	t.Helper()
	info, err := w.MakePlan(t.Context(), operator, registry.PlanRequest{Repositories: patterns})
	must(t, err)
	if info.State != registry.PlanOpen {
		t.Fatalf("the plan is %+v", info)
	}
	items, more, err := w.PlanItems(t.Context(), info.ID, "", 0, 10_000)
	must(t, err)
	if more {
		t.Fatal("the plan is too long for a test")
	}
	return info, items
}

// shown is what a plan says of its manifests, one line each.
func shown(items []registry.PlanDecision) string {
	var lines []string
	for _, d := range items {
		lines = append(lines, fmt.Sprintf("%s %s: %s", d.Repository, d.Action, d.Reason))
	}
	return strings.Join(lines, "\n")
}

// planned is a world in which a plan has something of everything.
func planned(t *testing.T) (w *world, manifests map[string]string) {
	t.Helper()
	w = open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"ci","repositories":["ci/**"],"class":"transient","choose":["raw-evidence"],"expire_tagged":true,
		"keep":[{"name":"releases","tags":["v*"]}]}]}`)
	a, m := w.repo(t, "ci/a"), map[string]string{}
	m["released"] = pushed(t, a, 1, "", "v1")
	m["named"] = pushed(t, a, 2, "", "main", "latest")
	m["again"] = pushed(t, a, 3, "", "old")
	m["held"] = pushed(t, a, 4, "")
	w.pass(t, 8*day)
	w.hold(t, "audit", "ci/a", registry.Reference{Digest: digest(m["held"])})
	w.enforce(t, registry.EnforceReport{Marked: 2})
	w.pass(t, 8*day)
	m["late"] = pushed(t, a, 5, "")
	w.events(t, &fact.TagMoved{Repository: "ci/a", Tag: "v2", To: w.info(t, "ci/a", m["again"]).Blob.Digests.Primary(), Digest: digest(m["again"])})
	m["other"] = pushed(t, w.repo(t, "ci/b"), 6, "")
	w.pass(t, 8*day)
	m["new"] = pushed(t, w.repo(t, "ci/b"), 7, "")
	m["apart"] = pushed(t, w.repo(t, "main"), 8, "")
	return w, m
}

func TestAPlanSaysWhatBecomesOfEveryManifest(t *testing.T) {
	w, m := planned(t)
	info, items := w.plan(t)
	want := `ci/a keep: kept: tag v1 by rule releases
ci/a collect: eligible since 2023-11-29T22:13:20Z, expired and the grace has passed: class transient
ci/a renew: kept: tag v2 by rule releases
ci/a keep: kept: hold audit
ci/a expire: expired 1 d ago, not yet marked: class transient
ci/b expire: expired 1 d ago, not yet marked: class transient
ci/b keep: expires in 7 d: class transient
main keep: kept: class permanent-record never expires`
	if got := shown(items); got != want {
		t.Errorf("the plan is\n%s\nwant\n%s", got, want)
	}
	if items[1].TagCount != 2 || !slices.Equal(items[1].Tags, []string{"latest", "main"}) || items[1].Digest != digest(m["named"]) ||
		items[1].Ordinal != 2 || items[1].Size != int64(len(m["named"])) || items[1].Class != "transient" || items[3].Held[0] != "audit" {
		t.Errorf("items %+v", items[1:4])
	}
	if info.Repositories != 3 || info.Manifests != 8 || info.Actor != "operator" || info.Actions["collect"] != (registry.PlanCount{Manifests: 1, Tags: 2}) ||
		info.Actions["keep"].Manifests != 4 || uint64(info.Sequence) != head(t, w) {
		t.Errorf("the summary is %+v", info)
	}
	freed, err := w.Freed(t.Context(), func(yield func(registry.ManifestName, error) bool) {
		yield(registry.ManifestName{Repository: "ci/a", Digest: digest(m["named"])}, nil)
	})
	must(t, err)
	if info.Freed == nil || *info.Freed != freed.Bytes || freed.Bytes == 0 {
		t.Errorf("frees %v, want %d", info.Freed, freed.Bytes)
	}
	// Some repositories alone, and one action alone.
	_, some := w.plan(t, "ci/b", "nothing*")
	if len(some) != 2 {
		t.Errorf("the plan of one repository is\n%s", shown(some))
	}
	page, more, err := w.PlanItems(t.Context(), info.ID, registry.PlanMark, 0, 1)
	must(t, err)
	if len(page) != 1 || !more || page[0].Ordinal != 5 {
		t.Errorf("page %+v, %t", page, more)
	}
	if page, more, err = w.PlanItems(t.Context(), info.ID, registry.PlanMark, 5, 1); err != nil || len(page) != 1 || more || page[0].Repository != "ci/b" {
		t.Errorf("page %+v, %t, %v", page, more, err)
	}
}

func TestAPlanIsExecutedAsItWasShown(t *testing.T) {
	w, m := planned(t)
	before := head(t, w)
	info, _ := w.plan(t)
	if head(t, w) != before {
		t.Error("making a plan is in the log")
	}
	pushed(t, w.repo(t, "ci/a"), 99, "", "new") // which the plan does not name
	var told []registry.PlanProgress
	done, err := w.ExecutePlan(t.Context(), operator, info.ID, func(p registry.PlanProgress) { told = append(told, p) })
	must(t, err)
	if done.Marked != 2 || done.Renewed != 1 || done.Collected != 1 || done.Tags != 2 || len(told) != 2 || told[1] != done {
		t.Errorf("did %+v, told %+v", done, told)
	}
	if w.info(t, "ci/a", m["named"]) != nil || w.info(t, "ci/a", m["late"]).Marked.IsZero() || !w.info(t, "ci/a", m["again"]).Marked.IsZero() {
		t.Error("it did something else")
	}
	after := head(t, w)
	_, err = w.ExecutePlan(t.Context(), operator, info.ID, nil)
	if e := refused(t, err, registry.Conflict); !strings.Contains(e.Message, "2 manifests were marked as expired, 1 renewed and 1 collected, with 2 tags") {
		t.Errorf("says %q", e.Message)
	}
	if again, err := w.Plan(t.Context(), info.ID); err != nil || again.State != registry.PlanExecuted || *again.Done != done || head(t, w) != after {
		t.Errorf("the plan is %+v, %v", again, err)
	}
	w.enforce(t, nothingDone)
}

// What touches a manifest, a tag, a hold, a class or a policy that a plan names.
func TestAPlanThatWasTouchedIsRefused(t *testing.T) {
	primary := func(t *testing.T, w *world, m string) identity.Digest {
		return w.info(t, "ci/a", m).Blob.Digests.Primary()
	}
	for name, touch := range map[string]func(t *testing.T, w *world, m map[string]string) (kinds string){
		"a tag that is moved away": func(t *testing.T, w *world, m map[string]string) string {
			pushed(t, w.repo(t, "ci/a"), 50, "", "main")
			return fact.KindTagMoved
		},
		"a tag that is moved there": func(t *testing.T, w *world, m map[string]string) string {
			pushed(t, w.repo(t, "ci/a"), 1, "", "another")
			return fact.KindTagMoved
		},
		"a tag that is deleted": func(t *testing.T, w *world, m map[string]string) string {
			must(t, w.repo(t, "ci/a").DeleteManifest(t.Context(), tagged("v2")))
			return fact.KindTagDeleted
		},
		"a manifest that is deleted": func(t *testing.T, w *world, m map[string]string) string {
			must(t, w.repo(t, "ci/b").DeleteManifest(t.Context(), registry.Reference{Digest: digest(m["new"])}))
			return fact.KindManifestDeleted
		},
		"a manifest that is pushed again": func(t *testing.T, w *world, m map[string]string) string {
			pushed(t, w.repo(t, "ci/a"), 5, "")
			return fact.KindRenewed
		},
		"a manifest that an index lists": func(t *testing.T, w *world, m map[string]string) string {
			index(t, w.repo(t, "ci/a"), "", m["late"])
			return fact.KindManifestPut
		},
		"a manifest that is extended": func(t *testing.T, w *world, m map[string]string) string {
			_, err := w.repo(t, "ci/b").Extend(t.Context(), registry.Reference{Digest: digest(m["new"])}, w.clock.Now().Add(100*day), "a reason")
			must(t, err)
			return fact.KindExtended
		},
		"a class": func(t *testing.T, w *world, m map[string]string) string {
			_, err := w.repo(t, "main").ChangeClass(t.Context(), registry.Reference{Digest: digest(m["apart"])}, "transient", "a reason")
			must(t, err)
			return fact.KindClassChanged
		},
		"a pull of what would change": func(t *testing.T, w *world, m map[string]string) string {
			w.events(t, &fact.ManifestPulled{Repository: "ci/a", Day: 1, Manifests: []identity.Digest{primary(t, w, m["released"]), primary(t, w, m["named"])}})
			return fact.KindManifestPulled
		},
		"a hold that is placed": func(t *testing.T, w *world, m map[string]string) string {
			w.hold(t, "more", "ci/a", registry.Reference{Digest: digest(m["named"])})
			return fact.KindHoldPlaced
		},
		"a hold that is released": func(t *testing.T, w *world, m map[string]string) string {
			must(t, w.ReleaseHold(t.Context(), operator, "audit", "ci/a", registry.Reference{Digest: digest(m["held"])}, "a reason"))
			return fact.KindHoldReleased
		},
		"the policies": func(t *testing.T, w *world, m map[string]string) string {
			w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"other","repositories":["other"]}]}`)
			return fact.KindPoliciesSet
		},
		"a repository that is deleted": func(t *testing.T, w *world, m map[string]string) string {
			_, err := w.DeleteRepository(t.Context(), operator, "main", "a reason")
			must(t, err)
			return fact.KindRepositoryDeleted
		},
		"what the server did by itself": func(t *testing.T, w *world, m map[string]string) string {
			_, err := w.Enforce(t.Context(), registry.EnforceOptions{})
			must(t, err)
			return fact.KindExpired
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, m := planned(t)
			info, _ := w.plan(t)
			kind := touch(t, w, m)
			before := head(t, w)
			_, err := w.ExecutePlan(t.Context(), operator, info.ID, nil)
			e := refused(t, err, registry.Conflict)
			var stale *registry.PlanStale
			if !errors.As(err, &stale) || len(stale.Events) == 0 || stale.More || head(t, w) != before {
				t.Fatalf("got %v, %d events were added", err, head(t, w)-before)
			}
			if !slices.ContainsFunc(stale.Events, func(e registry.LaterEvent) bool {
				return string(e.Kind) == kind && e.Subject != "" && e.Actor != "" && !e.Time.IsZero() && e.Sequence > info.Sequence
			}) || !strings.Contains(e.Message, "nothing was done") {
				t.Errorf("says %q of %+v", e.Message, stale.Events)
			}
			_, err = w.ExecutePlan(t.Context(), operator, info.ID, nil)
			if e := refused(t, err, registry.Conflict); !strings.Contains(e.Message, "the plan was refused: ") || !strings.Contains(e.Message, "nothing was done") {
				t.Errorf("then it says %q", e.Message)
			}
		})
	}
}

func TestWhatAPlanDoesNotNameDoesNotTouchIt(t *testing.T) {
	w, m := planned(t)
	info, _ := w.plan(t, "ci/a")
	pushed(t, w.repo(t, "ci/a"), 70, "", "new")
	pushed(t, w.repo(t, "ci/b"), 71, "", "new")
	push(t, w.repo(t, "ci/a"), large)
	must(t, w.repo(t, "ci/a").DeleteManifest(t.Context(), tagged("new")))
	w.hold(t, "elsewhere", "ci/b", registry.Reference{})
	w.events(t, &fact.ManifestPulled{Repository: "ci/a", Day: 1, Manifests: []identity.Digest{w.info(t, "ci/a", m["released"]).Blob.Digests.Primary()}})
	done, err := w.ExecutePlan(t.Context(), operator, info.ID, nil)
	must(t, err)
	if done.Marked != 1 || done.Renewed != 1 || done.Collected != 1 {
		t.Errorf("did %+v", done)
	}
}

func TestMoreEventsThanAreListed(t *testing.T) {
	w, _ := planned(t)
	info, _ := w.plan(t)
	for i := range 120 {
		pushed(t, w.repo(t, "ci/a"), 1, "", fmt.Sprintf("t%d", i))
	}
	_, err := w.ExecutePlan(t.Context(), operator, info.ID, nil)
	var stale *registry.PlanStale
	if !errors.As(err, &stale) || len(stale.Events) != registry.MaxLater || !stale.More || !strings.Contains(err.Error(), "more than 100 events") {
		t.Errorf("got %v", err)
	}
}

// manyPlanned is a plan of more than go into one change.
func manyPlanned(t *testing.T) (*world, *registry.PlanInfo) {
	t.Helper()
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	for i := range 90 {
		pushed(t, w.repo(t, fmt.Sprintf("ci/%d", i/60)), i, "")
	}
	w.pass(t, 8*day)
	info, _ := w.plan(t)
	return w, info
}

// A plan that was interrupted anywhere is gone on with, and does all of it once.
func TestAnInterruptedPlanIsGoneOnWith(t *testing.T) {
	for name, lost := range map[string]bool{"before the change": false, "after it": true} {
		t.Run(name, func(t *testing.T) {
			w, info := manyPlanned(t)
			before := head(t, w)
			cut := errors.New("cut off")
			for n := 1; ; n++ {
				ledger := &interrupted{Ledger: w.ledger}
				if calls := 0; lost {
					ledger.after = func() error { return registry.ErrUnknown }
				} else {
					ledger.update = func(registry.View) error {
						if calls++; calls == 2 {
							return cut
						}
						return nil
					}
				}
				done, err := w.over(t, ledger, nil).ExecutePlan(t.Context(), operator, info.ID, nil)
				if err == nil || strings.Contains(err.Error(), "the plan was executed") {
					break
				}
				if plan, _ := w.Plan(t.Context(), info.ID); plan.Done == nil && lost || n > 20 {
					t.Fatalf("did %+v, the plan is %+v: %v", done, plan, err)
				}
			}
			plan, err := w.Plan(t.Context(), info.ID)
			must(t, err)
			if plan.State != registry.PlanExecuted || plan.Done.Marked != 90 || head(t, w) != before+90 {
				t.Errorf("the plan is %+v, did %+v in %d events", plan, plan.Done, head(t, w)-before)
			}
		})
	}
}

func TestTwoExecuteOnePlanAtOnce(t *testing.T) {
	w, info := manyPlanned(t)
	before := head(t, w)
	errs := make(chan error)
	for range 3 {
		go func() {
			_, err := w.ExecutePlan(context.Background(), operator, info.ID, nil)
			errs <- err
		}()
	}
	won := 0
	for range 3 {
		if err := <-errs; err == nil {
			won++
		} else if e := refused(t, err, registry.Conflict); !strings.Contains(e.Message, "the plan was executed already") {
			t.Error(err)
		}
	}
	if won == 0 || head(t, w) != before+90 {
		t.Errorf("%d executed it, with %d events", won, head(t, w)-before)
	}
}

// A plan that is touched while it is being executed stops there, and says what it
// has done.
func TestAPlanStopsWhereItIsTouched(t *testing.T) {
	w, info := manyPlanned(t)
	steps := 0
	_, err := w.ExecutePlan(t.Context(), operator, info.ID, func(registry.PlanProgress) {
		if steps++; steps == 2 {
			w.policies(t, fact.SourceAdmin, "{}")
		}
	})
	var stale *registry.PlanStale
	if !errors.As(err, &stale) || stale.Done.Marked == 0 || stale.Done.Marked == 90 || len(stale.Events) != 1 {
		t.Fatalf("got %v", err)
	}
	plan, err := w.Plan(t.Context(), info.ID)
	must(t, err)
	marked := int64(0)
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		for _, name := range []string{"ci/0", "ci/1"} {
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
	if plan.State != registry.PlanRefused || plan.Done.Marked != marked || stale.Done.Marked != marked || plan.Done.Problem == "" {
		t.Errorf("%d are marked, the plan is %+v, %+v", marked, plan, plan.Done)
	}
	_, err = w.ExecutePlan(t.Context(), operator, info.ID, nil)
	if e := refused(t, err, registry.Conflict); !strings.Contains(e.Message, fmt.Sprintf("%d manifests were marked", marked)) {
		t.Errorf("says %q", e.Message)
	}
}

// What no event about a manifest tells: its subject has come.
func TestAPlanIsRefusedIfItIsDecidedOtherwiseNow(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, ciPolicy)
	r := w.repo(t, "ci/a")
	push(t, r, small)
	subject := body(small, 1, "")
	pushed(t, r, 2, subject)
	w.pass(t, 8*day)
	info, _ := w.plan(t)
	pushed(t, r, 1, "", "v1")
	before := head(t, w)
	_, err := w.ExecutePlan(t.Context(), operator, info.ID, nil)
	var stale *registry.PlanStale
	if !errors.As(err, &stale) || len(stale.Changed) != 1 || !strings.Contains(stale.Changed[0], "its subject lives") || head(t, w) != before {
		t.Errorf("got %v", err)
	}
}

// While a plan is being made things happen: where they touch it, it is made anew.
func TestAPlanIsTrueAtItsSequence(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceAdmin, newest)
	for i := range 250 {
		pushed(t, w.repo(t, fmt.Sprintf("ci/%d", i%2)), i, "", fmt.Sprintf("v%d", i))
	}
	w.pass(t, 8*day)
	happened := 0
	info, err := w.MakePlan(t.Context(), operator, registry.PlanRequest{Progress: func(n int64) {
		switch happened++; happened {
		case 2: // of what the plan has of the repository that it is at
			must(t, w.repo(t, "ci/0").DeleteManifest(t.Context(), tagged("v2")))
		case 5: // and of one that it has passed
			must(t, w.repo(t, "ci/0").DeleteManifest(t.Context(), tagged("v248")))
			pushed(t, w.repo(t, "ci/1"), 1000, "", "v1")
		}
	}})
	must(t, err)
	items, _, err := w.PlanItems(t.Context(), info.ID, "", 0, 1000)
	must(t, err)
	_, quiet := w.plan(t)
	order := func(a, b registry.PlanDecision) int { return strings.Compare(a.Digest.String(), b.Digest.String()) }
	slices.SortFunc(items, order)
	slices.SortFunc(quiet, order)
	for i := range quiet {
		if i >= len(items) || items[i].Digest != quiet[i].Digest || items[i].Action != quiet[i].Action || items[i].Reason != quiet[i].Reason {
			t.Fatalf("item %d is %+v, want %+v", i, items[min(i, len(items)-1)], quiet[i])
		}
	}
	if len(items) != 251 || info.Manifests != 251 || uint64(info.Sequence) != head(t, w) || happened < 6 {
		t.Errorf("%d items, %d steps, %+v", len(items), happened, info)
	}
	// It cannot be made where something always happens.
	n := 0
	_, err = w.MakePlan(t.Context(), operator, registry.PlanRequest{Progress: func(int64) {
		n++
		pushed(t, w.repo(t, "ci/0"), 0, "", fmt.Sprintf("w%d", n))
	}})
	if e := refused(t, err, registry.Unavailable); !strings.Contains(e.Message, "repository ci/0 changes faster") {
		t.Errorf("says %q", e.Message)
	}
	_, err = w.MakePlan(t.Context(), operator, registry.PlanRequest{Progress: func(int64) { w.policies(t, fact.SourceAdmin, fmt.Sprintf(`{"grace":"%dd"}`, n)); n++ }})
	refused(t, err, registry.Conflict)
}

func TestOldPlansAreDropped(t *testing.T) {
	w, _ := planned(t)
	first, _ := w.plan(t)
	var last *registry.PlanInfo
	for range registry.MaxPlans {
		w.clock.advance(time.Second)
		last, _ = w.plan(t, "ci/b")
	}
	_, err := w.Plan(t.Context(), first.ID)
	refused(t, err, registry.PlanUnknown)
	_, _, err = w.PlanItems(t.Context(), first.ID, "", 0, 10)
	refused(t, err, registry.PlanUnknown)
	_, err = w.ExecutePlan(t.Context(), operator, first.ID, nil)
	refused(t, err, registry.PlanUnknown)
	page, more, err := w.Plans(t.Context(), time.Time{}, "", 30)
	must(t, err)
	if len(page) != 30 || !more || page[0].ID != last.ID {
		t.Errorf("%d plans, %t", len(page), more)
	}
	page, more, err = w.Plans(t.Context(), page[29].Created, page[29].ID, 30)
	if must(t, err); len(page) != registry.MaxPlans-30 || more {
		t.Errorf("then %d plans, %t", len(page), more)
	}
	w.pass(t, registry.PlanLife+time.Hour)
	if n, err := w.DropPlans(t.Context()); err != nil || n != registry.MaxPlans {
		t.Errorf("%d were dropped: %v", n, err)
	}
	if page, _, err = w.Plans(t.Context(), time.Time{}, "", 30); err != nil || len(page) != 0 {
		t.Errorf("there are %d plans: %v", len(page), err)
	}
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		if left, err := v.PlanItems(first.ID, "", 0, 1); err != nil || len(left) != 0 {
			t.Errorf("items are left: %v, %v", left, err)
		}
		return nil
	}))
}

func TestAPlanWantsPatternsOfRepositories(t *testing.T) {
	w := open(t, registry.Options{})
	_, err := w.MakePlan(t.Context(), operator, registry.PlanRequest{Repositories: []string{"UPPER"}})
	refused(t, err, registry.RetentionInvalid)
	if info, items := w.plan(t); len(items) != 0 || info.Manifests != 0 || *info.Freed != 0 {
		t.Errorf("a plan of nothing is %+v", info)
	} else if done, err := w.ExecutePlan(t.Context(), operator, info.ID, nil); err != nil || done.Marked != 0 {
		t.Errorf("a plan of nothing did %+v: %v", done, err)
	}
	_, err = w.Plan(t.Context(), "no-such-plan")
	refused(t, err, registry.PlanUnknown)
}
