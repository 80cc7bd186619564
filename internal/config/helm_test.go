package config_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

const chartSchema = "../../configs/helm/artifactstore/values.schema.json"

// ofTheChart are the keys that the Helm chart sets by itself, or that would put a
// secret into a ConfigMap.
var ofTheChart = []string{"listen", "data", "admin.listen", "admin.hosts", "tls.cert", "tls.key", "node.name", "database.dsn",
	"database.dsn_file", "s3.access_key_id_file", "s3.secret_access_key_file", "s3.spool"}

// TestChartTakesEveryOtherKey: below config the values of the chart take every key
// of the configuration but its own, and a typing error is found before an install.
func TestChartTakesEveryOtherKey(t *testing.T) {
	text, err := os.ReadFile(chartSchema)
	if err != nil {
		t.Fatal(err)
	}
	var chart, all map[string]any
	if err := json.Unmarshal(text, &chart); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(config.Schema(), &all); err != nil {
		t.Fatal(err)
	}
	delete(all, "$schema")
	keys := all["properties"].(map[string]any)
	for _, name := range ofTheChart {
		section, leaf, nested := strings.Cut(name, ".")
		in := keys
		if nested {
			in = keys[section].(map[string]any)["properties"].(map[string]any)
		} else {
			leaf = section
		}
		if in[leaf] == nil {
			t.Errorf("there is no key %s", name)
		}
		delete(in, leaf)
		if nested && len(in) == 0 {
			delete(keys, section)
		}
	}
	// Several nodes share a database and a bucket.
	for section, driver := range map[string]string{"database": "postgres", "storage": "s3"} {
		keys[section].(map[string]any)["properties"].(map[string]any)["driver"] = map[string]any{"const": driver}
	}
	chart["properties"].(map[string]any)["config"] = all
	var want bytes.Buffer
	encoder := json.NewEncoder(&want)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(chart); err != nil {
		t.Fatal(err)
	}
	golden(t, chartSchema, want.Bytes())
}
