package clients_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
)

// TestExamplesOfRetention types what docs/retention.md shows, in its order, and
// compares what is printed with the page. What "cat" shows is the file that the
// reader has; a line of three dots stands for any lines; times, digests, ids and
// numbers of events differ, and are carried over to later commands.
func TestExamplesOfRetention(t *testing.T) {
	t.Parallel()
	oras := harness.HomeTool(t, "oras", whyOras)
	page, err := os.ReadFile("../../docs/retention.md")
	harness.Must(t, err)
	commands := sessions(string(page))
	if len(commands) < 50 {
		t.Fatalf("the page has only %d commands", len(commands))
	}
	s := harness.Start(t, "ARTIFACTSTORE_RETENTION_ERASE=true")
	binary, err := harness.Binary()
	harness.Must(t, err)
	path := t.TempDir()
	harness.Must(t, os.Symlink(binary, filepath.Join(path, "artifactstore")))
	host := strings.Replace(s.Host(), "127.0.0.1", "localhost", 1)
	env := append(os.Environ(), append(oras.Env, "PATH="+path+":"+filepath.Dir(oras.Path)+":"+os.Getenv("PATH"), "ARTIFACTSTORE_SERVER="+s.AdminURL())...)
	known := map[string]string{}
	for _, c := range commands {
		if file, is := strings.CutPrefix(c.line, "cat "); is {
			write(t, oras.Dir, file, []byte(c.shown+"\n"))
			continue
		}
		line := strings.ReplaceAll(c.line, "localhost:5000", host)
		for shown, is := range known {
			line = strings.ReplaceAll(line, shown, is)
		}
		cmd := exec.CommandContext(t.Context(), "sh", "-c", line)
		cmd.Dir, cmd.Env = oras.Dir, env
		out, err := cmd.CombinedOutput()
		got := strings.TrimSpace(strings.ReplaceAll(string(out), host, "localhost:5000"))
		refused := regexp.MustCompile(`(?m)^(artifactstore: |Error)`).MatchString(c.shown)
		if refused != (err != nil) || !alike(strings.Split(c.shown, "\n"), strings.Split(got, "\n"), known) {
			t.Fatalf("$ %s\n%s\n(%v), the page has\n%s", line, got, err, c.shown)
		}
	}
}

// command is a command line, and what the page shows of its output.
type command struct{ line, shown string }

// sessions are the commands of all sessions of a page.
func sessions(page string) (all []command) {
	for _, block := range regexp.MustCompile("(?s)\n```\n(\\$ .*?)\n```\n").FindAllStringSubmatch(page, -1) {
		for _, text := range regexp.MustCompile(`(?m)^\$ `).Split(block[1], -1)[1:] {
			line, shown, _ := strings.Cut(text, "\n")
			all = append(all, command{line, strings.TrimSpace(shown)})
		}
	}
	return all
}

// varying is what differs from run to run: times, digests, ids, times passed, and
// the numbers of events.
var varying = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z|\b(sha256|blake3):[0-9a-f]{12,64}|\b[0-9a-f]{32}\b|\b\d+ s ago|\bevent +\d+|\bundo \d+|^ *\d+ `)

// alike tells whether lines are those that are shown, and notes what stands for what.
func alike(shown, got []string, known map[string]string) bool {
	if len(shown) == 0 {
		return len(got) == 0
	}
	if shown[0] == "..." {
		for skip := range len(got) + 1 {
			if alike(shown[1:], got[skip:], known) {
				return true
			}
		}
		return false
	}
	if len(got) == 0 || plain(shown[0]) != plain(got[0]) || !alike(shown[1:], got[1:], known) {
		return false
	}
	is := varying.FindAllString(got[0], -1)
	for i, text := range varying.FindAllString(shown[0], -1) {
		if text = strings.TrimSpace(text); len(text) >= 32 || strings.HasPrefix(text, "undo ") {
			known[text] = strings.TrimSpace(is[i])
		} else if number := strings.TrimSpace(text); strings.Trim(number, "0123456789") == "" {
			known[fmt.Sprintf("undo %s ", number)] = fmt.Sprintf("undo %s ", strings.TrimSpace(is[i]))
		}
	}
	return true
}

// plain is a line without what differs, and without the width of columns.
func plain(line string) string {
	return strings.Join(strings.Fields(varying.ReplaceAllString(line, " VARYING ")), " ")
}
