package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// SweepOptions say how a sweep goes. The zero value is a sweep at full speed.
type SweepOptions struct {
	// DryRun changes nothing: the report says what a sweep would do now.
	DryRun bool
	// Pace bounds how many rows are visited, and objects deleted, a second: its
	// objects. A sweep with a pace also leaves the ledger to others for most of
	// the time. nil is no bound.
	Pace *budget.Pace
	// Batch is how many rows one step visits at most, and about how many
	// events it commits; default 100.
	Batch int
	// Progress is told of each step, if it is not nil.
	Progress func(SweepProgress)
}

// SweepPhase is one of the passes that a sweep consists of.
type SweepPhase string

// The phases, in order.
const (
	SweepLinks        SweepPhase = "links"                // what no manifest of a repository uses
	SweepBlobs        SweepPhase = "blobs"                // what no repository holds
	SweepManifests    SweepPhase = "deleted manifests"    // whose grace has passed
	SweepRepositories SweepPhase = "deleted repositories" // whose grace has passed
	SweepObjects      SweepPhase = "objects"              // of what was forgotten
)

// SweepCount is how many there were, and how large they were together.
type SweepCount struct{ Number, Bytes int64 }

// SweepCounts say what a phase has done, or, in a dry run, would do.
type SweepCounts struct {
	// Visited is how many rows were looked at.
	Visited int64
	// Condemned are blobs that go unless they are used or pushed again, Revived
	// those that are kept after all, Released those that a repository lost.
	Condemned, Revived, Released SweepCount
	// Forgotten are byte sequences that are gone for ever, pushed bytes and
	// native forms of manifests included; Erased objects that were deleted.
	Forgotten, Erased SweepCount
	// Manifests and Repositories are those that cannot be put back any more.
	Manifests, Repositories int64
	// Held is what would have gone if no hold froze it.
	Held int64
	// Failed is how many objects could not be deleted; they are tried again.
	Failed int64
}

// SweepProgress tells of a phase that is under way.
type SweepProgress struct {
	Phase SweepPhase
	SweepCounts
}

// SweepReport says what a sweep has done, or would do.
type SweepReport struct {
	DryRun bool
	// Phases are those that were begun, in order.
	Phases []SweepProgress
	// Rough: a dry run has met so much that several things keep and of which
	// each would go that it has lost count: more would be forgotten.
	Rough bool
}

// Total sums up the phases.
func (r *SweepReport) Total() (t SweepCounts) {
	for i := range r.Phases {
		t.add(&r.Phases[i].SweepCounts)
	}
	return t
}

// The defaults of a sweep.
const (
	defaultBatch      = 100
	defaultSweepAfter = time.Hour
	defaultSweepGrace = 24 * time.Hour
	defaultEraseDelay = 24 * time.Hour
)

// Sweep takes away what nothing keeps: it condemns what is unused, forgets what
// has been condemned or deleted for its grace, and deletes the objects of what
// was forgotten long enough ago. It can be stopped at any point and run again,
// and goes on where it stopped; several nodes may run it at once. Pushes and
// pulls go on meanwhile and wait for no more than one step.
//
// The report is of what was done, also if there is an error. Objects that could
// not be deleted are counted and no error, unless the store cannot be reached.
func (r *Registry) Sweep(ctx context.Context, o SweepOptions) (SweepReport, error) {
	if o.Batch <= 0 {
		o.Batch = defaultBatch
	}
	s := &sweep{Registry: r, o: o, report: SweepReport{DryRun: o.DryRun}, given: map[eventlog.Sequence]int{}}
	for _, phase := range []struct {
		name SweepPhase
		run  func(context.Context) error
	}{
		{SweepLinks, s.links}, {SweepBlobs, s.blobs}, {SweepManifests, s.graves},
		{SweepRepositories, s.repositories}, {SweepObjects, s.objects},
	} {
		s.report.Phases = append(s.report.Phases, SweepProgress{Phase: phase.name})
		s.now = &s.report.Phases[len(s.report.Phases)-1]
		s.reach = o.Batch
		if err := phase.run(ctx); err != nil {
			return s.report, fmt.Errorf("sweep %s: %w", phase.name, err)
		}
	}
	return s.report, nil
}

