package retention_test

import (
	"reflect"
	"testing"
	"time"

	"artifactstore/retention"
)

// TestDecide has the cases that lie on an edge; docs/retention-examples.md has
// those that people ask about.
func TestDecide(t *testing.T) {
	archive := document(t, `{"classes":{"archive":"never"}}`)
	rules := combine(t, archive, document(t, policy(`"expire_tagged":true,"expire_untagged":"1d","keep":[
		{"name":"pushed","tags":["p*"],"pushed_within":"1d"},{"name":"pulled","pulled_within":"1d"}],
		"immutable_tags":[{"tags":["i*"],"until":"2026-03-01T12:00:00Z"}]`)))
	audit := retention.Hold{Name: "audit-2026"}
	tag := func(name string, moved time.Duration) []retention.TagState {
		return []retention.TagState{{Name: name, Moved: at(moved)}}
	}
	tests := []struct {
		name string
		item retention.Item
		want retention.Decision
	}{
		{"a permanent record is kept although an end was recorded",
			retention.Item{Class: retention.PermanentRecord, Given: true, Pushed: at(-9 * day), Expires: at(-day), Marked: at(-day)},
			retention.Decision{State: retention.Current, Reason: "kept: class permanent-record never expires"}},
		{"a class that somebody gave and that never expires is kept without tags",
			retention.Item{Class: "archive", Given: true, Pushed: at(-9 * day)},
			retention.Decision{State: retention.Current, Reason: "kept: class archive never expires"}},
		{"a class that is not in force is kept, with and without tags",
			retention.Item{Class: "nightly", Expires: at(-day), Pushed: at(-9 * day)},
			retention.Decision{State: retention.Current, Reason: `kept: class "nightly" is not in force any more`}},
		{"an item without an end is kept, whatever its class",
			retention.Item{Class: retention.Transient, Tags: tag("x", -day)},
			retention.Decision{State: retention.Current, Reason: "kept: has no end, although class transient has"}},
		{"an item of which nothing is known is kept",
			retention.Item{Class: retention.Transient},
			retention.Decision{State: retention.Current, Reason: "kept: has no end, although class transient has"}},
		{"what is chosen counts as given",
			retention.Item{Class: retention.PermanentRecord, Chosen: true, Pushed: at(-9 * day)},
			retention.Decision{State: retention.Current, Reason: "kept: class permanent-record never expires"}},
		{"an extension is not undone by the lack of tags",
			retention.Item{Class: retention.Transient, Given: true, Extended: true, Pushed: at(-30 * day), Expires: at(day)},
			retention.Decision{State: retention.Current, Next: at(day), Reason: "expires in 1 d: class transient"}},
		{"a living subject keeps what was extended",
			retention.Item{Class: retention.Transient, Given: true, Extended: true, Pushed: at(-30 * day), Expires: at(-day), SubjectLive: true},
			retention.Decision{State: retention.Current, Reason: "kept: its subject lives"}},
		{"time to come is rounded up",
			retention.Item{Class: retention.RawEvidence, Chosen: true, Expires: at(11*day + time.Second)},
			retention.Decision{State: retention.Current, Next: at(11*day + time.Second), Reason: "expires in 12 d: class raw-evidence"}},
		{"a microsecond before its end an item is current",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(time.Microsecond)},
			retention.Decision{State: retention.Current, Next: at(time.Microsecond), Reason: "expires in 1 s: class transient"}},
		{"at its end an item is expired",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: noon},
			retention.Decision{State: retention.Expired, Since: noon, Reason: "expired 0 s ago, not yet marked: class transient"}},
		{"of two ends at once the class is named",
			retention.Item{Class: retention.Transient, Given: true, Pushed: at(-day), Expires: noon},
			retention.Decision{State: retention.Expired, Since: noon, Reason: "expired 0 s ago, not yet marked: class transient"}},
		{"an item that expired long ago is not eligible before it was marked",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(-400*day - time.Hour)},
			retention.Decision{State: retention.Expired, Since: at(-400*day - time.Hour), Reason: "expired 400 d ago, not yet marked: class transient"}},
		{"within the grace an item is expired, and its tags are about to go",
			retention.Item{Class: retention.Transient, Expires: at(-9 * day), Marked: at(-5 * day), Tags: append(tag("x", -30*day), tag("a", -30*day)...)},
			retention.Decision{State: retention.Expired, Since: at(-5 * day), Next: at(2 * day), Tags: []string{"a", "x"},
				Reason: "expired since 2026-02-24T12:00:00Z, eligible in 2 d: class transient"}},
		{"at the end of the grace an item is eligible",
			retention.Item{Class: retention.Transient, Expires: at(-9 * day), Marked: at(-7 * day), Tags: tag("x", -30*day)},
			retention.Decision{State: retention.Eligible, Since: noon, Tags: []string{"x"},
				Reason: "eligible since 2026-03-01T12:00:00Z, expired and the grace has passed: class transient"}},
		{"an item that was given a later end is current again",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(30 * time.Minute), Marked: at(-30 * day)},
			retention.Decision{State: retention.Current, Next: at(30 * time.Minute), Reason: "expires in 30 min: class transient"}},
		{"the grace of an extended item counts from its new end",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(-day), Marked: at(-30 * day)},
			retention.Decision{State: retention.Expired, Since: at(-day), Next: at(6 * day),
				Reason: "expired since 2026-02-28T12:00:00Z, eligible in 6 d: class transient"}},
		{"the grace counts from the end of the rule that kept the item",
			retention.Item{Class: retention.Transient, Expires: at(-30 * day), Marked: at(-29 * day), Pulled: at(-4 * day), Tags: tag("x", -30*day)},
			retention.Decision{State: retention.Expired, Since: at(-day), Next: at(6 * day), Tags: []string{"x"},
				Reason: "expired since 2026-02-28T12:00:00Z, eligible in 6 d: class transient"}},
		{"the grace counts from the end of the tag's immutability",
			retention.Item{Class: retention.Transient, Expires: at(-30 * day), Marked: at(-29 * day), Tags: tag("i", -30*day)},
			retention.Decision{State: retention.Expired, Since: noon, Next: at(7 * day), Tags: []string{"i"},
				Reason: "expired since 2026-03-01T12:00:00Z, eligible in 7 d: class transient"}},
		{"a rule that ends before the class does not matter",
			retention.Item{Class: retention.Transient, Expires: at(6 * day), Pulled: at(-2 * day), Tags: tag("x", -9*day)},
			retention.Decision{State: retention.Current, Next: at(6 * day), Reason: "expires in 6 d: class transient"}},
		{"a rule about pushes ends at its end",
			retention.Item{Class: retention.Transient, Expires: at(-day), Tags: tag("p", -day)},
			retention.Decision{State: retention.Expired, Since: noon, Tags: []string{"p"}, Reason: "expired 0 s ago, not yet marked: class transient"}},
		{"a moment before that it holds",
			retention.Item{Class: retention.Transient, Expires: at(-day), Tags: tag("p", time.Microsecond-day)},
			retention.Decision{State: retention.Current, Next: at(time.Microsecond), Reason: "kept: pushed in the last 1d by rule pushed"}},
		{"a hold keeps what is current",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(day), Holds: []retention.Hold{audit}},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"a hold keeps what is past its end from being marked",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(-day), Holds: []retention.Hold{audit}, Tags: tag("x", 0)},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"a hold keeps what would be eligible",
			retention.Item{Class: retention.Transient, Expires: at(-90 * day), Marked: at(-80 * day), Holds: []retention.Hold{audit}, Tags: tag("x", 0)},
			retention.Decision{State: retention.Expired, Since: at(-80 * day), Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"a hold does not keep a mark on what has a later end",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(day), Marked: at(-day), Holds: []retention.Hold{audit}},
			retention.Decision{State: retention.Current, Next: at(day), Held: []string{"audit-2026"}, Reason: "kept: hold audit-2026"}},
		{"of several holds the last end counts, and the names are sorted",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(-day), Holds: []retention.Hold{
				{Name: "b", Until: at(time.Hour)}, {Name: "a", Until: at(day)}, {Name: "past", Until: noon}}},
			retention.Decision{State: retention.Current, Next: at(day), Held: []string{"a", "b"},
				Reason: "kept: holds a, b until 2026-03-02T12:00:00Z"}},
		{"a hold without end outlasts the others",
			retention.Item{Class: retention.Transient, Chosen: true, Expires: at(-day), Holds: []retention.Hold{{Name: "b", Until: at(day)}, audit, {Name: "b"}}},
			retention.Decision{State: retention.Current, Held: []string{"audit-2026", "b"}, Reason: "kept: holds audit-2026, b"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.item.Name = "library/alpine@sha256:0f"
			tt.want.Name = tt.item.Name
			if got := rules.Rank("library/alpine").Decide(noon, tt.item); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("Decide:\n got %+v\nwant %+v", got, tt.want)
			}
		})
	}
}

