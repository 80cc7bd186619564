package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// The actions of a plan. All but PlanKeep and PlanWait change something.
const (
	PlanKeep    = "keep"    // nothing: it is kept
	PlanWait    = "wait"    // nothing: it has expired, and its grace runs
	PlanMark    = "expire"  // its end has come: it is marked, and goes after the grace
	PlanRenew   = "renew"   // it was marked, and is kept after all
	PlanCollect = "collect" // its grace has passed: it goes, with its tags
)

// The states of a Plan beside those of the ledger.
const (
	PlanMaking    = "making"    // not complete yet
	PlanExecuting = "executing" // begun; executing it again goes on

	planDropped = "dropped" // being removed; nobody sees it
)

// MaxPlans is how many plans are kept, PlanLife how long. The oldest go when
// another is made.
const (
	MaxPlans = 50
	PlanLife = 7 * 24 * time.Hour
)

// PlanRequest says what a plan is to be made of.
type PlanRequest struct {
	// Repositories are patterns (see retention.Match) of which one must match;
	// none stand for all repositories.
	Repositories []string
	// Progress is told how many manifests were decided about, if it is not nil.
	// The number rises also where a repository is gone over again.
	Progress func(manifests int64)
}

// PlanCount is how many manifests an action is for, and their tags.
type PlanCount struct {
	Manifests int64 `json:"manifests"`
	Tags      int64 `json:"tags"`
}

// PlanSummary is what a plan comes to.
type PlanSummary struct {
	// Patterns are those of the request; Actor made the plan.
	Patterns []string `json:"patterns,omitempty"`
	Actor    string   `json:"actor"`
	// Repositories and Manifests are how many there are in the plan.
	Repositories int64 `json:"repositories"`
	Manifests    int64 `json:"manifests"`
	// Actions counts by action.
	Actions map[string]PlanCount `json:"actions"`
	// Freed is how many bytes there would be less once what is collected is
	// swept; nil if it collects more than can be counted (MaxFreed).
	Freed *int64 `json:"freed"`
	// Done is what executing it has done so far, nil if that was not begun.
	Done *PlanProgress `json:"done,omitempty"`
}

// PlanProgress says how far a plan was executed.
type PlanProgress struct {
	// After is the ordinal of the last item that was done.
	After int64 `json:"after"`
	// Marked, Renewed and Collected manifests, and the Tags that went with them.
	Marked    int64 `json:"marked"`
	Renewed   int64 `json:"renewed"`
	Collected int64 `json:"collected"`
	Tags      int64 `json:"tags"`
	// Sequence is that of the log up to which nothing touched the plan.
	Sequence eventlog.Sequence `json:"sequence"`
	// Problem is why the plan was refused.
	Problem string `json:"problem,omitempty"`
}

// PlanInfo is a plan without its items.
type PlanInfo struct {
	ID string
	// Sequence is that of the log at which all that the plan lists was true.
	Sequence eventlog.Sequence
	Created  time.Time
	// State is PlanMaking, PlanOpen, PlanExecuting, PlanExecuted or PlanRefused.
	State string
	PlanSummary
}

// PlanDecision is an item of a plan: what is to become of a manifest, and why.
type PlanDecision struct {
	Ordinal    int64           `json:"-"` // its place in the plan, from 1
	Repository string          `json:"-"`
	Manifest   identity.Digest `json:"-"` // primary digest of the pushed bytes
	// Digest is the one it was pushed by.
	Digest    identity.Digest `json:"digest"`
	MediaType string          `json:"mediaType"`
	Size      int64           `json:"size"` // bytes of the manifest
	Class     string          `json:"class"`
	Expires   time.Time       `json:"expires,omitzero"`
	// Tags are the first of those that name it, TagCount how many do.
	Tags     []string `json:"tags,omitempty"`
	TagCount int64    `json:"tagCount"`
	// State is that in which it is to be, since a time, and Next when time
	// alone changes it.
	State retention.State `json:"state"`
	Since time.Time       `json:"since,omitzero"`
	Next  time.Time       `json:"next,omitzero"`
	// Held has the names of holds, the first of them if they are many.
	Held   []string `json:"held,omitempty"`
	Action string   `json:"-"`
	Reason string   `json:"reason"`
}

// LaterEvent is an event that touches what a plan names.
type LaterEvent struct {
	Sequence eventlog.Sequence
	Time     time.Time
	Kind     eventlog.Kind
	Subject  string
	Actor    string
}

// MaxLater is how many later events a PlanStale lists.
const MaxLater = 100

