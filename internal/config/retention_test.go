package config_test

import (
	"bytes"
	"strings"
	"testing"

	"artifactstore/internal/config"
	"artifactstore/retention"
)

const sectionYAML = `
retention:
  interval: 10m
  grace: 2w
  default: nightly
  classes:
    nightly: 3d
    "y": never
  policies:
    - name: ci
      repositories: ["ci/**"]
      class: transient
      choose: [raw-evidence]
      expire_tagged: true
      expire_untagged: 1d
      keep:
        - {name: last, newest: 5}
        - {name: releases, tags: ["v*", "1"]}
    - name: releases
      repositories:
        - "release/*"
      immutable_tags:
        - tags: ["v*"]
          until: 2027-01-01
      write_once: false
`

const sectionJSON = `{"classes":{"nightly":"3d","y":"never"},"default":"nightly","grace":"2w","policies":[` +
	`{"name":"ci","repositories":["ci/**"],"class":"transient","choose":["raw-evidence"],"expire_tagged":true,"expire_untagged":"1d",` +
	`"keep":[{"name":"last","newest":5},{"name":"releases","tags":["v*","1"]}]},` +
	`{"name":"releases","repositories":["release/*"],"immutable_tags":[{"tags":["v*"],"until":"2027-01-01"}]}]}`

