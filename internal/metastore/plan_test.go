package metastore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestPlansAreKeptAndRemovedBitByBit: they are working state, in tables of their own.
func TestPlansAreKeptAndRemovedBitByBit(t *testing.T) {
	s := create(t, metastore.Options{})
	at := time.Unix(1_700_000_000, 0).UTC()
	items := make([]registry.PlanItem, 250) // more than one statement writes
	for i := range items {
		items[i] = registry.PlanItem{Ordinal: int64(i + 1), Repository: fmt.Sprintf("r%d", i%2), Manifest: primary(fmt.Sprint(i)),
			Action: []string{"keep", "expire"}[i/200], Item: []byte(`{"n":1}`)}
	}
	plan := registry.Plan{ID: "one", Sequence: 1, Created: at, State: "making", Summary: []byte("{}")}
	s.update(t, &registry.Change{Working: registry.Working{Plans: []registry.Plan{plan}, PlanItems: map[string][]registry.PlanItem{"one": items}}})
	plan.Sequence, plan.State, plan.Summary = 7, "open", []byte(`{"a":1}`)
	other := registry.Plan{ID: "two", Sequence: 2, Created: at, State: "open", Summary: []byte("{}")}
	s.update(t, &registry.Change{Working: registry.Working{Plans: []registry.Plan{plan, other}, PlanItems: map[string][]registry.PlanItem{"two": items[:10]}}})
	same := func(got *registry.Plan, want registry.Plan) bool {
		return got != nil && got.ID == want.ID && got.Sequence == want.Sequence && got.Created.Equal(want.Created) && got.State == want.State &&
			string(got.Summary) == string(want.Summary)
	}
	s.read(t, func(v registry.View) error {
		got, err := v.Plan("one")
		must(t, err)
		page, err := v.PlanPage(time.Time{}, "", 10)
		must(t, err)
		if !same(got, plan) || len(page) != 2 || page[0].ID != "two" {
			t.Errorf("the plan is %+v, all are %+v", got, page)
		}
		if page, err = v.PlanPage(at, "two", 10); err != nil || len(page) != 1 || !same(&page[0], plan) {
			t.Errorf("behind the first: %+v, %v", page, err)
		}
		all, err := v.PlanItems("one", "", 0, 1000)
		must(t, err)
		if !slices.EqualFunc(all, items, func(a, b registry.PlanItem) bool {
			return a.Ordinal == b.Ordinal && a.Repository == b.Repository && a.Manifest == b.Manifest && a.Action == b.Action && string(a.Item) == string(b.Item)
		}) {
			t.Errorf("%d items, first %+v", len(all), all[0])
		}
		if some, err := v.PlanItems("one", "expire", 210, 5); err != nil || len(some) != 5 || some[0].Ordinal != 211 {
			t.Errorf("some items: %+v, %v", some, err)
		}
		return nil
	})
	names := func(plan, repository, manifest string, action string, any bool) {
		t.Helper()
		s.read(t, func(v registry.View) error {
			got, err := v.PlanAction(plan, repository, primary(manifest))
			must(t, err)
			is, err := v.PlanNames(plan, repository)
			if must(t, err); got != action || is != any {
				t.Errorf("%s has %q for %s of %s, %t", plan, got, manifest, repository, is)
			}
			return nil
		})
	}
	names("one", "r0", "0", "keep", true)
	names("one", "r1", "249", "expire", true)
	names("one", "r1", "0", "", true)
	names("one", "r2", "0", "", false)
	names("two", "r1", "11", "", true)
	for _, want := range []int{150, 125, 125} { // of one repository: 125
		s.update(t, &registry.Change{Working: registry.Working{DropItems: []registry.PlanCut{{Plan: "one", Repository: "r0", Limit: 100}}}})
		s.read(t, func(v registry.View) error {
			if left, err := v.PlanItems("one", "", 0, 1000); err != nil || len(left) != want {
				t.Errorf("%d are left, want %d: %v", len(left), want, err)
			}
			return nil
		})
	}
	names("one", "r0", "0", "", false)
	s.update(t, &registry.Change{Working: registry.Working{DropItems: []registry.PlanCut{{Plan: "one", Limit: 100}}}})
	s.read(t, func(v registry.View) error {
		if left, err := v.PlanItems("one", "", 0, 1000); err != nil || len(left) != 25 || left[0].Ordinal != 202 {
			t.Errorf("%d are left: %v", len(left), err)
		}
		return nil
	})
	s.update(t, &registry.Change{Working: registry.Working{DropPlans: []string{"one"}}})
	names("one", "r1", "249", "", false)
	names("two", "r0", "0", "keep", true)
}

// TestADecisionKnowsTheEndOfTheLog, with what was decided before in its batch.
func TestADecisionKnowsTheEndOfTheLog(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	errs := make(chan error, 20)
	for i := range 20 {
		go func() {
			var end eventlog.Sequence
			err := s.Update(t.Context(), caller, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
				head, err := v.Head()
				if err != nil {
					return nil, err
				}
				end = head
				events, err := v.EventsAfter(0, 1000)
				if err == nil && len(events) != int(head) {
					err = fmt.Errorf("the end is %d, and there are %d events", head, len(events))
				}
				return facts(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%d", i)}), err
			})
			if err == nil {
				err = s.Read(t.Context(), func(v registry.View) error {
					e, err := v.Event(end + 1)
					if err == nil && (e == nil || e.Subject != fmt.Sprintf("r%d", i)) {
						err = fmt.Errorf("event %d is not that of the change", end+1)
					}
					return err
				})
			}
			errs <- err
		}()
	}
	for range 20 {
		must(t, <-errs)
	}
}
