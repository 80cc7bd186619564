package retention_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

// world is a repository under random rules, with times around noon that collide
// often.
type world struct {
	rules retention.Rules
	items []retention.Item
}

const repository = "team/app"

func drawWorld(t *rapid.T) world {
	rules, err := retention.Combine(drawDocument(t), retention.Document{})
	if err != nil {
		t.Fatal(err)
	}
	w := world{rules: rules}
	taken := map[string]bool{}
	for range rapid.IntRange(1, 5).Draw(t, "items") {
		w.items = append(w.items, drawItem(t, taken))
	}
	return w
}

// instant is around noon; none gives the zero Time half of the time.
func instant(t *rapid.T, label string, none bool) time.Time {
	if none && rapid.Bool().Draw(t, "no "+label) {
		return time.Time{}
	}
	quarters := rapid.Int64Range(-40, 40).Draw(t, label)
	return at(time.Duration(quarters)*6*time.Hour + time.Duration(rapid.Int64Range(-1, 1).Draw(t, "us"))*time.Microsecond)
}

func drawItem(t *rapid.T, taken map[string]bool) retention.Item {
	item := retention.Item{
		Name: rapid.StringMatching(`[a-z]{1,3}`).Draw(t, "name"),
		Class: rapid.SampledFrom([]retention.Class{retention.Transient, retention.RawEvidence, retention.PermanentRecord,
			"nightly", "unheard-of"}).Draw(t, "class"),
		Given:       rapid.Bool().Draw(t, "given"),
		Chosen:      rapid.IntRange(0, 3).Draw(t, "chosen") == 0,
		Extended:    rapid.IntRange(0, 3).Draw(t, "extended") == 0,
		SubjectLive: rapid.IntRange(0, 3).Draw(t, "subject") == 0,
		Expires:     instant(t, "expires", true),
		Marked:      instant(t, "marked", true),
		Pushed:      instant(t, "pushed", false),
		Pulled:      instant(t, "pulled", true),
		Untagged:    instant(t, "untagged", true),
		Holds:       drawHolds(t, 0),
	}
	if rapid.IntRange(0, 4).Draw(t, "child") == 0 {
		item.Parent = "sha256:4f"
	}
	for _, name := range rapid.SliceOfN(rapid.StringMatching(`[ab]{1,3}`), 0, 3).Draw(t, "tags") {
		if !taken[name] {
			taken[name] = true
			item.Tags = append(item.Tags, retention.TagState{Name: name, Moved: instant(t, "moved", false)})
		}
	}
	return item
}

func drawHolds(t *rapid.T, least int) []retention.Hold {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) retention.Hold {
		return retention.Hold{Name: rapid.StringMatching(`[a-z]`).Draw(t, "hold"), Until: instant(t, "until", true)}
	}), least, least+1).Draw(t, "holds")
}

// ranking has the tags of all items.
func (w world) ranking() *retention.Ranking {
	ranking := w.rules.Rank(repository)
	for _, item := range w.items {
		for _, tag := range item.Tags {
			ranking.Add(tag.Name, tag.Moved)
		}
	}
	return ranking
}

func (w world) decide(now time.Time) []retention.Decision {
	ranking := w.ranking()
	var all []retention.Decision
	for _, item := range w.items {
		all = append(all, ranking.Decide(now, item))
	}
	return all
}

func held(item retention.Item, now time.Time) bool {
	return slices.ContainsFunc(item.Holds, func(h retention.Hold) bool { return h.Until.IsZero() || h.Until.After(now) })
}

// reached tells how far the life of an item has gone.
func reached(d retention.Decision) int {
	return slices.Index([]retention.State{retention.Current, retention.Expired, retention.Eligible}, d.State)
}

