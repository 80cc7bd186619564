package distribution

import (
	"net/http"
	"net/url"
	"strconv"

	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// query is the parsed query of a request. Parameters that an endpoint does not
// know are ignored: among them is "ns", with which clients tell proxies what
// registry they mean ("Registry Proxying"); this one is none.
type query struct {
	values url.Values
	code   registry.Code // of the refusal of what is malformed
}

func parseQuery(r *http.Request, code registry.Code) (query, error) {
	values, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return query{}, &registry.Error{Code: code, Message: "the query of the URL is malformed", Err: err}
	}
	return query{values, code}, nil
}

// get returns a parameter that may be given once, "" if it is absent.
func (q query) get(name string) (string, error) {
	switch values := q.values[name]; len(values) {
	case 0:
		return "", nil
	case 1:
		return values[0], nil
	}
	return "", registry.Errorf(q.code, "the parameter %q is given more than once", name)
}

// has tells whether a parameter is given.
func (q query) has(name string) bool { return q.values[name] != nil }

// digest reads a parameter that must be a digest.
func (q query) digest(name string) (identity.Digest, error) {
	text, err := q.get(name)
	if err != nil {
		return identity.Digest{}, err
	}
	return registry.ParseDigest(text)
}

// pageSize reads the parameter n: a number without sign. More than limit is
// limit, and so is no n at all.
func (q query) pageSize(limit int) (int, error) {
	text, err := q.get("n")
	if err != nil || !q.has("n") {
		return limit, err
	}
	n, ok := parseNumber(text)
	if !ok {
		return 0, registry.Errorf(q.code, "n must be a number of entries")
	}
	return int(min(n, int64(limit))), nil
}

// nextPage sets the Link header to the page after this one (RFC 8288).
func nextPage(w http.ResponseWriter, t target, path string, n int, more url.Values) {
	more.Set("n", strconv.Itoa(n))
	w.Header().Set("Link", "</v2/"+t.name+path+"?"+more.Encode()+`>; rel="next"`)
}
