package main

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// events is the output of `go test -json` for a package with one test of every
// kind, one that does not compile and one that dies.
const events = `
{"Action":"start","Package":"m/a"}
{"Action":"run","Package":"m/a","Test":"TestGood"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"=== RUN   TestGood\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"    a_test.go:7: a log line\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"official suite: 996 passed\n"}
{"Action":"output","Package":"m/a","Test":"TestGood","Output":"--- PASS: TestGood (0.01s)\n"}
{"Action":"pass","Package":"m/a","Test":"TestGood","Elapsed":0.01}
{"Action":"output","Package":"m/a","Test":"TestLeft","Output":"    a_test.go:9: dockerd is not in PATH\n"}
{"Action":"output","Package":"m/a","Test":"TestLeft","Output":"--- SKIP: TestLeft (0.00s)\n"}
{"Action":"skip","Package":"m/a","Test":"TestLeft","Elapsed":0}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"    a_test.go:11: got 2, want 1\n"}
{"Action":"output","Package":"m/a","Test":"TestBad","Output":"--- FAIL: TestBad (0.00s)\n"}
{"Action":"fail","Package":"m/a","Test":"TestBad","Elapsed":0}
{"Action":"output","Package":"m/a","Output":"FAIL\n"}
{"Action":"fail","Package":"m/a","Elapsed":0.2}
{"ImportPath":"m/b [m/b.test]","Action":"build-output","Output":"b/b.go:3:1: syntax error\n"}
{"ImportPath":"m/b [m/b.test]","Action":"build-fail"}
{"Action":"start","Package":"m/b"}
{"Action":"output","Package":"m/b","Output":"FAIL\tm/b [build failed]\n"}
{"Action":"fail","Package":"m/b","Elapsed":0,"FailedBuild":"m/b [m/b.test]"}
{"Action":"run","Package":"m/c","Test":"TestDies"}
{"Action":"output","Package":"m/c","Test":"TestDies","Output":"panic: oh\n"}
{"Action":"output","Package":"m/c","Output":"FAIL\tm/c\t0.1s\n"}
{"Action":"fail","Package":"m/c","Elapsed":0.1}
{"Action":"output","Package":"m/d","Output":"?   \tm/d\t[no test files]\n"}
{"Action":"skip","Package":"m/d","Elapsed":0}
not from a test
`

func TestReportOfARun(t *testing.T) {
	var out strings.Builder
	r := newReport(&out)
	failures, err := readEvents(strings.NewReader(strings.TrimSpace(events)), r)
	if err != nil || failures != 3 {
		t.Fatalf("readEvents: %d failed packages, %v", failures, err)
	}
	shown := out.String()
	for _, want := range []string{"official suite: 996 passed\n", "got 2, want 1\n", "b/b.go:3:1: syntax error\n", "panic: oh\n", "not from a test\n", "FAIL  m/a "} {
		if !strings.Contains(shown, want) {
			t.Errorf("the output lacks %q:\n%s", want, shown)
		}
	}
	for _, unwanted := range []string{"a log line", "=== RUN", "PASS: TestGood", "m/d"} {
		if strings.Contains(shown, unwanted) {
			t.Errorf("the output has %q:\n%s", unwanted, shown)
		}
	}
	if r.summary(&out, false) {
		t.Error("a run with failures is called good")
	}
	for _, want := range []string{"SKIP  m/a TestLeft: dockerd is not in PATH\n", "FAIL  m/a TestBad\n", "FAIL  m/b \n", "FAIL  m/c TestDies\n"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("the summary lacks %q:\n%s", want, out.String())
		}
	}
	if !strings.HasSuffix(out.String(), "\n1 passed, 3 failed, 1 skipped\n") {
		t.Errorf("the last line is wrong:\n%s", out.String())
	}
}

func TestSkips(t *testing.T) {
	tests := []struct {
		name       string
		happens    func(*report)
		requireAll bool
		good       bool
		last       string
	}{
		{"a skip is no failure", func(r *report) { r.result("m", "T", skipped, "why") }, false, true, "0 passed, 0 failed, 1 skipped\n"},
		{"a skip is a failure where nothing may be skipped", func(r *report) { r.result("m", "T", skipped, "why") }, true, false, "0 passed, 0 failed, 1 skipped\n"},
		{"a skipped step counts", func(r *report) { r.skip("race detector", "no compiler") }, true, false, "0 passed, 0 failed, 1 skipped\n"},
		{"a test that another step runs is not skipped", func(r *report) {
			r.result("m", "T", skipped, "short")
			r.result("m", "T", passed, "")
		}, true, true, "1 passed, 0 failed, 0 skipped\n"},
		{"a test that ran stays run", func(r *report) {
			r.result("m", "T", passed, "")
			r.result("m", "T", skipped, "short")
		}, true, true, "1 passed, 0 failed, 0 skipped\n"},
		{"a failure stays a failure", func(r *report) {
			r.result("m", "T", failed, "")
			r.result("m", "T", passed, "")
		}, false, false, "0 passed, 1 failed, 0 skipped\n"},
		{"a failed step counts", func(r *report) { r.step("build", time.Second, errors.New("no")) }, false, false, "0 passed, 1 failed, 0 skipped\n"},
		{"failed tests are not counted again as a step", func(r *report) {
			r.result("m", "T", failed, "")
			r.step("unit", time.Second, errTests)
		}, false, false, "0 passed, 1 failed, 0 skipped\n"},
		{"a failed step among failed tests counts", func(r *report) { r.step("type", time.Second, errors.Join(errors.New("vet"), errTests)) },
			false, false, "0 passed, 1 failed, 0 skipped\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out strings.Builder
			r := newReport(&out)
			tt.happens(r)
			if got := r.summary(&out, tt.requireAll); got != tt.good {
				t.Errorf("good = %v, want %v", got, tt.good)
			}
			if !strings.HasSuffix(out.String(), "\n"+tt.last) {
				t.Errorf("the last line is not %q:\n%s", tt.last, out.String())
			}
		})
	}
}

