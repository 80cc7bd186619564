package registry

import (
	"context"
	"errors"
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
	// Progress is told how many manifests were decided, if it is not nil.
	Progress func(PlanSummary)
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
	// Repositories is how many there are in the plan.
	Repositories int64 `json:"repositories"`
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
	// Held has the names of holds.
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
	// Changed says of manifests which the plan would change, by name, what is
	// decided otherwise now, if no event about them tells.
	Changed []string
	// Done is what was done before.
	Done PlanProgress
}

func (e *PlanStale) Error() string { return e.refusal().Error() }

// Unwrap returns the refusal as clients see it.
func (e *PlanStale) Unwrap() error { return e.refusal() }

func (e *PlanStale) refusal() *Error { return Errorf("CONFLICT", "the plan is out of date") }

// MakePlan decides about every manifest of some repositories and keeps what it
// decided, the reasons included, as a plan that can be executed. It changes
// nothing else. The clock must be believed. Refusals: RetentionInvalid (a
// pattern), Conflict (the clock is in doubt), Unavailable (the repositories
// change faster than they can be looked at).
func (r *Registry) MakePlan(ctx context.Context, caller Caller, request PlanRequest) (*PlanInfo, error) {
	return nil, errors.ErrUnsupported
}

// Plans lists the n plans before a time and an id, newest first; the zero Time is
// the end.
func (r *Registry) Plans(ctx context.Context, before time.Time, id string, n int) ([]PlanInfo, bool, error) {
	return nil, false, errors.ErrUnsupported
}

// Plan returns a plan; PlanUnknown.
func (r *Registry) Plan(ctx context.Context, id string) (*PlanInfo, error) {
	return nil, errors.ErrUnsupported
}

// PlanItems lists the n items of a plan after an ordinal, those of one action or,
// if it is "", all; PlanUnknown.
func (r *Registry) PlanItems(ctx context.Context, id, action string, after int64, n int) ([]PlanDecision, bool, error) {
	return nil, false, errors.ErrUnsupported
}

// ExecutePlan does what a plan says, in batches, and tells of each. If something
// has touched what the plan names since it was made, it refuses with a *PlanStale
// and does no more. A plan whose execution was interrupted is gone on with.
// Refusals: PlanUnknown, Conflict (it is not complete, or was executed or refused
// before; the clock is in doubt).
func (r *Registry) ExecutePlan(ctx context.Context, caller Caller, id string, progress func(PlanProgress)) (PlanProgress, error) {
	return PlanProgress{}, errors.ErrUnsupported
}

// DropPlans removes the plans that are too old or too many, and returns how many.
func (r *Registry) DropPlans(ctx context.Context) (int, error) {
	return 0, errors.ErrUnsupported
}
