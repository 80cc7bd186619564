package watch_test

import (
	"encoding/json"
	"os"
	"regexp"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"go.yaml.in/yaml/v3"

	"artifactstore/conformance/harness"
)

// rules is a file of alerting rules, as Prometheus reads it.
type rules struct {
	Groups []struct {
		Name  string `yaml:"name"`
		Rules []rule `yaml:"rules"`
	} `yaml:"groups"`
}

type rule struct {
	Alert       string            `yaml:"alert"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func readRules(t *testing.T) []rule {
	t.Helper()
	file, err := os.Open("../../configs/prometheus-alerts.yaml")
	harness.Must(t, err)
	defer file.Close()
	decoder := yaml.NewDecoder(file)
	decoder.KnownFields(true)
	var all rules
	harness.Must(t, decoder.Decode(&all))
	var list []rule
	for _, group := range all.Groups {
		list = append(list, group.Rules...)
	}
	return list
}

// expressions returns every expression of the dashboard.
func expressions(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("../../configs/grafana-dashboard.json")
	harness.Must(t, err)
	var dashboard any
	harness.Must(t, json.Unmarshal(data, &dashboard))
	var found []string
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			for key, item := range v {
				if text, ok := item.(string); ok && (key == "expr" || key == "definition") {
					found = append(found, text)
				}
				walk(item)
			}
		case []any:
			for _, item := range v {
				walk(item)
			}
		}
	}
	walk(dashboard)
	return found
}

// names finds what could be the name of a metric in an expression, and the
// labels that it is selected or added up by.
var (
	names    = regexp.MustCompile(`\b(artifactstore|process|go)_[a-z0-9_]+`)
	selector = regexp.MustCompile(`\b((?:artifactstore|process|go)_[a-z0-9_]+)\{([^}]*)\}`)
	label    = regexp.MustCompile(`([a-z_]+)(?:=|!=|=~|!~)"`)
)

// check holds an expression to a scrape: its metrics are there, with the labels
// that it selects by, and its brackets close.
func check(t *testing.T, got scrape, where, expr string) {
	t.Helper()
	for _, name := range names.FindAllString(expr, -1) {
		if got.family(name) == nil {
			t.Errorf("%s: a scrape has no %s", where, name)
		}
	}
	for _, found := range selector.FindAllStringSubmatch(expr, -1) {
		for _, by := range label.FindAllStringSubmatch(found[2], -1) {
			if by[1] != "job" && by[1] != "instance" && !hasLabel(got.family(found[1]), by[1]) {
				t.Errorf("%s: %s has no label %s", where, found[1], by[1])
			}
		}
	}
	for _, pair := range []string{"()", "{}", "[]"} {
		if strings.Count(expr, pair[:1]) != strings.Count(expr, pair[1:]) {
			t.Errorf("%s: %q does not close its %s", where, expr, pair)
		}
	}
}

// family finds the family of a series: those of a histogram have a suffix.
func (s scrape) family(name string) *dto.MetricFamily {
	if f := s.families[name]; f != nil {
		return f
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, ok := strings.CutSuffix(name, suffix); ok && s.families[base].GetType() == dto.MetricType_HISTOGRAM {
			return s.families[base]
		}
	}
	return nil
}

func hasLabel(f *dto.MetricFamily, name string) bool {
	for _, m := range f.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == name {
				return true
			}
		}
	}
	return false
}

func TestAlertsAndDashboardUseMetricsThatExist(t *testing.T) {
	s := harness.Start(t)
	traffic(t, s.Client())
	got := scrapeOf(t, s)
	alerts, seen := readRules(t), map[string]bool{}
	for _, r := range alerts {
		check(t, got, "alert "+r.Alert, r.Expr)
		if seen[r.Alert] || r.Labels["severity"] == "" {
			t.Errorf("alert %s is there twice, or has no severity", r.Alert)
		}
		seen[r.Alert] = true
	}
	all := expressions(t)
	for _, expr := range all {
		check(t, got, "dashboard", expr)
	}
	if len(alerts) < 10 || len(all) < 30 {
		t.Errorf("found %d alerts and %d expressions of the dashboard", len(alerts), len(all))
	}
}

// Every alert says what to do, and where more is said.
func TestAlertsLeadToTheDocumentation(t *testing.T) {
	page, err := os.ReadFile("../../docs/operations.md")
	harness.Must(t, err)
	for _, r := range readRules(t) {
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("alert %s does not say what to do", r.Alert)
		}
		section, ok := strings.CutPrefix(r.Annotations["runbook"], "docs/operations.md, section ")
		if !ok || !strings.Contains(string(page), "\n## "+section+"\n") {
			t.Errorf("alert %s leads to %q, which is no section", r.Alert, r.Annotations["runbook"])
		}
		if !strings.Contains(string(page), "`"+r.Alert+"`") {
			t.Errorf("docs/operations.md does not have the alert %s", r.Alert)
		}
	}
}