// sweep is one run.
//
// A step reads a page of rows, decides, and, if there is something to do, decides
// again in an Update, which commits the events together with how far the phase
// has come. So a crash between any two points leaves a state of which every part
// was right when it was committed, and two sweeps at once do nothing twice.
type sweep struct {
	*Registry
	o      SweepOptions
	report SweepReport
	now    *SweepProgress // the phase under way
	// recorded: the ledger has a record of how far the phase has come; idle is
	// how many steps have been done since it was written.
	recorded bool
	idle     int
	// reach is how many rows the next step reads.
	reach int
	// given is, in a dry run, what the steps before would have taken away of
	// what keeps byte sequences that something else keeps as well.
	given map[eventlog.Sequence]int
}

// turn is what a step comes to: how far it got, and what it counted.
type turn[P any] struct {
	place P
	more  bool // there may be more behind place
	keys  Keys // of the rows that change
	SweepCounts
}

// page looks at no more than limit rows after a place, in the order of the place,
// and adds the events of those that it decides on. It stops early when the change
// is full.
type page[P any] func(v View, c *Change, after P, limit int) (turn[P], error)

// walk runs a phase from where it was left to the end.
func walk[P any](ctx context.Context, s *sweep, look page[P]) error {
	name := "sweep " + string(s.now.Phase)
	var place P
	if err := s.resume(ctx, name, &place); err != nil {
		return err
	}
	for more := true; more; {
		var err error
		if place, more, err = step(ctx, s, name, place, look); err != nil {
			return err
		}
	}
	if !s.recorded {
		return nil
	}
	return s.record(ctx, name, nil)
}

// resume reads where a phase was left.
func (s *sweep) resume(ctx context.Context, name string, place any) error {
	s.recorded, s.idle = false, 0
	if s.o.DryRun {
		return nil
	}
	var state []byte
	err := s.ledger.Read(ctx, func(v View) (err error) {
		state, err = v.Pass(name)
		return err
	})
	if err != nil || state == nil {
		return err
	}
	s.recorded = true
	if err := json.Unmarshal(state, place); err != nil {
		s.opts.Log.Warn("it is not clear how far a sweep has come; it starts anew", "phase", s.now.Phase, "error", err)
	}
	return nil
}

// record remembers how far a phase has come; nil forgets it.
func (s *sweep) record(ctx context.Context, name string, state []byte) error {
	s.recorded, s.idle = state != nil, 0
	return s.ledger.Update(ctx, System, Keys{}, func(View) (*Change, error) {
		return &Change{Working: Working{Passes: map[string][]byte{name: state}}}, nil
	})
}

// idleSteps is after how many steps without events it is recorded how far a
// phase has come.
const idleSteps = 50

// step does one step of a phase. name is that of its record; without one, how far
// it has come is not recorded.
func step[P any](ctx context.Context, s *sweep, name string, after P, look page[P]) (P, bool, error) {
	t, c, err := peek(ctx, s, after, look)
	began := time.Now()
	changed := err == nil && len(c.Entries) > 0 && !s.o.DryRun
	if changed {
		t, c, err = commitStep(ctx, s, name, after, int(t.Visited), t.keys, look)
	}
	if err != nil {
		return after, false, err
	}
	took := time.Since(began)
	s.count(&t.SweepCounts, c)
	s.idle++
	if name != "" && s.idle >= idleSteps && !s.o.DryRun {
		state, err := json.Marshal(t.place)
		if err == nil {
			err = s.record(ctx, name, state)
		}
		if err != nil {
			return after, false, err
		}
	}
	if changed {
		if err := s.yield(ctx, took); err != nil {
			return after, false, err
		}
	}
	s.stretch(t.more, t.Visited)
	if err := s.o.Pace.Objects(ctx, t.Visited); err != nil {
		return after, false, err
	}
	return t.place, t.more, ctx.Err()
}

// yielding is how many times as long as a change took a sweep with a pace leaves
// the ledger to others.
const yielding = 3

