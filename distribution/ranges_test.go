package distribution_test

import (
	"errors"
	"math"
	"slices"
	"testing"

	"artifactstore/distribution"
	"artifactstore/registry"
)

func TestParseRange(t *testing.T) {
	const bad = -1
	tests := []struct {
		name, header string
		size         int64
		offset       int64 // bad: refused
		length       int64
		whole        bool
	}{
		{"a range in the middle", "bytes=500-1499", 2048, 500, 1000, false},
		{"an open range", "bytes=500-", 2048, 500, 1548, false},
		{"a suffix", "bytes=-500", 2048, 1548, 500, false},
		{"a range that ends beyond the content is cut", "bytes=2000-5000", 2048, 2000, 48, false},
		{"a suffix longer than the content is all of it", "bytes=-5000", 2048, 0, 2048, false},
		{"a suffix as long as the content", "bytes=-2048", 2048, 0, 2048, false},
		{"everything, as a range", "bytes=0-", 2048, 0, 2048, false},
		{"one byte", "bytes=0-0", 2048, 0, 1, false},
		{"the last byte", "bytes=2047-2047", 2048, 2047, 1, false},
		{"an end beyond every integer is cut", "bytes=1-99999999999999999999", 2048, 1, 2047, false},
		{"a unit in capitals", "Bytes=1-2", 2048, 1, 2, false},
		{"spaces around", "bytes= 1-2 ", 2048, 1, 2, false},
		{"no range", "", 2048, 0, 0, true},
		{"another unit", "lines=1-2", 2048, 0, 0, true},
		{"several ranges", "bytes=1-2,5-6", 2048, 0, 0, true},
		{"a suffix of an empty content", "bytes=-5", 0, 0, 0, true},
		{"an open range of an empty content", "bytes=0-", 0, bad, 0, false},
		{"a start at the end", "bytes=2048-", 2048, bad, 0, false},
		{"a start beyond the end", "bytes=5000-10000", 2048, bad, 0, false},
		{"a start beyond every integer", "bytes=99999999999999999999-", 2048, bad, 0, false},
		{"an end before the start", "bytes=500-0", 2048, bad, 0, false},
		{"a suffix of nothing", "bytes=-0", 2048, bad, 0, false},
		{"nothing", "bytes=", 2048, bad, 0, false},
		{"a dash", "bytes=-", 2048, bad, 0, false},
		{"no dash", "bytes=5", 2048, bad, 0, false},
		{"a sign", "bytes=+1-2", 2048, bad, 0, false},
		{"two dashes", "bytes=--5", 2048, bad, 0, false},
		{"letters", "bytes=a-b", 2048, bad, 0, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			offset, length, whole, err := distribution.ParseRange(test.header, test.size)
			if test.offset == bad {
				wantCode(t, err, registry.RangeInvalid)
			} else if err != nil || whole != test.whole || !whole && (offset != test.offset || length != test.length) {
				t.Errorf("got %d+%d, whole %v, %v", offset, length, whole, err)
			}
		})
	}
}

