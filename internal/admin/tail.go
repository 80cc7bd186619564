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
	sequence eventlog.Sequence
	kind     eventlog.Kind
	text     []byte // in JSON
}

// tail is the end of a log for all who follow it: however many they are, each
// event is read and put into JSON once. It only moves forward, and holds no long
// events. It is safe for concurrent use.
type tail struct {
	log eventlog.Reader

	mu      sync.Mutex // held while the log is read
	entries []entry    // consecutive
	bytes   int        // of their texts
}

// after returns some of the events behind a sequence, and the last one that the
// tail has. It returns nil if they are not the tail's to give: the caller reads
// the log itself.
func (t *tail) after(ctx context.Context, sequence eventlog.Sequence) (entries []entry, last eventlog.Sequence, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.entries)
	if n == 0 || sequence >= t.entries[n-1].sequence {
		if n > 0 && sequence > t.entries[n-1].sequence {
			t.entries, t.bytes = nil, 0 // nobody has followed for a while
		}
		if err := t.read(ctx, sequence); err != nil {
			return nil, 0, err
		}
	}
	if len(t.entries) == 0 || sequence+1 < t.entries[0].sequence {
		return nil, 0, nil
	}
	last = t.entries[len(t.entries)-1].sequence
	if sequence >= last { // the next event is a long one
		return nil, 0, nil
	}
	entries = t.entries[sequence+1-t.entries[0].sequence:]
	return slices.Clone(entries[:fitText(entries)]), last, nil
}

// read adds a page to the tail.
func (t *tail) read(ctx context.Context, sequence eventlog.Sequence) error {
	page, err := t.log.Read(ctx, sequence, eventPage)
	if err != nil {
		return err
	}
	for i := range page[:fit(page, eventBytes)] {
		if len(page[i].Payload) > freeAnswer {
			break
		}
		text, err := page[i].JSON()
		if err != nil {
			return err
		}
		t.entries = append(t.entries, entry{page[i].Sequence, page[i].Kind, text})
		t.bytes += len(text)
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
