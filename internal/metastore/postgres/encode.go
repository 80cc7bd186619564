package postgres

import (
	stdbinary "encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// arguments are values as they are sent: in the text form of their type, or
// the binary one, so that the server finds out which type it is.
type arguments struct {
	values  [][]byte
	formats []int16
}

func (a *arguments) add(value []byte, format int16) {
	a.values = append(a.values, value)
	a.formats = append(a.formats, format)
}

const (
	asText   = 0
	asBinary = 1
)

// encode encodes arguments of a statement.
func encode(args []any) (arguments, error) {
	var all arguments
	for i, arg := range args {
		err := error(nil)
		switch v := arg.(type) {
		case nil:
			all.add(nil, asText)
		case int64:
			all.add(strconv.AppendInt(nil, v, 10), asText)
		case string:
			if err = checkText(v); err == nil {
				all.add([]byte(v), asText)
			}
		case []byte:
			all.add(v, asBinary) // nil is NULL
		case []int64:
			array := newArray(typeInt8, len(v))
			for _, n := range v {
				array.int(n)
			}
			all.add(array.bytes(), asBinary)
		case []string:
			array := newArray(typeText, len(v))
			for _, text := range v {
				err = errors.Join(err, checkText(text))
				array.text(text)
			}
			all.add(array.bytes(), asBinary)
		default:
			err = fmt.Errorf("it has the type %T", arg)
		}
		if err != nil {
			return arguments{}, fmt.Errorf("argument %d: %w", i+1, err)
		}
	}
	return all, nil
}

// checkText refuses what PostgreSQL cannot store in a text.
func checkText(text string) error {
	switch {
	case strings.IndexByte(text, 0) >= 0:
		return errors.New("a text with a NUL byte, which PostgreSQL cannot store")
	case !utf8.ValidString(text):
		return errors.New("a text that is not UTF-8")
	}
	return nil
}

// array is an array in its binary form.
type array struct {
	raw  []byte
	null bool
}

// newArray begins an array of n elements of a type.
func newArray(element uint32, n int) *array {
	a := &array{}
	// Dimensions, whether there are NULLs, type; length and first index of the
	// one dimension.
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, 1)
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, 0)
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, element)
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, uint32(n))
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, 1)
	return a
}

func (a *array) int(n int64) {
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, 8)
	a.raw = stdbinary.BigEndian.AppendUint64(a.raw, uint64(n))
}

func (a *array) text(text string) {
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, uint32(len(text)))
	a.raw = append(a.raw, text...)
}

func (a *array) blob(raw []byte) {
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, uint32(len(raw)))
	a.raw = append(a.raw, raw...)
}

func (a *array) nothing() {
	a.null = true
	a.raw = stdbinary.BigEndian.AppendUint32(a.raw, 0xffffffff)
}

func (a *array) bytes() []byte {
	if a.null {
		a.raw[7] = 1
	}
	return a.raw
}
