package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
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

	rules retention.Rules
}

// sources are the sources of policies, in the order in which they are tried.
var sources = [2]string{fact.SourceConfiguration, fact.SourceAdmin}

// SetPolicies makes a document the retention policies of a source, and returns
// the sequence of the event that did; if they are that already nothing changes,
// and it is the event that set them. What was pushed before keeps its class and
// its end; keep rules, untagged expiry and immutable tags hold at once.
// Refusals: RetentionInvalid (the document), Conflict (it contradicts that of the
// other source), ReasonInvalid (not for the configuration, which needs none).
func (r *Registry) SetPolicies(ctx context.Context, caller Caller, source string, d retention.Document, reason string) (eventlog.Sequence, error) {
	if !slices.Contains(sources[:], source) {
		return 0, Errorf(RetentionInvalid, "there is no source %q of policies", source)
	}
	if source != fact.SourceConfiguration || reason != "" {
		if err := checkReason(reason); err != nil {
			return 0, err
		}
	}
	text, err := textOf(d)
	if err != nil {
		return 0, err
	}
	err = r.ledger.Update(ctx, caller, Keys{}, func(v View) (*Change, error) {
		said, err := readSources(v)
		if err != nil {
			return nil, err
		}
		for i := range said {
			if said[i].Source != source {
				continue
			}
			if bytes.Equal(said[i].text, text) {
				return nil, nil
			}
			said[i].Document = d
		}
		if _, err := retention.Combine(said[0].Document, said[1].Document); err != nil {
			return nil, contradiction(source, err)
		}
		return &Change{Entries: []Entry{{Fact: &fact.PoliciesSet{Source: source, Document: text}, Reason: reason}}}, nil
	})
	if err != nil {
		return 0, err
	}
	var inForce eventlog.Sequence
	err = r.ledger.Read(ctx, func(v View) error {
		of, err := policyEvents(v)
		inForce = of[slices.Index(sources[:], source)]
		return err
	})
	return inForce, err
}

// textOf is the canonical text of a document, nil if it says nothing.
func textOf(d retention.Document) ([]byte, error) {
	text, err := d.Encode()
	switch {
	case err != nil:
		return nil, &Error{Code: RetentionInvalid, Message: "the retention policies are invalid: " + lines(err)}
	case string(text) == "{}":
		return nil, nil
	}
	return text, nil
}

// contradiction is the refusal of a document that does not go with the other one.
func contradiction(source string, err error) error {
	if source == fact.SourceAdmin && errors.Is(err, retention.ErrUnknownClass) {
		return &Error{Code: RetentionInvalid, Message: "the retention policies are invalid: " + lines(err)}
	}
	if source == fact.SourceConfiguration {
		return &Error{Code: Conflict, Message: "the retention policies of the configuration do not go with those that were set through the admin API: " +
			lines(err) + "; change the configuration, or start with the previous one and change those first"}
	}
	return &Error{Code: Conflict, Message: "the retention policies do not go with those of the configuration: " + lines(err)}
}

// lines puts several errors into one line.
func lines(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }

// said is a source with the text of its document.
type said struct {
	PolicySource
	text []byte
}

// readSources reads what the sources say, in the order of sources.
func readSources(v View) ([2]said, error) {
	var of [2]said
	all, err := v.Policies()
	if err != nil {
		return of, fmt.Errorf("read retention policies: %w", err)
	}
	for i, source := range sources {
		of[i].Source = source
		for _, p := range all {
			if p.Source != source {
				continue
			}
			of[i].Sequence, of[i].Time, of[i].text = p.Sequence, p.Time, p.Document
			if len(p.Document) == 0 {
				continue
			}
			if of[i].Document, err = retention.ParseDocument(p.Document); err != nil {
				return of, unreadable(p.Sequence, err)
			}
		}
	}
	return of, nil
}

// PoliciesInForce returns the retention policies of all sources.
func (r *Registry) PoliciesInForce(ctx context.Context) (*PoliciesInForce, error) {
	p := new(PoliciesInForce)
	err := r.ledger.Read(ctx, func(v View) error {
		of, err := readSources(v)
		if err != nil {
			return err
		}
		rules, err := r.book.rules(v)
		if err != nil {
			return err
		}
		preset, _, err := rules.Expiry("", v.Now())
		if err != nil {
			return fmt.Errorf("default retention class: %w", err)
		}
		*p = PoliciesInForce{Classes: rules.Classes(), Default: preset, Grace: retention.Term(rules.Grace()), rules: rules}
		for i := range of {
			if of[i].Sequence != 0 {
				e, err := v.Event(of[i].Sequence)
				if err != nil || e == nil {
					return fmt.Errorf("read event %d: %w", of[i].Sequence, err)
				}
				of[i].Actor, of[i].Reason = e.Actor, e.Reason()
			}
			p.Sources = append(p.Sources, of[i].PolicySource)
			for _, policy := range of[i].Document.Policies {
				p.Policies = append(p.Policies, PolicyInForce{of[i].Source, policy})
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// PolicyFor returns the policy that applies to a repository, which need not
// exist; nil if none does. NameInvalid.
func (r *Registry) PolicyFor(ctx context.Context, repository string) (*PolicyInForce, error) {
	if err := checkName(repository); err != nil {
		return nil, err
	}
	all, err := r.PoliciesInForce(ctx)
	if err != nil {
		return nil, err
	}
	policy := all.rules.For(repository)
	if policy == nil {
		return nil, nil
	}
	at := slices.IndexFunc(all.Policies, func(p PolicyInForce) bool { return p.Name == policy.Name })
	return &all.Policies[at], nil
}
