package clients_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestDockerEngine builds an image from nothing, pushes it, removes it, pulls
// it and compares: by tag and by digest, with an engine of the test's own.
func TestDockerEngine(t *testing.T) {
	t.Parallel()
	docker := startEngine(t)
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

// startEngine starts a Docker engine without networks and returns its client.
// The engine ends with the test.
func startEngine(t *testing.T) harness.Tool {
	t.Helper()
	const why = "the Docker engine is one of the clients that must work"
	engine := harness.Need(t, "dockerd", why)
	docker := client(t, "docker", why)
	if os.Getuid() != 0 {
		harness.Skip(t, "not root: a Docker engine cannot be started")
	}
	// The second is slow and works on every file system.
	for _, driver := range []string{"overlay2", "vfs"} {
		dir, err := os.MkdirTemp("", "dockerd-") // short: a socket's path has a limit
		harness.Must(t, err)
		socket := "unix://" + filepath.Join(dir, "docker.sock")
		cmd := exec.Command(engine, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver="+driver,
			"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"-H", socket, "--pidfile", filepath.Join(dir, "docker.pid"))
		output, err := os.Create(filepath.Join(dir, "dockerd.log"))
		harness.Must(t, err)
		cmd.Stdout, cmd.Stderr = output, output
		harness.Must(t, cmd.Start())
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		t.Cleanup(func() { stopEngine(t, cmd, ended, output, dir) })
		// The classic builder needs no further process.
		answers := docker
		answers.Env = append(slices.Clone(docker.Env), "DOCKER_HOST="+socket, "DOCKER_BUILDKIT=0")
		if waitEngine(t, answers, ended) {
			return answers
		}
	}
	t.Fatal("the Docker engine ended at once")
	return docker
}

// waitEngine waits until the engine answers, and returns false if it ends instead.
func waitEngine(t *testing.T, docker harness.Tool, ended chan error) bool {
	t.Helper()
	const patience = 60 * time.Second
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if _, _, err := docker.Try("version"); err == nil {
			return true
		}
		select {
		case err := <-ended:
			ended <- err
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
	t.Fatalf("the Docker engine did not answer within %v", patience)
	return false
}

func stopEngine(t *testing.T, cmd *exec.Cmd, ended chan error, output *os.File, dir string) {
	const patience = 30 * time.Second
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Log(err)
	}
	select {
	case <-ended:
	case <-time.After(patience):
		t.Errorf("the Docker engine did not stop within %v: %v", patience, cmd.Process.Kill())
	}
	if err := output.Close(); err != nil {
		t.Error(err)
	}
	if log, err := os.ReadFile(output.Name()); t.Failed() && err == nil {
		t.Logf("the Docker engine's log:\n%.8000s", log)
	}
	// An engine leaves mounts: its folder if it failed, and the host's network
	// if a container used that.
	for _, mount := range []string{"exec/netns/default", "data"} {
		_ = syscall.Unmount(filepath.Join(dir, mount), 0) // it is there or not
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Error(err)
	}
}
