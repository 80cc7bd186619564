package importer_test

import (
	"strings"
	"testing"

	"artifactstore/internal/importer"
)

func TestPatternsChooseRepositories(t *testing.T) {
	cases := []struct {
		pattern string
		yes, no string
	}{
		{"team/app", "team/app", "team/app2 team/app/deep xteam/app"},
		{"team/*", "team/app team/b", "team team/app/deep other/app"},
		{"team/**", "team/app team/app/deep", "team other/team/app"},
		{"**/app", "team/app a/b/app", "app team/app2"},
		{"*", "app", "team/app"},
		{"**", "app team/app", ""},
		{"a?p", "app", "ap a/p"},
		{"a.b", "a.b", "axb"},
	}
	for _, c := range cases {
		p, err := importer.ParsePatterns([]string{c.pattern})
		must(t, err)
		for _, name := range strings.Fields(c.yes) {
			if !p.Match(name) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if p.Match(name) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
	if all := (importer.Patterns{}); !all.Match("anything") {
		t.Error("no pattern does not choose all")
	}
	for _, bad := range []string{"", "/team"} {
		if _, err := importer.ParsePatterns([]string{bad}); err == nil {
			t.Errorf("%q is taken for a pattern", bad)
		}
	}
}

func TestURLsOfRegistries(t *testing.T) {
	cases := []struct {
		text  string
		plain bool
		want  string // or a part of the error
	}{
		{"https://registry.example.com", false, "https://registry.example.com"},
		{"registry.example.com:5000/", false, "https://registry.example.com:5000"},
		{"localhost:5000", false, "http://localhost:5000"},
		{"https://localhost:5000", false, "https://localhost:5000"},
		{"http://127.0.0.1:5000", false, "http://127.0.0.1:5000"},
		{"http://[::1]:5000", false, "http://[::1]:5000"},
		{"http://registry.example.com", false, "--plain-http"},
		{"http://registry.example.com", true, "http://registry.example.com"},
		{"registry.example.com", true, "http://registry.example.com"},
		{"https://registry.example.com/team", false, "--repo"},
		{"ftp://registry.example.com", false, "the scheme is https or http"},
		{"", false, "no registry's URL"},
		{"https://user:secret@registry.example.com", false, "docker login"},
	}
	for _, c := range cases {
		e, err := importer.ParseEndpoint(c.text, c.plain)
		if got := e.String(); err == nil && got != c.want || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %s, %v; want %s", c.text, got, err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: the error shows the password", c.text)
		}
	}
}
