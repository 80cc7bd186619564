package main_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// verbs are the commands that do something, found by their help.
func verbs(t *testing.T) []string {
	t.Helper()
	entry := regexp.MustCompile(`(?m)^  ([a-z]+) {2,}\S`)
	var all []string
	var walk func(path []string)
	walk = func(path []string) {
		help := run(t, t.TempDir(), nil, append(path, "--help")...)
		if strings.Contains(help.stdout, "\nExamples:\n") {
			all = append(all, strings.Join(path, " ")) // some have others below them
		}
		_, commands, found := strings.Cut(help.stdout, "\nUsage:")
		commands, _, _ = strings.Cut(commands, "\nFlags:")
		if !found || !strings.Contains(commands, "[command]") {
			if !strings.Contains(help.stdout, "\nExamples:\n") {
				all = append(all, strings.Join(path, " "))
			}
			return
		}
		for _, m := range entry.FindAllStringSubmatch(commands, -1) {
			if m[1] != "help" && m[1] != "completion" {
				walk(append(path[:len(path):len(path)], m[1]))
			}
		}
	}
	walk(nil)
	return all
}

func TestEveryVerbHasAnExampleAndIsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	all := verbs(t)
	if len(all) < 20 {
		t.Errorf("found only %v", all)
	}
	for _, verb := range all {
		help := run(t, t.TempDir(), nil, append(strings.Fields(verb), "--help")...)
		if !strings.Contains(help.stdout, "\nExamples:\n  artifactstore "+verb) {
			t.Errorf("the help of %s has no example", verb)
		}
		if !strings.Contains(string(page), "`artifactstore "+verb) {
			t.Errorf("docs/cli.md does not have %s", verb)
		}
		looks := strings.Contains(help.stdout, "--server ADDRESS")
		name := strings.ReplaceAll(verb, " ", "-")
		_, transcribed := transcripts[name]
		for _, change := range changes {
			transcribed = transcribed || change.golden == name
		}
		if looks != transcribed && verb != "fsck" { // which is among the chores
			t.Errorf("%s looks inside: %t; it has a golden file: %t", verb, looks, transcribed)
		}
		if verb != "serve" && verb != "config schema" && !strings.Contains(help.stdout, "--json ") {
			t.Errorf("%s has no --json", verb)
		}
	}
}

// TestExamplesOfThePageAreReal: what docs/cli.md shows of a verb is in its
// golden file. Lines with a pipe, and cuts marked by dots, are not compared.
func TestExamplesOfThePageAreReal(t *testing.T) {
	page, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	var golden strings.Builder
	files, err := filepath.Glob(goldenFolder + "/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		golden.Write(text)
		golden.WriteByte('\n')
	}
	compared := 0
	for _, block := range regexp.MustCompile("(?s)```\n(\\$ artifactstore .*?)```").FindAllStringSubmatch(string(page), -1) {
		for _, example := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			command, _, _ := strings.Cut(example, "\n")
			if strings.Contains(command, "|") {
				continue
			}
			compared++
			for _, part := range strings.Split("$ "+strings.TrimRight(example, "\n"), "\n...\n") {
				if !strings.Contains(golden.String(), part+"\n") {
					t.Errorf("no golden file has\n%s", part)
				}
			}
		}
	}
	if compared < 10 {
		t.Errorf("found only %d examples", compared)
	}
}

func TestManifestsComeInThreeForms(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	get := func(args ...string) string {
		r := run(t, dir, nil, append([]string{"manifest", "get", "demo:v1", "--server", s.admin}, args...)...)
		r.expect(t, 0)
		return r.stdout
	}
	var m struct{ Digest, Native string }
	show := run(t, dir, nil, "manifest", "show", "demo:v1", "--json", "--server", s.admin).stdout
	if err := json.Unmarshal([]byte(show), &m); err != nil {
		t.Fatal(err)
	}
	if pushed := get("--form", "pushed"); m.Digest != fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(pushed))) {
		t.Errorf("pushed are %q", pushed)
	}
	if text := get(); !json.Valid([]byte(text)) || strings.HasSuffix(text, "\n") {
		t.Errorf("the canonical JSON is %q", text)
	}
	native := get("--form", "cbor")
	if get("--form", "cbor", "--output", "file") != "" {
		t.Error("there is output beside the file")
	}
	if file, err := os.ReadFile(filepath.Join(dir, "file")); err != nil || string(file) != native || json.Valid(file) {
		t.Errorf("the file has %q (%v), want %q", file, err, native)
	}
	run(t, dir, nil, "manifest", "get", "demo:v1", "--server", s.admin, "--output", "no/file").expect(t, 1, "no/file")
	run(t, dir, nil, "manifest", "get", "demo:v2", "--server", s.admin, "--output", "none").expect(t, 1, "no such manifest")
	if _, err := os.Stat(filepath.Join(dir, "none")); err == nil {
		t.Error("a file was made of nothing")
	}
}

