// Package retention decides how long things are kept. It is arithmetic on
// values: it reads no clock, does no I/O and knows nothing of registries, so the
// same question always has the same answer, in a live server, in a dry run and
// in a replay of the log years later.
//
// Everything that is kept belongs to a Class. A Policy gives each class a Term,
// and the end of an item is fixed once, when it enters (Policy.Expiry); later
// changes of a policy do not move it. From then on Plan says in which State of
// its life an item is, and why:
//
//	current -> expired -> eligible -> collected
//
// Expiry only marks. An item is eligible when it has been marked for as long as
// the policy's grace; until then it can be brought back. A hold keeps an item
// where it is, whatever else is true, and in doubt an item is kept.
//
// # Units and rounding
//
// A day is 24 hours, a week 7 days and a year 365 days: leap days, leap seconds,
// daylight saving and calendar months play no part, so a term is the same number
// of seconds wherever and whenever it begins. Times are instants; the location
// of a time.Time does not matter, and reasons print UTC. Ends are whole
// microseconds, rounded up. An end belongs to what follows it: at the very
// microsecond of its end an item is expired.
package retention

import (
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Class is the name of a retention class, of the grammar [a-z][a-z0-9-]{0,62}.
type Class string

// The shipped classes. Policies may give them other terms, except that
// PermanentRecord never expires, and may add classes of their own.
const (
	Transient       Class = "transient"        // 7 days: builds of a branch, scratch
	RawEvidence     Class = "raw-evidence"     // 90 days: complete logs and measurements
	SummaryEvidence Class = "summary-evidence" // 1 year: reports made from them
	ReleaseEvidence Class = "release-evidence" // 7 years: what a release was judged by
	PermanentRecord Class = "permanent-record" // for ever
)

// Policy says how long the items of each class are kept.
type Policy struct {
	// Default is the class of whatever is not given another one.
	Default Class
	// Terms has the term of every class that may be used.
	Terms map[Class]Term
	// Grace is how long an item stays marked as expired before it is eligible.
	Grace time.Duration
}

// Shipped returns the policy of a server that was not told otherwise: the
// shipped classes, of which everything gets PermanentRecord, and a grace of 7
// days. The caller owns the result.
func Shipped() Policy {
	return Policy{
		Default: PermanentRecord,
		Terms: map[Class]Term{
			Transient:       7 * Day,
			RawEvidence:     90 * Day,
			SummaryEvidence: 1 * Year,
			ReleaseEvidence: 7 * Year,
			PermanentRecord: Forever,
		},
		Grace: time.Duration(7 * Day),
	}
}

var className = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// ErrUnknownClass: the policy has no such class.
var ErrUnknownClass = errors.New("unknown retention class")

// Validate returns all that is wrong with the policy, or nil.
func (p Policy) Validate() error {
	var errs []error
	for class, term := range p.Terms {
		if !className.MatchString(string(class)) {
			errs = append(errs, fmt.Errorf("retention class %q: name does not match %s", class, className))
		}
		if err := term.validate(); err != nil {
			errs = append(errs, fmt.Errorf("retention class %s: %w", class, err))
		}
	}
	if p.Terms[PermanentRecord] != Forever {
		errs = append(errs, fmt.Errorf("retention class %s: must be kept %s", PermanentRecord, Forever))
	}
	if _, ok := p.Terms[p.Default]; !ok {
		errs = append(errs, fmt.Errorf("default class %q: %w", p.Default, ErrUnknownClass))
	}
	if p.Grace < 0 {
		errs = append(errs, fmt.Errorf("grace %s: must not be negative", p.Grace))
	}
	return errors.Join(errs...)
}

// Expiry returns the end of an item that enters the class at a time: the zero
// Time if it never ends. An empty class means the default. The error wraps
// ErrUnknownClass.
func (p Policy) Expiry(class Class, entered time.Time) (Class, time.Time, error) {
	if class == "" {
		class = p.Default
	}
	term, ok := p.Terms[class]
	if !ok {
		return "", time.Time{}, fmt.Errorf("%w %q", ErrUnknownClass, class)
	}
	if term == Forever {
		return class, time.Time{}, nil
	}
	return class, ceil(entered.Add(time.Duration(term))), nil
}

// ceil rounds up to a whole microsecond, the unit in which times are recorded:
// rounding down would end an item before its term is over.
func ceil(t time.Time) time.Time {
	down := t.UTC().Truncate(time.Microsecond)
	if down.Before(t) {
		return down.Add(time.Microsecond)
	}
	return down
}