// TestDecideNeverTakesWhatMustStay states the promises in terms of the item
// alone, independent of how decisions come about.
func TestDecideNeverTakesWhatMustStay(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		policy := w.rules.For(repository)
		for i, d := range w.decide(noon) {
			item := w.items[i]
			mustBeWellFormed(t, item, d)
			if held(item, noon) {
				if d.State == retention.Eligible || len(d.Held) == 0 || len(d.Tags) > 0 || d.State == retention.Expired && item.Marked.IsZero() {
					t.Fatalf("held %+v is %+v", item, d)
				}
				continue
			}
			if d.State == retention.Current {
				continue
			}
			given := item.Given || item.Chosen
			switch term, known := w.rules.Classes()[item.Class]; {
			case !known:
				t.Fatalf("of an unknown class: %+v is %s", item, d.State)
			case given && term == retention.Forever:
				t.Fatalf("a permanent record: %+v is %s", item, d.State)
			case item.Parent != "", item.SubjectLive && !item.Chosen:
				t.Fatalf("needed by another: %+v is %s", item, d.State)
			case len(item.Tags) > 0 && (policy == nil || !policy.ExpireTagged):
				t.Fatalf("tagged: %+v is %s under %+v", item, d.State, policy)
			}
			classEnded := !item.Expires.IsZero() && !item.Expires.After(noon) && item.Class != retention.PermanentRecord
			bare := len(item.Tags) == 0 && policy != nil && policy.ExpireUntagged != 0 && !item.Chosen && !item.Extended
			bareEnded := bare && !item.Pushed.Add(time.Duration(policy.ExpireUntagged)).After(noon) &&
				!item.Untagged.Add(time.Duration(policy.ExpireUntagged)).After(noon)
			if !classEnded && !bareEnded {
				t.Fatalf("nothing ended %+v, which is %s under %+v", item, d.State, policy)
			}
			if d.State == retention.Eligible && (item.Marked.IsZero() || item.Marked.Add(w.rules.Grace()).After(noon)) {
				t.Fatalf("%+v is eligible with grace %s", item, w.rules.Grace())
			}
		}
	})
}

func mustBeWellFormed(t *rapid.T, item retention.Item, d retention.Decision) {
	switch {
	case d.Name != item.Name:
		t.Fatalf("the decision is about %q, want %q", d.Name, item.Name)
	case d.Reason == "" || strings.Contains(d.Reason, "\n"):
		t.Fatalf("reason %q is not a sentence", d.Reason)
	case !d.Next.IsZero() && !d.Next.After(noon):
		t.Fatalf("asks to be asked again at %s, which has passed", d.Next)
	case (d.State == retention.Current) != d.Since.IsZero() || d.Since.After(noon) && !item.Marked.After(noon):
		t.Fatalf("%s since %s", d.State, d.Since)
	case d.State != retention.Current && len(d.Held) == 0 && len(d.Tags) != len(item.Tags):
		t.Fatalf("%+v takes the tags %v with it", item, d.Tags)
	}
}

// TestKeepRulesHold says for each rule by itself whom it keeps.
func TestKeepRulesHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		policy := w.rules.For(repository)
		if policy == nil {
			t.Skip("no policy")
		}
		for i, d := range w.decide(noon) {
			if held(w.items[i], noon) || d.State == retention.Current {
				continue
			}
			for _, keep := range policy.Keep {
				if holds(w, w.items[i], keep) {
					t.Fatalf("%+v holds for %+v, which is %+v", keep, w.items[i], d)
				}
			}
			for _, rule := range policy.ImmutableTags {
				if (rule.Until.IsZero() || rule.Until.Time().After(noon)) && len(matching(w.items[i].Tags, rule.Tags)) > 0 {
					t.Fatalf("%+v holds for %+v, which is %+v", rule, w.items[i], d)
				}
			}
		}
	})
}

func matching(tags []retention.TagState, patterns []string) []retention.TagState {
	var all []retention.TagState
	for _, tag := range tags {
		about := func(pattern string) bool { return retention.Match(pattern, tag.Name) }
		if len(patterns) == 0 || slices.ContainsFunc(patterns, about) {
			all = append(all, tag)
		}
	}
	return all
}

