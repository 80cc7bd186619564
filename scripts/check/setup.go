package main

import (
	"bufio"
	"context"
	"debug/buildinfo"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// tool is a Go program at a version.
type tool struct{ pkg, version string }

func (t tool) name() string { return path.Base(t.pkg) }

// installTools installs the tools that the chosen steps need into .tools/bin,
// unless they are there at the right version, built by this version of Go.
func (r *runner) installTools(ctx context.Context) error {
	rows, err := table(r.path("scripts", "tools.txt"))
	if err != nil {
		return err
	}
	wanted := r.toolNames()
	var errs []error
	for _, row := range rows {
		if len(row) != 2 {
			return fmt.Errorf("scripts/tools.txt: %q is not a package and a version", row)
		}
		t := tool{pkg: row[0], version: row[1]}
		if !slices.Contains(wanted, t.name()) || r.installed(t) {
			continue
		}
		errs = append(errs, r.patiently(ctx, []string{"GOBIN=" + r.path(".tools", "bin")}, "go", "install", t.pkg+"@"+t.version))
	}
	return errors.Join(errs...)
}

// installed reads what a binary says of itself.
func (r *runner) installed(t tool) bool {
	info, err := buildinfo.ReadFile(r.path(".tools", "bin", t.name()))
	return err == nil && info.Path == t.pkg && info.Main.Version == t.version && info.GoVersion == runtime.Version()
}

// installPackages finds the programs of the system that tests run. Missing ones
// are installed under REQUIRE=all; otherwise the summary says how to.
func (r *runner) installPackages(ctx context.Context) error {
	rows, err := table(r.path("scripts", "debian.txt"))
	if err != nil {
		return err
	}
	var programs, missing []string
	for _, row := range rows {
		if _, err := exec.LookPath(row[0]); err == nil {
			continue
		}
		if _, err := os.Stat(filepath.Join("/usr/sbin", row[0])); err == nil {
			continue
		}
		programs = append(programs, row[0])
		missing = append(missing, row[1:]...)
	}
	if len(missing) == 0 {
		return nil
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	if !r.requireAll {
		r.report.advise(fmt.Sprintf("%s: not found. On Debian or Ubuntu:\n  sudo apt-get update && sudo apt-get install -y --no-install-recommends %s",
			strings.Join(programs, ", "), strings.Join(missing, " ")))
		return nil
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%s: not found, and only root can install %s", strings.Join(programs, ", "), strings.Join(missing, " "))
	}
	const wait = "DPkg::Lock::Timeout=300"
	env := []string{"DEBIAN_FRONTEND=noninteractive"}
	if err := r.patiently(ctx, env, "apt-get", "-o", wait, "update", "-q"); err != nil {
		return err
	}
	return r.patiently(ctx, env, "apt-get", append([]string{"-o", wait, "install", "-q", "-y", "--no-install-recommends"}, missing...)...)
}

// table reads a file of rows of words; what follows # is a comment.
func table(name string) (rows [][]string, err error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		text, _, _ := strings.Cut(lines.Text(), "#")
		if words := strings.Fields(text); len(words) > 0 {
			rows = append(rows, words)
		}
	}
	return rows, lines.Err()
}
