package registry_test

import (
	"strings"
	"testing"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/retention"
)

// operator is somebody who uses the admin API.
var operator = registry.Caller{Actor: "operator", Request: "r-2"}

// policies sets those of a source and returns the sequence of their event.
func (w *world) policies(t *testing.T, source, text string) uint64 {
	t.Helper()
	d, err := retention.ParseDocument([]byte(text))
	must(t, err)
	s, err := w.SetPolicies(t.Context(), operator, source, d, "because of a test")
	must(t, err)
	return uint64(s)
}

const ciPolicy = `{"policies":[{"name":"ci","repositories":["ci/**"],"class":"transient"}]}`

func TestPoliciesAreSetOnceAndKeptInTheLog(t *testing.T) {
	w := open(t, registry.Options{})
	first := w.policies(t, fact.SourceAdmin, ciPolicy)
	if first != 1 || w.policies(t, fact.SourceAdmin, ciPolicy) != 1 || head(t, w) != 1 {
		t.Fatalf("event %d, head %d", first, head(t, w))
	}
	if s, err := w.SetPolicies(t.Context(), registry.System, fact.SourceConfiguration, retention.Document{}, ""); err != nil || s != 0 || head(t, w) != 1 {
		t.Fatalf("a source that says nothing made event %d: %v", s, err)
	}
	second := w.policies(t, fact.SourceConfiguration, `{"policies":[{"name":"first","repositories":["ci/main"]}]}`)
	p, err := w.PoliciesInForce(t.Context())
	must(t, err)
	if len(p.Sources) != 2 || p.Sources[0].Sequence != 2 || second != 2 || p.Sources[1].Reason != "because of a test" || p.Sources[1].Actor != "operator" {
		t.Errorf("sources %+v", p.Sources)
	}
	if len(p.Policies) != 2 || p.Policies[0].Name != "first" || p.Policies[1].Source != fact.SourceAdmin ||
		p.Default != retention.PermanentRecord || p.Grace != retention.Week || p.Classes[retention.Transient] != retention.Week {
		t.Errorf("in force %+v", p)
	}
	for repository, want := range map[string]string{"ci/main": "first", "ci/other": "ci", "main": ""} {
		policy, err := w.PolicyFor(t.Context(), repository)
		must(t, err)
		if policy != nil {
			if policy.Name != want {
				t.Errorf("policy of %s: %s, want %s", repository, policy.Name, want)
			}
		} else if want != "" {
			t.Errorf("no policy of %s", repository)
		}
	}
	// Saying nothing again is an event too.
	if w.policies(t, fact.SourceAdmin, `{}`) != 3 {
		t.Error("the policies were not taken back")
	}
	if p, err := w.PoliciesInForce(t.Context()); err != nil || len(p.Policies) != 1 {
		t.Errorf("in force %+v, %v", p, err)
	}
}

func TestPoliciesThatContradictAreRefused(t *testing.T) {
	w := open(t, registry.Options{})
	w.policies(t, fact.SourceConfiguration, `{"classes":{"nightly":"3d"},"policies":[{"name":"ci","repositories":["ci/*"],"class":"nightly"}]}`)
	before := head(t, w)
	for name, c := range map[string]struct {
		text string
		code registry.Code
		says string
	}{
		"the name of a policy":   {ciPolicy, registry.Conflict, `policy "ci": the configuration has one of this name`},
		"the term of a class":    {`{"classes":{"nightly":"5d"}}`, registry.Conflict, "class nightly: the configuration says 3d"},
		"a class that is no one": {`{"policies":[{"name":"x","repositories":["x"],"class":"weekly"}]}`, registry.RetentionInvalid, `unknown retention class "weekly"`},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := retention.ParseDocument([]byte(c.text))
			must(t, err)
			_, err = w.SetPolicies(t.Context(), operator, fact.SourceAdmin, d, "a reason")
			if e := refused(t, err, c.code); !strings.Contains(e.Message, c.says) {
				t.Errorf("says %q", e.Message)
			}
		})
	}
	_, err := w.SetPolicies(t.Context(), operator, fact.SourceAdmin, retention.Document{Grace: 1}, "a reason")
	refused(t, err, registry.RetentionInvalid)
	_, err = w.SetPolicies(t.Context(), operator, "elsewhere", retention.Document{}, "a reason")
	refused(t, err, registry.RetentionInvalid)
	_, err = w.SetPolicies(t.Context(), operator, fact.SourceAdmin, retention.Document{}, "")
	refused(t, err, registry.ReasonInvalid)
	// What the admin API uses the configuration cannot take away.
	w.policies(t, fact.SourceAdmin, `{"policies":[{"name":"own","repositories":["own"],"class":"nightly"}]}`)
	_, err = w.SetPolicies(t.Context(), registry.System, fact.SourceConfiguration, retention.Document{}, "")
	if e := refused(t, err, registry.Conflict); !strings.Contains(e.Message, "admin API") || !strings.Contains(e.Message, "nightly") {
		t.Errorf("says %q", e.Message)
	}
	if head(t, w) != before+1 {
		t.Error("what was refused is in the log")
	}
}
