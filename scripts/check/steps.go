package main

import (
	"context"
	"errors"
	"os/exec"
	"slices"
	"strings"
)

// build makes bin/artifactstore.
func (r *runner) build(ctx context.Context) error {
	return r.command(ctx, nil, "make", "-s", "build")
}

// typeCheck is everything that reads the code and does not run the product. The
// architecture tests include gofmt.
func (r *runner) typeCheck(ctx context.Context) error {
	vetted := r.command(ctx, nil, "go", "vet", "./...")
	r.aside.Wait()
	checked := r.command(ctx, nil, "staticcheck", "-tests", "./...")
	tested := r.goTest(ctx, nil, "-count=1", "./internal/archtest")
	return errors.Join(vetted, checked, tested)
}

// unit runs the tests of every package but those of the black box. Some start
// PostgreSQL or an S3 server. Here and below go test leaves out its vet, of which
// the step type runs all.
func (r *runner) unit(ctx context.Context) error {
	r.aside.Wait()
	packages, err := r.packages(ctx, false)
	if err != nil {
		return err
	}
	return r.goTest(ctx, nil, append([]string{"-vet=off"}, packages...)...)
}

// sequential are packages without a goroutine, where the race detector has
// nothing to find, and is slowest. A test holds them to it.
var sequential = []string{"internal/archtest", "internal/canon", "internal/config", "registry/manifest"}

// engine is SQLite, translated to Go: one very large package that runs on one
// goroutine at a time. Watching its every memory access takes four times as long
// as all the rest.
const engine = "github.com/ncruces/go-sqlite3-wasm/..."

// race runs the same tests, in their short form, under the race detector.
func (r *runner) race(ctx context.Context) error {
	if !found("gcc") && !found("clang") {
		r.report.skip("race detector", "it needs a C compiler, and there is neither gcc nor clang")
		return nil
	}
	r.aside.Wait()
	packages, err := r.packages(ctx, false)
	if err != nil {
		return err
	}
	packages = slices.DeleteFunc(packages, func(name string) bool {
		return slices.Contains(sequential, strings.TrimPrefix(name, "artifactstore/"))
	})
	flags := []string{"-race", "-short", "-vet=off", "-gcflags=" + engine + "=-race=false"}
	return r.goTest(ctx, []string{"CGO_ENABLED=1"}, append(flags, packages...)...)
}

func found(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// conformance runs the black box tests against bin/artifactstore. They are never
// taken from the cache, which does not know that the binary changed.
func (r *runner) conformance(ctx context.Context) error {
	r.aside.Wait()
	if r.report.failed("build") {
		return errors.New("not run: there is no binary")
	}
	packages, err := r.packages(ctx, true)
	if err != nil {
		return err
	}
	return r.goTest(ctx, nil, append([]string{"-count=1", "-vet=off"}, packages...)...)
}

// packages returns the packages of the black box tests, or all others, those
// that do not compile included.
func (r *runner) packages(ctx context.Context, blackBox bool) ([]string, error) {
	out, err := r.output(ctx, "go", "list", "-e", "./...")
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(strings.Fields(out), func(name string) bool {
		return strings.HasPrefix(name, "artifactstore/conformance") != blackBox
	}), nil
}

// lint is what the compiler and the tests do not say.
func (r *runner) lint(ctx context.Context) error {
	tidy := r.command(ctx, nil, "go", "mod", "tidy", "-diff")
	r.aside.Wait()
	linted := r.command(ctx, nil, "golangci-lint", "run", "./...")
	return errors.Join(tidy, linted)
}

// vuln looks for known vulnerabilities that the code can reach. It needs the
// network: the database is not part of the tool.
func (r *runner) vuln(ctx context.Context) error {
	r.aside.Wait()
	return r.command(ctx, nil, "govulncheck", "./...")
}
