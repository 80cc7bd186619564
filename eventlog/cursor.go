package eventlog

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Cursor is a place in a log behind an event that a follower is done with. The
// running hash makes it a statement about everything before: a log that was
// restored from an older state and has gone on since has another one there.
//
// The zero Cursor is before the first event of any log. One with a sequence
// and nothing else proves nothing: it is taken at its word.
type Cursor struct {
	// Log is the id of the log.
	Log string
	// Sequence is that of the event, 0 before the first.
	Sequence Sequence
	// Chain is the running hash up to and including the event.
	Chain Hash
}

// ErrDiverged: a log does not have what its follower has seen.
var ErrDiverged = errors.New("the log has diverged from what was followed")

// Cursor returns the cursor behind the last event of h.
func (h Head) Cursor() Cursor { return Cursor{Log: h.Log, Sequence: h.Sequence, Chain: h.Chain} }

// String returns the text form, which is stable: LOG:SEQUENCE:CHAIN, with the
// log's id in 32 hex digits, the sequence in decimal and the running hash in 64
// hex digits; the sequence alone if that is all there is, which for the zero
// Cursor is 0.
func (c Cursor) String() string {
	sequence := strconv.FormatUint(uint64(c.Sequence), 10)
	if c.Log == "" {
		return sequence
	}
	return c.Log + ":" + sequence + ":" + c.Chain.String()
}

// ParseCursor reads what String returns. An empty text is the zero Cursor.
func ParseCursor(text string) (Cursor, error) {
	if text == "" {
		return Cursor{}, nil
	}
	sequence, whole := text, false
	var c Cursor
	if log, rest, found := strings.Cut(text, ":"); found {
		var chain string
		sequence, chain, whole = strings.Cut(rest, ":")
		if !whole || !isHex(log, 32) || !isHex(chain, 2*len(c.Chain)) {
			return Cursor{}, errCursor
		}
		c.Log = log
		if _, err := hex.Decode(c.Chain[:], []byte(chain)); err != nil {
			return Cursor{}, errCursor
		}
	}
	n, err := strconv.ParseUint(sequence, 10, 64)
	if err != nil || n > math.MaxInt64 || whole && strconv.FormatUint(n, 10) != sequence {
		return Cursor{}, errCursor
	}
	c.Sequence = Sequence(n)
	return c, nil
}

// errCursor: a text is no cursor.
var errCursor = errors.New("a cursor is LOG:SEQUENCE:CHAIN, as it came with an event, or the sequence of an event")

// isHex tells whether a text is a number of hex digits in lower case.
func isHex(text string, digits int) bool {
	return len(text) == digits && strings.Trim(text, "0123456789abcdef") == ""
}

// Find returns the head that a log had when it ended at the cursor. A log that
// does not have the cursor is an error that wraps ErrDiverged, one whose event
// is missing a *Fault. Find reads the head and at most one event.
func (c Cursor) Find(ctx context.Context, log Reader) (Head, error) {
	end, err := log.Head(ctx)
	if err != nil {
		return Head{}, err
	}
	at := end
	switch {
	case c.Log != "" && c.Log != end.Log:
		return Head{}, diverged("it is log %s, the cursor is of log %s", end.Log, c.Log)
	case c.Sequence > end.Sequence:
		return Head{}, diverged("it ends with event %d, before the cursor's event %d", end.Sequence, c.Sequence)
	case c.Sequence == 0:
		at = Origin(end.Log)
	case c.Sequence < end.Sequence:
		page, err := log.Read(ctx, c.Sequence-1, 1)
		if err != nil {
			return Head{}, err
		}
		if len(page) == 0 || page[0].Sequence != c.Sequence {
			return Head{}, &Fault{Sequence: c.Sequence, Problem: "missing"}
		}
		at = Head{Log: end.Log, Sequence: c.Sequence, Time: page[0].Time, Chain: page[0].Chain}
	}
	if c.Log != "" && c.Chain != at.Chain {
		return Head{}, diverged("its event %d is another one than the cursor's", c.Sequence)
	}
	return at, nil
}

// diverged is an ErrDiverged that says what to do.
func diverged(format string, args ...any) error {
	return fmt.Errorf("%w: %s; it was restored from a backup, or is another log: who follows it must start anew, without a cursor",
		ErrDiverged, fmt.Sprintf(format, args...))
}
