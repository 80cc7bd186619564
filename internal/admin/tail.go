package admin

import (
	"context"
	"slices"
	"sync"

	"artifactstore/eventlog"
)

// tailBytes is how many bytes of text a tail keeps.
const tailBytes = 256 << 10

// entry is an event as it is sent. Its text is shared and never changed.
type entry struct {
	before eventlog.Hash // the running hash before the event
	at     eventlog.Head // the log up to and including it
	kind   eventlog.Kind
	text   []byte // in JSON
}

// tail is the end of a log for all who follow it: however many they are, each
// event is read and put into JSON once. It only moves forward, and holds no long
// events. It is safe for concurrent use.
type tail struct {
	log eventlog.Reader

	mu      sync.Mutex // held while the log is read
	entries []entry    // each goes on from the one before
	bytes   int        // of their texts
}

// after returns some of the events behind a place, and the sequence of the last
// one that the tail has. It returns nil if they are not the tail's to give: the
// caller reads the log itself. A log that does not go on from the place is an error.
func (t *tail) after(ctx context.Context, at eventlog.Head) (entries []entry, last eventlog.Sequence, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.entries)
	if n == 0 || at.Sequence >= t.entries[n-1].at.Sequence {
		if n > 0 && at != t.entries[n-1].at {
			t.entries, t.bytes = nil, 0 // nobody has followed for a while, or the log was replaced
		}
		if err := t.read(ctx, at); err != nil {
			return nil, 0, err
		}
	}
	if len(t.entries) == 0 || at.Sequence+1 < t.entries[0].at.Sequence {
		return nil, 0, nil
	}
	last = t.entries[len(t.entries)-1].at.Sequence
	if at.Sequence >= last { // the next event is a long one
		return nil, 0, nil
	}
	entries = t.entries[at.Sequence+1-t.entries[0].at.Sequence:]
	if entries[0].before != at.Chain { // one of the two is of a log that was replaced
		return nil, 0, nil
	}
	return slices.Clone(entries[:fitText(entries)]), last, nil
}

// read adds a page to the tail, up to an event that does not go on from the one
// before; if that is the first, it is the error.
func (t *tail) read(ctx context.Context, at eventlog.Head) error {
	page, err := t.log.Read(ctx, at.Sequence, eventPage)
	if err != nil {
		return err
	}
	for i := range page[:fit(page, eventBytes)] {
		if len(page[i].Payload) > freeAnswer {
			break
		}
		next, err := at.Follows(&page[i])
		if err != nil && i > 0 {
			break
		}
		if err != nil {
			return err
		}
		text, err := page[i].JSON()
		if err != nil {
			return err
		}
		t.entries = append(t.entries, entry{at.Chain, next, page[i].Kind, text})
		t.bytes += len(text)
		at = next
	}
	drop := 0
	for ; t.bytes > tailBytes; drop++ {
		t.bytes -= len(t.entries[drop].text)
	}
	t.entries = slices.Delete(t.entries, 0, drop)
	return nil
}

// fitText is how many entries amount to what a feed keeps: at least one.
func fitText(entries []entry) int {
	bytes := 0
	for i := range entries {
		if bytes += len(entries[i].text); bytes > eventBytes || i == eventPage {
			return max(1, i)
		}
	}
	return len(entries)
}
