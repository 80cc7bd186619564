package retention

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"time"
)

// Document is what one source says about retention: classes, and the policies in
// the order in which they are tried. Its text is JSON; the zero Document says
// nothing and is valid.
type Document struct {
	// Classes has the terms of classes that are added or changed.
	Classes map[Class]Term `json:"classes,omitempty"`
	// Default is the class of a manifest that no policy classifies; PermanentRecord
	// if empty.
	Default Class `json:"default,omitempty"`
	// Grace is how long a manifest stays marked as expired before it may be
	// collected; 7 days if zero.
	Grace Term `json:"grace,omitempty"`
	// Policies are tried in order.
	Policies []Policy `json:"policies,omitempty"`
}

// Policy says what happens in the repositories that it matches. All members but
// Name and Repositories may be left out.
type Policy struct {
	// Name tells policies apart, over all documents; reasons and refusals name
	// it. Its grammar is [a-z0-9][a-z0-9._-]{0,62}.
	Name string `json:"name"`
	// Repositories are patterns (see Match) of which one must match.
	Repositories []string `json:"repositories"`
	// Class is what new manifests get. Without it they have the default class,
	// and count as classified by nobody.
	Class Class `json:"class,omitempty"`
	// Choose are the classes that a manifest's annotation may pick instead.
	Choose []Class `json:"choose,omitempty"`
	// ExpireTagged lets the end of the class come for manifests that have tags. It
	// takes the tags away with them.
	ExpireTagged bool `json:"expire_tagged,omitempty"`
	// ExpireUntagged ends a manifest without tags when it has been without for
	// this long. Zero and Forever: never.
	ExpireUntagged Term `json:"expire_untagged,omitempty"`
	// Keep are the rules that put expiry off. One that holds is enough.
	Keep []Keep `json:"keep,omitempty"`
	// ImmutableTags cannot be moved or deleted, and do not expire.
	ImmutableTags []Immutable `json:"immutable_tags,omitempty"`
	// WriteOnce refuses clients to overwrite, move or delete anything. What is
	// there still expires as its class says.
	WriteOnce bool `json:"write_once,omitempty"`
}

// Keep is a rule about tags, or about manifests: one restriction and at most one
// condition. What it matches does not expire while the condition is true.
type Keep struct {
	// Name tells the rules of a policy apart; the grammar is that of policies.
	Name string `json:"name"`
	// Tags are patterns (see Match): the rule is about the tags that one of them
	// matches, and about manifests that have such a tag. Without Tags it is about
	// all tags and about all manifests, untagged ones too.
	Tags []string `json:"tags,omitempty"`

	// Newest keeps that many of the tags, those that moved last.
	Newest int `json:"newest,omitempty"`
	// PushedWithin keeps a manifest that was pushed, or got a tag that the rule
	// is about, in the time before.
	PushedWithin Term `json:"pushed_within,omitempty"`
	// PulledWithin keeps a manifest that was pulled in the time before, and two
	// days longer: pulls are recorded by the day, and a crash may lose a minute.
	PulledWithin Term `json:"pulled_within,omitempty"`
}

// Immutable makes tags immutable: once they name a manifest they do so for ever,
// or until a time.
type Immutable struct {
	// Tags are patterns, see Match.
	Tags []string `json:"tags"`
	// Until is when the rule ends; zero if it does not.
	Until Date `json:"until,omitzero"`
}

// Date is an instant in a document. Its text is a date ("2027-01-01", where that
// day begins in UTC) or an RFC 3339 time in whole seconds.
type Date time.Time

// Limits of a document.
const (
	MaxDocument = 64 << 10 // bytes of its text
	MaxPolicies = 200
	MaxRules    = 50 // keep rules of a policy; also immutable rules, and patterns of one list
	MaxClasses  = 100
	MaxNewest   = 10_000
)

// ParseDocument reads the JSON text of a document and validates it. Members that
// are unknown, spelled in another case or there twice are refused.
func ParseDocument(text []byte) (Document, error) {
	var d Document
	if err := fits(text); err != nil {
		return Document{}, err
	}
	if string(bytes.TrimSpace(text)) == "null" { // which encoding/json takes for any type
		return Document{}, errors.New("retention document: want an object, not a null")
	}
	if err := strict(text, &d); err != nil {
		return Document{}, fmt.Errorf("retention document: %w", err)
	}
	if err := d.Validate(); err != nil {
		return Document{}, err
	}
	return d, nil
}

