package admin

import "time"

// Retention is how long a manifest is kept, and why.
type Retention struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"` // by which it was pushed
	Class      string `json:"class"`
	// Rule is what gave the class, such as "policy ci"; absent: the default.
	Rule string `json:"rule,omitempty"`
	// Chosen: an annotation or an operator picked the class for this manifest.
	Chosen  bool       `json:"chosen,omitempty"`
	Expires *time.Time `json:"expires,omitempty"` // absent: never
	// Extended: an operator has put the end off.
	Extended bool       `json:"extended,omitempty"`
	Marked   *time.Time `json:"marked,omitempty"`   // when it was marked as expired
	Pulled   *time.Time `json:"pulled,omitempty"`   // the last day
	Untagged *time.Time `json:"untagged,omitempty"` // when the last tag left it
	// The decision of now: the state that it is to have (current, expired or
	// eligible), since when, when to ask again, and why, as a sentence.
	State  string     `json:"state"`
	Since  *time.Time `json:"since,omitempty"`
	Next   *time.Time `json:"next,omitempty"`
	Reason string     `json:"reason"`
	// Holds freeze it: on itself, on its repository, on a tag that names it, on
	// an index that lists it or on its subject.
	Holds []Hold `json:"holds"`
}

// ExtendRequest is the body of POST .../extend, which answers with Retention.
type ExtendRequest struct {
	Until  time.Time `json:"until"`
	Reason string    `json:"reason"`
}

// ClassRequest is the body of POST .../class, which answers with Retention.
type ClassRequest struct {
	Class  string `json:"class"`
	Reason string `json:"reason"`
}

// ReasonRequest is the body of what needs nothing but a reason: POST .../erase,
// which answers with Erased, DELETE /repositories/{repository}, which answers
// with a DeletedRepository, and POST /clock/confirm, which answers with Clock.
type ReasonRequest struct {
	Reason string `json:"reason"`
}

// Erased is a manifest that was erased for a legal cause.
type Erased struct {
	Repository string `json:"repository"`
	Digest     string `json:"digest"` // as in the request
}
