package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// judge decides about the manifests of one repository, with the places that its
// tags have. It is right as long as valid says so: a tag that goes lets others
// move up, which the judge does not know. A tag that comes or moves does no harm:
// the tags that had a place before keep it here.
type judge struct {
	repository string
	id         int64
	ranking    *retention.Ranking
	grace      time.Duration
	policies   [2]eventlog.Sequence
	// lost is how many tags the repository must have lost: those before the
	// ranking, and those that went with what was decided by it. None of these
	// had a place, or it would have kept its manifest.
	lost int64
}

var (
	// errRank: the repository must be ranked again.
	errRank = errors.New("the repository changed since its tags were ranked")
	// errNoRepository: there is no such repository any more.
	errNoRepository = errors.New("the repository is gone")
	// errInDoubt: the clock went ahead, and nobody has confirmed it.
	errInDoubt = errors.New("the clock is in doubt")
)

// rankTries is how often a repository is ranked anew before it is given up.
const rankTries = 10

// tagPage is how many tags are ranked in one read.
const tagPage = 1000

// judge ranks the tags of a repository; errNoRepository.
func (r *Registry) judge(ctx context.Context, repository string) (*judge, error) {
	for range rankTries {
		j, err := r.rank(ctx, repository)
		if !errors.Is(err, errRank) {
			return j, err
		}
	}
	return nil, tooFast(repository)
}

// tooFast is the refusal of what cannot be done beside so many changes.
func tooFast(repository string) error {
	e := Errorf(Unavailable, "repository %s changes faster than its tags can be looked at; try again", repository)
	e.Err = errRank
	return e
}

