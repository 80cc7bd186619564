package events_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// example returns a program of the documentation.
func example(t *testing.T, language string) string {
	t.Helper()
	page, err := os.ReadFile("../../docs/admin-api.md")
	harness.Must(t, err)
	found := regexp.MustCompile("(?s)\n```"+language+"\n(.*?)```\n").FindAllSubmatch(page, -1)
	if len(found) != 1 {
		t.Fatalf("the page has %d programs in %s", len(found), language)
	}
	return string(found[0][1])
}

// TestConsumersOfTheDocumentation runs the programs that docs/admin-api.md shows
// against a server that is stopped and started while they follow it.
func TestConsumersOfTheDocumentation(t *testing.T) {
	harness.Need(t, "curl", "one of the programs uses it")
	s := harness.Start(t)
	client, api := s.Client(), s.AdminURL()+"/admin/v1"
	programs := map[string]*exec.Cmd{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()

	shell := exec.CommandContext(ctx, "sh", "-c", "api="+api+"\n"+example(t, "sh"))
	shell.Dir = t.TempDir()
	programs["the shell"] = shell
	source := filepath.Join(t.TempDir(), "main.go")
	harness.Must(t, os.WriteFile(source, []byte(example(t, "go")), 0o600))
	binary := strings.TrimSuffix(source, ".go")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", binary, source).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	programs["Go"] = exec.CommandContext(ctx, binary, api)

	output := map[string]*lines{}
	for name, program := range programs {
		output[name] = &lines{more: make(chan struct{}, 1)}
		program.Stdout = output[name]
		// Its children, such as curl, end with it.
		program.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		program.Cancel = func() error { return syscall.Kill(-program.Process.Pid, syscall.SIGKILL) }
		harness.Must(t, program.Start())
	}
	for i := range 3 {
		harness.Must(t, harness.NewImage(uint64(i), 1, 100).Push(t.Context(), client, "a", "v1"))
		want := ndjson(t, s)
		for name, out := range output {
			out.wait(t, name, want)
		}
		if i == 0 {
			harness.Must(t, s.Restart())
		}
	}
	cancel()
	for _, program := range programs {
		_ = program.Wait() // it was killed
	}
}

// lines is what a program has printed.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

// wait returns when the program has printed all these lines, and fails if it
// prints others.
func (l *lines) wait(t *testing.T, name string, want []string) {
	t.Helper()
	whole := strings.Join(want, "\n") + "\n"
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		got := l.text.String()
		l.mu.Unlock()
		if got == whole {
			return
		}
		if !strings.HasPrefix(whole, got) {
			t.Fatalf("%s printed\n%s\nwant\n%s", name, got, whole)
		}
		select {
		case <-l.more:
		case <-deadline:
			t.Fatalf("%s printed %d of %d lines\n%s", name, strings.Count(got, "\n"), len(want), got)
		}
	}
}
