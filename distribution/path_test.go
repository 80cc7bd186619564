package distribution_test

import (
	"regexp"
	"strings"
	"testing"

	"artifactstore/distribution"
)

const hex64 = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

var none = distribution.Target{Endpoint: "none"}

func TestParsePath(t *testing.T) {
	const digest = "sha256:" + hex64
	tests := []struct {
		path string
		want distribution.Target
	}{
		{"/v2/", distribution.Target{"base", "", ""}},
		{"/v2", distribution.Target{"base", "", ""}},
		{"/v2/_catalog", distribution.Target{"catalog", "", ""}},
		{"/v2/a/tags/list", distribution.Target{"tags", "a", ""}},
		{"/v2/a/b/c/manifests/v1", distribution.Target{"manifest", "a/b/c", "v1"}},
		{"/v2/a/manifests/" + digest, distribution.Target{"manifest", "a", digest}},
		{"/v2/a/blobs/" + digest, distribution.Target{"blob", "a", digest}},
		{"/v2/a/referrers/" + digest, distribution.Target{"referrers", "a", digest}},
		{"/v2/a/blobs/uploads/", distribution.Target{"uploads", "a", ""}},
		{"/v2/a/blobs/uploads", distribution.Target{"uploads", "a", ""}},
		{"/v2/a/blobs/uploads/xyz", distribution.Target{"upload", "a", "xyz"}},

		// Names made of the API's own words.
		{"/v2/blobs/blobs/" + digest, distribution.Target{"blob", "blobs", digest}},
		{"/v2/blobs/uploads/blobs/uploads/", distribution.Target{"uploads", "blobs/uploads", ""}},
		{"/v2/blobs/uploads/blobs/uploads/xyz", distribution.Target{"upload", "blobs/uploads", "xyz"}},
		{"/v2/a/blobs/uploads/manifests/v1", distribution.Target{"manifest", "a/blobs/uploads", "v1"}},
		{"/v2/a/blobs/uploads/blobs/" + digest, distribution.Target{"blob", "a/blobs/uploads", digest}},
		{"/v2/manifests/tags/list", distribution.Target{"tags", "manifests", ""}},
		{"/v2/tags/list/tags/list", distribution.Target{"tags", "tags/list", ""}},
		{"/v2/a/tags/manifests/list", distribution.Target{"manifest", "a/tags", "list"}},
		{"/v2/manifests/manifests/manifests", distribution.Target{"manifest", "manifests", "manifests"}},
		{"/v2/a/manifests/blobs/uploads/xyz", distribution.Target{"upload", "a/manifests", "xyz"}},
		{"/v2/a/referrers/manifests/uploads", distribution.Target{"manifest", "a/referrers", "uploads"}},
		{"/v2/v2/tags/list", distribution.Target{"tags", "v2", ""}},
		{"/v2/_catalog/tags/list", distribution.Target{"tags", "_catalog", ""}},

		// What is no name is still told from what is no endpoint.
		{"/v2/tags/list", distribution.Target{"tags", "", ""}},
		{"/v2/manifests/v1", distribution.Target{"manifest", "", "v1"}},
		{"/v2//tags/list", distribution.Target{"tags", "", ""}},
		{"/v2/a//tags/list", distribution.Target{"tags", "a/", ""}},
		{"/v2/a/../b/tags/list", distribution.Target{"tags", "a/../b", ""}},
		{"/v2/a/manifests/", distribution.Target{"manifest", "a", ""}},
		{"/v2/a/blobs/", distribution.Target{"blob", "a", ""}},

		// Escapes are never undone, but for the colon of a digest.
		{"/v2/a/%2e%2e/b/tags/list", distribution.Target{"tags", "a/%2e%2e/b", ""}},
		{"/v2/a%2Fb/tags/list", distribution.Target{"tags", "a%2Fb", ""}},
		{"/v2/a/manifests/..%2f..%2fx", distribution.Target{"manifest", "a", "..%2f..%2fx"}},
		{"/v2/a/blobs/sha256%3A" + hex64, distribution.Target{"blob", "a", digest}},
		{"/v2/a/blobs/sha256%3a" + hex64, distribution.Target{"blob", "a", digest}},
		{"/v2/a/blobs/sha256%253A" + hex64, distribution.Target{"blob", "a", "sha256%253A" + hex64}},
		{"/v2/a/blobs%2Fuploads/", none},

		// No endpoint.
		{"", none},
		{"/", none},
		{"/v2x", none},
		{"/v1/a/tags/list", none},
		{"/V2/", none},
		{"//v2/", none},
		{"/v2//", none},
		{"/v2/a", none},
		{"/v2/a/", none},
		{"/v2/_catalog/", none},
		{"/v2/a/tags", none},
		{"/v2/a/tags/", none},
		{"/v2/a/tags/list/", none},
		{"/v2/a/tags/other", none},
		{"/v2/a/manifests", none},
		{"/v2/a/manifests/v1/", none},
		{"/v2/a/uploads/xyz", none},
		{"/v2/a/blobs/uploads/xyz/", none},
		{"/v2/a/blobs/uploads/x/y", none},
	}
	for _, test := range tests {
		t.Run(test.path, func(t *testing.T) {
			if got := distribution.ParsePath(test.path); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// forms are the endpoints as the specification writes them, with its own
// expressions for names and tags: what the parser is measured against.
var forms = func() map[string]*regexp.Regexp {
	const name = `([a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*)`
	const tag = `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`
	const digest = `[a-z0-9]+:[a-f0-9]+`
	return map[string]*regexp.Regexp{
		"tags":      regexp.MustCompile(`^/v2/` + name + `/tags/list()$`),
		"manifest":  regexp.MustCompile(`^/v2/` + name + `/manifests/(` + tag + `|` + digest + `)$`),
		"blob":      regexp.MustCompile(`^/v2/` + name + `/blobs/(` + digest + `)$`),
		"uploads":   regexp.MustCompile(`^/v2/` + name + `/blobs/uploads/?()$`),
		"upload":    regexp.MustCompile(`^/v2/` + name + `/blobs/uploads/([A-Za-z0-9_-]+)$`),
		"referrers": regexp.MustCompile(`^/v2/` + name + `/referrers/(` + digest + `)$`),
	}
}()

// FuzzParsePath compares with the specification's grammar: every path that fits
// a form is parsed as that form, and one that is parsed as a form has its parts.
func FuzzParsePath(f *testing.F) {
	for _, seed := range []string{
		"/v2/", "/v2/a/tags/list", "/v2/a/b/manifests/v1", "/v2/a/blobs/sha256:00", "/v2/blobs/uploads/blobs/uploads/x",
		"/v2/a/blobs/uploads/", "/v2/a__b/referrers/sha256:00", "/v2/../etc/passwd", "/v2/a/blobs/sha256%3Aab", "/v2/tags/list/tags/list",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		got := distribution.ParsePath(path)
		for endpoint, form := range forms {
			if parts := form.FindStringSubmatch(path); parts != nil && got != (distribution.Target{endpoint, parts[1], parts[2]}) {
				t.Errorf("%q is %s %q, parsed as %+v", path, endpoint, parts[1:], got)
			}
		}
		if got.Endpoint == "none" || got.Endpoint == "base" {
			return
		}
		if !strings.HasPrefix(path, "/v2/"+got.Name) {
			t.Errorf("the name %q is not what stands in %q", got.Name, path)
		}
		if !strings.HasSuffix(strings.ReplaceAll(strings.ReplaceAll(path, "%3a", ":"), "%3A", ":"), got.Item) {
			t.Errorf("the item %q is not what stands in %q", got.Item, path)
		}
	})
}

func BenchmarkParsePath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		distribution.ParsePath("/v2/library/project/image/blobs/sha256:" + hex64)
	}
}
