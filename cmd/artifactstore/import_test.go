package main_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// oneImage writes an OCI layout with one image without layers and returns the
// digest of its manifest.
func oneImage(t *testing.T, dir, name string) string {
	t.Helper()
	put := func(data string) (digest string) {
		sum := fmt.Sprintf("%x", sha256.Sum256([]byte(data)))
		layoutFile(t, filepath.Join(dir, "blobs/sha256", sum), data)
		return "sha256:" + sum
	}
	const manifestType = "application/vnd.oci.image.manifest.v1+json"
	manifest := fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":2},"layers":[]}`,
		manifestType, put("{}"))
	digest := put(manifest)
	layoutFile(t, filepath.Join(dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`)
	layoutFile(t, filepath.Join(dir, "index.json"), fmt.Sprintf(`{"schemaVersion":2,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"annotations":{"org.opencontainers.image.ref.name":%q}}]}`,
		manifestType, digest, len(manifest), name))
	return digest
}

func layoutFile(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestImportSaysHowItIsUsed(t *testing.T) {
	run(t, t.TempDir(), nil, "import", "--help").expect(t, 0, "artifactstore import --from /var/lib/registry", "--from layout --as team/app",
		"--from-registry https://registry.example.com --repo 'team/**'", "--data ./data", "docker login", "--dry-run")
	cases := []struct {
		args []string
		want string
	}{
		{nil, "--from FOLDER, or --from-registry URL"},
		{[]string{"--from", "a", "--from-registry", "b"}, "--from FOLDER, or --from-registry URL"},
		{[]string{"--from-registry", "a", "--as", "b"}, "a registry has names for all"},
		{[]string{"--from", "a", "--to", "http://localhost", "--data", "d"}, "choose one"},
		{[]string{"--from", "a", "--jobs", "0"}, "--jobs is from 1 to 64"},
	}
	for _, c := range cases {
		run(t, t.TempDir(), nil, append([]string{"import"}, c.args...)...).expect(t, 2, c.want)
	}
}

func TestImportIntoAStoppedStore(t *testing.T) {
	dir := t.TempDir()
	digest := oneImage(t, filepath.Join(dir, "layout"), "team/app:v1")

	run(t, dir, nil, "import", "--from", "layout", "--data", "d", "--dry-run").expect(t, 0, "team/app:v1 "+digest, "Would import 1 repository")
	if _, err := os.Stat(filepath.Join(dir, "d")); !os.IsNotExist(err) {
		t.Errorf("the dry run made the data folder: %v", err)
	}
	run(t, dir, nil, "import", "--from", "layout", "--data", "d").expect(t, 0,
		"importing from an OCI layout (layout)", "Imported 1 repository from an OCI layout (layout) to the store in d.")
	run(t, dir, nil, "events", "--data", "d", "--kind", "v1.tag.moved").expect(t, 0, "team/app")
	again := run(t, dir, nil, "import", "--from", "layout", "--data", "d", "--json")
	again.expect(t, 0)
	var report struct {
		Complete bool
		Tags     struct{ Copied, There int }
		Refused  []any
	}
	if err := json.Unmarshal([]byte(again.stdout), &report); err != nil {
		t.Fatalf("%v in %q", err, again.stdout)
	}
	if !report.Complete || report.Tags.There != 1 || report.Tags.Copied != 0 || report.Refused == nil {
		t.Errorf("the report of the second run is %+v", report)
	}
	run(t, dir, nil, "rebuild", "--data", "d", "--check").expect(t, 0, "rows equal")
}

func TestImportFailsWithAdvice(t *testing.T) {
	dir := t.TempDir()
	oneImage(t, filepath.Join(dir, "layout"), "v1")
	cases := []struct {
		name string
		args []string
		want string
	}{
		{"no server", []string{"--from", "layout", "--as", "app", "--to", "http://127.0.0.1:1"}, "artifactstore serve"},
		{"no name", []string{"--from", "layout"}, "name one with --as"},
		{"no such repository", []string{"--from", "layout", "--as", "app", "--data", "d", "--repo", "other"}, "none is chosen"},
		{"no source", []string{"--from", "layout/blobs"}, "is nothing that can be imported"},
		{"a pattern that is none", []string{"--from", "layout", "--as", "app", "--repo", ""}, "no pattern of repositories"},
		{"a host that would see everything", []string{"--from-registry", "http://registry.example.com"}, "--plain-http"},
		{"no registry", []string{"--from-registry", "http://127.0.0.1:1", "--data", "d"}, "does not answer"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := run(t, dir, nil, append([]string{"import"}, c.args...)...)
			r.expect(t, 1, c.want)
			if strings.Contains(r.stderr, "usage") {
				t.Error("it shows its usage")
			}
		})
	}
}
