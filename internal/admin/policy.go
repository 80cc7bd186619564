package admin

import (
	"encoding/json"
	"net/http"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/retention"
)

// Policies are the retention policies in force: what each source says, and what
// that comes to.
type Policies struct {
	// Sources are the configuration and the admin API.
	Sources []PolicySource `json:"sources"`
	// Classes has the terms of all classes, as in "90d" or "never".
	Classes map[retention.Class]retention.Term `json:"classes"`
	Default retention.Class                    `json:"default"`
	Grace   retention.Term                     `json:"grace"`
	// Policies come in the order in which they are tried.
	Policies []PolicyInForce `json:"policies"`
}

// PolicySource is what one source says.
type PolicySource struct {
	Source   string             `json:"source"` // configuration or admin
	Document retention.Document `json:"document"`
	// The event that set it; absent if the source has never said anything.
	Sequence uint64     `json:"sequence,omitempty"`
	Set      *time.Time `json:"set,omitempty"`
	Actor    string     `json:"actor,omitempty"`
	Reason   string     `json:"reason,omitempty"`
}

// PolicyInForce is a policy and where it comes from.
type PolicyInForce struct {
	Source string           `json:"source"`
	Policy retention.Policy `json:"policy"`
}

// PoliciesRequest is the body of PUT /policies, which answers with Policies. The
// document takes the place of the one that was set through the API before.
type PoliciesRequest struct {
	Document json.RawMessage `json:"document"` // a retention.Document
	Reason   string          `json:"reason"`
}

func (d *door) policies(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	return d.sendPolicies(w, r)
}

func (d *door) sendPolicies(w http.ResponseWriter, r *http.Request) error {
	p, err := d.Registry.PoliciesInForce(r.Context())
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, Policies{
		Sources: each(p.Sources, func(s registry.PolicySource) PolicySource {
			return PolicySource{Source: s.Source, Document: s.Document, Sequence: uint64(s.Sequence), Set: moment(s.Time), Actor: s.Actor, Reason: s.Reason}
		}),
		Classes: p.Classes, Default: p.Default, Grace: p.Grace,
		Policies: each(p.Policies, func(p registry.PolicyInForce) PolicyInForce { return PolicyInForce{p.Source, p.Policy} }),
	})
}

func (d *door) setPolicies(w http.ResponseWriter, r *http.Request) error {
	var request PoliciesRequest
	if err := d.change(r, &request); err != nil {
		return err
	}
	if len(request.Document) == 0 {
		return badBody("the member document is missing; {} takes away what was set before")
	}
	document, err := retention.ParseDocument(request.Document)
	if err != nil {
		return registry.Errorf(registry.RetentionInvalid, "%v", err)
	}
	if _, err := d.Registry.SetPolicies(r.Context(), caller(r), fact.SourceAdmin, document, request.Reason); err != nil {
		return err
	}
	return d.sendPolicies(w, r)
}