func TestRankingNeedsTagsOnlyForPlaces(t *testing.T) {
	for text, want := range map[string]bool{
		`{}`:                          false,
		keep(`"tags":["v*"]`):         false,
		keep(`"pulled_within":"30d"`): false,
		keep(`"newest":3`):            true,
	} {
		ranking := combine(t, document(t, text), retention.Document{}).Rank("a")
		if got := ranking.NeedsTags(); got != want {
			t.Errorf("%s: NeedsTags = %v", text, got)
		}
		if policy := ranking.Policy(); (policy == nil) != (text == `{}`) {
			t.Errorf("%s: the policy is %v", text, policy)
		}
	}
}

// TestTagsThatWereNotRankedAreKept: in doubt, keep.
func TestTagsThatWereNotRankedAreKept(t *testing.T) {
	rules := combine(t, document(t, policy(`"class":"transient","expire_tagged":true,"keep":[{"name":"k","newest":1}]`)), retention.Document{})
	old := retention.Item{Class: retention.Transient, Expires: at(-day), Tags: []retention.TagState{{Name: "old", Moved: at(-9 * day)}}}
	ranking := rules.Rank("a")
	if got := ranking.Decide(noon, old); got.State != retention.Current {
		t.Errorf("with an empty ranking: %+v", got)
	}
	ranking.Add("new", at(-8*day))
	if got := ranking.Decide(noon, old); got.State != retention.Expired {
		t.Errorf("behind a newer tag: %+v", got)
	}
	newer := old
	newer.Tags = []retention.TagState{{Name: "newer", Moved: at(-7 * day)}}
	if got := ranking.Decide(noon, newer); got.State != retention.Current {
		t.Errorf("a tag that came after the ranking: %+v", got)
	}
}
