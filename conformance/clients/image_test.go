package clients_test

import (
	"encoding/json"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// TestContainerImage builds the image of the server as `make image` does, sends
// it through a registry and runs what came back: in a container where the machine
// can run one, and, everywhere, in a folder with the image's files, as the user
// and with the environment that the image names.
func TestContainerImage(t *testing.T) {
	t.Parallel()
	docker := harness.StartDocker(t)
	s := harness.Start(t)
	tag := s.Host() + "/artifactstore:v1"
	buildImage(t, docker, tag)
	built := imageID(t, docker, tag)
	docker.Run(t, "push", "-q", tag)
	digest, _ := served(t, s, "artifactstore", "v1")
	docker.Run(t, "rmi", "-f", built)
	docker.Run(t, "pull", "-q", tag)
	names := docker.Run(t, "inspect", "--format", "{{.Id}} {{.RepoDigests}} {{.Size}}", tag)
	if !strings.Contains(names, built) || !strings.Contains(names, "@"+digest) {
		t.Errorf("pushed was %s of digest %s, pulled is %s", built, digest, names)
	}

	t.Run("in a container", func(t *testing.T) {
		if _, all, err := docker.Try("run", "--rm", "--network=none", tag, "version"); err != nil {
			t.Logf("no container can run here, so the image runs in a folder alone: %v: %s", err, all)
			return
		}
		runImage(t, &containers{docker: docker, image: tag})
		runIsolated(t, docker, tag)
	})
	t.Run("in a folder", func(t *testing.T) {
		u := unpack(t, docker, tag)
		runWithForeignData(t, u)
		runImage(t, u)
	})
}

func buildImage(t *testing.T, docker harness.Tool, name string) {
	t.Helper()
	binary, err := harness.Binary()
	harness.Must(t, err)
	script, err := filepath.Abs("../../scripts/image")
	harness.Must(t, err)
	build := harness.Tool{Path: script, Dir: docker.Dir, Env: append(docker.Env, "VERSION=1.2.3", "COMMIT=abc")}
	build.Run(t, binary, name)
}

// place is where the image's program can run.
type place interface {
	// start runs the image's program with arguments in place of the image's
	// own, if there are any, and with additions to its environment.
	start(t *testing.T, env []string, args ...string) process
}

// process is a running program of the image.
type process interface {
	// healthy tells whether the health check that the image names passes, which
	// may have to be asked more than once.
	healthy(t *testing.T) bool
	// data is the folder, on this machine, that the program sees as /data.
	data(t *testing.T) string
	// stop sends the signal that the image names.
	stop(t *testing.T)
	// wait returns the exit code, and all that was printed.
	wait(t *testing.T) (code int, printed string)
}

// runImage holds the image to its promises.
func runImage(t *testing.T, p place) {
	code, printed := p.start(t, nil).wait(t)
	if code != 1 || !strings.Contains(printed, "refusing to listen on 0.0.0.0:5000") || !strings.Contains(printed, "--insecure-no-auth") {
		t.Errorf("as it is, the image ends with %d, and says: %s", code, printed)
	}

	address := freeAddress(t)
	running := p.start(t, []string{"ARTIFACTSTORE_LISTEN=" + address, "ARTIFACTSTORE_ADMIN_LISTEN=off"}, "serve", "--insecure-no-auth")
	waitFor(t, "the health check to pass", func() bool { return running.healthy(t) })
	client := harness.NewClient("http://" + address)
	defer client.Close()
	image := harness.NewImage(1, 2, 100_000)
	harness.Must(t, image.Push(t.Context(), client, "in/image", "v1"))
	reply, err := client.Get(t.Context(), "/v2/in/image/manifests/v1")
	harness.Must(t, err)
	if harness.SHA256(reply.Body) != image.Digest {
		t.Errorf("pushed %s, pulled %d: %s", image.Digest, reply.Status, reply.Body)
	}
	owned(t, running.data(t), 65532)
	running.stop(t)
	if code, printed := running.wait(t); code != 0 {
		t.Errorf("stopped with exit code %d: %s", code, printed)
	}
}

// runIsolated runs the image with its own settings, on every address of a
// network of its own.
func runIsolated(t *testing.T, docker harness.Tool, image string) {
	id := strings.TrimSpace(docker.Run(t, "run", "-d", "--network=none", "--read-only", "--tmpfs=/tmp", "--cap-drop=ALL",
		"--security-opt=no-new-privileges", image, "serve", "--insecure-no-auth"))
	waitFor(t, "the store to be ready", func() bool {
		_, _, err := docker.Try("exec", id, "/artifactstore", "healthcheck")
		return err == nil
	})
	docker.Run(t, "exec", id, "/artifactstore", "rebuild", "--check") // writes to /tmp
	docker.Run(t, "stop", id)
	if code := strings.TrimSpace(docker.Run(t, "wait", id)); code != "0" {
		t.Errorf("stopped with exit code %s", code)
	}
}

// runWithForeignData runs the image with a folder for its data that belongs to
// root, as one does that is mounted without preparation.
func runWithForeignData(t *testing.T, u *unpacked) {
	data := filepath.Join(u.root, "data")
	harness.Must(t, os.Chown(data, 0, 0))
	code, printed := u.start(t, nil, "serve", "--insecure-no-auth").wait(t)
	if code != 1 || !strings.Contains(printed, "chown -R 65532:65532 /data") {
		t.Errorf("with data of another user the image ends with %d, and says: %s", code, printed)
	}
	harness.Must(t, os.Chown(data, 65532, 65532))
	code, printed = u.start(t, []string{"ARTIFACTSTORE_DATA=/elsewhere"}, "serve", "--insecure-no-auth").wait(t)
	if code != 1 || !strings.Contains(printed, "install -d -o 65532 -g 65532 /elsewhere") {
		t.Errorf("where it cannot make a folder for its data the image ends with %d, and says: %s", code, printed)
	}
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	const patience = 30 * time.Second
	for deadline := time.Now().Add(patience); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited %v for %s", patience, what)
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// freeAddress returns an address on loopback that is free now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	harness.Must(t, l.Close())
	return l.Addr().String()
}

// owned fails the test unless everything in a folder belongs to a user, and
// there is a store in it.
func owned(t *testing.T, dir string, user uint32) {
	t.Helper()
	files := 0
	harness.Must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		files++
		if stat := info.Sys().(*syscall.Stat_t); stat.Uid != user || stat.Gid != user {
			t.Errorf("%s belongs to %d:%d, not to %d", path, stat.Uid, stat.Gid, user)
		}
		return nil
	}))
	if _, err := os.Stat(filepath.Join(dir, "artifactstore.db")); err != nil || files < 5 {
		t.Errorf("%d files in %s: %v", files, dir, err)
	}
}

