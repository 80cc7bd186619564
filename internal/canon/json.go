package canon

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// Limits of both encodings. The number of bytes is the caller's to bound.
const (
	maxDepth    = 64      // arrays and maps that are open at once
	maxElements = 1 << 17 // of one array
	maxMembers  = 1 << 16 // of one map
)

// MaxInteger is the largest integer that a JSON number is sure to carry
// (RFC 7493 section 2.2); the smallest is -MaxInteger.
const MaxInteger = 1<<53 - 1

// JSONError says what a strict reader refused. Problem is a predicate about
// the value at Offset, in plain words that hold nothing of the input, so that
// it can be sent to whoever wrote the JSON.
type JSONError struct {
	Offset  int64 // bytes from the start of the text; the problem is at or after it
	Problem string
}

func (e *JSONError) Error() string {
	return fmt.Sprintf("JSON at byte %d %s", e.Offset, e.Problem)
}

// Kind is the kind of a JSON value.
type Kind byte

// The kinds of values. Invalid is what is no value: the end of the text, the
// end of the array or object that is being read, or a syntax error.
const (
	Invalid Kind = iota
	Null
	Boolean
	Number
	Text
	Array
	Object
)

// JSONReader reads one JSON text strictly, from front to back, without
// building a tree. It refuses what readers are known to disagree about: a
// member name that occurs twice, text that is not Unicode (a lone surrogate,
// invalid UTF-8), a number that is not an integer of magnitude up to
// MaxInteger, more than 64 open arrays and objects, more than 65536 members of
// one object, and anything after the text. Names are compared byte by byte after unescaping.
//
// A reader has one user, and is of no use after an error. Its errors are
// *JSONError, or what a callback returned.
type JSONReader struct {
	dec *jsontext.Decoder
}

// NewJSONReader returns a reader of data, which must not change while the
// reader is in use.
func NewJSONReader(data []byte) *JSONReader {
	// The names are written out: a build that changes the library's
	// defaults must not make this reader lenient.
	strict := jsontext.AllowDuplicateNames(false)
	unicode := jsontext.AllowInvalidUTF8(false)
	return &JSONReader{jsontext.NewDecoder(bytes.NewBuffer(data), strict, unicode)}
}

// Kind returns the kind of the next value without reading it.
func (r *JSONReader) Kind() Kind {
	switch r.dec.PeekKind() {
	case jsontext.KindNull:
		return Null
	case jsontext.KindTrue, jsontext.KindFalse:
		return Boolean
	case jsontext.KindNumber:
		return Number
	case jsontext.KindString:
		return Text
	case jsontext.KindBeginArray:
		return Array
	case jsontext.KindBeginObject:
		return Object
	default:
		return Invalid
	}
}

// Object reads an object. It calls member for each, in the order of the text;
// member must read the value, by Skip if it has no use for it.
func (r *JSONReader) Object(member func(name string) error) error {
	if err := r.begin(Object, "must be an object"); err != nil {
		return err
	}
	for r.dec.PeekKind() != jsontext.KindEndObject {
		name, err := r.token()
		if err != nil {
			return err
		}
		if err := member(name.String()); err != nil {
			return err
		}
	}
	return r.next()
}

// Array reads an array. It calls element for each, with its index; element
// must read it.
func (r *JSONReader) Array(element func(index int) error) error {
	if err := r.begin(Array, "must be an array"); err != nil {
		return err
	}
	for i := 0; r.dec.PeekKind() != jsontext.KindEndArray; i++ {
		if r.Kind() == Invalid {
			return r.next() // a syntax error, or the text is cut short
		}
		if err := element(i); err != nil {
			return err
		}
	}
	return r.next()
}

// Text reads a text.
func (r *JSONReader) Text() (string, error) {
	if err := r.expect(Text, "must be text"); err != nil {
		return "", err
	}
	token, err := r.token()
	if err != nil {
		return "", err
	}
	return token.String(), nil
}

