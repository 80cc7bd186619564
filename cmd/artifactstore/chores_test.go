package main_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// chores are command lines of the verbs that run a store and look after it, by
// golden file. They are run in this order, in one folder with a stopped store in
// data, an image layout in layout, and a bad configuration.
var chores = []struct {
	golden string
	lines  []string
}{
	{"config", []string{"config check", "config check bad.yaml", "config check --json", "config show --listen 127.0.0.1:5002", "config show --json", "config check nosuch.yaml"}},
	{"version", []string{"version", "version --json"}},
	{"healthcheck", []string{"healthcheck --listen 127.0.0.1:1"}},
	{"migrate", []string{"migrate", "migrate --json", "migrate --data nosuch"}},
	{"rebuild", []string{"rebuild --check", "rebuild --check --json", "rebuild", "rebuild --json", "rebuild --check --data nosuch"}},
	{"fsck", []string{"fsck", "fsck --deep", "fsck --deep --repair --json", "fsck --many-orphans", "fsck --data nosuch"}},
	{"backup", []string{"backup --to copy", "backup --to copy", "backup --to copy --json", "rebuild --check --data copy", "backup", "backup --to data/copy", "backup --to layout", "backup --to copy --data nosuch"}},
	{"import", []string{"import --from layout --as team/tool --data data --dry-run", "import --from layout --as team/tool --data data",
		"import --from layout --as team/tool --data data", "tag list team/tool --data data", "import --from layout --as team/tool --data data --json",
		"backup --to copy", "import --from layout --data data", "import --from nosuch --data data", "import --from copy --data data", "import"}},
	{"epoch", []string{"epoch --reason restored", "epoch --reason restored-again --json", "events --kind v1.log.epoch_started --data data", "rebuild --check",
		"epoch", "epoch --reason lost --data nosuch"}},
	{"serve", []string{"serve --listen 0.0.0.0:5002", "serve --admin-listen 0.0.0.0:5003", "serve --listen nowhere", "serve --log-format xml", "serve data"}},
}

// What differs from run to run in what these verbs print, and what it becomes.
var choreDifferences = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`log [0-9a-f]{32}: (\d+) events, running hash [0-9a-f]{64}`), "log RANDOM: $1 events, running hash RANDOM"},
	{regexp.MustCompile(`"log":"[^"]*"`), `"log":"RANDOM"`},
	{regexp.MustCompile(`(v1\.log\.epoch_started +system +)[0-9a-f]{32}`), "${1}RANDOM"},
	{regexp.MustCompile(`"seconds":[0-9.e-]+`), `"seconds":0.1`},
	{regexp.MustCompile(` in \d+(\.\d+)?m?s\.`), " in 100ms."},
	{regexp.MustCompile(`(?m)^.* copied; .* objects checked\n`), ""}, // progress
	{regexp.MustCompile(`(?m)^\d+ of \d+ events\n`), ""},
	{regexp.MustCompile(`(?m)^(version|commit|platform)( +).*$`), "$1${2}BUILD"},
	{regexp.MustCompile(`"(version|commit|platform)":"[^"]*"`), `"$1":"BUILD"`},
	{regexp.MustCompile(`(?m)^(go  +)go1.*$`), "${1}go1.26"},
}

func TestChoresPrintWhatTheGoldenFilesHave(t *testing.T) {
	dir := t.TempDir()
	g := &gallery{server: start(t, dir, nil)}
	g.fill()
	g.stop()
	oneImage(t, filepath.Join(dir, "layout"), "v1")
	writeFile(t, filepath.Join(dir, "bad.yaml"), "lsten: 127.0.0.1:5000\nlimits:\n  header_size: 4 MB\n")
	for _, chore := range chores {
		var b strings.Builder
		for i, line := range chore.lines {
			if i > 0 {
				b.WriteByte('\n')
			}
			r := run(t, dir, nil, strings.Fields(line)...)
			b.WriteString("$ artifactstore " + line + "\n" + r.stdout + r.stderr)
			if r.code != 0 {
				b.WriteString("exit code " + string(rune('0'+r.code)) + "\n")
			}
		}
		text := normal(b.String())
		for _, d := range choreDifferences {
			text = d.pattern.ReplaceAllString(text, d.with)
		}
		compare(t, chore.golden, strings.ReplaceAll(text, dir, "FOLDER"))
	}
}

// TestHelpIsWhatTheGoldenFileHas: what a new operator reads first changes only
// on purpose.
func TestHelpIsWhatTheGoldenFileHas(t *testing.T) {
	var b strings.Builder
	for _, verb := range append([]string{""}, verbs(t)...) {
		args := append(strings.Fields(verb), "--help")
		r := run(t, t.TempDir(), nil, args...)
		if r.code != 0 || r.stderr != "" {
			t.Errorf("%v: exit code %d, %s", args, r.code, r.stderr)
		}
		b.WriteString("$ artifactstore " + strings.Join(args, " ") + "\n" + r.stdout + "\n")
	}
	compare(t, "help", b.String())
}