// resolved reads a file and returns its configuration.
func resolved(t *testing.T, text string) *config.Effective {
	t.Helper()
	settings, err := config.FromYAML("f", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	e, err := config.Resolve(settings)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestPoliciesAreReadFromEverySource(t *testing.T) {
	e := resolved(t, sectionYAML)
	d, err := e.Retention.Document()
	if err != nil {
		t.Fatal(err)
	}
	text, err := d.Encode()
	if err != nil || string(text) != sectionJSON {
		t.Errorf("the document is\n%s (%v), want\n%s", text, err, sectionJSON)
	}
	// What is shown is what is read, and a variable says the same.
	var shown bytes.Buffer
	if err := e.YAML(&shown, func(k config.Key) string { return k.Name }); err != nil {
		t.Fatal(err)
	}
	if again := resolved(t, shown.String()); again.Config != e.Config {
		t.Errorf("shown as\n%s", &shown)
	}
	for _, line := range []string{"  policies: # retention.policies\n", "    nightly: 3d\n", "            - \"1\"\n"} {
		if !strings.Contains(shown.String(), line) {
			t.Errorf("no line %q in\n%s", line, &shown)
		}
	}
	environ := []string{"ARTIFACTSTORE_RETENTION_INTERVAL=10m"}
	for _, name := range []string{"grace", "default", "classes", "policies"} {
		key, _ := config.Lookup("retention." + name)
		environ = append(environ, key.Env()+"="+key.Get(&e.Config))
	}
	fromEnv, err := config.Load("", environ, nil)
	if err != nil || fromEnv.Config != e.Config {
		t.Errorf("%v: from variables %+v, want %+v", err, fromEnv, e.Config)
	}
}

func TestNothingAboutRetentionIsNothing(t *testing.T) {
	for _, text := range []string{"", "retention:\n  classes: {}\n  policies: []\n"} {
		e := resolved(t, text)
		d, err := e.Retention.Document()
		if err != nil {
			t.Fatal(err)
		}
		if text, err := d.Encode(); err != nil || string(text) != "{}" || e.Config != config.Default() {
			t.Errorf("%s, %v", text, err)
		}
	}
}

func TestProblemsOfPoliciesHaveTheLineOfTheirEntry(t *testing.T) {
	cases := []struct{ name, yaml, want string }{
		{"an unknown member", "    - name: a\n      repositories: [a]\n    - name: b\n      repository: [b]\n",
			`f:5: retention.policies: policy "b": unknown field "repository"`},
		{"a member twice", "    - name: a\n      name: b\n", `f:3: retention.policies: member "name": want each once, in lower case`},
		{"a term", "    - {name: a, repositories: [a], expire_untagged: 1month}\n", `f:3: retention.policies: policy "a": term "1month": want`},
		{"a number for a text", "    - {name: a, repositories: [1]}\n", `f:3: retention.policies: policy "a": member repositories: does not take a number`},
		{"no value", "    - {name: a, repositories: }\n", `f:3: retention.policies: a member has no value`},
		{"a fraction", "    - {name: a, repositories: [a], keep: [{name: x, newest: 1.5}]}\n", `f:3: retention.policies: "1.5" is neither text`},
		{"an alias", "    - &a {name: a, repositories: [a]}\n    - *a\n", "f:4: retention.policies: want a value: there are no aliases here"},
		{"a mapping for a list", "      name: a\n", "f:3: retention.policies: want a list"},
		{"a member of no text", "    - ? [a]\n      : b\n", "f:3: retention.policies: a name must be plain text"},
		{"several at once", "    - {name: A, repositories: []}\n    - {name: b}\n", "f:3: retention.policies: policy: name \"A\" does not match ^[a-z0-9][a-z0-9._-]{0,62}$\n" +
			"f:3: retention.policies: policy \"A\": repositories: want at least one pattern\nf:4: retention.policies: policy \"b\": repositories: want at least one pattern"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := config.FromYAML("f", []byte("retention:\n  policies:\n"+c.yaml))
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
	_, err := config.FromYAML("f", []byte("retention:\n  classes:\n    a: 1d\n    b: soon\n"))
	if want := `f:4: retention.classes: term "soon"`; err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestPoliciesAreJudgedTogether(t *testing.T) {
	cases := []struct{ name, yaml, want string }{
		{"one name twice", "  policies:\n    - {name: a, repositories: [a]}\n    - {name: a, repositories: [b]}\n",
			`f:2: retention.policies: policy "a": another has this name`},
		{"a class that is none", "  policies:\n    - {name: a, repositories: [a], class: weekly}\n",
			`f:2: retention.policies: policy "a": class: unknown retention class "weekly"`},
		{"a default that is none", "  default: weekly\n", `f:2: retention.default: default: unknown retention class "weekly"`},
		{"a class twice", "  classes:\n    a: 1d\n    a: 2d\n", `f:2: retention.classes: member "a": want each once`},
		{"permanent records that end", "  classes: {permanent-record: 1y}\n", `f:2: retention.classes: class permanent-record: must be kept never`},
		{"a grace without end", "  grace: never\n", `f:2: retention.grace: grace: cannot be never`},
		{"a grace in words", "  grace: a week\n", `f:2: retention.grace: term "a week": want`},
		{"text that is no JSON", "  policies: none\n", `f:2: retention.policies: is not JSON`},
		{"JSON that goes on", "  classes: '{}, \"grace\": \"1d\"'\n", `f:2: retention.classes: is not JSON`},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			settings, err := config.FromYAML("f", []byte("retention:\n"+c.yaml))
			if err == nil {
				_, err = config.Resolve(settings)
			}
			if err == nil || !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
		})
	}
}

func TestNodesCompareTheirPolicies(t *testing.T) {
	none := config.Default()
	if got := none.Rules()[config.RetentionRule]; got != "none" {
		t.Errorf("without policies the rule is %q", got)
	}
	some := resolved(t, sectionYAML)
	rule := some.Rules()[config.RetentionRule]
	if !strings.HasPrefix(rule, "sha256:") || strings.Contains(rule, "ci") {
		t.Errorf("the rule is %q", rule)
	}
	// How a policy is written makes no difference, what it says does.
	if same := resolved(t, strings.ReplaceAll(sectionYAML, "grace: 2w", "grace: 14d")); same.Rules()[config.RetentionRule] != rule {
		t.Error("another spelling is another rule")
	}
	if other := resolved(t, strings.ReplaceAll(sectionYAML, "newest: 5", "newest: 6")); other.Rules()[config.RetentionRule] == rule {
		t.Error("another policy is the same rule")
	}
}

func TestDeletingIsBounded(t *testing.T) {
	cases := []struct{ key, value, want string }{
		{"retention.interval", "1ms", "at least 1s"},
		{"sweep.interval", "1ms", "at least 1s, or 0"},
		{"sweep.grace", "0", "at least 1s"},
		{"erase.delay", "0", "at least 1s"},
		{"sweep.after", "0", "at least 1s"},
		{"sweep.rate", "99", "100 to 1000000, or 0"},
		{"scrub.rate", "1B/s", "at least 64KiB/s, or 0/s"},
		{"scrub.interval", "1m", "at least 1h"},
	}
	for _, c := range cases {
		_, err := config.Resolve([]config.Setting{{Key: c.key, Value: c.value, Where: "--flag"}})
		if err == nil || !strings.Contains(err.Error(), "--flag: "+c.key) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %s: got %v, want %q", c.key, c.value, err, c.want)
		}
	}
	for _, s := range []string{"sweep.interval=0", "scrub.rate=0/s", "retention.grace="} {
		if _, err := config.Resolve(settingsOf(s)); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	// Whoever has a URL of an object can use it until it expires.
	_, err := config.Resolve(settingsOf("storage.driver=s3", "s3.bucket=bucket", "s3.redirect=always", "s3.redirect_expiry=25h"))
	if err == nil || !strings.Contains(err.Error(), "erase.delay: must be at least s3.redirect_expiry") {
		t.Errorf("got %v", err)
	}
}

// The schema takes what is read, and all members of a document.
func TestSchemaHasEveryMemberOfADocument(t *testing.T) {
	schema := string(config.Schema())
	text, err := retention.Document{Policies: []retention.Policy{{Name: "a", Repositories: []string{"a"}}}}.Encode()
	if err != nil || !strings.Contains(string(text), `"repositories"`) {
		t.Fatal(err)
	}
	for _, member := range []string{"name", "repositories", "class", "choose", "expire_tagged", "expire_untagged", "keep", "newest",
		"pushed_within", "pulled_within", "tags", "immutable_tags", "until", "write_once"} {
		if !strings.Contains(schema, `"`+member+`": {`) {
			t.Errorf("the schema has no %s", member)
		}
	}
}

func TestADocumentIsTurnedIntoJSON(t *testing.T) {
	for text, want := range map[string]string{
		"a: [1, yes, true, 'x']\nb: {c: 2027-01-01}\n": `{"a":[1,"yes",true,"x"],"b":{"c":"2027-01-01"}}`,
		`{"grace": "7d", "grace": "8d"}`:               `{"grace":"7d","grace":"8d"}`, // for its reader to refuse
		"{}":                                           `{}`,
	} {
		if got, err := config.ToJSON("f", []byte(text)); err != nil || string(got) != want {
			t.Errorf("%s: %s, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"# nothing\n":       "f: is empty",
		"a: 1\n---\nb: 1\n": "f:2: only one YAML document is allowed",
		"a: &x 1\nb: *x\n":  "f:2: want a value: there are no aliases here",
		"a: 1\nb: [\n":      "f:",
		"a:\n  - 1.5\n":     `f:2: "1.5" is neither text`,
		"a:\n":              "f:1: a member has no value",
	} {
		if got, err := config.ToJSON("f", []byte(text)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %s, %v, want %s", text, got, err, want)
		}
	}
}
