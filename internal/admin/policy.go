package admin

import (
	"encoding/json"
	"time"

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
