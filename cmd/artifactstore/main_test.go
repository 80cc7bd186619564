package main_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

// binary is the program under test, built by TestMain as `make build` does.
var binary string

func TestMain(m *testing.M) {
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("", "artifactstore-cmd-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "artifactstore")
	build := exec.Command("go", "build", "-o", binary, "-ldflags", "-X main.version=1.2.3-test -X main.commit=abc123", ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

// command prepares a run of the program in a folder of its own, with an
// environment that holds nothing of the program's but what env adds.
func command(t *testing.T, dir string, env []string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Dir = dir
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, config.EnvPrefix) && !strings.HasPrefix(v, "OTEL_") {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	return cmd
}

// result is what a finished run left.
type result struct {
	stdout, stderr string
	code           int
}

// run runs the program to its end.
func run(t *testing.T, dir string, env []string, args ...string) result {
	t.Helper()
	cmd := command(t, dir, env, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); err != nil && !ok {
		t.Fatalf("%v: %v", args, err)
	} else if ok && exit.ExitCode() < 0 {
		t.Fatalf("%v: %v\n%s", args, err, &stderr)
	}
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// expect checks the code of a run, and that its output holds all of the texts.
func (r result) expect(t *testing.T, code int, texts ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("exit code %d, want %d", r.code, code)
	}
	for _, text := range texts {
		if !strings.Contains(r.stdout+r.stderr, text) {
			t.Errorf("%q is missing", text)
		}
	}
	if t.Failed() {
		t.Logf("stdout:\n%s\nstderr:\n%s", r.stdout, r.stderr)
	}
}

func TestVersionSaysWhatWasBuilt(t *testing.T) {
	r := run(t, t.TempDir(), nil, "version")
	r.expect(t, 0)
	if !regexp.MustCompile(`^version   1\.2\.3-test\ncommit    abc123\ngo        go1\.\S+\nplatform  \w+/\w+\n$`).MatchString(r.stdout) {
		t.Errorf("got %q", r.stdout)
	}
}

func TestHelpIsEnoughToGetGoing(t *testing.T) {
	run(t, t.TempDir(), nil).expect(t, 0, "artifactstore serve", "oras push --plain-http localhost:5000/demo:v1")
	run(t, t.TempDir(), nil, "--help").expect(t, 0, "serve", "import", "events", "rebuild", "migrate", "config", "healthcheck", "version", "completion")
	serve := run(t, t.TempDir(), nil, "serve", "--help")
	serve.expect(t, 0, "--listen ADDRESS", `(default "127.0.0.1:5000")`,
		"--data FOLDER", `(default "./data")`, "--config FILE", "--insecure-no-auth", "--log-format FORMAT",
		"oras pull", "docker push", "artifactstore tag history ", "no accounts yet", "config show", "docs/quickstart.md", "docs/operations.md")
	if lines := strings.Count(serve.stdout, "\n"); lines > 42 {
		t.Errorf("the help of serve has %d lines, which is more than a screen", lines)
	}
	for _, key := range []string{"tls.cert", "tls.key", "storage.min_free", "delete.enabled", "log.level"} {
		if _, ok := config.Lookup(key); !ok || !strings.Contains(serve.stdout, key) {
			t.Errorf("the help of serve does not name %s, or there is no such key", key)
		}
	}
	run(t, t.TempDir(), nil, "completion", "bash").expect(t, 0, "__start_artifactstore")
}

func TestWrongCommandLinesExitWith2(t *testing.T) {
	cases := []struct {
		args []string
		want string
	}{
		{[]string{"sevre"}, `artifactstore has no command "sevre"; did you mean serve?`},
		{[]string{"config", "shwo"}, `artifactstore config has no command "shwo"; did you mean show?`},
		{[]string{"serve", "now"}, `unexpected argument "now"`},
		{[]string{"serve", "--lisen", "x"}, "unknown flag: --lisen"},
		{[]string{"serve", "--insecure-no-auth=perhaps"}, "invalid argument"},
		{[]string{"config", "check", "a", "b"}, `unexpected argument "b"`},
		{[]string{"events", "--after", "-1"}, "a cursor is LOG:SEQUENCE:CHAIN"},
		{[]string{"version", "--yaml"}, "unknown flag"},
		{[]string{"backup"}, "--to: name the folder of the copy"},
		{[]string{"backup", "--to", "copy", "now"}, `unexpected argument "now"`},
		{[]string{"healthcheck", "--timeout", "soon"}, "invalid argument"},
		{[]string{"digest", "show", ""}, "DIGEST is missing"},
		{[]string{"events", "--kind", ""}, "--kind names no kind"},
	}
	for _, c := range cases {
		t.Run(strings.Join(c.args, " "), func(t *testing.T) {
			run(t, t.TempDir(), nil, c.args...).expect(t, 2, c.want, "--help' for usage.")
		})
	}
}

func TestConfigCheckNamesLines(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "bad.yaml"), "listen: 127.0.0.1:1\nlog:\n  levle: info\n  format: xml\n")
	writeFile(t, filepath.Join(dir, "good.yaml"), "listen: 127.0.0.1:1\n")
	writeFile(t, filepath.Join(dir, "open.yaml"), "listen: 0.0.0.0:5000\n")

	for _, args := range [][]string{{"config", "check", "bad.yaml"}, {"config", "check", "--config", "bad.yaml"}, {"serve", "--config", "bad.yaml"}} {
		run(t, dir, nil, args...).expect(t, 1, "bad.yaml:3: log.levle: unknown key; did you mean log.level?",
			`bad.yaml:4: log.format: "xml" is not a log format`)
	}
	run(t, dir, []string{"ARTIFACTSTORE_CONFIG=bad.yaml"}, "serve").expect(t, 1, "bad.yaml:3")
	run(t, dir, nil, "config", "check", "good.yaml").expect(t, 0, "The configuration is valid.")
	run(t, dir, nil, "config", "check", "open.yaml").expect(t, 1, "refusing to listen on 0.0.0.0:5000")
	run(t, dir, nil, "config", "check", "open.yaml", "--insecure-no-auth").expect(t, 0)
	run(t, dir, nil, "config", "check", "none.yaml").expect(t, 1, "none.yaml")
	run(t, dir, []string{"ARTIFACTSTORE_TLS_CERT=no.crt", "ARTIFACTSTORE_TLS_KEY=no.key"}, "config", "check").expect(t, 1, "load tls.cert and tls.key: open no.crt")
	run(t, dir, []string{"ARTIFACTSTORE_LISTN=x"}, "serve").expect(t, 1,
		"ARTIFACTSTORE_LISTN: unknown environment variable; did you mean ARTIFACTSTORE_LISTEN?")
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a data folder was made in spite of the errors")
	}
}

