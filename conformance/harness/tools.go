package harness

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"
)

// RequireVariable names the environment variable that, with the value "all",
// turns every skipped test into a failure.
const RequireVariable = "REQUIRE"

// Skip skips the test with a reason, or fails it where nothing may be skipped.
func Skip(t testing.TB, reason string) {
	t.Helper()
	if os.Getenv(RequireVariable) == "all" {
		t.Fatalf("required, but cannot run: %s", reason)
	}
	t.Skip(reason)
}

// Need returns the path of a tool, or skips the test because of why it is needed.
func Need(t testing.TB, tool, why string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		Skip(t, tool+" is not in PATH: "+why)
	}
	return path
}

// Tool is a command line client in an environment of its own.
type Tool struct {
	Path string
	Dir  string   // working folder; empty for that of the test
	Env  []string // added to the environment
}

// HomeTool returns a command line client with a home of its own, which is also
// its working folder, so that it neither reads nor leaves anything of the user's.
// Without the tool it skips the test because of why it is needed.
func HomeTool(t testing.TB, name, why string) Tool {
	t.Helper()
	home := t.TempDir()
	return Tool{Path: Need(t, name, why), Dir: home, Env: []string{"HOME=" + home, "DOCKER_CONFIG=" + home}}
}

// toolTimeout bounds one call of a tool.
const toolTimeout = 2 * time.Minute

// Run runs the tool and returns what it printed on standard output. Any
// failure fails the test with all that was printed.
func (tool Tool) Run(t testing.TB, args ...string) string {
	t.Helper()
	out, all, err := tool.Try(args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool.Path, strings.Join(args, " "), err, all)
	}
	return out
}

// Try runs the tool and returns what it printed on standard output, what it
// printed in all, and whether it failed.
func (tool Tool) Try(args ...string) (out, all string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), toolTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool.Path, args...)
	cmd.Dir = tool.Dir
	cmd.Env = append(quietEnvironment(), tool.Env...)
	var stdout, both buffer
	cmd.Stdout = io.MultiWriter(&stdout, &both)
	cmd.Stderr = &both
	err = cmd.Run()
	return stdout.String(), both.String(), err
}

// buffer is what a process printed. It is safe for concurrent use: standard
// output and standard error are copied by two goroutines.
type buffer struct {
	mu    sync.Mutex
	bytes bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bytes.String()
}

// quietEnvironment is the process's environment without proxies, so that
// traffic to 127.0.0.1 stays there, and without settings of the server, so that
// it has those of the test alone.
func quietEnvironment() []string {
	var env []string
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasSuffix(strings.ToLower(name), "_proxy") || strings.HasPrefix(name, "ARTIFACTSTORE_") ||
			strings.HasPrefix(name, "OTEL_") {
			continue
		}
		env = append(env, v)
	}
	return env
}

// Command prepares a run of a verb of the binary, to be started by the caller.
func Command(t testing.TB, verb string, args ...string) *exec.Cmd {
	t.Helper()
	binary, err := Binary()
	Must(t, err)
	cmd := exec.Command(binary, append([]string{verb}, args...)...)
	cmd.Env = quietEnvironment()
	return cmd
}
