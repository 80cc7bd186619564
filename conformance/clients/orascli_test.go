package clients_test

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

const whyOras = "the oras command is one of the clients that must work"

// TestOrasCommand takes an artifact through everything that the oras command
// does with a registry.
func TestOrasCommand(t *testing.T) {
	t.Parallel()
	oras := harness.HomeTool(t, "oras", whyOras)
	s := harness.Start(t)
	repository := s.Host() + "/oras/hello"
	small, large := []byte("hello\n"), harness.Random(1, 300<<10)
	write(t, oras.Dir, "small.txt", small)
	write(t, oras.Dir, "large.bin", large)

	oras.Run(t, "push", "--plain-http", "--artifact-type", "application/vnd.example+type",
		"--annotation", "note=first", repository+":v1,latest", "small.txt:text/plain", "large.bin")

	t.Run("what was pushed comes back", func(t *testing.T) {
		oras.Run(t, "pull", "--plain-http", "-o", "out", repository+":latest")
		sameFile(t, filepath.Join(oras.Dir, "out", "small.txt"), small)
		sameFile(t, filepath.Join(oras.Dir, "out", "large.bin"), large)
	})
	t.Run("an attached artifact is discovered", func(t *testing.T) {
		write(t, oras.Dir, "signature.txt", []byte("signed"))
		oras.Run(t, "attach", "--plain-http", "--artifact-type", "application/vnd.example.signature",
			repository+":v1", "signature.txt:text/plain")
		found := orasReferrers(t, oras, repository+":v1")
		if want := []string{"application/vnd.example.signature"}; !slices.Equal(found, want) {
			t.Errorf("discovered %v, want %v", found, want)
		}
	})
	t.Run("tags are listed, and a new one added", func(t *testing.T) {
		oras.Run(t, "tag", "--plain-http", repository+":v1", "v2")
		got := strings.Fields(oras.Run(t, "repo", "tags", "--plain-http", repository))
		if want := []string{"latest", "v1", "v2"}; !slices.Equal(got, want) {
			t.Errorf("tags %v, want %v", got, want)
		}
	})
	t.Run("repositories are listed", func(t *testing.T) {
		got := strings.Fields(oras.Run(t, "repo", "ls", "--plain-http", s.Host()))
		if !slices.Contains(got, "oras/hello") {
			t.Errorf("repositories %v, want oras/hello among them", got)
		}
	})
	t.Run("a blob is pushed, fetched and deleted", func(t *testing.T) {
		blob := harness.Random(2, 100_000)
		write(t, oras.Dir, "blob", blob)
		named := repository + "@" + harness.SHA256(blob)
		oras.Run(t, "blob", "push", "--plain-http", named, "blob")
		oras.Run(t, "blob", "fetch", "--plain-http", "--output", "fetched", named)
		sameFile(t, filepath.Join(oras.Dir, "fetched"), blob)
		oras.Run(t, "blob", "delete", "--plain-http", "--force", named)
		if _, _, err := oras.Try("blob", "fetch", "--plain-http", "--output", "again", named); err == nil {
			t.Error("a deleted blob was fetched")
		}
	})
	t.Run("a manifest is deleted", func(t *testing.T) {
		write(t, oras.Dir, "other.txt", []byte("other"))
		oras.Run(t, "push", "--plain-http", repository+":gone", "other.txt")
		oras.Run(t, "manifest", "delete", "--plain-http", "--force", repository+":gone")
		if _, _, err := oras.Try("pull", "--plain-http", repository+":gone"); err == nil {
			t.Error("a deleted manifest was pulled")
		}
	})
}

// TestOrasCommandCopiesAnIndex copies an index with its manifests and their
// referrers between repositories of one server, which uses mounts.
func TestOrasCommandCopiesAnIndex(t *testing.T) {
	t.Parallel()
	oras := harness.HomeTool(t, "oras", whyOras)
	s := harness.Start(t)
	from, to := s.Host()+"/oras/from", s.Host()+"/oras/to/deep"
	for _, platform := range []string{"amd64", "arm64"} {
		write(t, oras.Dir, platform+".txt", []byte("for "+platform))
		oras.Run(t, "push", "--plain-http", "--artifact-platform", "linux/"+platform, from+":"+platform, platform+".txt")
	}
	oras.Run(t, "manifest", "index", "create", "--plain-http", from+":v1", "amd64", "arm64")
	write(t, oras.Dir, "sbom.json", []byte("{}"))
	oras.Run(t, "attach", "--plain-http", "--artifact-type", "application/vnd.example.sbom", from+":v1", "sbom.json")

	oras.Run(t, "cp", "--recursive", "--from-plain-http", "--to-plain-http", from+":v1", to+":v1")

	before, _ := served(t, s, "oras/from", "v1")
	after, mediaType := served(t, s, "oras/to/deep", "v1")
	if before != after || mediaType != harness.ImageIndex {
		t.Errorf("copied %s as %s of type %s", before, after, mediaType)
	}
	if found := orasReferrers(t, oras, to+":v1"); !slices.Equal(found, []string{"application/vnd.example.sbom"}) {
		t.Errorf("the copy has the referrers %v", found)
	}
	oras.Run(t, "pull", "--plain-http", "--platform", "linux/arm64", "-o", "out", to+":v1")
	sameFile(t, filepath.Join(oras.Dir, "out", "arm64.txt"), []byte("for arm64"))
}

// orasReferrers returns the artifact types of what refers to a manifest.
func orasReferrers(t *testing.T, oras harness.Tool, reference string) []string {
	t.Helper()
	out := oras.Run(t, "discover", "--plain-http", "--format", "json",
		"--distribution-spec", "v1.1-referrers-api", reference)
	var found struct {
		Referrers []struct {
			ArtifactType string `json:"artifactType"`
		} `json:"referrers"`
	}
	harness.Must(t, json.Unmarshal([]byte(out), &found))
	var types []string
	for _, r := range found.Referrers {
		types = append(types, r.ArtifactType)
	}
	return types
}
