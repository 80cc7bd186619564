package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"
)

// testTimeout bounds the tests of one package.
const testTimeout = 10 * time.Minute

// event is a line of `go test -json`; see `go doc test2json`.
type event struct {
	Action     string
	Package    string
	ImportPath string
	Test       string
	Elapsed    float64
	Output     string
}

// goTest runs `go test` and reports every package when it ends.
func (r *runner) goTest(ctx context.Context, env []string, args ...string) error {
	cmd := r.prepare(ctx, env, "go", append([]string{"test", "-json", "-timeout", testTimeout.String()}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	failures, readErr := readEvents(stdout, r.report)
	err = cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) && failures > 0 {
		return errTests // they have been counted and shown
	}
	if err != nil || readErr != nil {
		return fmt.Errorf("go test: %w\n%s", errors.Join(err, readErr), quiet(stderr.Bytes()))
	}
	return nil
}

// errTests: tests failed, and the report has them already.
var errTests = errors.New("tests failed")

// readEvents passes the outcome of every test and package on to the report. It
// returns how many packages failed.
func readEvents(in io.Reader, out *report) (failures int, err error) {
	running := make(map[string]*packageRun)
	builds := make(map[string]string) // what compilers printed, by import path
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 64<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			out.print(lines.Text() + "\n")
			continue
		}
		switch e.Action {
		case "build-output":
			builds[e.ImportPath] += e.Output
			continue
		case "build-fail":
			out.print(builds[e.ImportPath])
			continue
		}
		run := running[e.Package]
		if run == nil {
			run = &packageRun{name: e.Package, tests: make(map[string]*testRun)}
			running[e.Package] = run
		}
		if run.take(e) {
			failures += run.finish(e, out)
			delete(running, e.Package)
		}
	}
	return failures, lines.Err()
}

// packageRun is a package whose tests are running.
type packageRun struct {
	name   string
	order  []string
	tests  map[string]*testRun
	output strings.Builder // of no test in particular
}

type testRun struct {
	action string // pass, fail or skip; empty while it runs
	output strings.Builder
}

// take notes an event, and tells whether it ended the package.
func (p *packageRun) take(e event) bool {
	ended := e.Action == "pass" || e.Action == "fail" || e.Action == "skip"
	if e.Test == "" {
		if e.Action == "output" {
			p.output.WriteString(e.Output)
		}
		return ended
	}
	t := p.tests[e.Test]
	if t == nil {
		t = new(testRun)
		p.tests[e.Test] = t
		p.order = append(p.order, e.Test)
	}
	if e.Action == "output" {
		t.output.WriteString(e.Output)
	}
	if ended {
		t.action = e.Action
	}
	return false
}

// finish reports the package. It returns 1 if it failed.
func (p *packageRun) finish(e event, out *report) int {
	var shown strings.Builder
	anyFailed := false
	for _, name := range p.order {
		t := p.tests[name]
		switch t.action {
		case "pass":
			shown.WriteString(printed(t.output.String()))
		case "skip":
			out.result(p.name, name, skipped, reason(t.output.String()))
			continue
		default: // failed, or still running when the package ended
			anyFailed = true
			shown.WriteString(unframed(t.output.String()))
			out.result(p.name, name, failed, "")
			continue
		}
		out.result(p.name, name, passed, "")
	}
	if e.Action != "fail" {
		out.packageLine("ok", p.name, e.Elapsed, len(p.order), shown.String()+printed(p.output.String()))
		return 0
	}
	if !anyFailed { // it did not compile, or its TestMain failed
		out.result(p.name, "", failed, "")
	}
	out.packageLine("FAIL", p.name, e.Elapsed, len(p.order), shown.String()+p.output.String())
	return 1
}

// framing matches the lines that package testing prints around a test, its log
// lines and the closing lines of a package.
var framing = regexp.MustCompile(`^(=== |\s*--- |\s+|PASS$|FAIL$|ok  \t|\?   \t|FAIL\t|coverage: |testing: |exit status |$)`)

// printed returns what a test printed itself, such as the counts of a suite.
func printed(output string) string {
	var own strings.Builder
	for line := range strings.Lines(output) {
		if !framing.MatchString(strings.TrimSuffix(line, "\n")) {
			own.WriteString(line)
		}
	}
	return own.String()
}

// unframed returns all that a failed test printed, without the lines about when
// it started and paused.
func unframed(output string) string {
	var kept strings.Builder
	for line := range strings.Lines(output) {
		if !strings.HasPrefix(line, "=== ") {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

var logPrefix = regexp.MustCompile(`^\s+\S+\.go:\d+: `)

// reason returns what a test said when it skipped itself.
func reason(output string) string {
	var words []string
	for line := range strings.Lines(output) {
		if at := logPrefix.FindString(line); at != "" {
			words = append(words, strings.TrimSpace(line[len(at):]))
		}
	}
	return strings.Join(slices.Compact(words), "; ")
}
