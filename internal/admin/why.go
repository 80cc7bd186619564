package admin

import (
	"net/http"
	"time"

	"artifactstore/registry"
)

// Why says what keeps bytes alive.
type Why struct {
	Digest string  `json:"digest"` // as it was asked for
	Chains []Chain `json:"chains"`
}

// Chain says why bytes are kept: what keeps them, what keeps that, and so on.
type Chain struct {
	// Repository is absent if none has a part in it.
	Repository string   `json:"repository,omitempty"`
	Reasons    []Reason `json:"reasons"`
}

// Reason is one link of a chain. Members that its kind has no use for are absent.
type Reason struct {
	// Kind is blob, manifest, native, layer, child, referrer, tag, hold, rule,
	// deleted, unused or nothing.
	Kind       string     `json:"kind"`
	Text       string     `json:"text"` // a phrase for people
	Repository string     `json:"repository,omitempty"`
	Digest     string     `json:"digest,omitempty"` // of the manifest that is the reason
	Role       string     `json:"role,omitempty"`   // of a reference
	Name       string     `json:"name,omitempty"`   // of the tag, hold or rule
	Until      *time.Time `json:"until,omitempty"`
	Sequence   uint64     `json:"sequence,omitempty"`
}

func (d *door) why(w http.ResponseWriter, r *http.Request) error {
	if err := noQuery(r); err != nil {
		return err
	}
	digest, err := digestOf(r)
	if err != nil {
		return err
	}
	chains, err := d.Registry.Why(r.Context(), digest)
	if err != nil {
		return err
	}
	return d.sendJSON(w, r, Why{Digest: digest.String(), Chains: each(chains, func(c registry.Chain) Chain {
		return Chain{Repository: c.Repository, Reasons: each(c.Reasons, reasonJSON)}
	})})
}

func reasonJSON(r registry.Reason) Reason {
	return Reason{Kind: string(r.Kind), Text: r.Text, Repository: r.Repository, Digest: r.Digest.String(), Role: r.Role, Name: r.Name,
		Until: moment(r.Until), Sequence: uint64(r.Sequence)}
}
