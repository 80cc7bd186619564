package retention

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// ErrPermanent: a permanent record that somebody made one is only erased, for
// legal cause; it takes no other class.
var ErrPermanent = errors.New("it was made a permanent record, which can only be erased")

// ErrNotLater: the end that is asked for is not later than the present one.
var ErrNotLater = errors.New("the end must be later than the present one")

// Class says which class a manifest gets when it enters a repository at a time:
// what its annotation picks among the classes that the policy allows, else the
// class of the policy, else the default. The annotation is empty if there is
// none. One that names what the manifest would get anyway is no choice; any other
// that the policy does not allow is a Refusal.
func (r Rules) Class(repository, annotation string, now time.Time) (Assigned, error) {
	given := Assigned{Class: r.preset}
	policy := r.For(repository)
	if policy != nil && policy.Class != "" {
		given.Class, given.Rule = policy.Class, policy.rule()
	}
	switch want := Class(annotation); {
	case want == "":
	case policy != nil && slices.Contains(policy.Choose, want):
		given = Assigned{Class: want, Rule: policy.rule(), Chosen: true}
	case want != given.Class:
		return Assigned{}, mayNotChoose(policy, want)
	}
	var err error
	_, given.Expires, err = r.Expiry(given.Class, now)
	return given, err
}

func mayNotChoose(policy *Policy, want Class) error {
	if policy == nil {
		return &Refusal{Message: fmt.Sprintf("retention class %q cannot be chosen: no policy applies to this repository", want)}
	}
	can := "no class"
	if len(policy.Choose) > 0 {
		can = "only " + join(policy.Choose)
	}
	return &Refusal{Policy: policy.Name, Message: fmt.Sprintf("retention class %q cannot be chosen: policy %s allows %s",
		want, policy.Name, can)}
}

// Expiry returns the end of an item that enters the class at a time: the zero
// Time if it never ends. An empty class means the default. The error wraps
// ErrUnknownClass.
func (r Rules) Expiry(class Class, entered time.Time) (Class, time.Time, error) {
	if class == "" {
		class = r.preset
	}
	term, ok := r.terms[class]
	if !ok {
		return "", time.Time{}, fmt.Errorf("%w %q", ErrUnknownClass, class)
	}
	if term == Forever {
		return class, time.Time{}, nil
	}
	return class, ceil(entered.Add(time.Duration(term))), nil
}

// Renew returns the end of an item that is pushed again at a time: the term of its
// class begins anew, but no end comes earlier than it was. It is zero if there is
// none, also of a class that the rules do not know.
func (r Rules) Renew(class Class, expires, now time.Time) time.Time {
	_, renewed, err := r.Expiry(class, now)
	if err != nil || renewed.IsZero() || expires.IsZero() {
		return time.Time{}
	}
	return latest(renewed, expires)
}

// ChangeClass says what an item becomes that an operator moves to another class
// at a time: its new term begins then, so that no change ends an item at once.
// The error wraps ErrUnknownClass, or is ErrPermanent if the item is Permanent.
func (r Rules) ChangeClass(from Class, given bool, to Class, now time.Time) (Assigned, error) {
	switch {
	case to == "":
		return Assigned{}, errors.New("want the name of a class")
	case to == from && given:
		return Assigned{}, fmt.Errorf("the class is %s already", from)
	case Permanent(from, given):
		return Assigned{}, ErrPermanent
	}
	class, expires, err := r.Expiry(to, now)
	if err != nil {
		return Assigned{}, err
	}
	return Assigned{Class: class, Expires: expires, Chosen: true}, nil
}

// Permanent tells whether an item was made a permanent record, by a policy, an
// annotation or an operator. Such an item is never deleted, it can only be
// erased. One that merely has the default class belongs to its owner.
func Permanent(class Class, given bool) bool { return class == PermanentRecord && given }

// Extend checks an extension: the requested end must be strictly later than the
// current one. What never ends cannot be extended, and never ending is not an
// extension but another class. The error is or wraps ErrNotLater.
func Extend(current, requested time.Time) error {
	switch {
	case current.IsZero():
		return fmt.Errorf("%w: there is none", ErrNotLater)
	case requested.IsZero():
		return fmt.Errorf("%w: to keep for ever, change the class to %s", ErrNotLater, PermanentRecord)
	case !requested.After(current):
		return fmt.Errorf("%w: %s is not after %s", ErrNotLater, utc(requested), utc(current))
	}
	return nil
}

// join prints names with commas.
func join[T ~string](names []T) string {
	texts := make([]string, len(names))
	for i, name := range names {
		texts[i] = string(name)
	}
	return strings.Join(texts, ", ")
}