// TestOutputThatCannotBeWrittenIsToldOnce: of what is printed, and of a file,
// which is left only if it is a device.
func TestOutputThatCannotBeWrittenIsToldOnce(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0) // Linux: full(4)
	if err != nil {
		t.Skip(err)
	}
	defer full.Close()
	dir := filled(t)
	link := filepath.Join(dir, "link")
	if err := os.Symlink("/dev/full", link); err != nil {
		t.Fatal(err)
	}
	for _, args := range []string{"repo list", "events", "events --follow", "manifest get demo:v1", "manifest get demo:v1 --output " + link} {
		cmd := command(t, dir, nil, append(strings.Fields(args), "--data", "data")...)
		var stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = full, &stderr
		_ = cmd.Run() // its code says how it ended
		if code := cmd.ProcessState.ExitCode(); code != 1 || strings.Count(stderr.String(), "no space left on device") != 1 {
			t.Errorf("%s: exit code %d: %s", args, code, &stderr)
		}
	}
	if _, err := os.Lstat(link); err != nil {
		t.Errorf("what is no file was removed: %v", err)
	}
}

func TestLongListsAreReadToTheirEnd(t *testing.T) {
	const tags = 1203 // three pages
	dir := t.TempDir()
	s := start(t, dir, nil)
	s.pushImage("demo", "v1", []byte("layer"))
	_, manifest := s.do("GET", "/v2/demo/manifests/v1", nil, "Accept", imageType)
	for first := 0; first < tags; first += 200 {
		query := "?tag=v1"
		for i := first; i < min(first+200, tags); i++ {
			query += fmt.Sprintf("&tag=t%04d", i)
		}
		if status, body := s.do("PUT", "/v2/demo/manifests/"+digest(manifest)+query, manifest, "Content-Type", imageType); status != 201 {
			t.Fatalf("push of tags: %d %s", status, body)
		}
	}
	for flag, want := range map[string]int{"": tags + 1, "-n=501": 501, "-n=1000": 1000} {
		args := []string{"tag", "list", "demo", "--json", "--server", s.admin}
		if flag != "" {
			args = append(args, flag)
		}
		r := run(t, dir, nil, args...)
		if got := strings.Count(r.stdout, "\n"); r.code != 0 || got != want {
			t.Errorf("%s: %d lines, want %d: %s", flag, got, want, r.stderr)
		}
	}
	table := run(t, dir, nil, "tag", "list", "demo", "--server", s.admin).stdout
	if lines := strings.Split(table, "\n"); len(lines) != tags+3 || !strings.HasPrefix(lines[tags], "t1202  sha256:") || strings.Count(table, "DIGEST") != 1 {
		t.Errorf("%d lines, the last are %q", len(lines), lines[len(lines)-3:])
	}
}

func TestShellsAreToldNames(t *testing.T) {
	dir := t.TempDir()
	s := start(t, dir, nil)
	for _, name := range []string{"demo:v1", "demo:v2", "demo:w", "team/app:1.0", "team/web:1.0"} {
		repository, tag, _ := strings.Cut(name, ":")
		s.pushImage(repository, tag, []byte("layer"))
	}
	run(t, dir, nil, "hold", "place", "audit-2026", "demo", "--reason", "audit", "--server", s.admin).expect(t, 0)
	plan := strings.Split(run(t, dir, nil, "retention", "plan", "--json", "--server", s.admin).stdout, `"`)[3]
	cases := []struct {
		verb, words string
		want        string
	}{
		{"repo show", "", "demo team/app team/web"},
		{"repo show", "team/", "team/app team/web"},
		{"repo show", "x", ""},
		{"repo show", "demo ", ""},
		{"tag list", "d", "demo"},
		{"usage", "t", "team/app team/web"},
		{"tag show", "", "demo: team/app: team/web:"},
		{"manifest show", "demo:", "demo:v1 demo:v2 demo:w"},
		{"manifest get", "demo:v", "demo:v1 demo:v2"},
		{"tag show", "nosuch:", ""},
		{"manifest get", "--form ", "jcs cbor pushed"},
		{"hold place", "", ""},
		{"hold place", "audit-2026 team/", "team/app team/web"},
		{"hold place", "audit-2026 demo:v", "demo:v1 demo:v2"},
		{"hold release", "a", "audit-2026"},
		{"hold release", "audit-2026 d", "demo"},
		{"retention class", "demo:w", "demo:w"},
		{"retention class", "demo:w r", "raw-evidence release-evidence"},
		{"retention execute", plan[:3], plan},
		{"retention show", "--action ", "collect expire renew wait keep"},
		{"repo delete", "x", ""},
	}
	for _, where := range []string{"--server " + s.admin, "--data " + filepath.Join(dir, "data")} {
		for _, c := range cases {
			words := append(strings.Fields("__complete "+c.verb+" "+where), strings.Split(c.words, " ")...)
			r := run(t, dir, nil, words...)
			got, _, _ := strings.Cut(r.stdout, ":4\n")
			got, _, _ = strings.Cut(got, ":6\n")
			if got = strings.Join(strings.Fields(got), " "); r.code != 0 || got != c.want {
				t.Errorf("%s %s %q: %q, want %q", c.verb, where, c.words, got, c.want)
			}
		}
	}
	for _, args := range [][]string{{"repo", "show", "--server", "127.0.0.1:1", ""}, {"repo", "show", "--data", "none", ""}} {
		r := run(t, dir, nil, append([]string{"__complete"}, args...)...)
		if r.code != 0 || strings.Contains(r.stderr, "no admin API") || !strings.HasPrefix(r.stdout, ":4\n") {
			t.Errorf("%v: %d %s%s", args, r.code, r.stdout, r.stderr)
		}
	}
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		run(t, dir, nil, "completion", shell).expect(t, 0, "artifactstore")
	}
}
