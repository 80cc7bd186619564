package harness

import (
	"encoding/json"
	"testing"
)

// ImportReport is what the verb import says with --json.
type ImportReport struct {
	Complete     bool        `json:"complete"`
	Repositories int         `json:"repositories"`
	Tags         ImportCount `json:"tags"`
	Manifests    ImportCount `json:"manifests"`
	Blobs        ImportCount `json:"blobs"`
	Bytes        int64       `json:"bytes"`
	Refused      []struct {
		Repository string   `json:"repository"`
		Tags       []string `json:"tags"`
		Digest     string   `json:"digest"`
		Reason     string   `json:"reason"`
	} `json:"refused"`
}

// ImportCount counts what an import met.
type ImportCount struct{ Copied, There, Refused int }

// Import runs the verb import with some arguments, and expects that all comes.
func Import(t testing.TB, args ...string) ImportReport {
	t.Helper()
	binary, err := Binary()
	Must(t, err)
	out := Tool{Path: binary}.Run(t, append([]string{"import", "--json"}, args...)...)
	var r ImportReport
	Must(t, json.Unmarshal([]byte(out), &r))
	if !r.Complete || len(r.Refused) > 0 {
		t.Fatalf("import %v: %s", args, out)
	}
	return r
}
