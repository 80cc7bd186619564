package admin

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"artifactstore/registry"
)

// Plan is a retention plan without its items.
type Plan struct {
	ID       string    `json:"id"`
	State    string    `json:"state"` // making, open, executing, executed or refused
	Created  time.Time `json:"created"`
	Sequence uint64    `json:"sequence"` // of the log when it was true
	Actor    string    `json:"actor"`
	// Patterns chose the repositories; empty for all.
	Patterns     []string `json:"patterns"`
	Repositories int64    `json:"repositories"`
	// Actions counts the items by action: keep, wait, expire, renew, collect.
	Actions map[string]PlanCount `json:"actions"`
	// Freed is how many bytes there would be less, absent if they are too many to count.
	Freed *int64 `json:"freed,omitempty"`
	// Done is how far it was executed; absent if that was not begun.
	Done *PlanDone `json:"done,omitempty"`
}

// PlanCount is how many manifests an action is for, and their tags.
type PlanCount struct {
	Manifests int64 `json:"manifests"`
	Tags      int64 `json:"tags"`
}

// PlanDone is what executing a plan has done.
type PlanDone struct {
	Marked    int64  `json:"marked"`
	Renewed   int64  `json:"renewed"`
	Collected int64  `json:"collected"`
	Tags      int64  `json:"tags"`
	Problem   string `json:"problem,omitempty"` // why it was refused
}

// PlanItem is what is to become of a manifest, and why.
type PlanItem struct {
	Ordinal    int64      `json:"ordinal"` // its place in the plan, from 1
	Action     string     `json:"action"`
	Reason     string     `json:"reason"` // a sentence
	Repository string     `json:"repository"`
	Digest     string     `json:"digest"` // by which it was pushed
	MediaType  string     `json:"mediaType"`
	Size       int64      `json:"size"` // bytes of the manifest
	Class      string     `json:"class"`
	Expires    *time.Time `json:"expires,omitempty"` // absent: never
	Tags       []string   `json:"tags"`              // the first of TagCount
	TagCount   int64      `json:"tagCount"`
	State      string     `json:"state"` // that it is to have: current, expired or eligible
	Since      *time.Time `json:"since,omitempty"`
	Next       *time.Time `json:"next,omitempty"` // when time alone changes it
	Holds      []string   `json:"holds,omitempty"`
}

// PlanRequest is the body of POST /plans: a stream whose progress is a
// PlanProgress and whose result is a Plan.
type PlanRequest struct {
	// Repositories are patterns; none mean all repositories.
	Repositories []string `json:"repositories,omitempty"`
}

// PlanProgress is how far a plan is made.
type PlanProgress struct {
	Manifests int64 `json:"manifests"` // that were decided about
}

// ExecuteRequest is the body of POST /plans/{plan}/execute: a stream whose
// progress is a PlanDone and whose result is a Plan.
type ExecuteRequest struct{}

// LaterEvent is an event that touches what a plan names.
type LaterEvent struct {
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Kind     string    `json:"kind"`
	Subject  string    `json:"subject"`
	Actor    string    `json:"actor"`
}

func planJSON(p registry.PlanInfo) Plan {
	plan := Plan{ID: p.ID, State: p.State, Created: p.Created, Sequence: uint64(p.Sequence), Actor: p.Actor, Patterns: append([]string{}, p.Patterns...),
		Repositories: p.Repositories, Actions: countsJSON(p.Actions), Freed: p.Freed}
	if p.Done != nil {
		done := doneJSON(*p.Done)
		plan.Done = &done
	}
	return plan
}

func countsJSON(actions map[string]registry.PlanCount) map[string]PlanCount {
	counts := make(map[string]PlanCount, len(actions))
	for action, n := range actions {
		counts[action] = PlanCount(n)
	}
	return counts
}

func doneJSON(p registry.PlanProgress) PlanDone {
	return PlanDone{Marked: p.Marked, Renewed: p.Renewed, Collected: p.Collected, Tags: p.Tags, Problem: p.Problem}
}