// containers run the image with an engine.
type containers struct {
	docker harness.Tool
	image  string
}

func (c *containers) start(t *testing.T, env []string, args ...string) process {
	t.Helper()
	run := []string{"run", "-d", "--network=host", "--health-interval=200ms"}
	for _, v := range env {
		run = append(run, "-e", v)
	}
	id := strings.TrimSpace(c.docker.Run(t, append(append(run, c.image), args...)...))
	return &container{docker: c.docker, id: id}
}

type container struct {
	docker harness.Tool
	id     string
}

func (c *container) inspect(t *testing.T, format string) string {
	t.Helper()
	return strings.TrimSpace(c.docker.Run(t, "inspect", "--format", format, c.id))
}

func (c *container) healthy(t *testing.T) bool {
	return c.inspect(t, "{{.State.Health.Status}}") == "healthy"
}

func (c *container) data(t *testing.T) string {
	return c.inspect(t, `{{range .Mounts}}{{if eq .Destination "/data"}}{{.Source}}{{end}}{{end}}`)
}

func (c *container) stop(t *testing.T) { c.docker.Run(t, "stop", c.id) }

func (c *container) wait(t *testing.T) (code int, printed string) {
	t.Helper()
	code, err := strconv.Atoi(strings.TrimSpace(c.docker.Run(t, "wait", c.id)))
	harness.Must(t, err)
	_, printed, err = c.docker.Try("logs", c.id)
	harness.Must(t, err)
	return code, printed
}

