package retention_test

import (
	"testing"
	"time"

	"artifactstore/retention"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return noon.Add(d) }

// document reads a document that is valid.
func document(t *testing.T, text string) retention.Document {
	t.Helper()
	d, err := retention.ParseDocument([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// combine makes rules of documents that agree.
func combine(t *testing.T, config, admin retention.Document) retention.Rules {
	t.Helper()
	rules, err := retention.Combine(config, admin)
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func TestShippedRulesKeepEverything(t *testing.T) {
	rules := retention.Shipped()
	class, end, err := rules.Expiry("", noon)
	if class != retention.PermanentRecord || !end.IsZero() || err != nil {
		t.Errorf("Expiry of the default class: %s, %s, %v", class, end, err)
	}
	if rules.Grace() != 7*day || rules.For("any/thing") != nil {
		t.Errorf("grace %s, policy %v", rules.Grace(), rules.For("any/thing"))
	}
}

func TestShippedClassesAreTheCallers(t *testing.T) {
	mine := retention.Shipped().Classes()
	mine["nightly"] = retention.Week
	if _, ok := retention.Shipped().Classes()["nightly"]; ok {
		t.Error("a class added to one copy appears in another")
	}
}