func laterJSON(e registry.LaterEvent) LaterEvent {
	return LaterEvent{Sequence: uint64(e.Sequence), Time: e.Time, Kind: string(e.Kind), Subject: e.Subject, Actor: e.Actor}
}

func itemJSON(p registry.PlanDecision) PlanItem {
	return PlanItem{Ordinal: p.Ordinal, Action: p.Action, Reason: p.Reason, Repository: p.Repository, Digest: p.Digest.String(),
		MediaType: p.MediaType, Size: p.Size, Class: p.Class, Expires: moment(p.Expires), Tags: append([]string{}, p.Tags...), TagCount: p.TagCount,
		State: string(p.State), Since: moment(p.Since), Next: moment(p.Next), Holds: p.Held}
}

func (d *door) plans(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r)
	if err != nil {
		return err
	}
	before, id, err := parsePlanPlace(q.after)
	if err != nil {
		return err
	}
	all, more, err := d.Registry.Plans(r.Context(), before, id, q.n)
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(all, planJSON), more, func() string {
		last := all[len(all)-1]
		return fmt.Sprintf("%d.%s", last.Created.UnixMicro(), last.ID)
	})
}

// parsePlanPlace reads what plans gave as the place of a page.
func parsePlanPlace(after string) (before time.Time, id string, err error) {
	if after == "" {
		return before, "", nil
	}
	at, id, found := strings.Cut(after, ".")
	n, err := strconv.ParseInt(at, 10, 64)
	if err != nil || !found {
		return before, "", badRequest("after must be taken from the page before")
	}
	return time.UnixMicro(n), id, nil
}

func (d *door) plan(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	id, err := variable(r, "plan")
	if err != nil {
		return err
	}
	p, err := d.Registry.Plan(r.Context(), id)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, planJSON(*p))
}

func (d *door) planItems(w http.ResponseWriter, r *http.Request) error {
	q, err := parseQuery(r, "action")
	if err != nil {
		return err
	}
	action := q.values.Get("action")
	switch action {
	case "", registry.PlanKeep, registry.PlanWait, registry.PlanMark, registry.PlanRenew, registry.PlanCollect:
	default:
		return badRequest("action must be keep, wait, expire, renew or collect")
	}
	if len(q.values["action"]) > 1 {
		return badRequest("the parameter action is given more than once")
	}
	place, err := q.place(1)
	if err != nil {
		return err
	}
	id, err := variable(r, "plan")
	if err != nil {
		return err
	}
	all, more, err := d.Registry.PlanItems(r.Context(), id, action, place[0], q.n)
	if err != nil {
		return err
	}
	return sendPage(d, w, r, q, each(all, itemJSON), more, func() string { return number(all[len(all)-1].Ordinal) })
}

func (d *door) makePlan(w http.ResponseWriter, r *http.Request) error {
	var request PlanRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	return work(d, w, r, "a plan", func(ctx context.Context, tell func(PlanProgress)) (Plan, error) {
		made, err := d.Registry.MakePlan(ctx, caller(r), registry.PlanRequest{
			Repositories: request.Repositories,
			Progress:     func(manifests int64) { tell(PlanProgress{manifests}) },
		})
		if err != nil {
			return Plan{}, err
		}
		return planJSON(*made), nil
	})
}

func (d *door) executePlan(w http.ResponseWriter, r *http.Request) error {
	if err := d.change(r, &ExecuteRequest{}); err != nil {
		return err
	}
	id, err := variable(r, "plan")
	if err != nil {
		return err
	}
	return work(d, w, r, "the execution of a plan", func(ctx context.Context, tell func(PlanDone)) (Plan, error) {
		if _, err := d.Registry.ExecutePlan(ctx, caller(r), id, func(p registry.PlanProgress) { tell(doneJSON(p)) }); err != nil {
			return Plan{}, err
		}
		p, err := d.Registry.Plan(ctx, id)
		if err != nil {
			return Plan{}, err
		}
		return planJSON(*p), nil
	})
}
