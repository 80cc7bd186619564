package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

var policies = newTable("policies", "policies", 1, 0, nil,
	"source", "document", "sequence", "time")

func applyPolicies(_ *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	if f, ok := f.(*fact.PoliciesSet); ok {
		return []edit{policies.put(f.Source, string(f.Document), int64(e.Sequence), e.Time)}, nil
	}
	return nil, nil
}

func scanPolicies(r database.Rows) (registry.Policies, error) {
	return registry.Policies{Source: r.Text(0), Document: []byte(r.Text(1)), Sequence: eventlog.Sequence(r.Int(2)), Time: micro(r.Int(3))}, nil
}

// Policies implements registry.LifeView.
func (v *view) Policies() ([]registry.Policies, error) {
	return collect(v, scanPolicies, "SELECT source, document, sequence, time FROM policies ORDER BY source")
}
