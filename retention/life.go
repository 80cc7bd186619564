package retention

import (
	"fmt"
	"time"
)

// life is what is known of an item's end, whatever the time is now.
type life struct {
	end   time.Time // zero: there is none
	cause string    // what ends the item
	kept  string    // what keeps it for ever, or beyond what cause says; may be empty
}

// reason is something that keeps an item, until a time or, if that is zero, for
// as long as nothing but time changes.
type reason struct {
	until time.Time
	why   string
}

// life finds the end of an item, and what puts it off.
func (r *Ranking) life(item Item) life {
	l := r.ownEnd(item)
	if l.end.IsZero() {
		return l
	}
	keep, found := r.kept(item)
	if found && later(keep.until, l.end) {
		l.end, l.kept = keep.until, keep.why
	}
	return l
}

// ownEnd is the earlier of the ends that the class and the lack of tags give.
func (r *Ranking) ownEnd(item Item) life {
	term, known := r.rules.terms[item.Class]
	if !known {
		return life{kept: fmt.Sprintf("class %q is not in force any more", item.Class)}
	}
	l := life{kept: fmt.Sprintf("class %s never expires", item.Class)}
	switch {
	case term == Forever && item.Given:
		return l
	case term == Forever:
	case item.Expires.IsZero():
		l.kept = fmt.Sprintf("has no end, although class %s has", item.Class)
	default:
		l = life{end: item.Expires, cause: "class " + string(item.Class)}
	}
	if end := r.untaggedEnd(item); !end.IsZero() && later(l.end, end) {
		l = life{end: end, cause: "untagged, " + r.policy.rule()}
	}
	return l
}

// untaggedEnd is when the lack of tags ends an item; zero if it does not.
func (r *Ranking) untaggedEnd(item Item) time.Time {
	if r.policy == nil || r.policy.ExpireUntagged == 0 || r.policy.ExpireUntagged == Forever {
		return time.Time{}
	}
	since := latest(item.Pushed, item.Untagged)
	if len(item.Tags) > 0 || item.Chosen || item.Extended || since.IsZero() {
		return time.Time{}
	}
	return after(since, r.policy.ExpireUntagged)
}

// kept is the reason that keeps an item longest, of several the first.
func (r *Ranking) kept(item Item) (reason, bool) {
	switch {
	case item.Parent != "":
		return reason{why: "child of " + item.Parent}, true
	case item.SubjectLive && !item.Chosen:
		return reason{why: "its subject lives"}, true
	}
	var longest reason
	found := false
	for _, keep := range r.reasons(item) {
		if !found || later(keep.until, longest.until) {
			longest, found = keep, true
		}
	}
	return longest, found
}

// reasons are all that the policy, or the lack of one, has for keeping an item.
func (r *Ranking) reasons(item Item) []reason {
	var all []reason
	if r.policy != nil {
		for i := range r.policy.Keep {
			if keep, holds := r.rule(i, item); holds {
				all = append(all, keep)
			}
		}
		if keep, holds := r.immutable(item); holds {
			all = append(all, keep)
		}
	}
	if len(item.Tags) == 0 {
		return all
	}
	switch {
	case r.policy == nil:
		all = append(all, reason{why: fmt.Sprintf("tag %s, and no policy applies", item.Tags[0].Name)})
	case !r.policy.ExpireTagged:
		all = append(all, reason{why: fmt.Sprintf("tag %s, and %s does not expire tags", item.Tags[0].Name, r.policy.rule())})
	}
	return all
}

// rule asks one keep rule of the policy.
func (r *Ranking) rule(i int, item Item) (reason, bool) {
	keep := &r.policy.Keep[i]
	pushed, about := item.Pushed, len(keep.Tags) == 0
	for _, tag := range item.Tags {
		if !keep.about(tag.Name) {
			continue
		}
		if keep.always() || keep.Newest > 0 && r.newest[i].has(tag) {
			return reason{why: fmt.Sprintf("tag %s by rule %s", tag.Name, keep.Name)}, true
		}
		pushed, about = latest(pushed, tag.Moved), true
	}
	switch {
	case !about:
	case keep.PushedWithin > 0 && !pushed.IsZero():
		return reason{after(pushed, keep.PushedWithin),
			fmt.Sprintf("pushed in the last %s by rule %s", keep.PushedWithin, keep.Name)}, true
	case keep.PulledWithin > 0 && !item.Pulled.IsZero():
		return reason{after(item.Pulled, keep.PulledWithin+pullMargin),
			fmt.Sprintf("pulled in the last %s by rule %s", keep.PulledWithin, keep.Name)}, true
	}
	return reason{}, false
}

// immutable is the reason that immutable tags give: of several the one that
// lasts longest.
func (r *Ranking) immutable(item Item) (reason, bool) {
	var name string
	var last Immutable
	for _, tag := range item.Tags {
		for _, rule := range r.policy.ImmutableTags {
			if matchAny(rule.Tags, tag.Name) && (name == "" || later(rule.Until.Time(), last.Until.Time())) {
				name, last = tag.Name, rule
			}
		}
	}
	why := fmt.Sprintf("tag %s is immutable%s by %s", name, last.term(), r.policy.rule())
	return reason{last.Until.Time(), why}, name != ""
}

func latest(a, b time.Time) time.Time {
	if a.Before(b) {
		return b
	}
	return a
}
