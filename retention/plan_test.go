package retention_test

import (
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

func TestPlan(t *testing.T) {
	audit := retention.Hold{Name: "audit-2026"}
	tests := []struct {
		name string
		item retention.Item
		want retention.Decision
	}{
		{"a permanent record is kept",
			retention.Item{Class: retention.PermanentRecord},
			retention.Decision{State: retention.Current, Reason: "kept: class permanent-record never expires"}},
		{"a permanent record is kept although an end was recorded",
			retention.Item{Class: retention.PermanentRecord, Expires: at(-day), Marked: at(-day)},
			retention.Decision{State: retention.Current, Reason: "kept: class permanent-record never expires"}},
		{"a class that the policy does not know is kept",
			retention.Item{Class: "nightly", Expires: at(-day)},
			retention.Decision{State: retention.Current, Reason: `kept: class "nightly" is not in the policy`}},
		{"an item without an end is kept, whatever its class",
			retention.Item{Class: retention.Transient},
			retention.Decision{State: retention.Current, Reason: "kept: has no end, although class transient has"}},
		{"before its end an item is current",
			retention.Item{Class: retention.RawEvidence, Expires: at(12 * day)},
			retention.Decision{State: retention.Current, Next: at(12 * day), Reason: "expires in 12 d: class raw-evidence"}},
		{"time to come is rounded up",
			retention.Item{Class: retention.RawEvidence, Expires: at(11*day + time.Second)},
			retention.Decision{State: retention.Current, Next: at(11*day + time.Second), Reason: "expires in 12 d: class raw-evidence"}},
		{"a microsecond before its end an item is current",
			retention.Item{Class: retention.Transient, Expires: at(time.Microsecond)},
			retention.Decision{State: retention.Current, Next: at(time.Microsecond), Reason: "expires in 1 s: class transient"}},
		{"at its end an item is expired",
			retention.Item{Class: retention.Transient, Expires: noon},
			retention.Decision{State: retention.Expired, Since: noon, Reason: "expired 0 s ago, not yet marked: class transient"}},
		{"an item that expired long ago is not eligible before it was marked",
			retention.Item{Class: retention.Transient, Expires: at(-400*day - time.Hour)},
			retention.Decision{State: retention.Expired, Since: at(-400*day - time.Hour), Reason: "expired 400 d ago, not yet marked: class transient"}},
		{"within the grace an item is expired",
			retention.Item{Class: retention.Transient, Expires: at(-9 * day), Marked: at(-5 * day)},
			retention.Decision{State: retention.Expired, Since: at(-5 * day), Next: at(2 * day),
				Reason: "expired since 2026-02-24T12:00:00Z, eligible in 2 d: class transient"}},
		{"at the end of the grace an item is eligible",
			retention.Item{Class: retention.Transient, Expires: at(-9 * day), Marked: at(-7 * day)},
			retention.Decision{State: retention.Eligible, Since: noon,
				Reason: "eligible since 2026-03-01T12:00:00Z: class transient expired and the grace has passed"}},
		{"an item that was given a later end is current again",
			retention.Item{Class: retention.Transient, Expires: at(30 * time.Minute), Marked: at(-30 * day)},
			retention.Decision{State: retention.Current, Next: at(30 * time.Minute), Reason: "expires in 30 min: class transient"}},
		{"the grace of an extended item counts from its new end",
			retention.Item{Class: retention.Transient, Expires: at(-day), Marked: at(-30 * day)},
			retention.Decision{State: retention.Expired, Since: at(-day), Next: at(6 * day),
				Reason: "expired since 2026-02-28T12:00:00Z, eligible in 6 d: class transient"}},
		{"a hold keeps what is current",
			retention.Item{Class: retention.Transient, Expires: at(day), Holds: []retention.Hold{audit}},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"a hold keeps what is past its end from being marked",
			retention.Item{Class: retention.Transient, Expires: at(-day), Holds: []retention.Hold{audit}},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"a hold keeps what would be eligible",
			retention.Item{Class: retention.Transient, Expires: at(-90 * day), Marked: at(-80 * day), Holds: []retention.Hold{audit}},
			retention.Decision{State: retention.Expired, Since: at(-80 * day), Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"of several holds the last end counts, and the names are sorted",
			retention.Item{Class: retention.Transient, Expires: at(-day), Holds: []retention.Hold{
				{Name: "b", Until: at(time.Hour)}, {Name: "a", Until: at(day)}, {Name: "past", Until: noon}}},
			retention.Decision{State: retention.Current, Next: at(day), Held: []string{"a", "b"},
				Reason: "kept: holds a, b until 2026-03-02T12:00:00Z"}},
		{"a hold without end outlasts the others",
			retention.Item{Class: retention.Transient, Expires: at(-day), Holds: []retention.Hold{{Name: "b", Until: at(day)}, audit}},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026", "b"}, Reason: "kept: holds audit-2026, b"}},
		{"a hold that ended does not count",
			retention.Item{Class: retention.Transient, Expires: at(-9 * day), Marked: at(-7 * day), Holds: []retention.Hold{{Name: "past", Until: noon}}},
			retention.Decision{State: retention.Eligible, Since: noon,
				Reason: "eligible since 2026-03-01T12:00:00Z: class transient expired and the grace has passed"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.item.Name = "library/alpine@sha256:0f"
			tt.want.Name = tt.item.Name
			got := retention.Plan(noon, retention.Shipped(), []retention.Item{tt.item})
			if !reflect.DeepEqual(got, []retention.Decision{tt.want}) {
				t.Errorf("Plan:\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

// draw gives a policy and items around noon whose times collide often.
func draw(t *rapid.T) (retention.Policy, []retention.Item) {
	policy := retention.Shipped()
	policy.Grace = time.Duration(rapid.Int64Range(0, int64(3*day)).Draw(t, "grace"))
	classes := []retention.Class{retention.Transient, retention.RawEvidence, retention.PermanentRecord, "unheard-of"}
	instant := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "none") {
			return time.Time{}
		}
		return at(time.Duration(rapid.Int64Range(-4, 4).Draw(t, "days"))*day + time.Duration(rapid.Int64Range(-1, 1).Draw(t, "us"))*time.Microsecond)
	})
	items := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) retention.Item {
		return retention.Item{
			Name:    rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "name"),
			Class:   rapid.SampledFrom(classes).Draw(t, "class"),
			Expires: instant.Draw(t, "expires"),
			Marked:  instant.Draw(t, "marked"),
			Holds: rapid.SliceOfN(rapid.Custom(func(t *rapid.T) retention.Hold {
				return retention.Hold{Name: rapid.StringMatching(`[a-z]`).Draw(t, "hold"), Until: instant.Draw(t, "until")}
			}), 0, 2).Draw(t, "holds"),
		}
	}), 0, 6).Draw(t, "items")
	return policy, items
}

// TestPlanNeverTakesWhatMustStay states the promises of Plan in terms of the
// item alone, independent of how decisions come about.
func TestPlanNeverTakesWhatMustStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, items := draw(t)
		decisions := retention.Plan(noon, policy, items)
		if len(decisions) != len(items) {
			t.Fatalf("%d decisions about %d items", len(decisions), len(items))
		}
		for i, d := range decisions {
			item := items[i]
			if d.Name != item.Name {
				t.Fatalf("decision %d is about %q, want %q", i, d.Name, item.Name)
			}
			if d.Reason == "" || strings.Contains(d.Reason, "\n") {
				t.Fatalf("reason %q is not a sentence", d.Reason)
			}
			if !d.Next.IsZero() && !d.Next.After(noon) {
				t.Fatalf("asks to be asked again at %s, which has passed", d.Next)
			}
			if d.State == retention.Current || d.State == retention.Expired && len(d.Held) > 0 {
				continue
			}
			if term, known := policy.Terms[item.Class]; !known || term == retention.Forever || item.Expires.IsZero() {
				t.Fatalf("%+v is %s without an end", item, d.State)
			}
			if d.State == retention.Expired {
				continue
			}
			held := slices.ContainsFunc(item.Holds, func(h retention.Hold) bool { return h.Until.IsZero() || h.Until.After(noon) })
			if held || item.Expires.IsZero() || item.Marked.IsZero() ||
				item.Expires.Add(policy.Grace).After(noon) || item.Marked.Add(policy.Grace).After(noon) {
				t.Fatalf("%+v is eligible with grace %s at %s", item, policy.Grace, noon)
			}
		}
	})
}

