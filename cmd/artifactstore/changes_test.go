package main_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// policiesFile ends what has no tags after a second, so that a test can see it end.
const policiesFile = `# What nothing names goes.
grace: 1s
policies:
  - name: tidy
    repositories: ["demo"]
    class: raw-evidence
    choose: [release-evidence]
    expire_untagged: 1s
    keep:
      - {name: keep-main, tags: [main]}
      - {name: newest, tags: ["build-*"], newest: 3}
    immutable_tags:
      - {tags: ["v*"], until: 2027-01-01}
`

// changes are command lines of the verbs that change a store or show what was
// changed, by golden file. They are run in this order over a gallery. DEMO, OLD and
// APP stand for digests of manifests, GONE for the event that deleted one. "wait"
// makes plans until one has something for an action, and PLAN is the last.
var changes = []struct {
	golden string
	lines  []string
}{
	{"hold-place", []string{"hold place audit-2026 demo@DEMO --reason audit", "hold place case-17 team/app:2.0 --until 2999-12-31 --reason claim --json",
		"hold place freeze team/app --until 2999-12-31T12:00:00Z --reason claim", "hold place audit-2026 demo", "hold place audit-2026",
		"hold place X demo --reason x", "hold place a demo --until 2001-01-01 --reason x", "hold place a demo --until soon --reason x", "hold place a demo --until never --reason x",
		"hold place a demo:none --reason x", "hold place a none --reason x", "hold place a localhost:5000/demo --reason x"}},
	{"hold-list", []string{"hold list", "hold list demo", "hold list team/app --wide --json", "hold list none"}},
	{"hold-release", []string{"repo delete team/app --reason gone", "hold release freeze team/app --reason closed", "hold release case-17 team/app:2.0 --reason closed --json",
		"hold release case-17 team/app:2.0 --reason closed", "hold release case-17 team/app:2.0"}},
	{"manifest-deleted", []string{"manifest deleted demo", "manifest deleted demo --json"}},
	{"undo", []string{"undo GONE --reason mistake", "undo GONE --reason mistake", "undo 1 --reason x", "undo 4711 --reason x", "undo v1 --reason x", "undo 1"}},
	{"retention-policies", []string{"retention policies", "retention policies --json", "retention policies sett"}},
	{"retention-policies-set", []string{"retention policies set policies.yaml --reason tidiness", "retention policies set policies.yaml", "retention policies set none.yaml --reason x",
		"retention policies set twice.yaml --reason x", "retention policies set member.yaml --reason x", "retention policies set class.yaml --reason x", "retention policies set empty.yaml --reason x"}},
	{"retention-status", []string{"retention status demo:v1", "retention status team/app:2.0 --json", "retention status demo:none", "retention status demo"}},
	{"retention-plan", []string{"wait expire", "retention plan demo", "retention plan --all", "retention plan --all --json", "retention plan demo {}"}},
	{"retention-show", []string{"retention show PLAN", "retention show PLAN --action expire --wide", "retention show PLAN -n 1", "retention show PLAN --action expire --json",
		"retention show PLAN --action delete", "retention show 0123"}},
	{"retention-execute", []string{"retention execute PLAN", "wait collect", "hold place late demo --reason late", "retention execute PLAN", "retention show PLAN -n 1", "retention execute PLAN --json",
		"hold release late demo --reason over",
		"wait collect", "hold place late team/app --reason late", "retention execute PLAN --json", "hold release late team/app --reason over", "wait collect", "retention execute PLAN --json", "manifest show demo@OLD", "retention execute 0123"}},
	{"retention-plans", []string{"retention plans -n 1", "retention plans -n 1 --json"}},
	{"retention-class", []string{"retention policies set nothing.json --reason over", "retention class demo:v1 transient --reason scratch", "retention class demo:v1 forever --reason no", "retention class demo:v1 transient", "retention class demo:v1",
		"retention class team/app@APP permanent-record --reason record --json", "retention class team/app:2.0 transient --reason no"}},
	{"retention-extend", []string{"retention extend demo:v1 --until 2999-12-31 --reason wanted", "retention extend demo@DEMO --until 1d --reason x",
		"retention extend demo:v1 --reason x", "retention extend demo:v1 --until 2999-12-31", "manifest show demo:v1"}},
	{"erase", []string{"erase team/app@APP --reason order", "erase team/app@APP --reason order --json", "erase team/app:2.0 --reason order --yes", "erase team/app@APP --yes",
		"erase team/app@APP --reason order --yes", "erase team/app@" + absent + " --reason order --yes"}},
	{"why", []string{"why " + emptyConfig, "why " + emptyConfig + " --json", "why " + absent, "why sha256:1", "why"}},
	{"repo-delete", []string{"repo delete demo --reason moved", "hold release audit-2026 demo@DEMO --reason closed", "repo delete demo --reason moved", "repo delete demo --reason moved", "repo delete team/app --reason moved --json", "repo delete demo"}},
	{"repo-deleted", []string{"repo deleted", "repo deleted --json"}},
	{"sweep", []string{"sweep --dry-run", "sweep", "sweep --json"}},
	{"scrub", []string{"scrub", "scrub --json"}},
	{"clock", []string{"clock", "clock --json", "clock comfirm"}},
	{"clock-confirm", []string{"clock confirm --reason right", "clock confirm"}},
}