// unpacked is the image's files in a folder, and what it says of its program.
type unpacked struct {
	root   string
	config struct {
		User            string
		Env             []string
		Entrypoint, Cmd []string
		Healthcheck     struct{ Test []string }
		StopSignal      string
	}
}

// unpack brings the image into a folder.
func unpack(t *testing.T, docker harness.Tool, image string) *unpacked {
	t.Helper()
	u := &unpacked{root: filepath.Join(t.TempDir(), "root")}
	harness.Must(t, json.Unmarshal([]byte(docker.Run(t, "inspect", "--format", "{{json .Config}}", image)), &u.config))
	id := strings.TrimSpace(docker.Run(t, "create", image))
	docker.Run(t, "export", "-o", u.root+".tar", id)
	harness.Must(t, os.Mkdir(u.root, 0o755))
	harness.Tool{Path: harness.Need(t, "tar", "it keeps the owners of files")}.Run(t,
		"--extract", "--preserve-permissions", "--numeric-owner", "--file", u.root+".tar", "--directory", u.root)
	if u.config.User != "65532:65532" || u.config.StopSignal != "SIGTERM" || len(u.config.Healthcheck.Test) < 2 || u.config.Healthcheck.Test[0] != "CMD" {
		t.Fatalf("the image's configuration is %+v", u.config)
	}
	// The engine's own user may be the only one who can reach the folder.
	for dir := u.root; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		harness.Must(t, os.Chmod(dir, 0o755))
	}
	return u
}

// command prepares a program of the image.
func (u *unpacked) command(env []string, args ...string) *exec.Cmd {
	const user = 65532
	return &exec.Cmd{Path: args[0], Args: args, Dir: "/", Env: append(append([]string{}, u.config.Env...), env...),
		SysProcAttr: &syscall.SysProcAttr{Chroot: u.root, Credential: &syscall.Credential{Uid: user, Gid: user}}}
}

func (u *unpacked) start(t *testing.T, env []string, args ...string) process {
	t.Helper()
	if len(args) == 0 {
		args = u.config.Cmd
	}
	p := &chrooted{image: u, env: env, cmd: u.command(env, append(append([]string{}, u.config.Entrypoint...), args...)...)}
	p.cmd.Stdout, p.cmd.Stderr = &p.printed, &p.printed
	harness.Must(t, p.cmd.Start())
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil { // the test failed before it waited
			_ = p.cmd.Process.Kill()
			p.wait(t)
			t.Logf("the program of the image printed:\n%s", p.printed.String())
		}
	})
	return p
}

// chrooted is a program that has the image's folder for its root.
type chrooted struct {
	image   *unpacked
	env     []string
	cmd     *exec.Cmd
	printed strings.Builder // read after the program has ended
}

func (p *chrooted) healthy(*testing.T) bool {
	return p.image.command(p.env, p.image.config.Healthcheck.Test[1:]...).Run() == nil
}

func (p *chrooted) data(*testing.T) string { return filepath.Join(p.image.root, "data") }

func (p *chrooted) stop(t *testing.T) {
	t.Helper()
	harness.Must(t, p.cmd.Process.Signal(syscall.SIGTERM))
}

func (p *chrooted) wait(*testing.T) (code int, printed string) {
	_ = p.cmd.Wait() // the exit code says it
	return p.cmd.ProcessState.ExitCode(), p.printed.String()
}