// holds is what the documentation of Keep says, written down a second time.
func holds(w world, item retention.Item, keep retention.Keep) bool {
	mine := matching(item.Tags, keep.Tags)
	lasts := func(since time.Time, term retention.Term) bool {
		return !since.IsZero() && since.Add(time.Duration(term)).After(noon)
	}
	switch {
	case len(keep.Tags) > 0 && len(mine) == 0:
		return false
	case keep.Newest > 0:
		var all []retention.TagState
		for _, other := range w.items {
			all = append(all, matching(other.Tags, keep.Tags)...)
		}
		slices.SortFunc(all, func(a, b retention.TagState) int {
			if c := b.Moved.Compare(a.Moved); c != 0 {
				return c
			}
			return strings.Compare(a.Name, b.Name)
		})
		first := all[:min(keep.Newest, len(all))]
		return slices.ContainsFunc(mine, func(tag retention.TagState) bool { return slices.Contains(first, tag) })
	case keep.PushedWithin > 0:
		fresh := func(tag retention.TagState) bool { return lasts(tag.Moved, keep.PushedWithin) }
		return lasts(item.Pushed, keep.PushedWithin) || slices.ContainsFunc(mine, fresh)
	case keep.PulledWithin > 0:
		return lasts(item.Pulled, keep.PulledWithin+2*retention.Day)
	}
	return true
}

// TestNewestKeepsExactlyThatMany: under no other rule, the tags that keep their
// manifests are the newest, and no others.
func TestNewestKeepsExactlyThatMany(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 5).Draw(t, "newest")
		config, err := retention.ParseDocument([]byte(policy(fmt.Sprintf(`"expire_tagged":true,"keep":[{"name":"k","newest":%d}]`, n))))
		if err != nil {
			t.Fatal(err)
		}
		w := world{}
		if w.rules, err = retention.Combine(config, retention.Document{}); err != nil {
			t.Fatal(err)
		}
		for i := range rapid.IntRange(0, 12).Draw(t, "tags") {
			w.items = append(w.items, retention.Item{Class: retention.Transient, Expires: at(-day),
				Tags: []retention.TagState{{Name: fmt.Sprint(i), Moved: at(time.Duration(rapid.IntRange(0, 4).Draw(t, "moved")))}}})
		}
		kept := 0
		for i, d := range w.decide(noon) {
			if d.State == retention.Current {
				kept++
			}
			if want := holds(w, w.items[i], config.Policies[0].Keep[0]); want != (d.State == retention.Current) {
				t.Fatalf("%+v is %s", w.items[i], d.State)
			}
		}
		if kept != min(n, len(w.items)) {
			t.Fatalf("%d of %d tags are kept, want %d", kept, len(w.items), n)
		}
	})
}

// TestReasonsToKeepOnlyKeep: whatever is added to keep an item, it is not further
// in its life than it would be without.
func TestReasonsToKeepOnlyKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := w.decide(noon)
		more := world{rules: w.rules, items: deepCopy(w.items)}
		item := &more.items[0]
		switch rapid.SampledFrom([]string{"hold", "parent", "subject", "pull", "push", "end", "extension"}).Draw(t, "what") {
		case "hold":
			item.Holds = append(item.Holds, drawHolds(t, 1)...)
		case "parent":
			item.Parent = "sha256:4f"
		case "subject":
			item.SubjectLive = true
		case "pull":
			item.Pulled = item.Pulled.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "later")) * 6 * time.Hour)
		case "push":
			item.Pushed = item.Pushed.Add(time.Duration(rapid.IntRange(1, 40).Draw(t, "later")) * 6 * time.Hour)
		case "end":
			item.Expires = time.Time{}
		case "extension":
			item.Extended = true
		}
		if now := more.decide(noon)[0]; reached(now) > reached(before[0]) {
			t.Fatalf("%+v was %+v and is %+v", *item, before[0], now)
		}
	})
}

