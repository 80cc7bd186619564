package retention

import (
	"fmt"
	"slices"
	"strings"
	"time"
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

// inForce returns the names of the holds that bind, sorted, each once, and when the last of
// them ends; zero if one does not.
func inForce(holds []Hold, now time.Time) (names []string, until time.Time) {
	for _, h := range holds {
		if !h.binds(now) {
			continue
		}
		if len(names) == 0 || later(h.Until, until) {
			until = h.Until
		}
		names = append(names, h.Name)
	}
	slices.Sort(names)
	return slices.Compact(names), until
}

// under turns what would be decided about an item into what is decided while
// holds are in force: it goes no further than it is recorded to be.
func (d Decision) under(names []string, until time.Time, item Item) Decision {
	held := Decision{Name: d.Name, State: Current, Next: until, Held: names, Reason: "kept: " + HoldsText(names)}
	if !until.IsZero() {
		held.Reason += " until " + utc(until)
	}
	switch {
	case item.Marked.IsZero():
	case d.State == Current: // and it would be, without holds, until then
		held.Next = d.Next
	default:
		held.State, held.Since = Expired, item.Marked
	}
	return held
}

// spoken is how many holds a text names.
const spoken = 10

// HoldsText names holds in a text for people, the first of them if they are many.
func HoldsText(names []string) string {
	switch {
	case len(names) == 1:
		return "hold " + names[0]
	case len(names) > spoken:
		return fmt.Sprintf("holds %s and %d more", strings.Join(names[:spoken], ", "), len(names)-spoken)
	}
	return "holds " + strings.Join(names, ", ")
}
