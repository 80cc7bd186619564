package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
)

// run executes one plan, as far as it has come: that is in the row of the plan,
// and goes with what was done in one change. So it can be killed anywhere and
// gone on with by whoever, and of two at once each does its part.
type run struct {
	r        *Registry
	caller   Caller
	id       string
	progress func(PlanProgress)

	info  PlanInfo // as it was read last
	judge *judge   // of the repository that is worked on
	// ranked is how often that was done anew since the last change.
	ranked int
	// seen is the sequence up to which nothing touched the plan but itself.
	seen  eventlog.Sequence
	found []touch // what has touched it, not all if there is more
}

var (
	// errBehind: more has happened than was read.
	errBehind = errors.New("there are more events")
	// errMoved: somebody else has executed a part of the plan.
	errMoved = errors.New("the plan has come further")
)

// ExecutePlan does what a plan says, in batches, and tells of each. If something
// has touched what the plan names since it was made, it refuses with a *PlanStale
// and does no more. A plan whose execution was interrupted is gone on with.
// Refusals: PlanUnknown, Conflict (it is not complete, or was executed or refused
// before; the clock is in doubt).
func (r *Registry) ExecutePlan(ctx context.Context, caller Caller, id string, progress func(PlanProgress)) (PlanProgress, error) {
	x := &run{r: r, caller: caller, id: id, progress: progress}
	var err error
	for done := false; err == nil && !done; {
		done, err = x.step(ctx)
	}
	var stale *PlanStale
	if errors.As(err, &stale) {
		err = errors.Join(x.refuse(ctx, stale), err)
	}
	return x.done(), notBelieved(err)
}

// done is what was done.
func (x *run) done() PlanProgress {
	if x.info.Done == nil {
		return PlanProgress{}
	}
	return *x.info.Done
}

// step does the next part of a plan, and tells whether that was the last.
func (x *run) step(ctx context.Context) (done bool, err error) {
	part, err := x.next(ctx)
	if err != nil {
		return false, err
	}
	if len(part.items) > 0 && (x.judge == nil || x.judge.repository != part.items[0].Repository) {
		x.judge, err = x.r.judge(ctx, part.items[0].Repository)
	}
	if err == nil {
		err = x.commit(ctx, part)
	}
	switch {
	case errors.Is(err, errRank):
		if x.ranked++; x.ranked > rankTries {
			return false, tooFast(part.items[0].Repository)
		}
		x.judge = nil
		return false, nil
	case errors.Is(err, errBehind), errors.Is(err, errMoved):
		return false, nil
	case errors.Is(err, errNoRepository):
		return false, x.gone(ctx, part)
	case err != nil:
		return false, err
	}
	x.ranked = 0
	if x.progress != nil {
		x.progress(x.done())
	}
	return x.info.State == PlanExecuted, nil
}

// part is what is done in one change: items of one repository, none if the plan
// is done. Last says that no others follow that change something.
type part struct {
	items []PlanItem
	last  bool
}

// next reads what is to be done next. Its error is a refusal if the plan cannot
// be executed.
func (x *run) next(ctx context.Context) (p part, err error) {
	if err := x.look(ctx); err != nil {
		return p, err
	}
	after := x.done().After
	for more := true; more; {
		var page []PlanItem
		err := x.r.ledger.Read(ctx, func(v View) (err error) {
			page, err = v.PlanItems(x.id, "", after, itemPage)
			return err
		})
		if err != nil {
			return p, fmt.Errorf("read items of a plan: %w", err)
		}
		more = len(page) == itemPage
		for _, item := range page {
			after = item.Ordinal
			if !changes(item.Action) {
				continue
			}
			if len(p.items) == maxActs || len(p.items) > 0 && p.items[0].Repository != item.Repository {
				return p, nil
			}
			p.items = append(p.items, item)
		}
	}
	p.last = true
	return p, nil
}

// itemPage is how many items of a plan are read at a time.
const itemPage = 500

// look reads the row of the plan, and all that has happened since it was last
// looked at.
func (x *run) look(ctx context.Context) error {
	for behind := true; behind; {
		err := x.r.ledger.Read(ctx, func(v View) error {
			info, err := x.executable(v)
			if err != nil {
				return err
			}
			x.info = *info
			if _, err := believed(v); err != nil {
				return err
			}
			seen := max(x.seen, info.Done.Sequence)
			found, last, more, err := touching(v, x.id, seen)
			if err != nil {
				return err
			}
			x.seen, behind = last, more
			x.found = append(x.found, found...)
			return nil
		})
		if err != nil {
			return err
		}
		if len(x.found) > MaxLater {
			break
		}
	}
	if len(x.found) > 0 {
		return x.stale()
	}
	return nil
}

// executable returns the plan, with Done, if it may be executed.
func (x *run) executable(v View) (*PlanInfo, error) {
	_, info, err := planOf(v, x.id)
	if err != nil {
		return nil, err
	}
	switch info.State {
	case PlanOpen:
		info.Done = &PlanProgress{Sequence: info.Sequence}
	case PlanExecuting:
	case PlanMaking:
		return nil, Errorf(Conflict, "the plan is not complete: it is still being made, or that was interrupted; make another")
	case PlanRefused:
		return nil, Errorf(Conflict, "the plan was refused: %s; %s; make another", info.Done.Problem, info.Done.text())
	default:
		return nil, Errorf(Conflict, "the plan was executed already: %s; make another", info.Done.did())
	}
	return info, nil
}

