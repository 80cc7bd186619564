// Package canon holds the two canonical encodings of artifactstore: CBOR as
// RFC 8949 section 4.2.1 (core deterministic encoding) has it, and JSON as
// RFC 8785 (JCS) has it, together with a strict reader of JSON.
//
// Everything that is persisted or hashed is CBOR. A value has exactly one
// encoding, and a decoder takes nothing else, so that a digest of the bytes
// names the value. JCS is a projection of those CBOR values that hold only
// maps with text keys, arrays, text, booleans and integers of magnitude up to
// 2^53-1 (ToJCS, FromJCS).
//
// All functions are safe for concurrent use.
package canon

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"

	"github.com/fxamacker/cbor/v2"
)

// ErrNotCanonical is wrapped by the errors of Unmarshal, ToJCS and FromJCS:
// the input is malformed, is not the canonical encoding of its value, or holds
// what the canonical form cannot express.
var ErrNotCanonical = errors.New("not canonical")

var (
	encoding = must(encodingOptions().EncMode())
	decoding = must(decodingOptions().DecMode())
)

func encodingOptions() cbor.EncOptions {
	o := cbor.CoreDetEncOptions()
	// There is no null: an empty list has one encoding, nil or not.
	o.NilContainers = cbor.NilContainerAsEmpty
	o.TagsMd = cbor.TagsForbidden
	o.TextMarshaler = cbor.TextMarshalerTextString
	// A type that also has a binary form (a digest) is text all the same.
	o.BinaryMarshaler = cbor.BinaryMarshalerNone
	return o
}

func decodingOptions() cbor.DecOptions {
	return cbor.DecOptions{
		DupMapKey:         cbor.DupMapKeyEnforcedAPF,
		MaxNestedLevels:   maxDepth,
		MaxArrayElements:  maxElements,
		MaxMapPairs:       maxMembers,
		IndefLength:       cbor.IndefLengthForbidden,
		TagsMd:            cbor.TagsForbidden,
		IntDec:            cbor.IntDecConvertSignedOrFail,
		DefaultMapType:    reflect.TypeFor[map[string]any](),
		ExtraReturnErrors: cbor.ExtraDecErrorUnknownField,
		FieldNameMatching: cbor.FieldNameMatchingCaseSensitive,
		BinaryUnmarshaler: cbor.BinaryUnmarshalerNone,
		TextUnmarshaler:   cbor.TextUnmarshalerTextString,
		SimpleValues:      must(cbor.NewSimpleValueRegistryFromDefaults(onlyBooleans()...)),
	}
}

// onlyBooleans rejects null, undefined and the unassigned simple values.
func onlyBooleans() []func(*cbor.SimpleValueRegistry) error {
	var rejected []func(*cbor.SimpleValueRegistry) error
	for v := range 256 {
		booleans, reserved := v == 20 || v == 21, v >= 24 && v <= 31
		if !booleans && !reserved {
			rejected = append(rejected, cbor.WithRejectedSimpleValue(cbor.SimpleValue(v)))
		}
	}
	return rejected
}

// must is for the constant options above, which are known to be consistent.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// Marshal returns the canonical CBOR of v. Struct fields are named by `cbor`
// tags; nil slices and maps are empty ones; types with MarshalText are text.
// Floats and nil pointers have no canonical form: fields of such types are
// left out by omitempty, or not used at all.
func Marshal(v any) ([]byte, error) {
	data, err := encoding.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T as CBOR: %w", v, err)
	}
	return data, nil
}

// Unmarshal decodes data into the pointer v. It accepts exactly what Marshal
// of the decoded value returns: nothing before or after it, no unknown or
// duplicate field, no empty field that Marshal leaves out, no tag, null,
// indefinite length, long integer or unsorted key. Its errors wrap
// ErrNotCanonical, and v is then of no use.
func Unmarshal(data []byte, v any) error {
	if err := decoding.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode CBOR into %T: %w: %w", v, ErrNotCanonical, err)
	}
	again, err := encoding.Marshal(v)
	if err != nil {
		return fmt.Errorf("decode CBOR into %T: %w: %w", v, ErrNotCanonical, err)
	}
	if !bytes.Equal(data, again) {
		return fmt.Errorf("decode CBOR into %T: %w: its encoding differs", v, ErrNotCanonical)
	}
	return nil
}
