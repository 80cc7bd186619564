package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestDockerEngineFindsWhatWasImported: it pushed to distribution, whose store
// is imported, and it saved an archive, which is imported too. What it pulls from
// the server has the digest, and is the image, that it pushed.
func TestDockerEngineFindsWhatWasImported(t *testing.T) {
	t.Parallel()
	old := harness.StartDistribution(t)
	docker := harness.StartDocker(t)
	context := filepath.Join(docker.Dir, "context")
	harness.Must(t, os.Mkdir(context, 0o700))
	write(t, context, "Dockerfile", []byte("FROM scratch\nCOPY first /first\nCOPY second /second\n"))
	write(t, context, "first", harness.Random(1, 1<<20))
	write(t, context, "second", harness.Random(2, 10_000))
	tag, archive := old.Host+"/team/hello:v1", filepath.Join(docker.Dir, "saved.tar")
	docker.Run(t, "build", "-q", "-t", tag, context)
	built := imageID(t, docker, tag)
	docker.Run(t, "push", "-q", tag)
	docker.Run(t, "tag", built, "registry.example.com/saved/hello:v2")
	docker.Run(t, "save", "-o", archive, "registry.example.com/saved/hello:v2")
	pushed := strings.TrimSpace(docker.Run(t, "inspect", "--format", "{{index .RepoDigests 0}}", tag))
	_, digest, _ := strings.Cut(pushed, "@")
	old.Stop(t)

	s := harness.Start(t)
	harness.Import(t, "--from", old.Dir, "--to", s.URL())
	harness.Import(t, "--from", archive, "--to", s.URL())
	if got, _ := served(t, s, "team/hello", "v1"); got != digest {
		t.Errorf("imported %s, the engine pushed %s", got, digest)
	}
	docker.Run(t, "rmi", "-f", built)
	for _, reference := range []string{"/team/hello:v1", "/team/hello@" + digest, "/saved/hello:v2"} {
		docker.Run(t, "pull", "-q", s.Host()+reference)
		if got := imageID(t, docker, s.Host()+reference); got != built {
			t.Errorf("pulled %s as image %s, built was %s", reference, got, built)
		}
		docker.Run(t, "rmi", "-f", built)
	}
}
