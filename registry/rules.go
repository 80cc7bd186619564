package registry

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/retention"
)

// refused turns what a policy says into a refusal.
func refused(err error) error {
	var r *retention.Refusal
	if !errors.As(err, &r) {
		return err
	}
	e := &Error{Code: Denied, Message: r.Message}
	if r.Policy != "" {
		e.Detail = map[string]string{"policy": r.Policy}
	}
	return e
}

// ruleBook keeps the rules that were last combined: they change far less often
// than they are asked for.
type ruleBook struct{ last atomic.Pointer[combined] }

// combined are rules, and the texts of the documents they are made of. The events
// that set those do not tell rules apart: a decision sees what was decided before
// in its batch, and if that is never committed others get the same sequences.
type combined struct {
	of    [2]string
	rules retention.Rules
}

// rules returns the retention rules in force in a state.
func (b *ruleBook) rules(v View) (retention.Rules, error) {
	all, err := v.Policies()
	if err != nil {
		return retention.Rules{}, fmt.Errorf("read retention policies: %w", err)
	}
	var of [2]string
	var documents [2]retention.Document
	for i, source := range []string{fact.SourceConfiguration, fact.SourceAdmin} {
		if at := slices.IndexFunc(all, func(p Policies) bool { return p.Source == source }); at >= 0 {
			of[i] = string(all[at].Document)
		}
	}
	if last := b.last.Load(); last != nil && last.of == of {
		return last.rules, nil
	}
	for i, source := range []string{fact.SourceConfiguration, fact.SourceAdmin} {
		for _, p := range all {
			if p.Source != source || len(p.Document) == 0 {
				continue
			}
			if documents[i], err = retention.ParseDocument(p.Document); err != nil {
				return retention.Rules{}, unreadable(p.Sequence, err)
			}
		}
	}
	rules, err := retention.Combine(documents[0], documents[1])
	if err != nil {
		return retention.Rules{}, fmt.Errorf("retention policies: %w", err)
	}
	b.last.Store(&combined{of: of, rules: rules})
	return rules, nil
}

// unreadable says that policies in the log mean nothing to this version.
func unreadable(set eventlog.Sequence, err error) error {
	return fmt.Errorf("the retention policies of event %d cannot be read; if a later version set them, use that one: %w", set, err)
}
