package distribution

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"artifactstore/registry"
)

// byteRange is a part of a content.
type byteRange struct {
	offset, length int64
}

// parseRange reads the Range header of a request for a content of some size
// (RFC 9110, section 14). whole tells that the whole content is to be sent:
// there is no Range, it is in another unit, or it asks for several parts, which
// a server may answer so. RangeInvalid if it is malformed or outside the content.
func parseRange(header string, size int64) (part byteRange, whole bool, err error) {
	unit, set, ok := strings.Cut(header, "=")
	if !ok || !strings.EqualFold(strings.TrimSpace(unit), "bytes") {
		return byteRange{}, true, nil
	}
	if strings.Contains(set, ",") {
		return byteRange{}, true, nil
	}
	first, last, ok := strings.Cut(strings.Trim(set, " \t"), "-")
	if !ok {
		return byteRange{}, false, unsatisfiable("the Range is malformed")
	}
	return parseSpec(first, last, size)
}

// parseSpec reads one range-spec: "first-last", "first-" or "-length".
func parseSpec(first, last string, size int64) (part byteRange, whole bool, err error) {
	if first == "" {
		length, ok := parseNumber(last)
		switch {
		case !ok:
			return part, false, unsatisfiable("the Range is malformed")
		case length == 0:
			return part, false, unsatisfiable("the Range asks for the last 0 bytes")
		case length >= size:
			// An empty content has no Content-Range to answer with.
			return byteRange{0, size}, size == 0, nil
		}
		return byteRange{size - length, length}, false, nil
	}
	from, ok := parseNumber(first)
	to := size - 1
	if ok && last != "" {
		to, ok = parseNumber(last)
	}
	switch {
	case !ok:
		return part, false, unsatisfiable("the Range is malformed")
	case last != "" && to < from:
		return part, false, unsatisfiable("the Range ends before it begins")
	case from >= size:
		return part, false, unsatisfiable("the Range begins after the end of the content")
	}
	return byteRange{from, min(to, size-1) - from + 1}, false, nil
}

func unsatisfiable(message string) error {
	return &registry.Error{Code: registry.RangeInvalid, Message: message}
}

// parseNumber reads a decimal number without sign. A number that does not fit
// is as good as the largest that does: no content is that long.
func parseNumber(s string) (n int64, ok bool) {
	if s == "" {
		return 0, false
	}
	for _, c := range []byte(s) {
		if c < '0' || c > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}

// parseContentRange reads the Content-Range of a chunk into chunk. The
// specification's form is "0-9" ("Pushing a blob in chunks"); HTTP's own,
// "bytes 0-9/10" and "bytes 0-9/*", is understood too. BlobUploadInvalid if it
// is neither, SizeInvalid if it disagrees with the Content-Length.
func parseContentRange(headers []string, chunk *registry.Chunk) error {
	if len(headers) == 0 {
		return nil
	}
	malformed := registry.Errorf(registry.BlobUploadInvalid, "the Content-Range must have the form first-last, both inclusive")
	if len(headers) > 1 {
		return malformed
	}
	span, total := headers[0], "*"
	if rest, ok := strings.CutPrefix(span, "bytes "); ok {
		if span, total, ok = strings.Cut(rest, "/"); !ok {
			return malformed
		}
	}
	first, last, _ := strings.Cut(span, "-")
	start, ok1 := parseNumber(first)
	end, ok2 := parseNumber(last)
	if !ok1 || !ok2 || end < start || end == 1<<63-1 {
		return malformed
	}
	if total != "*" {
		if size, ok := parseNumber(total); !ok || size <= end {
			return malformed
		}
	}
	if chunk.Length >= 0 && chunk.Length != end-start+1 {
		return registry.Errorf(registry.SizeInvalid, "the Content-Range has %d bytes, the Content-Length %d", end-start+1, chunk.Length)
	}
	chunk.Ranged, chunk.Start, chunk.End = true, start, end
	return nil
}

// entityTag is the strong entity tag of a content: its digest in quotes.
func entityTag(digest string) string { return `"` + digest + `"` }

// parseTags reads the entity tags of If-Match or If-None-Match (RFC 9110,
// section 13.1). any tells that it is "*". Weak tags are left out if strong
// comparison is asked for. ok is false if the field is malformed.
func parseTags(fields []string, strong bool) (tags []string, any, ok bool) {
	field := strings.Trim(strings.Join(fields, ","), " \t,")
	if field == "" || field == "*" {
		return nil, field == "*", field == "*"
	}
	for field != "" {
		weak := strings.HasPrefix(field, "W/")
		rest, opened := strings.CutPrefix(strings.TrimPrefix(field, "W/"), `"`)
		tag, rest, closed := strings.Cut(rest, `"`)
		after := strings.TrimLeft(rest, " \t")
		if !opened || !closed || after != "" && after[0] != ',' {
			return nil, false, false
		}
		if !weak || !strong {
			tags = append(tags, tag)
		}
		field = strings.TrimLeft(after, " \t,")
	}
	return tags, false, true
}

// notModified tells that the client has the content already: If-None-Match
// names its digest, or is "*". A malformed field is no reason not to answer.
func notModified(r *http.Request, digest string) bool {
	fields := r.Header.Values("If-None-Match")
	if len(fields) == 0 {
		return false
	}
	tags, any, ok := parseTags(fields, false)
	return ok && (any || slices.Contains(tags, digest))
}
