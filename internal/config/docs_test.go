package config_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"artifactstore/internal/config"
)

var update = flag.Bool("update", false, "write the reference and the example configuration anew")

const (
	reference = "../../docs/configuration.md"
	example   = "../../configs/artifactstore.yaml"
)

// The part of the reference between two marks is generated from the keys.
func TestReferenceDocumentsEveryKey(t *testing.T) {
	const begin, end = "<!-- generated from internal/config: begin -->\n", "<!-- generated from internal/config: end -->\n"
	page, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(page), begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		t.Fatalf("%s has no marks %q and %q", reference, begin, end)
	}
	golden(t, reference, []byte(before+begin+referenceText()+end+after))
}

func referenceText() string {
	var b strings.Builder
	defaults := config.Default()
	section := ""
	b.WriteString("\n## General\n")
	for _, k := range config.Keys() {
		if name, _, nested := strings.Cut(k.Name, "."); nested && name != section {
			section = name
			fmt.Fprintf(&b, "\n## %s\n", name)
		}
		fmt.Fprintf(&b, "\n### `%s`\n\n%s\n\n- default: %s\n- environment: `%s`\n", k.Name, k.Doc, code(k.Get(&defaults)), k.Env())
		if name, ok := flags[k.Name]; ok {
			fmt.Fprintf(&b, "- flag: `%s`\n", name)
		}
	}
	b.WriteString("\n")
	return b.String()
}

// flags of `artifactstore serve`; a test of the command compares them with its help.
var flags = map[string]string{
	"listen": "--listen ADDRESS", "data": "--data FOLDER", "insecure_no_auth": "--insecure-no-auth", "log.format": "--log-format FORMAT",
	"admin.listen": "--admin-listen ADDRESS",
}

// TestDocumentsNameKeysThatThereAre: what looks like a key, as a word of its own
// in backquotes, is one.
func TestDocumentsNameKeysThatThereAre(t *testing.T) {
	sections := make(map[string]bool)
	for _, k := range config.Keys() {
		section, _, _ := strings.Cut(k.Name, ".")
		sections[section] = true
	}
	quoted := regexp.MustCompile("`([a-z0-9]+)\\.([a-z_]+)`")
	found := 0
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md", "internal/admin/openapi.json"} {
		files, err := filepath.Glob("../../" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, match := range quoted.FindAllSubmatch(text, -1) {
				name := string(match[1]) + "." + string(match[2])
				if !sections[string(match[1])] {
					continue
				}
				found++
				if _, ok := config.Lookup(name); !ok {
					t.Errorf("%s names the key %s, and there is none", file, name)
				}
			}
		}
	}
	if found < 20 {
		t.Errorf("%d keys were found in the documents: the search does not find them", found)
	}
}

func code(text string) string {
	if text == "" {
		return "none"
	}
	return "`" + text + "`"
}

// The example has every key at its default, each under its description.
func TestExampleShowsEveryKeyAtItsDefault(t *testing.T) {
	golden(t, example, exampleText(t))
}

func exampleText(t *testing.T) []byte {
	t.Helper()
	c := config.Default()
	var yaml bytes.Buffer
	// A mark behind each value tells which key the line is of.
	if err := c.YAML(&yaml, func(k config.Key) string { return k.Name }); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString("# Configuration of artifactstore: every key, at its default.\n" +
		"# Keys can be left out. docs/configuration.md says where else they can be set.\n" +
		"#\n# Use it:    artifactstore serve --config artifactstore.yaml\n" +
		"# Check it:  artifactstore config check artifactstore.yaml\n")
	for line := range strings.Lines(yaml.String()) {
		value, mark, leaf := strings.Cut(strings.TrimSuffix(line, "\n"), " # ")
		indent := line[:len(line)-len(strings.TrimLeft(line, " "))]
		if !leaf {
			b.WriteString("\n" + value + "\n")
			continue
		}
		k, ok := config.Lookup(mark)
		if !ok {
			t.Fatalf("line %q is of no key", line)
		}
		if indent == "" {
			b.WriteString("\n")
		}
		b.WriteString(comment(indent+"# ", k.Doc) + value + "\n")
	}
	return []byte(b.String())
}

// comment breaks text into lines of at most 96 characters.
func comment(prefix, text string) string {
	var b strings.Builder
	line := prefix
	for _, word := range strings.Fields(text) {
		if len(line)+len(word) > 96 {
			b.WriteString(strings.TrimRight(line, " ") + "\n")
			line = prefix
		}
		line += word + " "
	}
	return b.String() + strings.TrimRight(line, " ") + "\n"
}

func TestEveryExampleLoads(t *testing.T) {
	var files []string
	for _, pattern := range []string{"../../configs/artifactstore*.yaml", "../../configs/*/artifactstore*.yaml"} {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			t.Fatalf("%s: no examples: %v", pattern, err)
		}
		files = append(files, found...)
	}
	for _, file := range files {
		e, err := config.Load(file, nil, nil)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		if file == filepath.FromSlash(example) && e.Config != config.Default() {
			t.Errorf("%s differs from the defaults: %+v", file, e.Config)
		}
	}
}

// golden compares a file with its text, or writes it under -update.
func golden(t *testing.T, file string, want []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, want, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s is out of date; run: go test ./internal/config -update", file)
	}
}