// Encode returns the canonical JSON text: equal documents have equal texts, and
// ParseDocument reads it back. The document must be valid, and its text not
// longer than MaxDocument.
func (d Document) Encode() ([]byte, error) {
	if err := d.Validate(); err != nil {
		return nil, err
	}
	text, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("encode retention document: %w", err)
	}
	if err := fits(text); err != nil {
		return nil, err
	}
	return text, nil
}

func fits(text []byte) error {
	if len(text) > MaxDocument {
		return fmt.Errorf("retention document: %d bytes, the limit is %d", len(text), MaxDocument)
	}
	return nil
}

// UnmarshalJSON is strict as ParseDocument is, and its errors name the policy.
func (p *Policy) UnmarshalJSON(text []byte) error {
	type plain Policy
	return object("policy", text, (*plain)(p))
}

// UnmarshalJSON is strict as ParseDocument is, and its errors name the rule.
func (k *Keep) UnmarshalJSON(text []byte) error {
	type plain Keep
	return object("keep", text, (*plain)(k))
}

// Time returns the instant.
func (d Date) Time() time.Time { return time.Time(d) }

// IsZero tells whether there is no date.
func (d Date) IsZero() bool { return d.Time().IsZero() }

// MarshalText prints the date alone where a day begins, else RFC 3339, in UTC.
func (d Date) MarshalText() ([]byte, error) {
	utc := d.Time().UTC()
	if utc.Equal(utc.Truncate(time.Duration(Day))) {
		return []byte(utc.Format(time.DateOnly)), nil
	}
	return []byte(utc.Format(time.RFC3339)), nil
}

// UnmarshalText reads what MarshalText prints, and any offset.
func (d *Date) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(layout, string(text)); err == nil && t.Nanosecond() == 0 {
			*d = Date(t.UTC())
			return nil
		}
	}
	return fmt.Errorf("%q: want a date as 2027-01-01, or a time as 2027-01-01T12:00:00Z", text)
}

// object reads an object strictly; its errors begin with the object's name, which
// is read first, wherever it stands.
func object(noun string, text []byte, into any) error {
	err := strict(text, into)
	if err == nil {
		return nil
	}
	var who struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(text, &who) != nil {
		return fmt.Errorf("%s: %w", noun, err)
	}
	return fmt.Errorf("%s %q: %w", noun, who.Name, err)
}

// strict decodes one JSON value and nothing after it.
func strict(text []byte, into any) error {
	if err := members(json.NewDecoder(bytes.NewReader(text))); err != nil {
		return err
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return plainly(err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows the JSON value")
	}
	return nil
}

// memberName is the form of all names of members. encoding/json would take
// other cases for the same.
var memberName = regexp.MustCompile(`^[a-z][a-z0-9_-]*$`)

// members refuses objects that have a member twice, or one whose name is
// spelled in another case.
func members(decoder *json.Decoder) error {
	token, err := decoder.Token()
	if err != nil {
		return plainly(err)
	}
	open, nested := token.(json.Delim)
	if !nested {
		return nil
	}
	seen := map[string]bool{}
	for decoder.More() {
		if open == '{' {
			token, err := decoder.Token()
			if err != nil {
				return plainly(err)
			}
			name, _ := token.(string)
			if seen[name] || !memberName.MatchString(name) {
				return fmt.Errorf("member %q: want each once, in lower case", name)
			}
			seen[name] = true
		}
		if err := members(decoder); err != nil {
			return err
		}
	}
	if _, err := decoder.Token(); err != nil {
		return plainly(err)
	}
	return nil
}

// plainly says what encoding/json found, in the words of the document.
func plainly(err error) error {
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &kind) && kind.Field != "":
		return fmt.Errorf("member %s: does not take a %s", kind.Field, kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("want an object, not a %s", kind.Value)
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the JSON text ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
