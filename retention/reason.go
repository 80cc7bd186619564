package retention

import (
	"strconv"
	"time"
)

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
