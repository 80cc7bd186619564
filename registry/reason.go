package registry

import (
	"unicode"
	"unicode/utf8"
)

// MaxReason is how long a reason may be, in characters.
const MaxReason = 1000

// checkReason refuses what is no reason: one is mandatory wherever it is asked for,
// and goes into the private part of the events.
func checkReason(reason string) error {
	n := utf8.RuneCountInString(reason)
	switch {
	case !utf8.ValidString(reason):
		return Errorf(ReasonInvalid, "the reason is not UTF-8 text")
	case n == 0 || blank(reason):
		return Errorf(ReasonInvalid, "a reason is needed: it is kept with the event")
	case n > MaxReason:
		return Errorf(ReasonInvalid, "the reason has %d characters; at most %d are kept", n, MaxReason)
	}
	for _, c := range reason {
		if unicode.IsControl(c) {
			return Errorf(ReasonInvalid, "the reason must be one line of text without control characters")
		}
	}
	return nil
}

func blank(text string) bool {
	for _, c := range text {
		if !unicode.IsSpace(c) {
			return false
		}
	}
	return true
}