// yield lets others go first after a change. A change that took long because there
// were many others, or because the disk is slow, is followed by a longer pause.
func (s *sweep) yield(ctx context.Context, took time.Duration) error {
	if !s.o.Pace.Bounded() {
		return nil
	}
	timer := time.NewTimer(yielding * took)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stretch says how many rows the next step reads: about twice as many as were
// visited, since those that a full change leaves are read in vain.
func (s *sweep) stretch(more bool, visited int64) {
	s.reach = s.o.Batch
	if more {
		s.reach = min(s.o.Batch, max(2*int(visited), minReach))
	}
}

// minReach is how many rows a step reads at least, unless the batch is smaller.
const minReach = 8

// peek decides without committing anything: in a dry run as a sweep would, else
// only which rows are worth it.
func peek[P any](ctx context.Context, s *sweep, after P, look page[P]) (t turn[P], c *Change, err error) {
	err = s.ledger.Read(ctx, func(v View) (err error) {
		c = &Change{givenBefore: s.given, probe: !s.o.DryRun}
		t, err = look(v, c, after, s.reach)
		return err
	})
	if err == nil && s.o.DryRun {
		s.remember(c)
	}
	return t, c, err
}

// commitStep decides again about the rows that were read, and commits.
func commitStep[P any](ctx context.Context, s *sweep, name string, after P, limit int, keys Keys, look page[P]) (t turn[P], c *Change, err error) {
	err = s.ledger.Update(ctx, System, keys, func(v View) (_ *Change, err error) {
		c = new(Change)
		if t, err = look(v, c, after, limit); err != nil || name == "" {
			return c, err
		}
		state, err := json.Marshal(t.place)
		c.Working.Passes = map[string][]byte{name: state}
		return c, err
	})
	if err == nil && name != "" {
		s.recorded, s.idle = true, 0
	}
	return t, c, err
}

// maxGiven bounds what a dry run remembers.
const maxGiven = 100_000

// remember keeps what a step of a dry run would have taken away of what
// something else keeps.
func (s *sweep) remember(c *Change) {
	for b, n := range c.given {
		s.given[b] += n
	}
	for _, b := range c.forgotten {
		delete(s.given, b)
	}
	if len(s.given) > maxGiven {
		s.report.Rough = true
		clear(s.given)
	}
}

// count adds a step to the report and tells of it.
func (s *sweep) count(t *SweepCounts, c *Change) {
	for _, e := range c.Entries {
		switch f := e.Fact.(type) {
		case *fact.BlobForgotten:
			t.Forgotten.add(f.Size)
		case *fact.ManifestForgotten:
			t.Manifests++
		case *fact.RepositoryForgotten:
			t.Repositories++
		}
	}
	s.now.add(t)
	if s.o.Progress != nil {
		s.o.Progress(*s.now)
	}
}

func (n *SweepCount) add(size int64) {
	n.Number++
	n.Bytes += size
}

func (n *SweepCounts) add(o *SweepCounts) {
	n.Visited += o.Visited
	for to, from := range map[*SweepCount]SweepCount{
		&n.Condemned: o.Condemned, &n.Revived: o.Revived, &n.Released: o.Released,
		&n.Forgotten: o.Forgotten, &n.Erased: o.Erased,
	} {
		to.Number += from.Number
		to.Bytes += from.Bytes
	}
	n.Manifests += o.Manifests
	n.Repositories += o.Repositories
	n.Held += o.Held
	n.Failed += o.Failed
}

// The limits of one change, besides the batch: a decision should take no longer
// than a push waits gladly.
const (
	maxAsked = 8     // rows that need statements of their own
	maxPairs = 1_000 // keys, which are looked up in every repository that is named
	maxRefs  = 5_000 // references of manifests, unless one has more
)

// full tells whether a change that has something should take no more.
func (s *sweep) full(c *Change, keys *Keys, asked, references int) bool {
	n := len(c.Entries)
	pairs := len(keys.Repositories) * (len(keys.Digests) + len(keys.Manifests))
	return n > 0 && (n+3 > s.o.Batch || asked >= maxAsked || references > maxRefs || pairs > maxPairs)
}

// want names what apply asks of a row that changes.
func (k *Keys) want(repository string, digests ...identity.Digest) {
	if n := len(k.Repositories); repository != "" && (n == 0 || k.Repositories[n-1] != repository) {
		k.Repositories = append(k.Repositories, repository)
	}
	k.Digests = append(k.Digests, digests...)
}