// PlanStale refuses to execute a plan, or to go on: something has touched what it
// names. It is a Conflict.
type PlanStale struct {
	ID string
	// Events are the first MaxLater that did; More tells that there are others.
	Events []LaterEvent
	More   bool
	// Changed says of manifests which the plan would change what is decided
	// otherwise now, if no event about them tells.
	Changed []string
	// Done is what was done before.
	Done PlanProgress
}

func (e *PlanStale) Error() string { return e.refusal().Error() }

// Unwrap returns the refusal as clients see it.
func (e *PlanStale) Unwrap() error { return e.refusal() }

func (e *PlanStale) refusal() *Error {
	return Errorf(Conflict, "the plan is out of date: %s; %s; make another plan", e.why(), e.Done.text())
}

// why says what has touched the plan.
func (e *PlanStale) why() string {
	switch {
	case len(e.Events) == 0:
		return strings.Join(e.Changed, "; ")
	case e.More:
		return fmt.Sprintf("more than %d events touched what it names, first event %d (%s, %s)",
			len(e.Events), e.Events[0].Sequence, e.Events[0].Kind, e.Events[0].Subject)
	case len(e.Events) == 1:
		return fmt.Sprintf("event %d (%s, %s) touched what it names", e.Events[0].Sequence, e.Events[0].Kind, e.Events[0].Subject)
	}
	return fmt.Sprintf("%d events touched what it names, first event %d (%s, %s)",
		len(e.Events), e.Events[0].Sequence, e.Events[0].Kind, e.Events[0].Subject)
}

// text says what was done.
func (p PlanProgress) text() string {
	if p.Marked+p.Renewed+p.Collected+p.Tags == 0 {
		return "nothing was done"
	}
	return fmt.Sprintf("before that %d manifests were marked as expired, %d renewed and %d collected, with %d tags",
		p.Marked, p.Renewed, p.Collected, p.Tags)
}

// planOf reads a plan; nil if there is none that anybody may see.
func planOf(v View, id string) (*Plan, *PlanInfo, error) {
	var p *Plan
	if isID(id) {
		var err error
		if p, err = v.Plan(id); err != nil {
			return nil, nil, fmt.Errorf("look up plan: %w", err)
		}
	}
	if p == nil || p.State == planDropped {
		return nil, nil, Errorf(PlanUnknown, "there is no plan of this id; plans are kept for %d days, and the last %d of them",
			int(PlanLife.Hours()/24), MaxPlans)
	}
	info, err := p.info()
	return p, info, err
}

func (p *Plan) info() (*PlanInfo, error) {
	info := &PlanInfo{ID: p.ID, Sequence: p.Sequence, Created: p.Created, State: p.State}
	if err := json.Unmarshal(p.Summary, &info.PlanSummary); err != nil {
		return nil, fmt.Errorf("read plan %s: %w", p.ID, err)
	}
	return info, nil
}

// row is the plan as the ledger keeps it.
func (p *PlanInfo) row() (Plan, error) {
	summary, err := json.Marshal(p.PlanSummary)
	if err != nil {
		return Plan{}, fmt.Errorf("encode plan: %w", err)
	}
	return Plan{ID: p.ID, Sequence: p.Sequence, Created: p.Created, State: p.State, Summary: summary}, nil
}

// Plans lists the n plans before a time and an id, newest first; the zero Time is
// the end.
func (r *Registry) Plans(ctx context.Context, before time.Time, id string, n int) ([]PlanInfo, bool, error) {
	rows, more, err := list(ctx, r, "plans", n, func(v View, limit int) ([]Plan, error) {
		all, err := v.PlanPage(before, id, limit+2*MaxPlans)
		all = slices.DeleteFunc(all, func(p Plan) bool { return p.State == planDropped })
		return all[:min(limit, len(all))], err
	})
	var page []PlanInfo
	for i := range rows {
		info, err := rows[i].info()
		if err != nil {
			return nil, false, err
		}
		page = append(page, *info)
	}
	return page, more, err
}

// Plan returns a plan; PlanUnknown.
func (r *Registry) Plan(ctx context.Context, id string) (info *PlanInfo, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		_, info, err = planOf(v, id)
		return err
	})
	return info, err
}

// PlanItems lists the n items of a plan after an ordinal, those of one action or,
// if it is "", all; PlanUnknown.
func (r *Registry) PlanItems(ctx context.Context, id, action string, after int64, n int) ([]PlanDecision, bool, error) {
	rows, more, err := list(ctx, r, "items of a plan", n, func(v View, limit int) ([]PlanItem, error) {
		if _, _, err := planOf(v, id); err != nil {
			return nil, err
		}
		return v.PlanItems(id, action, after, limit)
	})
	var page []PlanDecision
	for i := range rows {
		d, err := rows[i].decision()
		if err != nil {
			return nil, false, err
		}
		page = append(page, d)
	}
	return page, more, err
}

