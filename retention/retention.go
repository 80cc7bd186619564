// Package retention decides how long things are kept. It is arithmetic on
// values: it reads no clock, does no I/O and knows nothing of registries, so the
// same question always has the same answer, in a live server, in a dry run and
// in a replay of the log years later.
//
// Operators write a Document for each source: the configuration and the admin
// API. Combine makes Rules of them, and exactly one Policy applies to a
// repository: the first that matches its name. The rules answer three
// questions:
//
//	Rules.Class          what class a manifest gets when it is pushed, and its end
//	Rules.MayMoveTag ... what clients may not overwrite or delete
//	Ranking.Decide       in which State of its life a manifest is, and why
//
// The time now comes from the caller, who answers for it: while a clock is
// doubted, it is a time that is not.
//
// The end of an item is fixed once, when it enters; later changes of the rules
// do not move it. From then on its life is
//
//	current -> expired -> eligible -> collected
//
// Expiry only marks. An item is eligible when it has been marked for as long as
// the grace; until then it can be brought back. A hold keeps an item where it
// is, a keep rule puts its end off, and in doubt an item is kept.
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
	"maps"
	"regexp"
	"time"
)

// Class is the name of a retention class, of the grammar [a-z][a-z0-9-]{0,62}.
type Class string

// The shipped classes. Documents may give them other terms, except that
// PermanentRecord never expires, and may add classes of their own.
const (
	Transient       Class = "transient"        // 7 days: builds of a branch, scratch
	RawEvidence     Class = "raw-evidence"     // 90 days: complete logs and measurements
	SummaryEvidence Class = "summary-evidence" // 1 year: reports made from them
	ReleaseEvidence Class = "release-evidence" // 7 years: what a release was judged by
	PermanentRecord Class = "permanent-record" // for ever
)

// shipped are the classes of a server that was not told otherwise.
var shipped = map[Class]Term{
	Transient:       7 * Day,
	RawEvidence:     90 * Day,
	SummaryEvidence: 1 * Year,
	ReleaseEvidence: 7 * Year,
	PermanentRecord: Forever,
}

// shippedGrace is how long an item stays marked as expired.
const shippedGrace = 7 * Day

// ErrUnknownClass: the rules have no such class.
var ErrUnknownClass = errors.New("unknown retention class")

var className = regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`)

// Shipped returns the rules of a server that was not told otherwise: the
// shipped classes, of which everything gets PermanentRecord, a grace of 7 days,
// and no policy.
func Shipped() Rules {
	return Rules{terms: maps.Clone(shipped), preset: PermanentRecord, grace: shippedGrace}
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
