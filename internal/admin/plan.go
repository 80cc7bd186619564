package admin

import "time"

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
	Repositories int64                `json:"repositories"`
	Actions      map[string]PlanCount `json:"actions"`
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
