package canon

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"
)

// JCS returns the canonical JSON (RFC 8785) of a value made of string, int64,
// bool, []any and map[string]any. Anything else, an integer of magnitude above
// MaxInteger, text that is not valid UTF-8, and more than 64 levels of arrays
// and maps are errors.
func JCS(v any) ([]byte, error) { return appendJCS(nil, v, 0) }

// ToJCS returns the canonical JSON of a value given as canonical CBOR. Only
// values that JCS can carry without a schema have one: maps with text keys,
// arrays, text, booleans and integers of magnitude up to MaxInteger. All else
// is an error that wraps ErrNotCanonical.
//
// FromJCS is its inverse: what one accepts and returns, the other accepts and
// returns the input.
func ToJCS(cbor []byte) ([]byte, error) {
	var v any
	if err := Unmarshal(cbor, &v); err != nil {
		return nil, err
	}
	text, err := JCS(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotCanonical, err)
	}
	return text, nil
}

// FromJCS returns the canonical CBOR of a value given as canonical JSON. Its
// errors wrap ErrNotCanonical.
func FromJCS(text []byte) ([]byte, error) {
	r := NewJSONReader(text)
	v, err := r.value()
	if err == nil {
		err = r.End()
	}
	if err != nil {
		return nil, fmt.Errorf("decode JCS: %w: %w", ErrNotCanonical, err)
	}
	again, err := JCS(v)
	if err != nil {
		return nil, fmt.Errorf("decode JCS: %w: %w", ErrNotCanonical, err)
	}
	if !bytes.Equal(text, again) {
		return nil, fmt.Errorf("decode JCS: %w: its encoding differs", ErrNotCanonical)
	}
	return Marshal(v)
}

// value reads what JCS writes.
func (r *JSONReader) value() (any, error) {
	switch r.Kind() {
	case Boolean:
		return r.Boolean()
	case Number:
		return r.Integer()
	case Text:
		return r.Text()
	case Array:
		return r.list()
	case Object:
		return r.dict()
	case Null:
		return nil, r.problem("must not be null")
	default:
		return nil, r.expect(Object, "must be a value")
	}
}

func (r *JSONReader) list() (any, error) {
	list := []any{}
	err := r.Array(func(i int) error {
		if i == maxElements {
			return r.problem(fmt.Sprintf("must not have more than %d elements", maxElements))
		}
		v, err := r.value()
		list = append(list, v)
		return err
	})
	return list, err
}

func (r *JSONReader) dict() (any, error) {
	dict := map[string]any{}
	err := r.Object(func(name string) error {
		v, err := r.value()
		dict[name] = v
		return err
	})
	return dict, err
}

// appendJCS appends the canonical JSON of v, which is depth levels down.
func appendJCS(dst []byte, v any, depth int) ([]byte, error) {
	switch v := v.(type) {
	case string:
		return appendText(dst, v)
	case bool:
		return strconv.AppendBool(dst, v), nil
	case int64:
		if v > MaxInteger || v < -MaxInteger {
			return nil, fmt.Errorf("encode JCS: integer %d is beyond 2^53-1", v)
		}
		return strconv.AppendInt(dst, v, 10), nil
	case []any:
		return appendList(dst, v, depth+1)
	case map[string]any:
		return appendDict(dst, v, depth+1)
	default:
		return nil, fmt.Errorf("encode JCS: %T has no canonical JSON", v)
	}
}

func appendList(dst []byte, list []any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("encode JCS: more than %d levels", maxDepth)
	}
	dst = append(dst, '[')
	for i, v := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendJCS(dst, v, depth); err != nil {
			return nil, err
		}
	}
	return append(dst, ']'), nil
}

func appendDict(dst []byte, dict map[string]any, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, fmt.Errorf("encode JCS: more than %d levels", maxDepth)
	}
	dst = append(dst, '{')
	for i, name := range slices.SortedFunc(maps.Keys(dict), compareUTF16) {
		if i > 0 {
			dst = append(dst, ',')
		}
		var err error
		if dst, err = appendText(dst, name); err != nil {
			return nil, err
		}
		if dst, err = appendJCS(append(dst, ':'), dict[name], depth); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}

// appendText escapes what RFC 8785 section 3.2.2.2 names and nothing else.
func appendText(dst []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return nil, fmt.Errorf("encode JCS: text is not valid UTF-8")
	}
	return jsontext.AppendQuote(dst, s)
}

// compareUTF16 orders valid UTF-8 by UTF-16 code units, as RFC 8785 section
// 3.2.3 asks. The order of bytes differs from it where a character beyond
// U+FFFF, whose first code unit is a surrogate (U+D800 and up), meets one in
// U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	for a != "" && b != "" {
		x, n := utf8.DecodeRuneInString(a)
		y, m := utf8.DecodeRuneInString(b)
		if x != y {
			if u, v := firstUnit(x), firstUnit(y); u != v {
				return int(u) - int(v)
			}
			return int(x) - int(y)
		}
		a, b = a[n:], b[m:]
	}
	return len(a) - len(b)
}

// firstUnit returns the first UTF-16 code unit of a character.
func firstUnit(r rune) rune {
	if r < 0x10000 {
		return r
	}
	return 0xD800 + (r-0x10000)>>10
}
