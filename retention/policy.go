package retention

import (
	"slices"
	"time"
)

// pullMargin is added to PulledWithin: a day because pulls are recorded by the
// day, and one because a crash may lose the last of them.
const pullMargin = 2 * Day

// rule is how an event and a reason name the policy.
func (p *Policy) rule() string { return "policy " + p.Name }

// about tells whether the rule is about a tag.
func (k *Keep) about(tag string) bool { return len(k.Tags) == 0 || matchAny(k.Tags, tag) }

// always tells whether the rule has no condition.
func (k *Keep) always() bool { return k.Newest == 0 && k.PushedWithin == 0 && k.PulledWithin == 0 }

// clone returns a policy that shares nothing with p.
func (p Policy) clone() Policy {
	p.Repositories = slices.Clone(p.Repositories)
	p.Choose = slices.Clone(p.Choose)
	p.Keep = slices.Clone(p.Keep)
	for i := range p.Keep {
		p.Keep[i].Tags = slices.Clone(p.Keep[i].Tags)
	}
	p.ImmutableTags = slices.Clone(p.ImmutableTags)
	for i := range p.ImmutableTags {
		p.ImmutableTags[i].Tags = slices.Clone(p.ImmutableTags[i].Tags)
	}
	return p
}

// after adds a term to a time.
func after(t time.Time, term Term) time.Time { return ceil(t.Add(time.Duration(term))) }
