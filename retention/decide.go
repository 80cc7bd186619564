package retention

import (
	"cmp"
	"slices"
	"time"
)

// State is where an item is in its life.
type State string

// The life of an item, in order; no state is passed over.
const (
	Current  State = "current"  // kept
	Expired  State = "expired"  // its end has come; kept until the grace has passed
	Eligible State = "eligible" // may be collected
	// Collected: gone. Decide is not asked about such items and never answers it.
	Collected State = "collected"
)

// TagState is a tag and when it came to name the manifest that it names.
type TagState struct {
	Name  string
	Moved time.Time
}

// Item is a manifest of a repository, with what has been recorded about it. Where
// something is left out, the item is kept longer, never shorter.
type Item struct {
	// Name says which item a decision is about. Decide only copies it.
	Name  string
	Class Class
	// Given: a policy, an annotation or an operator gave the class. Else it is the
	// default.
	Given bool
	// Chosen: an annotation or an operator picked the class for this very item,
	// which says more than Given.
	// Its term then stands by itself: a live subject does not lengthen it, and
	// the lack of tags does not shorten it.
	Chosen bool
	// Expires is the end that was recorded for the item, zero if it has none.
	Expires time.Time
	// Extended: an operator has put Expires off. The lack of tags does not bring
	// it forward again.
	Extended bool
	// Marked is when the item was recorded as expired, zero if it was not.
	Marked time.Time
	// Pushed is when a client last pushed the item.
	Pushed time.Time
	// Pulled is the day of the last pull, zero if there was none.
	Pulled time.Time
	// Untagged is when the last tag went, zero if there never was one. It is
	// not looked at where there are Tags.
	Untagged time.Time
	// Tags are those that name the item, in any order.
	Tags []TagState
	// Parent names an index, live or expired, that references the item; empty if
	// none does.
	Parent string
	// SubjectLive: the item is a referrer, and its subject is live or expired.
	SubjectLive bool
	// Holds are those that freeze the item and are not released, in any order.
	Holds []Hold
}

// Decision says in which state an item is to be, and why.
//
// An item that is to be Expired and has no mark is to be marked. An item that
// has a mark and is Current is kept since, or got a later end: the mark is to
// be taken away.
type Decision struct {
	Name  string
	State State
	// Since is when the state began: for Expired the mark, or the end while
	// there is no mark; for Eligible the end of the grace; zero for Current.
	Since time.Time
	// Next is when to ask again: before it, time alone does not change the
	// state. It is zero if time alone never does: kept for ever, held without
	// end, eligible, or expired and not yet marked, where no grace runs.
	Next time.Time
	// Held has the names of the holds in force, sorted.
	Held []string
	// Tags has the names of the tags that go with the item when it is collected,
	// sorted. It is empty for what is Current or Held.
	Tags []string
	// Reason is one sentence for people, which names what decided: the hold,
	// the rule, the class, the grace. Time to come is rounded up in it, time past
	// is rounded down.
	Reason string
}

// Decide says in which state an item of the repository is to be. It is a pure
// function: it changes nothing, and equal arguments give equal decisions. The
// first of these that is true decides:
//
//  1. Under a hold in force an item goes no further than it is recorded to be:
//     what has no mark gets none, and what has one is not eligible.
//  2. An item that has no end is current. Two things give it one: its class, and
//     ExpireUntagged if it has no tags; the earlier counts. Nothing ends an item
//     whose class never expires and was Given, or is not in force any more;
//     ExpireUntagged ends none that was Chosen or Extended.
//  3. An item is current while a live index references it, while its subject
//     lives unless its class was Chosen, and while it has tags where the
//     policy does not say ExpireTagged.
//  4. An item is current while a keep rule holds for it or for one of its tags,
//     and while one of its tags is immutable.
//  5. An item whose end has not come is current.
//
// What remains is expired, and is eligible once it has been marked, with no
// reason left to keep it, for the grace.
func (r *Ranking) Decide(now time.Time, item Item) Decision {
	item.Tags = slices.SortedFunc(slices.Values(item.Tags), func(a, b TagState) int { return cmp.Compare(a.Name, b.Name) })
	d := r.life(item).at(now, item, r.rules.Grace())
	d.Name = item.Name
	if names, until := inForce(item.Holds, now); len(names) > 0 {
		return d.under(names, until, item)
	}
	return d
}

// at decides about an item as if it were not held. The grace counts from the mark and
// not from the end: a server that slept for a year must not take away what
// nobody could have seen expire. An old mark, left over from before the end was
// put off, counts from the end.
func (l life) at(now time.Time, item Item, grace time.Duration) Decision {
	switch {
	case l.end.IsZero():
		return Decision{State: Current, Reason: "kept: " + l.kept}
	case now.Before(l.end) && l.kept != "":
		return Decision{State: Current, Next: l.end, Reason: "kept: " + l.kept}
	case now.Before(l.end):
		return Decision{State: Current, Next: l.end, Reason: "expires in " + toCome(l.end.Sub(now)) + ": " + l.cause}
	}
	tags := names(item.Tags)
	if item.Marked.IsZero() {
		return Decision{State: Expired, Since: l.end, Tags: tags,
			Reason: "expired " + past(now.Sub(l.end)) + " ago, not yet marked: " + l.cause}
	}
	since := item.Marked
	if since.Before(l.end) {
		since = l.end
	}
	due := since.Add(grace)
	if now.Before(due) {
		return Decision{State: Expired, Since: since, Next: due, Tags: tags,
			Reason: "expired since " + utc(since) + ", eligible in " + toCome(due.Sub(now)) + ": " + l.cause}
	}
	return Decision{State: Eligible, Since: due, Tags: tags,
		Reason: "eligible since " + utc(due) + ", expired and the grace has passed: " + l.cause}
}

func names(tags []TagState) []string {
	var out []string
	for _, tag := range tags {
		out = append(out, tag.Name)
	}
	return out
}
