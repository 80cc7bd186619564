package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
)

// ScrubOptions say how a scrub goes about it.
type ScrubOptions struct {
	// Pace bounds how fast bytes are read, where a byte sequence counts for 16 KiB
	// at least; nil means as fast as it can.
	Pace *budget.Pace
	// Interval is how long after its beginning a pass that has ended is begun
	// anew, and after the first content came the first one. 0 begins one now.
	Interval time.Duration
	// Progress, if it is not nil, is told when a pass begins or goes on, after
	// every byte sequence and after every batch.
	Progress func(ScrubReport)
}

// ScrubReport is how far a pass has come, and what it has found since it began.
type ScrubReport struct {
	Began time.Time
	// Ended is when all had been read; zero: it goes on.
	Ended time.Time
	// Verified byte sequences are what they should be; Bytes is their size.
	Verified int64
	Bytes    int64
	// Damaged were found missing or wrong by this pass and put under
	// quarantine. Healed were under quarantine and are right again.
	Damaged, Healed int64
	// Unread could not be read this time, and stay as they were.
	Unread int64
	// Descriptors of referrers were compared with their manifests; Mended of
	// them were wrong or missing, and were made anew.
	Descriptors, Mended int64
}

const (
	// scrubPage is how many byte sequences are looked up at a time.
	scrubPage = 100
	// scrubBatch is how many one event says were verified, and scrubBytes how
	// many bytes are read at most before that is said.
	scrubBatch = 100
	scrubBytes = 1 << 30
	// scrubLeast is what one costs at least, in bytes that are read: to look a
	// small one up takes longer than to read it.
	scrubLeast = 16 << 10
)

// scrubPass is the name of the pass, and the state that is kept of it.
const scrubPass = "scrub"

// The stages of the pass.
const (
	stageBlobs       = "blobs"
	stageDescriptors = "descriptors"
	stageDeleted     = "deleted" // the descriptors of deleted manifests
	stageDone        = ""
)

type scrubState struct {
	Stage string            `json:"stage"`
	After eventlog.Sequence `json:"after"`
	// Away is what could not be reached when the pass stopped there.
	Away   eventlog.Sequence `json:"away,omitempty"`
	Report ScrubReport       `json:"report"`
}

// Scrub reads all that is stored, at a pace, and compares it with its digests.
// What is missing or wrong is not served any more, until the same content is
// pushed again. A pass goes on where the last call stopped, whatever ended that.
// One that began less than an interval ago and has ended is reported as it is.
//
// What is missing from a store in which nothing of this registry was found is
// left as it is: the store may not be mounted. While a store cannot be reached
// the pass stops with an error.
func (r *Registry) Scrub(ctx context.Context, o ScrubOptions) (ScrubReport, error) {
	if !r.scrubbing.TryLock() {
		return ScrubReport{}, Errorf(Unavailable, "a scrub goes on already; it reads everything")
	}
	defer r.scrubbing.Unlock()
	s := &scrubber{r: r, o: o, seen: map[string][]*Blob{}, inhabited: inhabited{}}
	if err := s.begin(ctx); err != nil {
		return s.Report, fmt.Errorf("begin a scrub: %w", err)
	}
	if s.Stage != stageDone {
		s.tell()
	}
	for s.Stage != stageDone {
		err := s.step(ctx)
		if err != nil {
			// What was read need not be read again.
			ctx, cancel := detached(ctx)
			defer cancel()
			return s.Report, errors.Join(err, s.save(ctx))
		}
		s.tell()
	}
	return s.Report, nil
}

func (s *scrubber) tell() {
	if s.o.Progress != nil {
		s.o.Progress(s.Report)
	}
}

// Scrubbed is how far the current pass, or the last one, has come; a zero Began
// means that there was none.
func (r *Registry) Scrubbed(ctx context.Context) (ScrubReport, error) {
	s := &scrubber{r: r}
	err := r.ledger.Read(ctx, s.read)
	return s.Report, err
}

// scrubber is one run of a scrub.
type scrubber struct {
	r *Registry
	o ScrubOptions
	scrubState
	// seen are those that were found intact since the state was saved, by store.
	seen  map[string][]*Blob
	count int
	bytes int64
	inhabited
}

func (s *scrubber) read(v View) error {
	text, err := v.Pass(scrubPass)
	if err != nil || text == nil {
		return err
	}
	return json.Unmarshal(text, &s.scrubState)
}

// begin goes on with a pass, or begins one if it is time.
func (s *scrubber) begin(ctx context.Context) error {
	return s.r.ledger.Read(ctx, func(v View) error {
		if err := s.read(v); err != nil {
			return err
		}
		if s.Stage != stageDone {
			return nil
		}
		last, err := s.last(v)
		if err != nil {
			return err
		}
		if v.Now().Sub(last) >= s.o.Interval {
			s.scrubState = scrubState{Stage: stageBlobs, Report: ScrubReport{Began: v.Now()}}
		}
		return nil
	})
}

// last is when the last pass began, or when there was first something to read.
func (s *scrubber) last(v View) (time.Time, error) {
	if !s.Report.Began.IsZero() {
		return s.Report.Began, nil
	}
	first, err := v.BlobItems(0, 1)
	if err != nil || len(first) == 0 {
		return v.Now(), err
	}
	return first[0].Stored, nil
}

