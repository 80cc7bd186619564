package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// prepare makes a command in the root of the repository, without standard input.
// When ctx ends it is asked to stop, and killed if it does not.
func (r *runner) prepare(ctx context.Context, env []string, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, r.find(name), args...)
	cmd.Dir = r.root
	cmd.Env = r.environment(env...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = 10 * time.Second
	return cmd
}

// find prefers a tool of .tools/bin to the PATH of this process.
func (r *runner) find(name string) string {
	tool := filepath.Join(r.root, ".tools", "bin", name)
	if _, err := os.Stat(tool); err == nil {
		return tool
	}
	return name
}

// command runs a command. What it printed is part of the error if it failed, and
// is not shown otherwise.
func (r *runner) command(ctx context.Context, env []string, name string, args ...string) error {
	out, err := r.prepare(ctx, env, name, args...).CombinedOutput()
	if err != nil {
		return commandError(name, args, err, quiet(out))
	}
	return nil
}

// patiently runs a command that needs the network, up to three times.
func (r *runner) patiently(ctx context.Context, env []string, name string, args ...string) error {
	err := r.command(ctx, env, name, args...)
	for range 2 {
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(10 * time.Second):
		}
		err = r.command(ctx, env, name, args...)
	}
	return err
}

// output runs a command and returns what it printed on standard output.
func (r *runner) output(ctx context.Context, name string, args ...string) (string, error) {
	var stderr bytes.Buffer
	cmd := r.prepare(ctx, nil, name, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", commandError(name, args, err, quiet(stderr.Bytes()))
	}
	return string(out), nil
}

func commandError(name string, args []string, err error, printed string) error {
	call := name + " " + strings.Join(args, " ")
	if len(call) > 100 {
		call = call[:100] + " ..."
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && printed != "" {
		return fmt.Errorf("%s: %w\n%s", call, err, printed)
	}
	return fmt.Errorf("%s: %w", call, err)
}

// quiet leaves out the lines about downloads, which say nothing of a failure.
func quiet(out []byte) string {
	var kept strings.Builder
	for line := range strings.Lines(string(out)) {
		if !strings.HasPrefix(line, "go: downloading ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}