func (i *PlanItem) decision() (PlanDecision, error) {
	d := PlanDecision{Ordinal: i.Ordinal, Repository: i.Repository, Manifest: i.Manifest, Action: i.Action}
	if err := json.Unmarshal(i.Item, &d); err != nil {
		return d, fmt.Errorf("read item %d of a plan: %w", i.Ordinal, err)
	}
	return d, nil
}

// tagsOfPlan is how many tags of a manifest a plan lists.
const tagsOfPlan = 20

// holdsNamed is how many holds a refusal, or an item of a plan, lists: there can be
// very many, and there is an item for each manifest under them.
const holdsNamed = 20

// planned makes an item of a plan of what was decided.
func (d *verdict) planned(repository string, ordinal int64) (PlanItem, error) {
	shown := PlanDecision{
		Digest: d.item.Digest, MediaType: d.item.MediaType, Size: d.item.Blob.Size, Class: d.item.Class, Expires: d.item.Expires,
		TagCount: int64(len(d.item.Tags)), State: d.State, Since: d.Since, Next: d.Next, Held: d.Held[:min(holdsNamed, len(d.Held))], Reason: d.Reason,
	}
	for _, t := range d.item.Tags[:min(tagsOfPlan, len(d.item.Tags))] {
		shown.Tags = append(shown.Tags, t.Name)
	}
	text, err := json.Marshal(shown)
	if err != nil {
		return PlanItem{}, fmt.Errorf("encode item of a plan: %w", err)
	}
	return PlanItem{Ordinal: ordinal, Repository: repository, Manifest: d.item.Blob.Digests.Primary(), Action: d.action, Item: text}, nil
}

// dropBatch is how many items of plans are removed in one change.
const dropBatch = 1000

// DropPlans removes the plans that are too old or too many, and returns how many.
func (r *Registry) DropPlans(ctx context.Context) (int, error) { return r.dropPlans(ctx, MaxPlans) }

// dropPlans keeps at most so many plans.
func (r *Registry) dropPlans(ctx context.Context, keep int) (dropped int, err error) {
	var old []Plan
	err = r.ledger.Read(ctx, func(v View) error {
		all, err := v.PlanPage(time.Time{}, "", 4*MaxPlans)
		if err != nil {
			return fmt.Errorf("list plans: %w", err)
		}
		for i, p := range all {
			if i >= keep || p.State == planDropped || v.Now().Sub(p.Created) > PlanLife {
				old = append(old, p)
			}
		}
		return nil
	})
	for _, p := range old {
		if err == nil {
			err = r.dropPlan(ctx, p)
			dropped++
		}
	}
	return dropped, err
}

// dropPlan hides a plan, and then removes its items bit by bit.
func (r *Registry) dropPlan(ctx context.Context, p Plan) error {
	if err := r.change(ctx, func(View) (*Change, error) {
		p.State = planDropped
		return &Change{Working: Working{Plans: []Plan{p}}}, nil
	}); err != nil {
		return fmt.Errorf("drop plan: %w", err)
	}
	if err := r.dropItems(ctx, p.ID, ""); err != nil {
		return err
	}
	return r.change(ctx, func(View) (*Change, error) { return &Change{Working: Working{DropPlans: []string{p.ID}}}, nil })
}

// dropItems removes the items of a plan, those of one repository if it is not "".
func (r *Registry) dropItems(ctx context.Context, plan, repository string) error {
	for more := true; more; {
		err := r.change(ctx, func(v View) (*Change, error) {
			left, err := v.PlanItems(plan, "", 0, 1)
			if more = len(left) > 0; more && err == nil && repository != "" {
				more, err = v.PlanNames(plan, repository)
			}
			if err != nil || !more {
				return nil, err
			}
			return &Change{Working: Working{DropItems: []PlanCut{{plan, repository, dropBatch}}}}, nil
		})
		if err != nil {
			return fmt.Errorf("drop items of a plan: %w", err)
		}
	}
	return nil
}

// change commits working state.
func (r *Registry) change(ctx context.Context, decide func(View) (*Change, error)) error {
	return r.ledger.Update(ctx, System, Keys{}, decide)
}

// notBelieved is the refusal while the clock is in doubt.
func notBelieved(err error) error {
	if !errors.Is(err, errInDoubt) {
		return err
	}
	return Errorf(Conflict, "the clock went ahead further than it should have, so nothing expires until an operator has confirmed it")
}
