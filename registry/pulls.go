package registry

import (
	"cmp"
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// The limits of what is remembered of pulls.
const (
	maxPulls    = 20_000 // that are not recorded yet
	maxRecorded = 64_000 // that were recorded on the day; each is a number
	pullShards  = 16     // of which each has a lock
)

// The limits of one commit of pulls. An Update reads each of its manifests in each of
// its repositories, so their product is bounded too.
const (
	pullBatch    = 1000
	pullProduct  = 4096
	pullsOfEvent = 100
)

// pulls remembers which manifests were asked for, until they are recorded. Nothing
// is written while a client waits. What there is no room for is dropped: until the
// next flush that makes room.
type pulls struct {
	flushing sync.Mutex // one flush at a time
	waiting  atomic.Int64
	dropped  atomic.Int64
	shards   [pullShards]pullShard
}

// pull is a manifest that was asked for.
type pull struct {
	repository string
	manifest   identity.Digest   // primary digest
	put        eventlog.Sequence // of the event that put it: one that is put anew is another one
}

type pullShard struct {
	mu      sync.Mutex
	waiting map[pull]int64 // the day, in microseconds
	// recorded are the hashes of those that need not be recorded on a day any
	// more. Of two with one hash the second is taken for recorded: with 64
	// bits that does not happen, and would cost a day.
	day      int64
	recorded map[uint64]struct{}
}

var pullSeed = maphash.MakeSeed()

func (p pull) hash() uint64 { return maphash.Comparable(pullSeed, p) }

// dayOf is the start of a day in UTC, in microseconds.
func dayOf(t time.Time) int64 {
	const day = int64(24 * time.Hour / time.Microsecond)
	at := t.UnixMicro()
	return at - ((at%day)+day)%day
}

// note remembers that a client has asked for a manifest at a time.
func (p *pulls) note(at time.Time, repository string, m *Manifest) {
	p.add(dayPull{pull{repository, m.Blob.Digests.Primary(), m.Sequence}, dayOf(at)})
}

func (p *pulls) add(d dayPull) {
	what, day, h := d.pull, d.day, d.hash()
	s := &p.shards[h%pullShards]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.day < day {
		s.day = day
		clear(s.recorded)
	}
	if _, ok := s.recorded[h]; ok {
		return
	}
	if before, ok := s.waiting[what]; ok {
		s.waiting[what] = max(day, before)
		return
	}
	if !p.room() {
		p.dropped.Add(1)
		return
	}
	if s.waiting == nil {
		s.waiting = map[pull]int64{}
	}
	what.repository = strings.Clone(what.repository) // it may be a part of a long request
	s.waiting[what] = day
}

// room takes room for one more.
func (p *pulls) room() bool {
	if p.waiting.Add(1) <= maxPulls {
		return true
	}
	p.waiting.Add(-1)
	return false
}

// dayPull is a pull and its day.
type dayPull struct {
	pull
	day int64
}

// take returns what waits, in an order that is always the same, and forgets it.
func (p *pulls) take() (all []dayPull) {
	for i := range p.shards {
		s := &p.shards[i]
		s.mu.Lock()
		for what, day := range s.waiting {
			all = append(all, dayPull{what, day})
		}
		s.waiting = nil
		s.mu.Unlock()
	}
	p.waiting.Add(-int64(len(all)))
	slices.SortFunc(all, func(a, b dayPull) int {
		return cmp.Or(cmp.Compare(a.day, b.day), cmp.Compare(a.repository, b.repository), cmp.Compare(a.manifest.String(), b.manifest.String()))
	})
	return all
}

// settle remembers that pulls need not be recorded any more.
func (p *pulls) settle(all []dayPull) {
	for _, d := range all {
		h := d.hash()
		s := &p.shards[h%pullShards]
		s.mu.Lock()
		if s.day == d.day && len(s.recorded) < maxRecorded/pullShards {
			if s.recorded == nil {
				s.recorded = map[uint64]struct{}{}
			}
			s.recorded[h] = struct{}{}
		}
		s.mu.Unlock()
	}
}

// putBack makes pulls wait again that could not be recorded.
func (p *pulls) putBack(all []dayPull) {
	for _, d := range all {
		p.add(d)
	}
}

// FlushPulls records which manifests were pulled since the last call: at most one
// event for a manifest and day. It is to be called every minute and once more when
// the last request was answered. What could not be recorded is kept for the next call.
func (r *Registry) FlushPulls(ctx context.Context) error {
	p := &r.pulls
	p.flushing.Lock()
	defer p.flushing.Unlock()
	all := p.take()
	if n := p.dropped.Swap(0); n > 0 {
		r.opts.Log.Warn("there was no room to remember some pulls; they are not recorded", "pulls", n)
	}
	for len(all) > 0 {
		var some []dayPull
		some, all = cutPulls(all)
		if err := r.recordPulls(ctx, some); err != nil {
			p.putBack(some)
			p.putBack(all)
			return fmt.Errorf("record pulls: %w", err)
		}
		p.settle(some)
	}
	return nil
}

// cutPulls cuts what fits into one commit off sorted pulls.
func cutPulls(all []dayPull) (some, rest []dayPull) {
	repositories := 0
	for i := range all {
		if i == 0 || all[i].repository != all[i-1].repository {
			repositories++
		}
		if i == pullBatch || i > 0 && repositories*(i+1) > pullProduct {
			return all[:i], all[i:]
		}
	}
	return all, nil
}

// recordPulls commits those of pulls that are of manifests which are there, and that
// nobody has recorded.
func (r *Registry) recordPulls(ctx context.Context, all []dayPull) error {
	var left []dayPull
	err := r.ledger.Read(ctx, func(v View) (err error) {
		left, err = unrecorded(v, all)
		return err
	})
	if err != nil || len(left) == 0 {
		return err
	}
	var keys Keys
	for _, d := range left {
		keys.Repositories = append(keys.Repositories, d.repository)
		keys.Manifests = append(keys.Manifests, d.manifest)
	}
	keys.Repositories = slices.Compact(keys.Repositories)
	return r.ledger.Update(ctx, System, keys, func(v View) (*Change, error) {
		c := new(Change)
		var last *fact.ManifestPulled
		for _, d := range left {
			m, _, err := v.Manifest(d.repository, d.manifest)
			if err != nil {
				return nil, fmt.Errorf("look up manifest: %w", err)
			}
			if m == nil || m.Sequence != d.put || !m.Pulled.IsZero() && m.Pulled.UnixMicro() >= d.day {
				continue
			}
			if last == nil || last.Repository != d.repository || last.Day != d.day || len(last.Manifests) == pullsOfEvent {
				last = &fact.ManifestPulled{Repository: d.repository, Day: d.day}
				c.Add(last)
			}
			last.Manifests = append(last.Manifests, d.manifest)
		}
		if len(c.Entries) == 0 {
			return nil, nil
		}
		return c, nil
	})
}

// unrecorded are those of pulls that a look at the tables does not rule out.
func unrecorded(v View, all []dayPull) (left []dayPull, err error) {
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(d dayPull) bool { return d.repository != all[0].repository })
		if n < 0 {
			n = len(all)
		}
		digests := make([]identity.Digest, n)
		for i := range n {
			digests[i] = all[i].manifest
		}
		known, err := v.Pulled(all[0].repository, digests)
		if err != nil {
			return nil, fmt.Errorf("look up pulls: %w", err)
		}
		for _, d := range all[:n] {
			if day, there := known[d.manifest]; there && (day.IsZero() || day.UnixMicro() < d.day) {
				left = append(left, d)
			}
		}
		all = all[n:]
	}
	return left, nil
}