// TestRulesToKeepOnlyKeep: with one keep rule more, nothing is further in its
// life than it was.
func TestRulesToKeepOnlyKeep(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		fewer := drawDocument(t)
		if len(fewer.Policies) == 0 || len(fewer.Policies[0].Keep) == 0 {
			t.Skip("no rule")
		}
		more, err := retention.Combine(fewer, retention.Document{})
		if err != nil {
			t.Fatal(err)
		}
		fewer.Policies[0].Keep = fewer.Policies[0].Keep[1:]
		less, err := retention.Combine(fewer, retention.Document{})
		if err != nil {
			t.Fatal(err)
		}
		items := []retention.Item{drawItem(t, map[string]bool{})}
		with, without := world{more, items}.decide(noon)[0], world{less, items}.decide(noon)[0]
		if reached(with) > reached(without) {
			t.Fatalf("%+v is %+v with a rule more, else %+v", items[0], with, without)
		}
	})
}

// TestDecideIsPure: nothing but the arguments decides, not even their order, and
// they stay as they were.
func TestDecideIsPure(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		before := deepCopy(w.items)
		first := w.decide(noon)
		if !reflect.DeepEqual(w.items, before) {
			t.Fatalf("items changed: %+v, were %+v", w.items, before)
		}
		if second := w.decide(noon.In(time.FixedZone("", 5*60*60))); !reflect.DeepEqual(first, second) {
			t.Fatalf("%+v, then %+v", first, second)
		}
		turned := world{rules: w.rules, items: before}
		slices.Reverse(turned.items)
		for i := range turned.items {
			slices.Reverse(turned.items[i].Tags)
			slices.Reverse(turned.items[i].Holds)
		}
		again := turned.decide(noon)
		slices.Reverse(again)
		if !reflect.DeepEqual(first, again) {
			t.Fatalf("%+v, in another order %+v", first, again)
		}
	})
}

// TestDecideHoldsUntilNext: between now and Next the state does not change.
func TestDecideHoldsUntilNext(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		later := at(time.Duration(rapid.Int64Range(0, int64(15*day)).Draw(t, "later")))
		decisions := w.decide(noon)
		for i, d := range w.decide(later) {
			was := decisions[i]
			if !was.Next.IsZero() && !later.Before(was.Next) {
				continue
			}
			if d.State != was.State {
				t.Fatalf("%+v was %s with next %s and is %s at %s", w.items[i], was.State, was.Next, d.State, later)
			}
		}
	})
}

// TestNoStateIsPassedOver lives an item's life, asking at each Next and marking as
// told: it goes a state at a time, and is marked for the grace before it may go.
func TestNoStateIsPassedOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := drawWorld(t)
		item, ranking := w.items[0], w.ranking()
		item.Marked = time.Time{}
		now, last := noon, 0
		for range 20 {
			d := ranking.Decide(now, item)
			if len(d.Held) == 0 && reached(d) > last+1 {
				t.Fatalf("from %d to %+v at %s: %+v", last, d, now, item)
			}
			last = reached(d)
			if d.State == retention.Eligible {
				if now.Before(item.Marked.Add(w.rules.Grace())) {
					t.Fatalf("eligible at %s, marked at %s", now, item.Marked)
				}
				return
			}
			switch {
			case len(d.Held) > 0:
			case d.State == retention.Expired && item.Marked.IsZero():
				item.Marked = now
				continue
			case d.State == retention.Current:
				item.Marked = time.Time{}
			}
			if d.Next.IsZero() {
				return
			}
			now = d.Next
		}
		t.Fatalf("does not come to an end: %+v", item)
	})
}

func deepCopy(items []retention.Item) []retention.Item {
	out := slices.Clone(items)
	for i := range out {
		out[i].Holds = slices.Clone(out[i].Holds)
		out[i].Tags = slices.Clone(out[i].Tags)
	}
	return out
}
