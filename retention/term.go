package retention

import (
	"fmt"
	"math"
	"strconv"
	"time"
)

// Term is how long an item of a class is kept: a whole number of seconds, at
// least one and at most 250 years, or Forever.
type Term time.Duration

// The units of terms. A year is 365 days.
const (
	Day  = Term(24 * time.Hour)
	Week = 7 * Day
	Year = 365 * Day

	// Forever is the term of what never expires; its text is "never".
	Forever Term = math.MaxInt64

	longest = 250 * Year
	never   = "never"
)

// units are tried from the largest to the smallest when a term is printed.
// There is no month, and m is a minute as in time.Duration.
var units = []struct {
	name byte
	term Term
}{
	{'y', Year},
	{'w', Week},
	{'d', Day},
	{'h', Term(time.Hour)},
	{'m', Term(time.Minute)},
	{'s', Term(time.Second)},
}

// ParseTerm reads "never", or a whole number and one unit: s, m (minutes), h, d
// (24 hours), w (7 days) or y (365 days), as in "90d". There are no fractions,
// signs, spaces or leading zeros.
func ParseTerm(s string) (Term, error) {
	if s == never {
		return Forever, nil
	}
	malformed := fmt.Errorf("term %q: want %q or a whole number with one of the units s, m, h, d, w, y", s, never)
	if len(s) < 2 || s[0] < '1' || s[0] > '9' {
		return 0, malformed
	}
	n, err := strconv.ParseUint(s[:len(s)-1], 10, 63)
	if err != nil {
		return 0, malformed
	}
	for _, u := range units {
		if u.name != s[len(s)-1] {
			continue
		}
		if n > uint64(longest/u.term) {
			return 0, fmt.Errorf("term %q: longer than %s", s, longest)
		}
		return Term(n) * u.term, nil
	}
	return 0, malformed
}

// String returns the text that ParseTerm reads, with the largest unit of which
// the term is a whole number.
func (t Term) String() string {
	if t == Forever {
		return never
	}
	for _, u := range units {
		if t != 0 && t%u.term == 0 {
			return strconv.FormatInt(int64(t/u.term), 10) + string(u.name)
		}
	}
	return time.Duration(t).String()
}

// MarshalText is String, for terms that are valid.
func (t Term) MarshalText() ([]byte, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	return []byte(t.String()), nil
}

// UnmarshalText is ParseTerm.
func (t *Term) UnmarshalText(text []byte) error {
	parsed, err := ParseTerm(string(text))
	if err != nil {
		return err
	}
	*t = parsed
	return nil
}

func (t Term) validate() error {
	switch {
	case t == Forever:
		return nil
	case t < Term(time.Second) || t > longest || t%Term(time.Second) != 0:
		return fmt.Errorf("term %s: want whole seconds, from 1s to %s, or %s", time.Duration(t), longest, never)
	}
	return nil
}