func (r *Registry) rank(ctx context.Context, repository string) (j *judge, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		j, err = r.newJudge(v, repository)
		return err
	})
	if err != nil || !j.ranking.NeedsTags() {
		return j, err
	}
	for after, more := "", true; more; {
		err := r.ledger.Read(ctx, func(v View) error {
			if err := j.valid(v); err != nil {
				return err
			}
			page, err := v.TagStates(repository, after, tagPage)
			if err != nil {
				return fmt.Errorf("read tags: %w", err)
			}
			for _, t := range page {
				j.ranking.Add(t.Name, t.Moved)
				after = t.Name
			}
			more = len(page) == tagPage
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return j, nil
}

func (r *Registry) newJudge(v View, repository string) (*judge, error) {
	state, err := v.RepositoryState(repository)
	if err != nil {
		return nil, fmt.Errorf("look up repository: %w", err)
	}
	if state == nil {
		return nil, errNoRepository
	}
	rules, err := r.book.rules(v)
	if err != nil {
		return nil, err
	}
	j := &judge{repository: repository, id: state.ID, lost: state.Lost, ranking: rules.Rank(repository), grace: rules.Grace()}
	j.policies, err = policyEvents(v)
	return j, err
}

// policyEvents are the events that set the policies in force, by source.
func policyEvents(v View) (of [2]eventlog.Sequence, err error) {
	all, err := v.Policies()
	if err != nil {
		return of, fmt.Errorf("read retention policies: %w", err)
	}
	for i, source := range sources {
		for _, p := range all {
			if p.Source == source {
				of[i] = p.Sequence
			}
		}
	}
	return of, nil
}

// valid returns errRank if what the judge knows is not so any more.
func (j *judge) valid(v View) error {
	state, err := v.RepositoryState(j.repository)
	if err != nil {
		return fmt.Errorf("look up repository: %w", err)
	}
	if state == nil {
		return errNoRepository
	}
	policies, err := policyEvents(v)
	if err != nil {
		return err
	}
	if state.ID != j.id || state.Lost != j.lost || policies != j.policies {
		return errRank
	}
	return nil
}

// believed returns the time by which things expire; errInDoubt if that stands still,
// and not only for as long as a clock that was set right needs to get there again.
func believed(v View) (time.Time, error) {
	now, err := v.Trusted()
	if err != nil {
		return now, fmt.Errorf("read the clock: %w", err)
	}
	jump, err := v.ClockJump()
	if err != nil {
		return now, fmt.Errorf("read the clock: %w", err)
	}
	if jump != nil || v.Now().Sub(now) > MaxClockJump {
		return now, errInDoubt
	}
	return now, nil
}

// untaggedAfter is when a manifest without tags ends at the earliest if a policy
// ends such; zero if none does.
func (j *judge) untaggedAfter() time.Duration {
	if p := j.ranking.Policy(); p != nil && p.ExpireUntagged != retention.Forever {
		return time.Duration(p.ExpireUntagged)
	}
	return 0
}

// may tells whether there could be something to do about a manifest; it saves
// looking at the tags and parents of all the others.
func (j *judge) may(m *Manifest, now time.Time) bool {
	if !m.Marked.IsZero() || !m.Expires.IsZero() && !now.Before(m.Expires) {
		return true
	}
	untagged := j.untaggedAfter()
	return untagged > 0 && !now.Before(m.Pushed.Add(untagged))
}

// verdict is what was decided about a manifest.
type verdict struct {
	item *ManifestItem
	retention.Decision
	action string // of a plan
}

// tagsOfItem is how many tags of a manifest are looked at first, mostTags how
// many at most. A manifest that has more is kept: no one can say which of them
// would keep it.
const (
	tagsOfItem = 100
	mostTags   = 10_000
)

// about decides about a manifest; nil if it is gone. The holds in force are those
// of the repository.
func (j *judge) about(v View, d identity.Digest, now time.Time, holds []Hold) (*verdict, error) {
	item, err := v.ManifestItem(j.repository, d, tagsOfItem+1)
	if err == nil && item != nil && len(item.Tags) > tagsOfItem {
		item, err = v.ManifestItem(j.repository, d, mostTags+1)
	}
	if err != nil {
		return nil, fmt.Errorf("look up manifest: %w", err)
	}
	if item == nil {
		return nil, nil
	}
	return j.decide(v, item, now, holds)
}

// decide decides about a manifest of which all tags have been read, as far as
// mostTags.
func (j *judge) decide(v View, item *ManifestItem, now time.Time, holds []Hold) (*verdict, error) {
	about, err := j.asked(v, item, holds)
	if err != nil {
		return nil, err
	}
	d := verdict{item: item, Decision: j.ranking.Decide(now, about)}
	if len(item.Tags) > mostTags && len(d.Held) == 0 {
		d.Decision = retention.Decision{Name: about.Name, State: retention.Current,
			Reason: fmt.Sprintf("kept: more than %d tags name it", mostTags)}
	}
	marked := !item.Marked.IsZero()
	switch {
	case d.State == retention.Eligible:
		d.action = PlanCollect
		err = d.wait(v, j)
	case d.State == retention.Expired && marked:
		d.action = PlanWait
	case d.State == retention.Expired:
		d.action = PlanMark
	case marked:
		d.action = PlanRenew
	default:
		d.action = PlanKeep
	}
	return &d, err
}

// asked is a manifest as package retention is asked about it.
func (j *judge) asked(v View, item *ManifestItem, holds []Hold) (retention.Item, error) {
	about := retention.Item{
		Name: item.Digest.String(), Class: retention.Class(item.Class), Given: item.Rule != "", Chosen: item.Chosen,
		Expires: item.Expires, Extended: item.Extended, Marked: item.Marked,
		Pushed: item.Pushed, Pulled: item.Pulled, Untagged: item.Untagged, SubjectLive: item.SubjectLives,
	}
	for _, t := range item.Tags {
		about.Tags = append(about.Tags, retention.TagState(t))
	}
	if item.Child {
		parents, err := v.Parents(j.repository, item.Blob.Digests, 1)
		if err != nil {
			return about, fmt.Errorf("look up parents: %w", err)
		}
		about.Parent = "another manifest"
		if len(parents) > 0 {
			about.Parent = parents[0].Digest.String()
		}
	}
	on, err := manifestHolds(v, j.repository, &item.Manifest, holds)
	about.Holds = forRetention(on)
	return about, err
}

// wait keeps what could be collected while a deleted manifest that lists it can
// still be put back: that would be a manifest without its children.
func (d *verdict) wait(v View, j *judge) error {
	used, err := v.Used(j.repository, d.item.Blob.Digests)
	if err != nil {
		return fmt.Errorf("look up references: %w", err)
	}
	if used && !d.item.Child {
		d.action = PlanWait
		d.State, d.Since, d.Next, d.Tags = retention.Expired, d.item.Marked, time.Time{}, nil
		d.Reason = "expired, and stays while a deleted manifest that lists it can be put back"
	}
	return nil
}

// weight is about how many rows are changed when a manifest goes, from its size:
// a reference takes more than 70 bytes.
func (d *verdict) weight() int {
	if d.action != PlanCollect {
		return 5
	}
	return int(d.item.Blob.Size/70) + 5*min(len(d.item.Tags), tagBatch) + 20
}

// Bounds of one change, which no push waits for longer than it must: 20,000 rows
// are allowed.
const (
	maxWeight = 5000
	maxActs   = 16 // manifests
)

// acts are what a change does about manifests.
type acts struct {
	marked, renewed, collected, tags int64
	finished                         int // how many manifests that is, those that need nothing among them
	weight                           int
}

// act adds the events of a verdict to a change; nil is a manifest that is gone.
// It returns false if nothing more fits into the change.
func (a *acts) act(v View, c *Change, repository string, d *verdict) (fits bool, err error) {
	if d == nil || !d.acts() {
		a.finished++
		return true, nil
	}
	if a.weight += d.weight(); a.weight > maxWeight && a.finished > 0 {
		return false, nil
	}
	primary := d.item.Blob.Digests.Primary()
	switch d.action {
	case PlanMark:
		c.Add(&fact.Expired{Repository: repository, Manifest: primary, Why: d.Reason})
		a.marked++
	case PlanRenew:
		c.Add(&fact.Renewed{Repository: repository, Manifest: primary, Class: d.item.Class, Expires: microseconds(d.item.Expires)})
		a.renewed++
	case PlanCollect:
		if fits, err := a.collect(v, c, repository, d); err != nil || !fits {
			return fits, err
		}
	}
	a.finished++
	return true, nil
}

// collect lets a manifest go, or the first of its tags if there are many: then
// nothing more fits into the change.
func (a *acts) collect(v View, c *Change, repository string, d *verdict) (fits bool, err error) {
	before := len(c.Entries)
	more, err := forgetManifest(v, c, repository, &d.item.Manifest, fact.CauseExpired)
	if err != nil {
		return false, fmt.Errorf("collect manifest %s: %w", d.item.Digest, err)
	}
	for _, e := range c.Entries[before:] {
		if _, is := e.Fact.(*fact.TagDeleted); is {
			a.tags++
		}
	}
	if more {
		return false, nil
	}
	a.collected++
	return true, nil
}