// step looks at one page, and saves what came of it if that has become much.
func (s *scrubber) step(ctx context.Context) error {
	if s.Stage == stageBlobs {
		return s.blobs(ctx)
	}
	return s.descriptors(ctx)
}

func (s *scrubber) blobs(ctx context.Context) error {
	var page []BlobItem
	err := s.r.ledger.Read(ctx, func(v View) (err error) {
		page, err = v.BlobItems(s.After, scrubPage)
		return err
	})
	if err != nil {
		return fmt.Errorf("list stored content: %w", err)
	}
	for i := range page {
		if err := s.blob(ctx, &page[i].Blob); err != nil {
			return err
		}
		s.After = page[i].Sequence
		s.tell()
		if s.count >= scrubBatch || s.bytes >= scrubBytes {
			if err := s.save(ctx); err != nil {
				return err
			}
		}
	}
	if len(page) == scrubPage {
		return nil
	}
	return s.turn(ctx, stageDescriptors)
}

// turn saves the state at the beginning of a stage.
func (s *scrubber) turn(ctx context.Context, stage string) error {
	s.Stage, s.After, s.Away = stage, 0, 0
	return s.save(ctx)
}

// blob looks at one byte sequence.
func (s *scrubber) blob(ctx context.Context, b *Blob) error {
	store := b.Receipt.Store
	found, cause, err := s.r.examine(ctx, b, true, s.o.Pace)
	if err == nil {
		err = s.o.Pace.Bytes(ctx, scrubLeast-b.Size)
	}
	if err != nil {
		return err
	}
	if errors.Is(cause, fact.ErrUnavailable) && s.Away != b.Sequence {
		s.Away = b.Sequence
		return fmt.Errorf("store %q cannot be reached; the scrub goes on later: %w", store, cause)
	}
	if found == missing && !b.Damaged {
		there, err := s.has(ctx, s.r, store)
		if err != nil {
			return err
		}
		if !there {
			found, cause = unread, errUninhabited
		}
	}
	switch {
	case found == unread:
		s.Report.Unread++
		s.r.opts.Log.Error("stored bytes could not be read; they are tried again in the next pass",
			"blob", b.Digests.Primary().String(), "store", store, "locator", b.Receipt.Locator, "error", cause)
	case found == intact:
		s.seen[store] = append(s.seen[store], b)
		s.count++
		s.bytes += b.Size
		s.Report.Verified++
		s.Report.Bytes += b.Size
	case !b.Damaged:
		done, err := s.r.condemn(ctx, b, true, s.o.Pace)
		if done {
			s.Report.Damaged++
		}
		return err
	}
	return nil
}

// save says which were found intact and how far the pass has come, all at once.
func (s *scrubber) save(ctx context.Context) error {
	var keys Keys
	for _, blobs := range s.seen {
		for _, b := range blobs {
			keys.Digests = append(keys.Digests, b.Digests.Primary())
		}
	}
	var next scrubState
	err := s.r.ledger.Update(ctx, System, keys, func(v View) (*Change, error) {
		c := new(Change)
		next = s.scrubState
		for store, blobs := range s.seen {
			healed, err := confirmed(v, c, store, blobs)
			if err != nil {
				return nil, err
			}
			next.Report.Healed += healed
		}
		if next.Stage == stageDone {
			next.Report.Ended = v.Now()
		}
		text, err := json.Marshal(next)
		if err != nil {
			return nil, err
		}
		c.Working.Passes = map[string][]byte{scrubPass: text}
		return c, nil
	})
	if err != nil {
		return fmt.Errorf("save the scrub: %w", err)
	}
	s.scrubState = next
	clear(s.seen)
	s.count, s.bytes = 0, 0
	return nil
}

// descriptors looks at a page of referrers.
func (s *scrubber) descriptors(ctx context.Context) error {
	page, next, err := s.r.descriptorPage(ctx, s.Stage == stageDeleted, s.After)
	if err != nil {
		return err
	}
	for i := range page {
		if err := s.descriptor(ctx, &page[i]); err != nil {
			return err
		}
		s.After = page[i].Sequence
	}
	switch {
	case next != 0:
		s.After = next
		return s.save(ctx)
	case s.Stage == stageDescriptors:
		return s.turn(ctx, stageDeleted)
	}
	return s.turn(ctx, stageDone)
}

func (s *scrubber) descriptor(ctx context.Context, item *DescriptorItem) error {
	c, err := s.r.compareDescriptor(ctx, item, s.o.Pace)
	if err != nil {
		return err
	}
	s.Report.Descriptors++
	if c.problem == "" {
		return nil
	}
	if c.want == nil {
		s.Report.Unread++
		s.r.opts.Log.Error("the descriptor of a referrer is wrong, and its manifest is not there to make it anew",
			"repository", item.Repository, "manifest", item.Digest.String(), "problem", c.problem)
		return nil
	}
	done, err := s.r.mend(ctx, item, c.want)
	if done {
		s.Report.Mended++
	}
	return err
}

// descriptorPage lists manifests that have a subject.
func (r *Registry) descriptorPage(ctx context.Context, deleted bool, after eventlog.Sequence) (page []DescriptorItem, next eventlog.Sequence, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		page, next, err = v.Descriptors(deleted, after, scrubPage)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("list referrers: %w", err)
	}
	return page, next, nil
}