// TestPlanIsPure: nothing but the arguments decides, and they stay as they were.
func TestPlanIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, items := draw(t)
		before := deepCopy(items)
		first := retention.Plan(noon, policy, items)
		if !reflect.DeepEqual(items, before) {
			t.Fatalf("items changed: %+v, were %+v", items, before)
		}
		abroad := noon.In(time.FixedZone("", 5*60*60))
		if second := retention.Plan(abroad, policy, items); !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v, then %+v", first, second)
		}
		for i, item := range items {
			alone := retention.Plan(noon, policy, []retention.Item{item})
			if !reflect.DeepEqual(alone[0], first[i]) {
				t.Fatalf("alone %+v, among others %+v", alone[0], first[i])
			}
		}
	})
}

// TestPlanHoldsUntilNext: between now and Next the state does not change, and an
// eligible item stays eligible.
func TestPlanHoldsUntilNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		policy, items := draw(t)
		later := at(time.Duration(rapid.Int64Range(0, int64(8*day)).Draw(t, "later")))
		decisions := retention.Plan(noon, policy, items)
		for i, d := range retention.Plan(later, policy, items) {
			was := decisions[i]
			if !was.Next.IsZero() && !later.Before(was.Next) {
				continue
			}
			if d.State != was.State {
				t.Fatalf("%+v was %s with next %s and is %s at %s", items[i], was.State, was.Next, d.State, later)
			}
		}
	})
}

func deepCopy(items []retention.Item) []retention.Item {
	out := slices.Clone(items)
	for i := range out {
		out[i].Holds = slices.Clone(out[i].Holds)
	}
	return out
}
