package registry

import (
	"testing"

	"artifactstore/registry/fact"
)

// saying is a view in which event 1 has set the policies of the admin API.
type saying struct {
	View
	document string
}

func (v saying) Policies() ([]Policies, error) {
	return []Policies{{Source: fact.SourceAdmin, Document: []byte(v.document), Sequence: 1}}, nil
}

// TestRulesThatWereNeverCommittedAreForgotten: a decision has seen policies of a batch
// that failed, and others were set by an event of the same sequence.
func TestRulesThatWereNeverCommittedAreForgotten(t *testing.T) {
	var book ruleBook
	for _, name := range []string{"lost", "set"} {
		rules, err := book.rules(saying{document: `{"policies":[{"name":"` + name + `","repositories":["**"]}]}`})
		if err != nil {
			t.Fatal(err)
		}
		if p := rules.For("a"); p == nil || p.Name != name {
			t.Errorf("the policy is %+v, want %s", p, name)
		}
	}
}