func wantCode(t *testing.T, err error, code registry.Code) {
	t.Helper()
	var refusal *registry.Error
	if !errors.As(err, &refusal) || refusal.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

func FuzzParseRange(f *testing.F) {
	for _, seed := range []string{"bytes=0-1", "bytes=-5", "bytes=5-", "bytes=1-2,3-4", "bytes", "lines=1-2", "bytes=99999999999999999999-"} {
		f.Add(seed, int64(10))
	}
	f.Fuzz(func(t *testing.T, header string, size int64) {
		if size < 0 {
			return
		}
		offset, length, whole, err := distribution.ParseRange(header, size)
		if err == nil && !whole && (offset < 0 || length <= 0 || offset > size-length) {
			t.Errorf("%q of %d bytes is %d+%d", header, size, offset, length)
		}
	})
}

func TestParseContentRange(t *testing.T) {
	tests := []struct {
		name       string
		headers    []string
		length     int64
		start, end int64
		ranged     bool
		code       registry.Code
	}{
		{name: "none", length: 10},
		{name: "the specification's form", headers: []string{"0-9"}, length: 10, start: 0, end: 9, ranged: true},
		{name: "one byte", headers: []string{"7-7"}, length: 1, start: 7, end: 7, ranged: true},
		{name: "a length that is not known", headers: []string{"5-9"}, length: -1, start: 5, end: 9, ranged: true},
		{name: "HTTP's form", headers: []string{"bytes 5-9/10"}, length: 5, start: 5, end: 9, ranged: true},
		{name: "HTTP's form without a total", headers: []string{"bytes 5-9/*"}, length: 5, start: 5, end: 9, ranged: true},
		{name: "a total that is too small", headers: []string{"bytes 5-9/9"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "a total that is no number", headers: []string{"bytes 5-9/x"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "HTTP's form without a slash", headers: []string{"bytes 5-9"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "the form of Range", headers: []string{"bytes=5-9"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "a total in the specification's form", headers: []string{"5-9/10"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "empty", headers: []string{""}, length: 5, code: registry.BlobUploadInvalid},
		{name: "open", headers: []string{"5-"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "three numbers", headers: []string{"5-9-10"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "an end before the start", headers: []string{"9-5"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "beyond every integer", headers: []string{"0-99999999999999999999"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "the greatest integer", headers: []string{"0-9223372036854775807"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "a sign", headers: []string{"+5-9"}, length: 5, code: registry.BlobUploadInvalid},
		{name: "twice", headers: []string{"0-9", "0-9"}, length: 10, code: registry.BlobUploadInvalid},
		{name: "longer than the body", headers: []string{"0-9"}, length: 9, code: registry.SizeInvalid},
		{name: "shorter than the body", headers: []string{"0-9"}, length: 11, code: registry.SizeInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			chunk, err := distribution.ParseContentRange(test.headers, test.length)
			if test.code != "" {
				wantCode(t, err, test.code)
			} else if err != nil || chunk.Ranged != test.ranged || chunk.Start != test.start || chunk.End != test.end {
				t.Errorf("got %+v, %v", chunk, err)
			}
		})
	}
}

func FuzzParseContentRange(f *testing.F) {
	for _, seed := range []string{"0-9", "bytes 0-9/10", "bytes 0-9/*", "9-0", "-", "0-9223372036854775807"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		chunk, err := distribution.ParseContentRange([]string{header}, -1)
		if (err == nil) != chunk.Ranged {
			t.Errorf("%q: %+v, %v", header, chunk, err)
		}
		if chunk.Start < 0 || chunk.End < chunk.Start || chunk.End == math.MaxInt64 {
			t.Errorf("%q is %d to %d", header, chunk.Start, chunk.End)
		}
	})
}

func TestParseTags(t *testing.T) {
	tests := []struct {
		name   string
		fields []string
		strong bool
		tags   []string
		any    bool
		ok     bool
	}{
		{"one", []string{`"a"`}, true, []string{"a"}, false, true},
		{"a list", []string{`"a", "b"`}, true, []string{"a", "b"}, false, true},
		{"two fields", []string{`"a"`, `"b"`}, true, []string{"a", "b"}, false, true},
		{"a comma inside a tag", []string{`"a,b"`}, true, []string{"a,b"}, false, true},
		{"empty members", []string{`,"a",,"b",`}, true, []string{"a", "b"}, false, true},
		{"any", []string{`*`}, true, nil, true, true},
		{"a weak tag compared weakly", []string{`W/"a"`}, false, []string{"a"}, false, true},
		{"a weak tag compared strongly is nothing", []string{`W/"a"`}, true, nil, false, true},
		{"empty", []string{""}, true, nil, false, false},
		{"no quotes", []string{`a`}, true, nil, false, false},
		{"no end", []string{`"a`}, true, nil, false, false},
		{"no comma", []string{`"a" "b"`}, true, nil, false, false},
		{"any in a list", []string{`*, "a"`}, true, nil, false, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			tags, any, ok := distribution.ParseTags(test.fields, test.strong)
			if !slices.Equal(tags, test.tags) || any != test.any || ok != test.ok {
				t.Errorf("got %q, %v, %v", tags, any, ok)
			}
		})
	}
}

func FuzzParseTags(f *testing.F) {
	for _, seed := range []string{`"a"`, `*`, `W/"a", "b"`, `"`, `""`, `,,`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, field string) {
		tags, any, ok := distribution.ParseTags([]string{field}, true)
		if !ok && (tags != nil || any) {
			t.Errorf("%q is malformed and has %q, %v", field, tags, any)
		}
	})
}
