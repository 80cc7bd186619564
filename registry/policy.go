package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/eventlog"
	"artifactstore/retention"
)

// PolicySource is what one source says about retention.
type PolicySource struct {
	// Source is fact.SourceConfiguration or fact.SourceAdmin.
	Source   string
	Document retention.Document
	// Sequence is that of the event that set it, 0 if the source has never said
	// anything; Time is when.
	Sequence eventlog.Sequence
	Time     time.Time
	// Actor set it, for Reason, which is "" if it was erased.
	Actor, Reason string
}

// PolicyInForce is a policy and where it comes from.
type PolicyInForce struct {
	Source string
	retention.Policy
}

// PoliciesInForce are the retention policies of all sources, and what they make
// together.
type PoliciesInForce struct {
	// Sources are both of them, the configuration first.
	Sources []PolicySource
	// Classes has the terms of all classes, those that are shipped as well.
	Classes map[retention.Class]retention.Term
	Default retention.Class
	Grace   retention.Term
	// Policies come in the order in which they are tried.
	Policies []PolicyInForce
}

// SetPolicies makes a document the retention policies of a source, and returns
// the sequence of the event that did; if they are that already nothing changes,
// and it is the event that set them. What was pushed before keeps its class and
// its end; keep rules, untagged expiry and immutable tags hold at once.
// Refusals: RetentionInvalid (the document), Conflict (it contradicts that of the
// other source), ReasonInvalid (not for the configuration, which needs none).
func (r *Registry) SetPolicies(ctx context.Context, caller Caller, source string, d retention.Document, reason string) (eventlog.Sequence, error) {
	return 0, errors.ErrUnsupported
}

// PoliciesInForce returns the retention policies of all sources.
func (r *Registry) PoliciesInForce(ctx context.Context) (*PoliciesInForce, error) {
	return nil, errors.ErrUnsupported
}

// PolicyFor returns the policy that applies to a repository, which need not
// exist; nil if none does. NameInvalid.
func (r *Registry) PolicyFor(ctx context.Context, repository string) (*PolicyInForce, error) {
	return nil, errors.ErrUnsupported
}
