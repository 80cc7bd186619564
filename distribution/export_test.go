package distribution

import (
	"net/http"

	"artifactstore/registry"
)

// The parsers, for tests from outside.

type Target struct{ Endpoint, Name, Item string }

func ParsePath(path string) Target {
	t := parsePath(path)
	return Target{t.endpoint.String(), t.name, t.item}
}

func ParseRange(header string, size int64) (offset, length int64, whole bool, err error) {
	part, whole, err := parseRange(header, size)
	return part.offset, part.length, whole, err
}

func ParseContentRange(headers []string, length int64) (registry.Chunk, error) {
	chunk := registry.Chunk{Length: length}
	err := parseContentRange(headers, &chunk)
	return chunk, err
}

var ParseTags = parseTags

func Status(code registry.Code) (status int, ok bool) {
	a, ok := answers[code]
	return a.status, ok
}

// Fail answers err as a handler's.
func Fail(w http.ResponseWriter, r *http.Request, err error) {
	fail(w, r, parsePath(r.URL.EscapedPath()), err)
}

// CutOff is what a handler returns that began a response and cannot end it.
func CutOff(err error) error { return errCutOff{err} }
