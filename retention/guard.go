package retention

import (
	"errors"
	"fmt"
	"time"
)

// ErrNotAllowed: a policy forbids it. Every Refusal wraps it.
var ErrNotAllowed = errors.New("the retention policy does not allow it")

// Refusal says what a policy forbids to a client. The message is for the client.
type Refusal struct {
	// Policy is the name of the policy, empty if it is the lack of one.
	Policy  string
	Message string
}

func (r *Refusal) Error() string { return r.Message }

// Unwrap returns ErrNotAllowed.
func (r *Refusal) Unwrap() error { return ErrNotAllowed }

// MayMoveTag answers a client that wants a tag to name a manifest. Exists says
// that it names another one now: where it names none or the same, nothing is
// overwritten. The error is nil or a Refusal.
func (r Rules) MayMoveTag(repository, tag string, exists bool, now time.Time) error {
	if !exists {
		return nil
	}
	return r.mayTouchTag(repository, tag, now, "moved")
}

// MayDeleteTag answers a client that wants to delete a tag that exists. The error
// is nil or a Refusal.
func (r Rules) MayDeleteTag(repository, tag string, now time.Time) error {
	return r.mayTouchTag(repository, tag, now, "deleted")
}

// MayDeleteManifest answers a client that wants to delete a manifest with the
// tags that name it. The error is nil or a Refusal. The manifest's class has a
// say of its own (Permanent), and so have holds, which rules know nothing of.
func (r Rules) MayDeleteManifest(repository string, tags []string, now time.Time) error {
	policy := r.For(repository)
	if policy == nil {
		return nil
	}
	if policy.WriteOnce {
		return policy.refuse("the manifest cannot be deleted: policy %s makes this repository write-once", policy.Name)
	}
	for _, tag := range tags {
		if rule, is := policy.immutable(tag, now); is {
			return policy.refuse("the manifest cannot be deleted: policy %s makes its tag %s immutable%s", policy.Name, tag, rule.term())
		}
	}
	return nil
}

// MayDeleteBlob answers a client that wants to delete a blob. The error is nil or
// a Refusal.
func (r Rules) MayDeleteBlob(repository string) error {
	policy := r.For(repository)
	if policy == nil || !policy.WriteOnce {
		return nil
	}
	return policy.refuse("the blob cannot be deleted: policy %s makes this repository write-once", policy.Name)
}

func (r Rules) mayTouchTag(repository, tag string, now time.Time, done string) error {
	policy := r.For(repository)
	if policy == nil {
		return nil
	}
	if policy.WriteOnce {
		return policy.refuse("tag %s cannot be %s: policy %s makes this repository write-once", tag, done, policy.Name)
	}
	if rule, is := policy.immutable(tag, now); is {
		return policy.refuse("tag %s cannot be %s: policy %s makes it immutable%s", tag, done, policy.Name, rule.term())
	}
	return nil
}

func (p *Policy) refuse(format string, args ...any) error {
	return &Refusal{Policy: p.Name, Message: fmt.Sprintf(format, args...)}
}

// immutable returns the rule that makes a tag immutable at a time, of several
// the one that ends last.
func (p *Policy) immutable(tag string, now time.Time) (Immutable, bool) {
	var last Immutable
	found := false
	for _, rule := range p.ImmutableTags {
		if !rule.binds(now) || !matchAny(rule.Tags, tag) {
			continue
		}
		if !found || later(rule.Until.Time(), last.Until.Time()) {
			last, found = rule, true
		}
	}
	return last, found
}

// binds tells whether the rule is in force.
func (i Immutable) binds(now time.Time) bool { return i.Until.IsZero() || now.Before(i.Until.Time()) }

// term prints the end of the rule.
func (i Immutable) term() string {
	if i.Until.IsZero() {
		return ""
	}
	return " until " + utc(i.Until.Time())
}

// later compares two ends, of which zero is never.
func later(a, b time.Time) bool {
	return !b.IsZero() && (a.IsZero() || a.After(b))
}