func TestChoose(t *testing.T) {
	tests := []struct {
		names []string
		want  string
	}{
		{nil, "tools packages build type unit race conformance"},
		{[]string{"unit"}, "tools packages unit"},
		{[]string{"type"}, "tools type"},
		{[]string{"conformance"}, "tools packages build conformance"},
		{[]string{"race", "build"}, "tools packages build race"},
	}
	for _, tt := range tests {
		chosen, err := choose(tt.names)
		var names []string
		for _, s := range chosen {
			names = append(names, s.name)
		}
		if got := strings.Join(names, " "); err != nil || got != tt.want {
			t.Errorf("choose(%q) = %q, %v, want %q", tt.names, got, err, tt.want)
		}
	}
	if _, err := choose([]string{"tset"}); err == nil {
		t.Error("an unknown step was accepted")
	}
}

// TestTables: the files that the runner reads have the rows that it needs.
func TestTables(t *testing.T) {
	tools, err := table("../tools.txt")
	if err != nil {
		t.Fatal(err)
	}
	has := make(map[string]bool)
	for _, row := range tools {
		if len(row) != 2 || !strings.HasPrefix(row[1], "v") {
			t.Errorf("tools.txt: %q", row)
			continue
		}
		has[tool{pkg: row[0]}.name()] = true
	}
	for _, s := range steps {
		for _, name := range s.tools {
			if !has[name] {
				t.Errorf("tools.txt lacks %s, which step %s needs", name, s.name)
			}
		}
	}
	programs, err := table("../debian.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range programs {
		if len(row) < 2 {
			t.Errorf("debian.txt: %q has no package", row)
		}
		has[row[0]] = true
	}
	for name, file := range neededPrograms(t) {
		if !has[name] {
			t.Errorf("neither tools.txt nor debian.txt has %s, which %s needs", name, file)
		}
	}
}

// neededPrograms finds the programs without which black box tests skip
// themselves, and a file that asks for each.
func neededPrograms(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("../../conformance/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	asks := regexp.MustCompile(`\b(?:Need|client)\(t, "([^"]+)"`)
	programs := make(map[string]string)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, match := range asks.FindAllSubmatch(text, -1) {
			programs[string(match[1])] = file
		}
	}
	for _, known := range []string{"oras", "dockerd", "nginx"} {
		if programs[known] == "" {
			t.Errorf("no test asks for %s: the search does not find what tests ask for", known)
		}
	}
	return programs
}

// TestSequentialPackagesHaveNoGoroutine: what the race detector does not watch
// gives it nothing to see, tests included.
func TestSequentialPackagesHaveNoGoroutine(t *testing.T) {
	for _, name := range sequential {
		files, err := filepath.Glob(filepath.Join("../..", name, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", name, len(files), err)
		}
		for _, file := range files {
			syntax, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, spec := range syntax.Imports {
				switch spec.Path.Value {
				case `"sync"`, `"sync/atomic"`, `"net/http"`, `"os/exec"`:
					t.Errorf("%s imports %s", file, spec.Path.Value)
				}
			}
			ast.Inspect(syntax, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.GoStmt:
					t.Errorf("%s starts a goroutine", file)
				case *ast.SelectorExpr:
					if n.Sel.Name == "Parallel" {
						t.Errorf("%s runs tests in parallel", file)
					}
				}
				return true
			})
		}
	}
}

// A tool that no step names would be installed by nobody.
func TestEveryToolHasItsStep(t *testing.T) {
	rows, err := table(filepath.Join("..", "tools.txt"))
	if err != nil {
		t.Fatal(err)
	}
	r := &runner{chosen: steps}
	named := r.toolNames()
	for _, row := range rows {
		if name := (tool{pkg: row[0]}).name(); !slices.Contains(named, name) {
			t.Errorf("no step needs %s", name)
		}
	}
}