// files are what changes read.
var files = map[string]string{
	"policies.yaml": policiesFile,
	"nothing.json":  "{}",
	"twice.yaml":    "grace: 1s\ngrace: 2s\n",
	"member.yaml":   "policies:\n  - name: ci\n    repository: ci\n",
	"class.yaml":    "policies:\n  - {name: ci, repositories: [ci], class: nightly}\n",
	"empty.yaml":    "# nothing\n",
}

// What else differs from run to run in what these verbs print.
var changeDifferences = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`2\d{3}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z`), "2026-01-02T03:04:05Z"},
	{regexp.MustCompile(`2\d{3}-\d\d-\d\d \d\d:\d\d:\d\d UTC`), "2026-01-02 03:04:05 UTC"},
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "0123456789abcdef0123456789abcdef"},
	{regexp.MustCompile(`(?m)^(now|trusted|watched|began|ended)( +)\S+$`), "${1}${2}2026-01-02T03:04:05Z"},
	{regexp.MustCompile(`"request":"[A-Z2-7]{26}"`), `"request":"RANDOM"`},
	{regexp.MustCompile(`expired \d+ s ago`), "expired 1 s ago"},
}

// stage is a store over which changes are run.
type stage struct {
	t     *testing.T
	dir   string
	env   []string
	flags []string
	known map[string]string
}

// newStage fills a store, and has it served or not.
func newStage(t *testing.T, served bool) *stage {
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	// Nothing changes by itself.
	s := &stage{t: t, dir: dir, env: []string{"ARTIFACTSTORE_RETENTION_ERASE=true", "ARTIFACTSTORE_RETENTION_ENFORCE=false", "ARTIFACTSTORE_SWEEP_INTERVAL=0", "ARTIFACTSTORE_SCRUB_RATE=0/s", "ARTIFACTSTORE_LOG_LEVEL=warn"}}
	g := &gallery{server: start(t, dir, s.env)}
	g.fill()
	gone := g.manifest("demo", "gone", g.image("demo", []byte("gone")))
	g.send("DELETE", "/v2/demo/manifests/"+gone["digest"].(string), nil, "")
	s.flags = []string{"--server", g.admin}
	s.known = map[string]string{
		"DEMO": s.first("tag show demo:v1 --json", "digest"), "APP": s.first("tag show team/app:2.0 --json", "digest"),
		"OLD": s.first("digest references "+digest([]byte("first"))+" --json", "manifest"), "GONE": s.first("manifest deleted demo --json", "sequence"),
	}
	if !served {
		g.stop()
		s.flags = []string{"--data", filepath.Join(dir, "data")}
	}
	return s
}

// run runs a command line.
func (s *stage) run(line string) result {
	return run(s.t, s.dir, s.env, append(strings.Fields(line), s.flags...)...)
}

// first is a member of the first object that a command line prints.
func (s *stage) first(line, member string) string {
	s.t.Helper()
	r := s.run(line)
	var object map[string]any
	decoder := json.NewDecoder(strings.NewReader(r.stdout))
	decoder.UseNumber()
	if err := decoder.Decode(&object); err != nil || object[member] == nil {
		s.t.Fatalf("%s: %v: %s%s", line, err, r.stdout, r.stderr)
	}
	return fmt.Sprint(object[member])
}

// wait makes plans until one has something for an action.
func (s *stage) wait(action string) {
	s.t.Helper()
	for range 100 {
		r := s.run("retention plan --json")
		var plan struct {
			ID      string
			Actions map[string]struct{ Manifests int }
		}
		if err := json.Unmarshal([]byte(r.stdout), &plan); err != nil {
			s.t.Fatalf("%v: %s%s", err, r.stdout, r.stderr)
		}
		if s.known["PLAN"] = plan.ID; plan.Actions[action].Manifests > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond) // a term is a second at least
	}
	s.t.Fatalf("no plan has anything to %s", action)
}

// transcript runs command lines, and says what came of each.
func (s *stage) transcript(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		if action, is := strings.CutPrefix(line, "wait "); is {
			s.wait(action)
			continue
		}
		for word, is := range s.known {
			line = strings.ReplaceAll(line, word, is)
		}
		r := s.run(line)
		fmt.Fprintf(&b, "$ artifactstore %s\n%s%s", line, r.stdout, r.stderr)
		if r.code != 0 {
			fmt.Fprintf(&b, "exit code %d\n", r.code)
		}
		b.WriteByte('\n')
	}
	text := normal(strings.ReplaceAll(b.String(), " "+strings.Join(s.flags, " "), ""))
	for _, d := range changeDifferences {
		text = d.pattern.ReplaceAllString(text, d.with)
	}
	return strings.TrimSuffix(text, "\n")
}

// TestChangesAreTheSameOfAServerAndOfAStoppedStore: what they print is what the
// golden files have.
func TestChangesAreTheSameOfAServerAndOfAStoppedStore(t *testing.T) {
	for name, served := range map[string]bool{"server": true, "stopped store": false} {
		t.Run(name, func(t *testing.T) {
			if !*update { // or each would compare with what the other writes
				t.Parallel()
			}
			s := newStage(t, served)
			for _, change := range changes {
				compare(t, change.golden, s.transcript(change.lines))
			}
		})
	}
}