// Boolean reads true or false.
func (r *JSONReader) Boolean() (bool, error) {
	if err := r.expect(Boolean, "must be true or false"); err != nil {
		return false, err
	}
	token, err := r.token()
	if err != nil {
		return false, err
	}
	return token.Bool(), nil
}

// Integer reads an integer.
func (r *JSONReader) Integer() (int64, error) {
	if err := r.expect(Number, "must be an integer"); err != nil {
		return 0, err
	}
	digits, err := r.dec.ReadValue()
	if err != nil {
		return 0, r.syntax(err)
	}
	return r.integer(digits)
}

// integer converts a number that is well formed by RFC 8259.
func (r *JSONReader) integer(digits []byte) (int64, error) {
	if bytes.ContainsAny(digits, ".eE") {
		return 0, r.problem("must be an integer, without fraction or exponent")
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || n > MaxInteger || n < -MaxInteger {
		return 0, r.problem("must be an integer between -(2^53-1) and 2^53-1")
	}
	return n, nil
}

// Null reads null if it is next, and tells whether it did.
func (r *JSONReader) Null() (bool, error) {
	if r.Kind() != Null {
		return false, nil
	}
	return true, r.next()
}

// Skip reads a value of any kind and forgets it. The value is held to the
// same rules as all others.
func (r *JSONReader) Skip() error {
	outside := r.dec.StackDepth()
	for {
		if r.Kind() == Number {
			if _, err := r.Integer(); err != nil {
				return err
			}
		} else if err := r.next(); err != nil {
			return err
		}
		if r.dec.StackDepth() <= outside {
			return nil
		}
	}
}

// End makes sure that nothing but white space follows.
func (r *JSONReader) End() error {
	_, err := r.dec.ReadToken()
	if errors.Is(err, io.EOF) {
		return nil
	}
	return r.problem("must end after the first value")
}

// begin reads the start of an array or object.
func (r *JSONReader) begin(kind Kind, problem string) error {
	if err := r.expect(kind, problem); err != nil {
		return err
	}
	return r.next()
}

// next reads one token and forgets it.
func (r *JSONReader) next() error {
	_, err := r.token()
	return err
}

// token reads one token. It is valid until the next one is read.
func (r *JSONReader) token() (jsontext.Token, error) {
	token, err := r.dec.ReadToken()
	if err != nil {
		return jsontext.Token{}, r.syntax(err)
	}
	depth := r.dec.StackDepth()
	if depth > maxDepth {
		return jsontext.Token{}, r.problem(fmt.Sprintf("must not be nested deeper than %d levels", maxDepth))
	}
	// The names of an object that is open are kept to find duplicates; the
	// length counts names and values.
	kind, length := r.dec.StackIndex(depth)
	if kind == jsontext.KindBeginObject && length > 2*maxMembers {
		return jsontext.Token{}, r.problem(fmt.Sprintf("must not have more than %d members", maxMembers))
	}
	return token, nil
}

// expect refuses a value of another kind.
func (r *JSONReader) expect(kind Kind, problem string) error {
	switch r.Kind() {
	case kind:
		return nil
	case Invalid: // reading gives the reason
		if err := r.next(); err != nil {
			return err
		}
	}
	return r.problem(problem)
}

func (r *JSONReader) problem(text string) error {
	return &JSONError{Offset: r.dec.InputOffset(), Problem: text}
}

// syntax puts an error of the library into words of our own: its text quotes
// the input and changes between versions.
func (r *JSONReader) syntax(err error) error {
	offset := r.dec.InputOffset()
	if where, ok := errors.AsType[*jsontext.SyntacticError](err); ok {
		offset = where.ByteOffset
	}
	problem := "must be valid JSON, in valid UTF-8 without lone surrogates"
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		problem = "must not have two members of the same name"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		problem = "must not end in the middle"
	}
	return &JSONError{Offset: offset, Problem: problem}
}
