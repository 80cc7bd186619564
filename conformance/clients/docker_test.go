package clients_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestDockerEngine builds an image from nothing, pushes it, removes it, pulls
// it and compares: by tag and by digest, with an engine of the test's own.
func TestDockerEngine(t *testing.T) {
	t.Parallel()
	docker := harness.StartDocker(t)
	s := harness.Start(t)
	tag := s.Host() + "/docker/hello:v1"
	context := filepath.Join(docker.Dir, "context")
	harness.Must(t, os.Mkdir(context, 0o700))
	write(t, context, "Dockerfile", []byte("FROM scratch\nCOPY payload /payload\nLABEL made=here\nCMD [\"/payload\"]\n"))
	write(t, context, "payload", harness.Random(1, 1<<20))

	docker.Run(t, "build", "-q", "-t", tag, context)
	built := imageID(t, docker, tag)
	docker.Run(t, "push", "-q", tag)
	digest, mediaType := served(t, s, "docker/hello", "v1")
	t.Logf("pushed %s of type %s", digest, mediaType)

	for _, reference := range []string{tag, s.Host() + "/docker/hello@" + digest} {
		docker.Run(t, "rmi", "-f", built)
		docker.Run(t, "pull", "-q", reference)
		if got := imageID(t, docker, reference); got != built {
			t.Errorf("pulled %s as image %s, pushed was %s", reference, got, built)
		}
		names := docker.Run(t, "inspect", "--format", "{{.RepoDigests}}", reference)
		if !strings.Contains(names, "@"+digest) {
			t.Errorf("the engine knows the pulled image as %s, the server as %s", names, digest)
		}
	}

	// The second push finds every layer there.
	again := s.Host() + "/docker/again:v1"
	docker.Run(t, "tag", built, again)
	docker.Run(t, "push", "-q", again)
	if other, _ := served(t, s, "docker/again", "v1"); other != digest {
		t.Errorf("the same image has the digest %s in another repository, %s here", other, digest)
	}
}

func imageID(t *testing.T, docker harness.Tool, reference string) string {
	t.Helper()
	return strings.TrimSpace(docker.Run(t, "inspect", "--format", "{{.Id}}", reference))
}
