package retention_test

import (
	"errors"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"artifactstore/retention"
)

// TestExamples checks every row of the page of examples.
func TestExamples(t *testing.T) {
	page, err := os.ReadFile("../docs/retention-examples.md")
	if err != nil {
		t.Fatal(err)
	}
	sections := strings.Split(string(page), "\n## ")[1:]
	rows := 0
	for _, section := range sections {
		title, body, _ := strings.Cut(section, "\n")
		t.Run(title, func(t *testing.T) {
			rules := rulesOf(t, body)
			for _, table := range tables(body) {
				rows += len(table.rows)
				switch {
				case strings.HasPrefix(table.head[0], "manifest in "):
					checkManifests(t, rules, table)
				case strings.HasPrefix(table.head[0], "client in "):
					checkClients(t, rules, table)
				default:
					t.Errorf("a table about %q", table.head[0])
				}
			}
		})
	}
	if len(sections) < 8 || rows < 90 {
		t.Errorf("found only %d sections with %d rows", len(sections), rows)
	}
}

// rulesOf combines the one or two documents of a section.
func rulesOf(t *testing.T, body string) retention.Rules {
	blocks := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(body, -1)
	if len(blocks) < 1 || len(blocks) > 2 {
		t.Fatalf("%d documents", len(blocks))
	}
	var sources [2]retention.Document
	for i, block := range blocks {
		var err error
		if sources[i], err = retention.ParseDocument([]byte(block[1])); err != nil {
			t.Fatal(err)
		}
	}
	return combine(t, sources[0], sources[1])
}

type table struct {
	head []string
	rows [][]string
}

// repository is what the head's first cell has between backquotes.
func (t table) repository() string { return strings.Split(t.head[0], "`")[1] }

func tables(body string) []table {
	var all []table
	inside := false
	for line := range strings.Lines(body) {
		line = strings.TrimSpace(line)
		if !strings.HasPrefix(line, "|") {
			inside = false
			continue
		}
		cells := strings.Split(strings.Trim(line, "|"), "|")
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		switch {
		case !inside:
			all = append(all, table{head: cells})
			inside = true
		case strings.HasPrefix(line, "|---"):
		default:
			last := &all[len(all)-1]
			last.rows = append(last.rows, cells)
		}
	}
	return all
}

func checkManifests(t *testing.T, rules retention.Rules, table table) {
	ranking := rules.Rank(table.repository())
	items := make([]retention.Item, len(table.rows))
	added := map[retention.TagState]bool{}
	for i, row := range table.rows {
		items[i] = itemOf(t, rules, table.repository(), row[0])
		for _, tag := range items[i].Tags {
			if !added[tag] {
				ranking.Add(tag.Name, tag.Moved)
				added[tag] = true
			}
		}
	}
	for i, row := range table.rows {
		got := ranking.Decide(noon, items[i])
		if string(got.State) != row[1] || got.Reason != row[2] {
			t.Errorf("%s\n is  %s: %s\nwant %s: %s", row[0], got.State, got.Reason, row[1], row[2])
		}
	}
}

// The phrases of the first cell. A duration is a number and a unit.
var phrases = map[string]*regexp.Regexp{
	"pushed":       regexp.MustCompile(`^pushed (.+) ago$`),
	"before":       regexp.MustCompile(`^pushed before the policy (.+) ago$`),
	"annotation":   regexp.MustCompile(`^annotation (.+)$`),
	"operator":     regexp.MustCompile(`^an operator chose (\S+) (.+) ago$`),
	"extended":     regexp.MustCompile(`^extended by (.+)$`),
	"tag":          regexp.MustCompile(`^tag (\S+) set (.+) ago$`),
	"untagged":     regexp.MustCompile(`^lost its last tag (.+) ago$`),
	"pulled":       regexp.MustCompile(`^pulled (.+) ago$`),
	"marked":       regexp.MustCompile(`^marked (.+) ago$`),
	"parent":       regexp.MustCompile(`^child of index (.+)$`),
	"subject":      regexp.MustCompile(`^its subject (lives)$`),
	"hold":         regexp.MustCompile(`^hold (\S+)$`),
	"limited hold": regexp.MustCompile(`^hold (\S+) for (.+)$`),
}

// itemOf makes the item that a cell describes. Its class and its end are those
// that the rules give when it is pushed.
func itemOf(t *testing.T, rules retention.Rules, repository, cell string) retention.Item {
	item := retention.Item{}
	said := map[string][]string{}
	for phrase := range strings.SplitSeq(cell, ", ") {
		what := ""
		for name, form := range phrases {
			if found := form.FindStringSubmatch(phrase); found != nil && (what == "" || name == "before") {
				what, said[name] = name, found[1:]
			}
		}
		switch args := said[what]; what {
		case "tag":
			item.Tags = append(item.Tags, retention.TagState{Name: args[0], Moved: ago(t, args[1])})
		case "hold":
			item.Holds = append(item.Holds, retention.Hold{Name: args[0]})
		case "limited hold":
			item.Holds = append(item.Holds, retention.Hold{Name: args[0], Until: at(length(t, args[1]))})
		case "parent":
			item.Parent = args[0]
		case "untagged":
			item.Untagged = ago(t, args[0])
		case "pulled":
			item.Pulled = ago(t, args[0])
		case "marked":
			item.Marked = ago(t, args[0])
		case "":
			t.Fatalf("what does %q say of a manifest?", phrase)
		}
	}
	_, item.SubjectLive = said["subject"]
	classify(t, rules, repository, said, &item)
	return item
}

