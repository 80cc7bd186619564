package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// outcome is how a test ended. A later one in this order wins where a test ran
// more than once: a test that one step ran and another skipped was run.
type outcome int

const (
	skipped outcome = iota
	passed
	failed
)

// report collects what happened and prints it as it happens. It is safe for
// concurrent use.
type report struct {
	mu      sync.Mutex
	out     io.Writer
	times   []stepTime
	tests   map[test]outcome
	reasons map[test]string // of skipped tests
	skips   []string        // of steps
	advice  []string
}

type test struct{ pkg, name string }

type stepTime struct {
	name   string
	took   time.Duration
	failed bool
}

func newReport(out io.Writer) *report {
	return &report{out: out, tests: make(map[test]outcome), reasons: make(map[test]string)}
}

func (r *report) print(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprint(r.out, text)
}

// headline begins a step.
func (r *report) headline(name string) { r.print("== " + name + "\n") }

// step ends a step. Errors that are not about tests count as one failure each.
func (r *report) step(name string, took time.Duration, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.times = append(r.times, stepTime{name: name, took: took, failed: err != nil})
	for _, err := range flatten(err) {
		if errors.Is(err, errTests) {
			continue
		}
		r.tests[test{"step", name}] = failed
		fmt.Fprintf(r.out, "FAIL  %s\n%s\n", name, strings.TrimSpace(err.Error()))
	}
}

// flatten returns the errors that were joined.
func flatten(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	switch {
	case err == nil:
		return nil
	case !ok:
		return []error{err}
	}
	var all []error
	for _, e := range joined.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// failed tells whether a step has failed.
func (r *report) failed(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.ContainsFunc(r.times, func(t stepTime) bool { return t.name == name && t.failed })
}

// skip notes that a step, or a part of one, was left out.
func (r *report) skip(what, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.skips = append(r.skips, what+": "+why)
}

// advise adds a hint to the summary.
func (r *report) advise(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.advice = append(r.advice, text)
}

// result notes the outcome of a test. An empty name stands for the package.
func (r *report) result(pkg, name string, o outcome, why string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := test{pkg, name}
	if before, ok := r.tests[key]; !ok || o > before {
		r.tests[key] = o
	}
	if o == skipped {
		r.reasons[key] = why
	}
}

// packageLine prints the end of a package, and below it what there is to see.
func (r *report) packageLine(word, pkg string, seconds float64, tests int, text string) {
	if word == "ok" && tests == 0 {
		return // no tests in it
	}
	r.print(fmt.Sprintf("%-5s %-45s %6.1f s %6d tests\n%s", word, pkg, seconds, tests, text))
}

// summary prints the end of the run and tells whether all is well.
func (r *report) summary(out io.Writer, requireAll bool) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintln(out, "== summary")
	for _, t := range r.times {
		word := "ok"
		if t.failed {
			word = "FAIL"
		}
		fmt.Fprintf(out, "%-5s %-45s %6.1f s\n", word, t.name, t.took.Seconds())
	}
	counts := make(map[outcome]int)
	skips := slices.Clone(r.skips)
	for _, key := range slices.SortedFunc(maps.Keys(r.tests), test.compare) {
		o := r.tests[key]
		counts[o]++
		switch o {
		case skipped:
			skips = append(skips, fmt.Sprintf("%s %s: %s", key.pkg, key.name, r.reasons[key]))
		case failed:
			fmt.Fprintf(out, "FAIL  %s %s\n", key.pkg, key.name)
		}
	}
	for _, line := range skips {
		fmt.Fprintf(out, "SKIP  %s\n", line)
	}
	for _, text := range r.advice {
		fmt.Fprintln(out, text)
	}
	if requireAll && len(skips) > 0 {
		fmt.Fprintln(out, "FAIL  REQUIRE=all: nothing may be skipped")
	}
	fmt.Fprintf(out, "%d passed, %d failed, %d skipped\n", counts[passed], counts[failed], len(skips))
	return counts[failed] == 0 && (!requireAll || len(skips) == 0)
}

func (t test) compare(u test) int {
	return strings.Compare(t.pkg+" "+t.name, u.pkg+" "+u.name)
}
