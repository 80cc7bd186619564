package registry

import (
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// factOf decodes what an event says.
func factOf(e *eventlog.Event) (fact.Fact, error) {
	f := fact.New(string(e.Kind))
	if f == nil {
		return nil, fmt.Errorf("event %d: kind %q is unknown to this version", e.Sequence, e.Kind)
	}
	if err := e.Decode(f); err != nil {
		return nil, err
	}
	return f, nil
}
