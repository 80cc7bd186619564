package admin

import (
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/gorilla/mux"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// Page is a part of a list. Next is the parameter after of the next page, empty
// in the last one.
type Page[T any] struct {
	Items []T    `json:"items"`
	Next  string `json:"next,omitempty"`
}

// query is the parsed query of a request. Parameters that the endpoint does not
// know are refused: a filter that is spelt wrongly must not be ignored.
type query struct {
	url    *url.URL
	values url.Values
	n      int
	after  string
}

// parseQuery reads n and after, and refuses other parameters than these and known.
func parseQuery(r *http.Request, known ...string) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, badRequest("the query of the URL is malformed")
	}
	q := query{url: r.URL, values: values, n: pageSize}
	repeatable := make(map[string]bool)
	for _, name := range known {
		repeatable[name] = true
	}
	for name, given := range values {
		switch {
		case name != "n" && name != "after" && !repeatable[name]:
			return query{}, badRequest("there is no parameter " + strconv.Quote(name))
		case len(given) > 1 && !repeatable[name]:
			return query{}, badRequest("the parameter " + name + " is given more than once")
		case slices.ContainsFunc(given, isNoText): // which not every database can compare with
			return query{}, badRequest("the parameter " + name + " must be text: UTF-8 without a zero byte")
		}
	}
	q.after = values.Get("after")
	if values.Has("n") {
		n, err := strconv.ParseUint(values.Get("n"), 10, 63)
		if err != nil || n == 0 {
			return query{}, badRequest("n must be a number of entries, at least 1")
		}
		q.n = int(min(n, maxPageSize))
	}
	return q, nil
}

func isNoText(s string) bool { return !utf8.ValidString(s) || strings.ContainsRune(s, 0) }

// noQuery is parseQuery for what is not a list.
func noQuery(r *http.Request) error {
	if r.URL.RawQuery != "" {
		return badRequest("this endpoint has no parameters")
	}
	return nil
}

// sequence reads after as a sequence.
func (q query) sequence() (eventlog.Sequence, error) {
	if q.after == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(q.after, 10, 64)
	if err != nil || n > math.MaxInt64 {
		return 0, badRequest("after must be a sequence number, or be taken from the page before")
	}
	return eventlog.Sequence(n), nil
}

// place reads after as the numbers of a place, of which there are count.
func (q query) place(count int) ([]int64, error) {
	numbers := make([]int64, count)
	if q.after == "" {
		return numbers, nil
	}
	rest := q.after
	for i := range numbers {
		part, more, found := cut(rest)
		n, err := strconv.ParseUint(part, 10, 63)
		if err != nil || found != (i < count-1) {
			return nil, badRequest("after must be taken from the page before")
		}
		numbers[i], rest = int64(n), more
	}
	return numbers, nil
}

func cut(s string) (before, after string, found bool) {
	for i := range len(s) {
		if s[i] == '.' {
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// sendPage writes a page; next is the place of its last entry.
func sendPage[T any](d *door, w http.ResponseWriter, r *http.Request, q query, items []T, more bool, next func() string) error {
	page := Page[T]{Items: items}
	if page.Items == nil {
		page.Items = []T{}
	}
	if more && len(items) > 0 {
		page.Next = next()
		values := url.Values{}
		for name, given := range q.values {
			values[name] = given
		}
		values.Set("after", page.Next)
		w.Header().Set("Link", "<"+q.url.EscapedPath()+"?"+values.Encode()+`>; rel="next"`)
	}
	return d.sendJSON(w, r, page)
}

func number[T ~int64 | ~uint64](n T) string { return strconv.FormatInt(int64(n), 10) }

// variable is a component of the path, without its escapes.
func variable(r *http.Request, name string) (string, error) {
	text, err := url.PathUnescape(mux.Vars(r)[name])
	if err != nil {
		return "", badRequest("the path is malformed")
	}
	return text, nil
}

// repositoryOf is the repository that the path names.
func (d *door) repositoryOf(r *http.Request) (*registry.Repository, error) {
	name, err := variable(r, "repository")
	if err != nil {
		return nil, err
	}
	return d.Registry.Repository(name, caller(r))
}

// digestOf is the digest that the path names.
func digestOf(r *http.Request) (identity.Digest, error) {
	text, err := variable(r, "digest")
	if err != nil {
		return identity.Digest{}, err
	}
	return registry.ParseDigest(text)
}

// referenceOf is what the path names by tag or digest.
func (d *door) referenceOf(r *http.Request) (*registry.Repository, registry.Reference, error) {
	repo, err := d.repositoryOf(r)
	if err != nil {
		return nil, registry.Reference{}, err
	}
	text, err := variable(r, "reference")
	if err != nil {
		return nil, registry.Reference{}, err
	}
	ref, err := registry.ParseReference(text)
	return repo, ref, err
}

// manifestOf is the manifest that the path names by tag or digest.
func (d *door) manifestOf(r *http.Request) (*registry.Repository, *registry.Manifest, error) {
	repo, ref, err := d.referenceOf(r)
	if err != nil {
		return nil, nil, err
	}
	m, err := repo.ManifestInfo(r.Context(), ref)
	return repo, m, err
}