func TestConfigShowNamesSources(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "store.yaml"), "listen: 127.0.0.1:1\ndata: file\n")
	r := run(t, dir, []string{"ARTIFACTSTORE_LISTEN=127.0.0.1:2", "ARTIFACTSTORE_LOG_LEVEL=warn"},
		"config", "show", "--config", "store.yaml", "--listen", "127.0.0.1:3")
	r.expect(t, 0, "listen: 127.0.0.1:3 # --listen\n", "data: file # store.yaml:2\n",
		"  level: warn # ARTIFACTSTORE_LOG_LEVEL\n", "  timeout: 30s # default\n")
	writeFile(t, filepath.Join(dir, "shown.yaml"), r.stdout)
	run(t, dir, nil, "config", "check", "shown.yaml").expect(t, 0)
}

func TestConfigSchemaIsPrinted(t *testing.T) {
	run(t, t.TempDir(), nil, "config", "schema").expect(t, 0, `"$schema"`, `"header_size"`)
}

func TestServeRefusesToBeReachableWithoutSayingSo(t *testing.T) {
	for _, listen := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:5000", "example.org:5000"} {
		dir := t.TempDir()
		run(t, dir, nil, "serve", "--listen", listen).expect(t, 1,
			"refusing to listen on "+listen, "--insecure-no-auth", "Listen on 127.0.0.1:5000 (--listen)")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%s: left %v (%v)", listen, entries, err)
		}
	}
}

func TestCommandsThatNeedAStoreSaySo(t *testing.T) {
	for _, args := range [][]string{{"events", "--data", "./data"}, {"repo", "list", "--data", "./data"}, {"rebuild"}, {"rebuild", "--check"}, {"migrate"},
		{"backup", "--to", "copy"}} {
		dir := t.TempDir()
		run(t, dir, nil, args...).expect(t, 1, "there is no store in ./data: name its folder with --data")
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
			t.Errorf("%v: left %v (%v)", args, entries, err)
		}
	}
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
