// Command check is the test runner of this repository: it installs the tools
// that tests use, builds, checks and tests, and ends with a summary that names
// the time of every step, whatever was skipped and why, and the counts.
//
//	go run ./scripts/check [step ...]
//
// Without arguments it runs what `make test` promises: tools, packages, build,
// type, unit, race and conformance. The steps lint and vuln run when named. With
// REQUIRE=all in the environment a skip is a failure, and missing system packages
// are installed. The status is 1 if anything failed, 2 if the call was wrong.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// step is one part of a run.
type step struct {
	name  string
	run   func(*runner, context.Context) error
	tools []string // Go tools it needs; the last element of their package paths
	// system: it runs programs of the system.
	system bool
	// aside: it only waits for the network most of the time, and runs beside
	// the others. Those that need tools wait for it.
	aside bool
	extra bool // runs only when named
}

var steps = []step{
	{name: "tools", run: (*runner).installTools, aside: true},
	{name: "packages", run: (*runner).installPackages, aside: true},
	{name: "build", run: (*runner).build},
	{name: "type", run: (*runner).typeCheck, tools: []string{"staticcheck"}},
	{name: "unit", run: (*runner).unit, tools: []string{"versitygw"}, system: true},
	{name: "race", run: (*runner).race, tools: []string{"versitygw"}, system: true},
	{name: "conformance", run: (*runner).conformance, tools: []string{"oras", "crane", "conformance", "registry", "helm", "versitygw"}, system: true},
	{name: "lint", run: (*runner).lint, tools: []string{"golangci-lint"}, extra: true},
	{name: "vuln", run: (*runner).vuln, tools: []string{"govulncheck"}, extra: true},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	chosen, err := choose(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	r, err := newRunner(chosen)
	if err != nil {
		fmt.Fprintln(os.Stderr, "check:", err)
		os.Exit(2)
	}
	r.runAll(ctx)
	if !r.report.summary(os.Stdout, r.requireAll) {
		os.Exit(1)
	}
}

// choose returns the steps with these names, in the order of the table, with the
// steps that prepare for them.
func choose(names []string) ([]step, error) {
	for _, name := range names {
		if !slices.ContainsFunc(steps, func(s step) bool { return s.name == name }) {
			return nil, fmt.Errorf("there is no step %q", name)
		}
	}
	if len(names) == 0 {
		return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return s.extra }), nil
	}
	wanted := slices.Clone(names)
	for _, s := range steps {
		if slices.Contains(names, s.name) && len(s.tools) > 0 {
			wanted = append(wanted, "tools")
		}
		if slices.Contains(names, s.name) && s.system {
			wanted = append(wanted, "packages")
		}
	}
	if slices.Contains(names, "conformance") {
		wanted = append(wanted, "build")
	}
	return slices.DeleteFunc(slices.Clone(steps), func(s step) bool { return !slices.Contains(wanted, s.name) }), nil
}

// runner runs steps.
type runner struct {
	root       string
	chosen     []step
	requireAll bool
	report     *report
	aside      sync.WaitGroup
}

func newRunner(chosen []step) (*runner, error) {
	root, err := os.Getwd()
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		return nil, fmt.Errorf("run it at the root of the repository: %w", err)
	}
	return &runner{
		root:       root,
		chosen:     chosen,
		requireAll: os.Getenv("REQUIRE") == "all",
		report:     newReport(os.Stdout),
	}, nil
}

// runAll runs the chosen steps: those that run aside at once, the others one
// after the other. A step that failed does not keep the next from running.
func (r *runner) runAll(ctx context.Context) {
	for _, s := range r.chosen {
		if s.aside {
			r.aside.Go(func() { r.runStep(ctx, s) })
		}
	}
	for _, s := range r.chosen {
		if !s.aside {
			r.runStep(ctx, s)
		}
	}
	r.aside.Wait()
}

func (r *runner) runStep(ctx context.Context, s step) {
	if err := ctx.Err(); err != nil {
		r.report.step(s.name, 0, err)
		return
	}
	if !s.aside {
		r.report.headline(s.name)
	}
	start := time.Now()
	err := s.run(r, ctx)
	r.report.step(s.name, time.Since(start), err)
}

// toolNames returns the tools that the chosen steps need.
func (r *runner) toolNames() []string {
	var names []string
	for _, s := range r.chosen {
		names = append(names, s.tools...)
	}
	return names
}

func (r *runner) path(elements ...string) string {
	return filepath.Join(append([]string{r.root}, elements...)...)
}

// environment is that of the process, with the tools first in PATH, and with
// what makes every step compile as the product is compiled, without cgo and
// without paths: then they share what they compile.
func (r *runner) environment(more ...string) []string {
	path := strings.Join([]string{r.path(".tools", "bin"), os.Getenv("PATH"), "/usr/sbin", "/sbin"}, string(os.PathListSeparator))
	env := append(os.Environ(),
		"PATH="+path,
		"CGO_ENABLED=0",
		"GOFLAGS="+strings.TrimSpace(os.Getenv("GOFLAGS")+" -buildvcs=false -trimpath"),
		"ARTIFACTSTORE_BIN="+r.path("bin", "artifactstore"))
	return append(env, more...)
}