// did says what was done by all of a plan.
func (p PlanProgress) did() string {
	return fmt.Sprintf("%d manifests were marked as expired, %d renewed and %d collected, with %d tags", p.Marked, p.Renewed, p.Collected, p.Tags)
}

// commit does a part, in a change that also says how far the plan has come.
func (x *run) commit(ctx context.Context, p part) error {
	var after PlanInfo
	keys := Keys{}
	for _, item := range p.items {
		keys.Repositories = []string{item.Repository}
		keys.Manifests = append(keys.Manifests, item.Manifest)
	}
	lost := int64(0)
	err := x.r.ledger.Update(ctx, x.caller, keys, func(v View) (*Change, error) {
		info, err := x.executable(v)
		if err != nil {
			return nil, err
		}
		if *info.Done != x.done() {
			return nil, errMoved
		}
		if err := x.unmoved(v); err != nil {
			return nil, err
		}
		c := new(Change)
		did, last, err := x.act(v, c, p.items)
		if err != nil {
			return nil, err
		}
		head, err := v.Head()
		if err != nil {
			return nil, fmt.Errorf("read the head: %w", err)
		}
		lost = did.tags
		info.Done.add(did, last)
		// The events of this change are the next, and not somebody else's.
		info.Done.Sequence = head + eventlog.Sequence(len(c.Entries))
		info.State = PlanExecuting
		if p.last && did.finished == len(p.items) {
			info.State = PlanExecuted
		}
		row, err := info.row()
		c.Working.Plans, c.Durable = []Plan{row}, true
		after = *info
		return c, err
	})
	if err != nil {
		return err
	}
	x.info = after
	if x.judge != nil {
		x.judge.lost += lost
	}
	return nil
}

// add counts what was done, as far as an ordinal.
func (p *PlanProgress) add(did acts, after int64) {
	p.Marked += did.marked
	p.Renewed += did.renewed
	p.Collected += did.collected
	p.Tags += did.tags
	p.After = max(p.After, after)
}

// unmoved returns errBehind or a *PlanStale if something happened since the last
// look, and errInDoubt.
func (x *run) unmoved(v View) error {
	if _, err := believed(v); err != nil {
		return err
	}
	found, _, more, err := touching(v, x.id, x.seen)
	switch {
	case err != nil:
		return err
	case len(found) > 0, more:
		return errBehind
	}
	return nil
}

// act adds the events of items that are still decided as they were shown. It
// returns the ordinal of the last that is done.
func (x *run) act(v View, c *Change, items []PlanItem) (did acts, last int64, err error) {
	if len(items) == 0 {
		return did, 0, nil
	}
	if err := x.judge.valid(v); err != nil {
		return did, 0, err
	}
	now, err := believed(v)
	if err != nil {
		return did, 0, err
	}
	holds, err := binding(v, x.judge.repository)
	if err != nil {
		return did, 0, err
	}
	for _, item := range items {
		d, err := x.judge.about(v, item.Manifest, now, holds)
		if err != nil {
			return did, 0, err
		}
		if d == nil || d.action != item.Action {
			return did, 0, x.changed(item, d)
		}
		fits, err := did.act(v, c, x.judge.repository, d)
		if err != nil || !fits {
			return did, last, err
		}
		last = item.Ordinal
	}
	return did, last, nil
}

// changed is the refusal of a plan of which an item is decided otherwise now.
func (x *run) changed(item PlanItem, now *verdict) error {
	shown, err := item.decision()
	if err != nil {
		return err
	}
	is := "it is gone"
	if now != nil {
		is = fmt.Sprintf("now it is to %s: %s", now.action, now.Reason)
	}
	text := fmt.Sprintf("manifest %s of %s was to %s, %s", shown.Digest, item.Repository, item.Action, is)
	return &PlanStale{ID: x.id, Changed: []string{text}, Done: x.done()}
}

// gone is why a plan cannot go on whose repository is gone.
func (x *run) gone(ctx context.Context, p part) error {
	if err := x.look(ctx); err != nil {
		return err // with the event that says so
	}
	return &PlanStale{ID: x.id, Changed: []string{"repository " + p.items[0].Repository + " is gone"}, Done: x.done()}
}

// stale is the refusal for the events that were found.
func (x *run) stale() error {
	e := &PlanStale{ID: x.id, Done: x.done()}
	for _, t := range x.found[:min(MaxLater, len(x.found))] {
		e.Events = append(e.Events, LaterEvent{Sequence: t.event.Sequence, Time: time.UnixMicro(t.event.Time).UTC(), Kind: t.event.Kind,
			Subject: t.event.Subject, Actor: t.event.Actor})
	}
	e.More = len(x.found) > MaxLater
	return e
}

// refuse notes that the plan was refused, and why.
func (x *run) refuse(ctx context.Context, stale *PlanStale) error {
	ctx, cancel := detached(ctx)
	defer cancel()
	return x.r.change(ctx, func(v View) (*Change, error) {
		info, err := x.executable(v)
		if err != nil {
			return nil, err
		}
		stale.Done = *info.Done // by whomever
		info.State, info.Done.Problem = PlanRefused, stale.why()
		row, err := info.row()
		x.info = *info
		return &Change{Durable: true, Working: Working{Plans: []Plan{row}}}, err
	})
}
