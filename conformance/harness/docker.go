package harness

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// StartDocker starts a Docker engine without networks and returns its client.
// The engine ends with the test.
func StartDocker(t testing.TB) Tool {
	t.Helper()
	const why = "the Docker engine is one of the clients that must work"
	engine := Need(t, "dockerd", why)
	docker := HomeTool(t, "docker", why)
	if os.Getuid() != 0 {
		Skip(t, "not root: a Docker engine cannot be started")
	}
	// The second is slow and works on every file system.
	for _, driver := range []string{"overlay2", "vfs"} {
		dir, err := os.MkdirTemp("", "dockerd-") // short: a socket's path has a limit
		Must(t, err)
		socket := "unix://" + filepath.Join(dir, "docker.sock")
		cmd := exec.Command(engine, "--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver="+driver,
			"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"),
			"-H", socket, "--pidfile", filepath.Join(dir, "docker.pid"))
		output, err := os.Create(filepath.Join(dir, "dockerd.log"))
		Must(t, err)
		cmd.Stdout, cmd.Stderr = output, output
		Must(t, cmd.Start())
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
func waitEngine(t testing.TB, docker Tool, ended chan error) bool {
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

func stopEngine(t testing.TB, cmd *exec.Cmd, ended chan error, output *os.File, dir string) {
	const patience = 30 * time.Second
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Log(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Logf("the Docker engine ended with %v", err)
		}
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
