package retention

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
)

var (
	entryName         = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)
	repositoryPattern = regexp.MustCompile(`^[a-z0-9._*?/-]{1,255}$`)
	tagPattern        = regexp.MustCompile(`^[A-Za-z0-9._*?-]{1,255}$`)
)

// Validate returns all that is wrong with the document by itself, or nil. Its
// errors name the policy and the member. Whether the classes that it names exist
// is known only together with the other document: see Combine.
func (d Document) Validate() error {
	var errs []error
	for _, class := range slices.Sorted(maps.Keys(d.Classes)) {
		errs = append(errs, validateClass(class, d.Classes[class]))
	}
	errs = append(errs,
		atMost("classes", len(d.Classes), MaxClasses),
		atMost("policies", len(d.Policies), MaxPolicies),
		named("default", d.Default),
		span("grace", d.Grace))
	seen := map[string]bool{}
	for i, p := range d.Policies {
		switch {
		case !entryName.MatchString(p.Name):
			errs = append(errs, fmt.Errorf("policy %d: name %q does not match %s", i+1, p.Name, entryName))
		case seen[p.Name]:
			errs = append(errs, fmt.Errorf("policy %q: another has this name", p.Name))
		}
		seen[p.Name] = true
		errs = append(errs, within(fmt.Sprintf("policy %q", p.Name), p.validate()))
	}
	return errors.Join(errs...)
}

func validateClass(class Class, term Term) error {
	switch {
	case !className.MatchString(string(class)):
		return fmt.Errorf("class %q: name does not match %s", class, className)
	case class == PermanentRecord && term != Forever:
		return fmt.Errorf("class %s: must be kept %s", PermanentRecord, Forever)
	}
	if err := term.validate(); err != nil {
		return fmt.Errorf("class %s: %w", class, err)
	}
	return nil
}

func (p Policy) validate() []error {
	errs := patterns("repositories", p.Repositories, repositoryPattern)
	if p.ExpireUntagged != Forever {
		errs = append(errs, span("expire_untagged", p.ExpireUntagged))
	}
	for _, class := range p.Choose {
		errs = append(errs, named("choose", class))
	}
	errs = append(errs,
		named("class", p.Class),
		atMost("choose", len(p.Choose), MaxClasses),
		atMost("keep", len(p.Keep), MaxRules),
		atMost("immutable_tags", len(p.ImmutableTags), MaxRules))
	seen := map[string]bool{}
	for i, k := range p.Keep {
		switch {
		case !entryName.MatchString(k.Name):
			errs = append(errs, fmt.Errorf("keep %d: name %q does not match %s", i+1, k.Name, entryName))
		case seen[k.Name]:
			errs = append(errs, fmt.Errorf("keep %q: another has this name", k.Name))
		}
		seen[k.Name] = true
		errs = append(errs, within(fmt.Sprintf("keep %q", k.Name), k.validate()))
	}
	for i, rule := range p.ImmutableTags {
		errs = append(errs, within(fmt.Sprintf("immutable_tags %d", i+1), rule.validate()))
	}
	return errs
}

func (k Keep) validate() []error {
	var errs []error
	if k.Tags != nil {
		errs = patterns("tags", k.Tags, tagPattern)
	}
	if k.Newest < 0 || k.Newest > MaxNewest {
		errs = append(errs, fmt.Errorf("newest: %d, want 1 to %d", k.Newest, MaxNewest))
	}
	conditions := 0
	for _, set := range []bool{k.Newest != 0, k.PushedWithin != 0, k.PulledWithin != 0} {
		if set {
			conditions++
		}
	}
	switch {
	case conditions > 1:
		errs = append(errs, errors.New("newest, pushed_within, pulled_within: want one of them; two rules keep what either keeps"))
	case conditions == 0 && len(k.Tags) == 0:
		errs = append(errs, errors.New("want tags, newest, pushed_within or pulled_within"))
	}
	return append(errs, span("pushed_within", k.PushedWithin), span("pulled_within", k.PulledWithin))
}

func (i Immutable) validate() []error {
	errs := patterns("tags", i.Tags, tagPattern)
	until := i.Until.Time().UTC()
	if !until.IsZero() && (until.Nanosecond() != 0 || until.Year() < 1 || until.Year() > 9999) {
		errs = append(errs, fmt.Errorf("until: %s, want a time in whole seconds", until.Format(time.RFC3339Nano)))
	}
	return errs
}

// named checks the name of a class, which may be left out.
func named(member string, class Class) error {
	if class != "" && !className.MatchString(string(class)) {
		return fmt.Errorf("%s: class %q: name does not match %s", member, class, className)
	}
	return nil
}

// CheckRepositories returns what is wrong with patterns of repositories, or nil;
// there must be one at least.
func CheckRepositories(list []string) error {
	return errors.Join(patterns("repositories", list, repositoryPattern)...)
}

// patterns checks a list of patterns that may not be empty.
func patterns(member string, list []string, form *regexp.Regexp) []error {
	if len(list) == 0 {
		return []error{fmt.Errorf("%s: want at least one pattern", member)}
	}
	errs := []error{atMost(member, len(list), MaxRules)}
	for _, pattern := range list {
		if !form.MatchString(pattern) || strings.Contains(pattern, "***") {
			errs = append(errs, fmt.Errorf("%s: pattern %q does not match %s, with at most two stars in a row", member, pattern, form))
		}
	}
	return errs
}

// span checks a term that must have an end, where zero means that it is not set.
func span(member string, term Term) error {
	switch {
	case term == 0:
		return nil
	case term == Forever:
		return fmt.Errorf("%s: cannot be %s", member, Forever)
	}
	if err := term.validate(); err != nil {
		return fmt.Errorf("%s: %w", member, err)
	}
	return nil
}

func atMost(member string, n, limit int) error {
	if n > limit {
		return fmt.Errorf("%s: %d, the limit is %d", member, n, limit)
	}
	return nil
}

// within puts the place in front of each error.
func within(place string, errs []error) error {
	var placed []error
	for _, err := range errs {
		switch several, is := err.(interface{ Unwrap() []error }); {
		case err == nil:
		case is:
			placed = append(placed, within(place, several.Unwrap()))
		default:
			placed = append(placed, fmt.Errorf("%s: %w", place, err))
		}
	}
	return errors.Join(placed...)
}
