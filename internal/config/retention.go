package config

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"artifactstore/retention"
)

// Retention governs how long things are kept. What its policies say is a
// retention.Document, and means what that package says; see Document.
type Retention struct {
	// Interval is how often decisions are applied, if Enforce; Erase enables
	// erasing for legal causes.
	Interval Duration
	Enforce  bool
	Erase    bool
	// The members of the document.
	Default  string
	Grace    Term
	Classes  Classes
	Policies Policies
}

// Sweep governs how what nothing uses is taken away.
type Sweep struct {
	Interval Duration // 0: only on demand
	After    Duration
	Grace    Duration
	Rate     int // rows and objects a second; 0: no limit
}

// Erase governs when objects are deleted.
type Erase struct {
	Delay Duration
}

// Document returns the retention policies of the configuration; the error says
// all that is wrong with them by themselves, one line each.
func (r *Retention) Document() (retention.Document, error) {
	d := retention.Document{Default: retention.Class(r.Default), Grace: retention.Term(r.Grace)}
	err := errors.Join(members(r.Classes.members(), &d), members(r.Policies.members(), &d))
	if err == nil {
		// By itself, as if the admin API said nothing: a class of its own
		// must be here, where whoever reads the file finds it.
		_, err = retention.Combine(d, retention.Document{})
	}
	if err == nil {
		_, err = d.Encode() // which is too long, if anything
	}
	return d, err
}

// members adds the members of a document that a text has to another one.
func members(text string, into *retention.Document) error {
	d, err := retention.ParseDocument([]byte(text))
	if err != nil {
		return plainly(err)
	}
	if d.Classes != nil {
		into.Classes = d.Classes
	}
	if d.Policies != nil {
		into.Policies = d.Policies
	}
	return nil
}

// plainly says what is wrong with a document in the configuration.
func plainly(err error) error {
	return errors.New(strings.TrimPrefix(err.Error(), "retention document: "))
}

// Term is a retention.Term that can be left out: then its text is empty.
type Term retention.Term

// MarshalText returns the term as text.
func (t Term) MarshalText() ([]byte, error) {
	if t == 0 {
		return nil, nil
	}
	return retention.Term(t).MarshalText()
}

// UnmarshalText reads what MarshalText writes.
func (t *Term) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*t = 0
		return nil
	}
	return (*retention.Term)(t).UnmarshalText(text)
}

// A structure is a setting that is a mapping or a list. Its text is JSON, as its
// variable has it; the file has it as YAML.
type structure interface {
	empty() string // the text of nothing
	// parts judges the entries of a text, each by itself; the error is that of
	// the entry.
	parts(entry string) error
}

// Classes are classes of a retention.Document, as canonical JSON.
type Classes string

func (Classes) empty() string { return "{}" }

func (c Classes) members() string { return `{"classes":` + string(orEmpty(c)) + "}" }

func (Classes) parts(entry string) error {
	return members(`{"classes":{`+entry+"}}", new(retention.Document))
}

// MarshalText returns the text.
func (c Classes) MarshalText() ([]byte, error) { return []byte(orEmpty(c)), nil }

// UnmarshalText reads any JSON text of classes.
func (c *Classes) UnmarshalText(text []byte) error {
	d, err := parsed(Classes(text), text)
	if err != nil {
		return err
	}
	*c = Classes(encoded(d.Classes))
	if len(d.Classes) == 0 {
		*c = ""
	}
	return nil
}

// Policies are the policies of a retention.Document, as canonical JSON.
type Policies string

func (Policies) empty() string { return "[]" }

func (p Policies) members() string { return `{"policies":` + string(orEmpty(p)) + "}" }

func (Policies) parts(entry string) error {
	err := members(`{"policies":[`+entry+"]}", new(retention.Document))
	if err == nil {
		return nil
	}
	// The line says which one it is.
	return errors.New(strings.ReplaceAll(err.Error(), "policy 1: ", "policy: "))
}

// MarshalText returns the text.
func (p Policies) MarshalText() ([]byte, error) { return []byte(orEmpty(p)), nil }

// UnmarshalText reads any JSON text of policies.
func (p *Policies) UnmarshalText(text []byte) error {
	d, err := parsed(Policies(text), text)
	if err != nil {
		return err
	}
	*p = Policies(encoded(d.Policies))
	if len(d.Policies) == 0 {
		*p = ""
	}
	return nil
}

// orEmpty is a text, or that of nothing: the zero value.
func orEmpty[T interface {
	~string
	structure
}](text T) string {
	if text == "" {
		return text.empty()
	}
	return string(text)
}

// parsed reads the text of a member of a document.
func parsed(member interface{ members() string }, text []byte) (retention.Document, error) {
	if !json.Valid(text) {
		return retention.Document{}, errors.New("is not JSON; in the file it is YAML, elsewhere one JSON value")
	}
	var d retention.Document
	err := members(member.members(), &d)
	return d, err
}

// encoded is a value of a valid document as JSON.
func encoded(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err) // what was validated encodes
	}
	return string(text)
}

// retention judges the policies and what goes with them.
func (v *validator) retention(c *Config) {
	if _, err := c.Retention.Document(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") {
			v.check(false, memberKey(line), line)
		}
	}
	v.duration("retention.interval", c.Retention.Interval, leastPass)
	v.check(c.Sweep.Interval == 0 || c.Sweep.Interval >= Duration(leastPass), "sweep.interval", "must be at least "+text(Duration(leastPass))+", or 0 for never")
	v.duration("sweep.after", c.Sweep.After, leastPass)
	v.duration("sweep.grace", c.Sweep.Grace, leastPass)
	v.check(c.Sweep.Rate == 0 || c.Sweep.Rate >= 100 && c.Sweep.Rate <= 1_000_000, "sweep.rate", "must be 100 to 1000000, or 0 for no limit")
	v.duration("erase.delay", c.Erase.Delay, leastPass)
	v.check(c.Storage.Driver != InS3 || c.S3.Redirect == Never || c.Erase.Delay >= c.S3.RedirectExpiry, "erase.delay",
		"must be at least s3.redirect_expiry: clients have URLs of objects for as long as that")
	v.check(c.Scrub.Rate == 0 || c.Scrub.Rate >= Rate(leastScrub), "scrub.rate", "must be at least "+text(leastScrub)+"/s, or 0/s for not at all")
	v.duration("scrub.interval", c.Scrub.Interval, leastScrubPass)
}

// memberKey is the key that a line about the document is about.
func memberKey(line string) string {
	for _, member := range []string{"default", "grace"} {
		if strings.HasPrefix(line, member+":") {
			return "retention." + member
		}
	}
	if strings.HasPrefix(line, "class") {
		return "retention.classes"
	}
	return "retention.policies"
}

// documentDigest tells documents apart; that of nothing is "none".
func (r *Retention) documentDigest() string {
	d, err := r.Document()
	if err != nil {
		return "invalid"
	}
	encoded, err := d.Encode()
	if err != nil || string(encoded) == "{}" {
		return "none"
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(encoded))
}