// classify gives an item the class and the end that it got when it was pushed, and
// what an operator did since.
func classify(t *testing.T, rules retention.Rules, repository string, said map[string][]string, item *retention.Item) {
	if before, is := said["before"]; is {
		item.Pushed, item.Class = ago(t, before[0]), retention.PermanentRecord
		return
	}
	annotation := strings.Join(said["annotation"], "")
	item.Pushed = ago(t, said["pushed"][0])
	got, err := rules.Class(repository, annotation, item.Pushed)
	if err != nil {
		t.Fatal(err)
	}
	if operator, is := said["operator"]; is {
		got, err = rules.ChangeClass(got.Class, got.Given(), retention.Class(operator[0]), ago(t, operator[1]))
		if err != nil {
			t.Fatal(err)
		}
	}
	item.Class, item.Expires, item.Given, item.Chosen = got.Class, got.Expires, got.Given(), got.Chosen
	if extended, is := said["extended"]; is {
		end := item.Expires.Add(length(t, extended[0]))
		if err := retention.Extend(item.Expires, end); err != nil {
			t.Fatal(err)
		}
		item.Expires, item.Extended = end, true
	}
}

func ago(t *testing.T, text string) time.Time { return at(-length(t, text)) }

// length reads "30 d".
func length(t *testing.T, text string) time.Duration {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.Atoi(number)
	size, known := map[string]time.Duration{"s": time.Second, "h": time.Hour, "d": day, "y": 365 * day}[unit]
	if err != nil || !known {
		t.Fatalf("%q is not a number and a unit", text)
	}
	return time.Duration(n) * size
}

var doings = []struct {
	form *regexp.Regexp
	do   func(rules retention.Rules, repository, arg string) string
}{
	{regexp.MustCompile(`^pushes$`), pushes},
	{regexp.MustCompile(`^pushes with annotation (.+)$`), pushes},
	{regexp.MustCompile(`^pushes a new tag (.+)$`), func(rules retention.Rules, repository, tag string) string {
		return answer(rules.MayMoveTag(repository, tag, false, noon))
	}},
	{regexp.MustCompile(`^moves tag (.+)$`), func(rules retention.Rules, repository, tag string) string {
		return answer(rules.MayMoveTag(repository, tag, true, noon))
	}},
	{regexp.MustCompile(`^deletes tag (.+)$`), func(rules retention.Rules, repository, tag string) string {
		return answer(rules.MayDeleteTag(repository, tag, noon))
	}},
	{regexp.MustCompile(`^deletes a manifest$`), func(rules retention.Rules, repository, _ string) string {
		return answer(rules.MayDeleteManifest(repository, nil, noon))
	}},
	{regexp.MustCompile(`^deletes a manifest with tag (.+)$`), func(rules retention.Rules, repository, tag string) string {
		return answer(rules.MayDeleteManifest(repository, []string{"other", tag}, noon))
	}},
	{regexp.MustCompile(`^deletes a blob$`), func(rules retention.Rules, repository, _ string) string {
		return answer(rules.MayDeleteBlob(repository))
	}},
}

func checkClients(t *testing.T, rules retention.Rules, table table) {
	for _, row := range table.rows {
		got := "nobody knows what that means"
		for _, doing := range doings {
			if found := doing.form.FindStringSubmatch(row[0]); found != nil {
				got = doing.do(rules, table.repository(), strings.Join(found[1:], ""))
			}
		}
		if got != row[1] {
			t.Errorf("%s in %s\n is  %s\nwant %s", row[0], table.repository(), got, row[1])
		}
	}
}

func answer(err error) string {
	var refusal *retention.Refusal
	switch {
	case err == nil:
		return "allowed"
	case !errors.Is(err, retention.ErrNotAllowed) || !errors.As(err, &refusal):
		return "not a refusal: " + err.Error()
	}
	return refusal.Message
}

func pushes(rules retention.Rules, repository, annotation string) string {
	got, err := rules.Class(repository, annotation, noon)
	if err != nil {
		return answer(err)
	}
	by := "by default"
	switch {
	case got.Chosen:
		by = "chosen under " + got.Rule
	case got.Given():
		by = "by " + got.Rule
	}
	end := "no end"
	if !got.Expires.IsZero() {
		end = fmt.Sprintf("expires in %d d", got.Expires.Sub(noon)/day)
	}
	return fmt.Sprintf("class %s %s, %s", got.Class, by, end)
}
