package manifest

import (
	"errors"
	"fmt"
	"strings"

	"artifactstore/internal/canon"
)

// Error says what is wrong with a pushed manifest, in words that can be sent
// to the client: they hold nothing of the input but names of members that the
// specification knows.
type Error struct {
	// Field is the path of the member, such as "layers[2].digest",
	// "Content-Type", or "" for the manifest as a whole.
	Field string
	// Problem is a predicate about the field, such as "must not be negative".
	Problem string
}

func (e *Error) Error() string {
	if e.Field == "" {
		return "the manifest " + e.Problem
	}
	return e.Field + " " + e.Problem
}

// within returns err as an *Error whose field is a member of the given one.
func within(field string, err error) error {
	if err == nil {
		return nil
	}
	if syntax, ok := errors.AsType[*canon.JSONError](err); ok {
		return &Error{Field: field, Problem: fmt.Sprintf("%s (at byte %d)", syntax.Problem, syntax.Offset)}
	}
	inner, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	path := field + "." + inner.Field
	if inner.Field == "" || field == "" || strings.HasPrefix(inner.Field, "[") {
		path = field + inner.Field
	}
	return &Error{Field: path, Problem: inner.Problem}
}
