package retention

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// State is where an item is in its life.
type State string

// The life of an item, in order; no state is passed over.
const (
	Current  State = "current"  // kept
	Expired  State = "expired"  // its end has come; kept until the grace has passed
	Eligible State = "eligible" // may be collected
	// Collected: gone. Plan is not asked about such items and never answers it.
	Collected State = "collected"
)

// Hold forbids that an item moves on, until it ends or is released.
type Hold struct {
	// Name tells holds apart; people see it.
	Name string
	// Until is the end of the hold, zero if it holds until it is released.
	Until time.Time
}

// binds tells whether the hold is in force.
func (h Hold) binds(now time.Time) bool { return h.Until.IsZero() || now.Before(h.Until) }

// Item is something that is kept, with what has been recorded about it.
type Item struct {
	// Name says which item a decision is about. Plan only copies it.
	Name  string
	Class Class
	// Expires is the end that was recorded for the item, zero if it has none.
	Expires time.Time
	// Marked is when the item was recorded as expired, zero if it was not.
	Marked time.Time
	// Holds are those placed on the item and not released, in any order.
	Holds []Hold
}

// Decision says in which state an item is to be, and why.
//
// An item that is to be Expired and has no mark is to be marked. An item that
// has a mark and is Current was given a later end since: the mark is to be
// taken away.
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
	// Reason is one sentence for people, which names what decided: the hold,
	// the class, the grace. Time to come is rounded up in it, time past is
	// rounded down.
	Reason string
}

// Plan decides about every item, in the order given. It is a pure function: it
// changes nothing, and equal arguments give equal decisions.
//
// The first of these that is true decides: a hold in force leaves the item
// where it is recorded to be; an item without an end, of a class that never
// expires or of one that the policy does not know, is current; so is one
// whose end has not come. What remains is expired, and is eligible once it has
// been marked, with its end in the past, for the policy's grace.
func Plan(now time.Time, policy Policy, items []Item) []Decision {
	decisions := make([]Decision, 0, len(items))
	for _, item := range items {
		d := decide(now, policy, item)
		d.Name = item.Name
		decisions = append(decisions, d)
	}
	return decisions
}

func decide(now time.Time, policy Policy, item Item) Decision {
	if d, held := hold(now, item); held {
		return d
	}
	term, known := policy.Terms[item.Class]
	switch {
	case !known:
		return Decision{State: Current, Reason: fmt.Sprintf("kept: class %q is not in the policy", item.Class)}
	case term == Forever:
		return Decision{State: Current, Reason: fmt.Sprintf("kept: class %s never expires", item.Class)}
	case item.Expires.IsZero():
		return Decision{State: Current, Reason: fmt.Sprintf("kept: has no end, although class %s has", item.Class)}
	case now.Before(item.Expires):
		return Decision{State: Current, Next: item.Expires,
			Reason: fmt.Sprintf("expires in %s: class %s", toCome(item.Expires.Sub(now)), item.Class)}
	case item.Marked.IsZero():
		return Decision{State: Expired, Since: item.Expires,
			Reason: fmt.Sprintf("expired %s ago, not yet marked: class %s", past(now.Sub(item.Expires)), item.Class)}
	}
	return afterMark(now, policy, item)
}

// hold decides about an item under a hold. Its clock stands still: what is
// marked stays marked, what is not is not marked.
func hold(now time.Time, item Item) (Decision, bool) {
	d := Decision{State: Current}
	endless := false
	for _, h := range item.Holds {
		if !h.binds(now) {
			continue
		}
		d.Held = append(d.Held, h.Name)
		endless = endless || h.Until.IsZero()
		if h.Until.After(d.Next) {
			d.Next = h.Until
		}
	}
	if len(d.Held) == 0 {
		return Decision{}, false
	}
	slices.Sort(d.Held)
	if !item.Marked.IsZero() {
		d.State, d.Since = Expired, item.Marked
	}
	until := ""
	if endless {
		d.Next = time.Time{}
	} else {
		until = " until " + utc(d.Next)
	}
	noun := "hold "
	if len(d.Held) > 1 {
		noun = "holds "
	}
	d.Reason = "kept: " + noun + strings.Join(d.Held, ", ") + until
	return d, true
}

// afterMark decides about an item whose end has come and has been recorded. The
// grace counts from the record and not from the end: a server that slept for
// a year must not take away what nobody could have seen expire.
func afterMark(now time.Time, policy Policy, item Item) Decision {
	since := item.Marked
	if since.Before(item.Expires) { // an old mark, left over from before an extension
		since = item.Expires
	}
	end := since.Add(policy.Grace)
	if now.Before(end) {
		return Decision{State: Expired, Since: since, Next: end,
			Reason: fmt.Sprintf("expired since %s, eligible in %s: class %s", utc(since), toCome(end.Sub(now)), item.Class)}
	}
	return Decision{State: Eligible, Since: end,
		Reason: fmt.Sprintf("eligible since %s: class %s expired and the grace has passed", utc(end), item.Class)}
}

func utc(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// toCome prints a positive duration in its largest unit, rounded up, so that it
// never promises more haste than there is, and never says 0.
func toCome(d time.Duration) string {
	unit, name := unitOf(d)
	n := int64(d / unit)
	if d%unit != 0 {
		n++
	}
	return strconv.FormatInt(n, 10) + " " + name
}

// past prints a duration in its largest unit, rounded down.
func past(d time.Duration) string {
	unit, name := unitOf(d)
	return strconv.FormatInt(int64(d/unit), 10) + " " + name
}

func unitOf(d time.Duration) (time.Duration, string) {
	switch {
	case d >= time.Duration(Day):
		return time.Duration(Day), "d"
	case d >= time.Hour:
		return time.Hour, "h"
	case d >= time.Minute:
		return time.Minute, "min"
	}
	return time.Second, "s"
}
