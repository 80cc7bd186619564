package archtest_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksLeadSomewhere: what a page of the documentation points to in this
// repository is there.
func TestLinksLeadSomewhere(t *testing.T) {
	pages := 0
	err := filepath.WalkDir("../..", func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && strings.HasPrefix(entry.Name(), ".") && entry.Name() != "." && entry.Name() != ".." {
			return fs.SkipDir
		}
		if filepath.Ext(at) != ".md" {
			return nil
		}
		pages++
		text, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		for _, found := range link.FindAllStringSubmatch(string(text), -1) {
			target, _, _ := strings.Cut(found[1], "#")
			if target == "" || strings.Contains(target, ":") {
				continue
			}
			if _, err := os.Stat(filepath.Join(filepath.Dir(at), target)); err != nil {
				t.Errorf("%s: the link %s leads nowhere", at, found[1])
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if pages < 5 {
		t.Errorf("found only %d pages", pages)
	}
}

// TestDecisionsAreIndexed: every decision record has its row in the index.
func TestDecisionsAreIndexed(t *testing.T) {
	records, err := filepath.Glob("../../docs/adr/[0-9]*.md")
	if err != nil || len(records) == 0 {
		t.Fatalf("%d decision records, %v", len(records), err)
	}
	index, err := os.ReadFile("../../docs/adr/README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, record := range records {
		if name := filepath.Base(record); !strings.Contains(string(index), "]("+name+")") {
			t.Errorf("docs/adr/README.md does not list %s", name)
		}
	}
}
