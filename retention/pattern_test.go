package retention_test

import (
	"regexp"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"artifactstore/retention"
)

func TestMatch(t *testing.T) {
	tests := []struct {
		pattern    string
		matches    []string
		mismatches []string
	}{
		{"library/alpine", []string{"library/alpine"}, []string{"library", "library/alpine/x", "xlibrary/alpine", "library/alpine2", ""}},
		{"team/*", []string{"team/app", "team/"}, []string{"team", "team/app/x", "teams/app"}},
		{"team/**", []string{"team/app", "team/app/x", "team/"}, []string{"team", "teams/app"}},
		{"*", []string{"app", ""}, []string{"team/app"}},
		{"**", []string{"app", "team/app", ""}, nil},
		{"**/app", []string{"team/app", "a/b/app", "/app"}, []string{"app", "team/app2"}},
		{"**app", []string{"app", "team/app", "a/b/myapp"}, []string{"team/app2"}},
		{"team/*/ci", []string{"team/app/ci"}, []string{"team/ci", "team/a/b/ci"}},
		{"v?.*", []string{"v1.", "v1.20", "v1.2.3"}, []string{"v10.1", "v.1", "v1"}},
		{"a?b", []string{"axb"}, []string{"a/b", "ab"}},
		{"v*-rc*", []string{"v1-rc1", "v-rc-rc"}, []string{"v1", "x-rc1"}},
		{"**/x/*", []string{"a/x/b", "a/x/x/b", "x/x/b"}, []string{"a/x/b/c", "x/b"}},
		{"", []string{""}, []string{"a"}},
	}
	for _, tt := range tests {
		for _, name := range tt.matches {
			if !retention.Match(tt.pattern, name) {
				t.Errorf("%q does not match %q", tt.pattern, name)
			}
		}
		for _, name := range tt.mismatches {
			if retention.Match(tt.pattern, name) {
				t.Errorf("%q matches %q", tt.pattern, name)
			}
		}
	}
}

// expression says with a regular expression what a pattern means.
func expression(pattern string) string {
	meaning := regexp.QuoteMeta(pattern)
	meaning = strings.ReplaceAll(meaning, `\*\*`, `.*`)
	meaning = strings.ReplaceAll(meaning, `\*`, `[^/]*`)
	meaning = strings.ReplaceAll(meaning, `\?`, `[^/]`)
	return `(?s)\A` + meaning + `\z`
}

func TestMatchIsWhatTheExpressionSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pattern := rapid.StringMatching(`([ab/?]|\*{1,2}[ab/?])*\*{0,2}`).Draw(t, "pattern")
		name := rapid.StringMatching(`[ab/]{0,12}`).Draw(t, "name")
		want := regexp.MustCompile(expression(pattern)).MatchString(name)
		if got := retention.Match(pattern, name); got != want {
			t.Fatalf("Match(%q, %q) = %v", pattern, name, got)
		}
	})
}

func FuzzMatch(f *testing.F) {
	f.Add("a*b**c/?", "axb/y/c/z")
	f.Add("**a*/b**", "aa/ba/b")
	f.Fuzz(func(t *testing.T, pattern, name string) {
		ascii := regexp.MustCompile(`^[!-~]{0,60}$`)
		if strings.Contains(pattern, "***") || !ascii.MatchString(pattern) || !ascii.MatchString(name) {
			t.Skip("outside of the grammar")
		}
		want := regexp.MustCompile(expression(pattern)).MatchString(name)
		if got := retention.Match(pattern, name); got != want {
			t.Errorf("Match(%q, %q) = %v", pattern, name, got)
		}
	})
}
