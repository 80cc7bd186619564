package canon_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"artifactstore/internal/canon"
)

// skip reads a whole text without looking at it.
func skip(text string) error {
	r := canon.NewJSONReader([]byte(text))
	if err := r.Skip(); err != nil {
		return err
	}
	return r.End()
}

// read reads a whole text value by value.
func read(text string) error {
	r := canon.NewJSONReader([]byte(text))
	if err := readValue(r); err != nil {
		return err
	}
	return r.End()
}

func readValue(r *canon.JSONReader) error {
	var err error
	switch r.Kind() {
	case canon.Object:
		return r.Object(func(string) error { return readValue(r) })
	case canon.Array:
		return r.Array(func(int) error { return readValue(r) })
	case canon.Text:
		_, err = r.Text()
	case canon.Number:
		_, err = r.Integer()
	case canon.Boolean:
		_, err = r.Boolean()
	case canon.Null:
		_, err = r.Null()
	default:
		return r.Skip()
	}
	return err
}

func nested(open, close string, n int) string {
	return strings.Repeat(open, n) + strings.Repeat(close, n)
}

// object has n members.
func object(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"%d":0`, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestJSONReaderAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, `[]`, ` { "a" : [ 1 , true , null , "x" ] } ` + "\n", `"x"`, `0`, `-0`, `true`, `null`,
		`9007199254740991`, `-9007199254740991`, `{"a":1,"A":2}`, `{"":1}`, `"\ud83d\ude00"`, `"😀"`, `"\u0000"`,
		`[{"a":1},{"a":1}]`, nested("[", "]", 64), nested(`{"a":[`, `]}`, 32), object(1 << 16),
	} {
		if err := skip(text); err != nil {
			t.Errorf("skip %.40s: %v", text, err)
		}
		if err := read(text); err != nil {
			t.Errorf("read %.40s: %v", text, err)
		}
	}
}

func TestJSONReaderRejects(t *testing.T) {
	tests := []struct{ name, text, problem string }{
		{"empty text", "", "must not end in the middle"},
		{"white space alone", "  ", "must not end in the middle"},
		{"cut object", `{"a":1`, "must not end in the middle"},
		{"cut member", `{"a":`, "must not end in the middle"},
		{"cut array", `[1,`, "must not end in the middle"},
		{"cut text", `["a`, "must not end in the middle"},
		{"duplicate member", `{"a":1,"a":2}`, "same name"},
		{"duplicate member after unescaping", `{"a":1,"\u0061":2}`, "same name"},
		{"duplicate member within", `[{"x":{"a":1,"b":2,"a":3}}]`, "same name"},
		{"fraction", `[1.5]`, "without fraction"},
		{"fraction of zero", `[1.0]`, "without fraction"},
		{"exponent", `{"a":1e3}`, "without fraction or exponent"},
		{"capital exponent", `{"a":1E3}`, "without fraction or exponent"},
		{"2^53", `[9007199254740992]`, "between"},
		{"2^53+1, which libraries round", `[9007199254740993]`, "between"},
		{"-2^53", `[-9007199254740992]`, "between"},
		{"100 digits", `[` + strings.Repeat("9", 100) + `]`, "between"},
		{"leading zero", `[01]`, "valid JSON"},
		{"plus sign", `[+1]`, "valid JSON"},
		{"lone high surrogate", `["\ud800"]`, "lone surrogates"},
		{"lone low surrogate", `["\udc00"]`, "lone surrogates"},
		{"surrogates in the wrong order", `["\udc00\ud800"]`, "lone surrogates"},
		{"lone surrogate in a name", `{"\ud800":1}`, "lone surrogates"},
		{"invalid UTF-8", "[\"\xff\"]", "UTF-8"},
		{"surrogate as UTF-8", "[\"\xed\xa0\x80\"]", "UTF-8"},
		{"overlong UTF-8", "[\"\xc0\xaf\"]", "UTF-8"},
		{"byte order mark", "\ufeff{}", "valid JSON"},
		{"control character in text", "[\"\n\"]", "valid JSON"},
		{"65 arrays", nested("[", "]", 65), "deeper than 64"},
		{"65 objects", nested(`{"a":`, "}", 65), "deeper than 64"},
		{"a bomb of arrays", strings.Repeat("[", 1<<20), "deeper than 64"},
		{"65537 members", object(1<<16 + 1), "more than 65536 members"},
		{"a second value", `{}{}`, "end after the first value"},
		{"trailing comma", `{},`, "end after the first value"},
		{"trailing byte", `{}x`, "end after the first value"},
		{"comment", `{/**/}`, "valid JSON"},
		{"single quotes", `{'a':1}`, "valid JSON"},
		{"name that is no text", `{1:2}`, "valid JSON"},
		{"NaN", `[NaN]`, "valid JSON"},
		{"comma at the end", `[1,]`, "valid JSON"},
		{"missing colon", `{"a" 1}`, "valid JSON"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			for how, f := range map[string]func(string) error{"skip": skip, "read": read} {
				err := f(tt.text)
				problem, ok := errors.AsType[*canon.JSONError](err)
				if !ok || !strings.Contains(problem.Problem, tt.problem) {
					t.Errorf("%s: got %v, want %q", how, err, tt.problem)
				}
			}
		})
	}
}

func TestJSONReaderNamesTheWrongKind(t *testing.T) {
	tests := []struct {
		text string
		read func(*canon.JSONReader) error
		want string
	}{
		{`[]`, func(r *canon.JSONReader) error { return r.Object(nil) }, "JSON at byte 0 must be an object"},
		{`{}`, func(r *canon.JSONReader) error { return r.Array(nil) }, "JSON at byte 0 must be an array"},
		{`null`, func(r *canon.JSONReader) error { _, err := r.Text(); return err }, "JSON at byte 0 must be text"},
		{`"1"`, func(r *canon.JSONReader) error { _, err := r.Integer(); return err }, "JSON at byte 0 must be an integer"},
		{`1`, func(r *canon.JSONReader) error { _, err := r.Boolean(); return err }, "JSON at byte 0 must be true or false"},
	}
	for _, tt := range tests {
		if err := tt.read(canon.NewJSONReader([]byte(tt.text))); err == nil || err.Error() != tt.want {
			t.Errorf("%s: got %v, want %s", tt.text, err, tt.want)
		}
	}
}

func TestJSONReaderKeepsTheInput(t *testing.T) {
	data := []byte(`{"a":["\u0041",{"b":"\n"}]}`)
	before := string(data)
	var seen []string
	r := canon.NewJSONReader(data)
	err := r.Object(func(name string) error {
		seen = append(seen, name)
		return r.Array(func(i int) error {
			seen = append(seen, fmt.Sprint(i))
			return r.Skip()
		})
	})
	if err != nil || r.End() != nil || strings.Join(seen, " ") != "a 0 1" {
		t.Errorf("got %v, %v", seen, err)
	}
	if string(data) != before {
		t.Errorf("input became %q", data)
	}
}

func TestJSONReaderReturnsTheErrorOfACallback(t *testing.T) {
	stop := errors.New("stop")
	r := canon.NewJSONReader([]byte(`{"a":[1]}`))
	err := r.Object(func(string) error { return r.Array(func(int) error { return stop }) })
	if err != stop {
		t.Errorf("got %v", err)
	}
}

func FuzzJSONReader(f *testing.F) {
	for _, s := range []string{`{"a":[1,true,null,"x",{}]}`, `"\ud83d\ude00"`, `[1e3]`, `{"a":1,"a":2}`, nested("[", "]", 65), "\ufeff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		skipped, values := skip(text), read(text)
		if (skipped == nil) != (values == nil) {
			t.Fatalf("skip: %v, read: %v", skipped, values)
		}
		if skipped == nil && !utf8.ValidString(text) {
			t.Fatal("accepted invalid UTF-8")
		}
		if skipped != nil {
			if problem, ok := errors.AsType[*canon.JSONError](skipped); !ok || problem.Offset < 0 || problem.Offset > int64(len(text)) {
				t.Fatalf("unexpected error %v", skipped)
			}
		}
	})
}
