package retention

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// Rules are what is in force: the documents of all sources, combined. They do
// not change once made and may be used concurrently. Make them with Combine or
// Shipped; the zero Rules know no class.
type Rules struct {
	terms    map[Class]Term
	preset   Class // of manifests that no policy classifies
	grace    Term
	policies []Policy
}

// Assigned is the class that a manifest gets, and its end.
type Assigned struct {
	Class Class
	// Expires is the end, zero if there is none.
	Expires time.Time
	// Rule names the policy that gave the class, or allowed to choose it, as
	// "policy NAME". It is empty if none did.
	Rule string
	// Chosen: the manifest's annotation or an operator picked the class for this
	// very manifest.
	Chosen bool
}

// Given tells whether somebody gave the class: it is not just the default.
func (a Assigned) Given() bool { return a.Rule != "" || a.Chosen }

// Combine makes rules of the documents of the two sources. The policies of the
// configuration are tried before those of the admin API. Both must be valid;
// names of policies are unique over both, where both give a class its term, or
// a default or a grace, it must be the same, and every class that is named must
// exist. The rules share nothing with the documents.
func Combine(config, admin Document) (Rules, error) {
	r := Shipped()
	errs := []error{config.Validate(), admin.Validate()}
	maps.Copy(r.terms, config.Classes)
	maps.Copy(r.terms, admin.Classes)
	for class, term := range admin.Classes {
		if other, both := config.Classes[class]; both && other != term {
			errs = append(errs, fmt.Errorf("class %s: the configuration says %s, the admin API %s", class, other, term))
		}
	}
	var err error
	if r.preset, err = agree("default", config.Default, admin.Default, PermanentRecord); err != nil {
		errs = append(errs, err)
	}
	if r.grace, err = agree("grace", config.Grace, admin.Grace, shippedGrace); err != nil {
		errs = append(errs, err)
	}
	for _, p := range slices.Concat(config.Policies, admin.Policies) {
		r.policies = append(r.policies, p.clone())
	}
	errs = append(errs, uniquePolicies(config.Policies, admin.Policies), r.knowsClasses())
	if err := errors.Join(errs...); err != nil {
		return Rules{}, err
	}
	return r, nil
}

// agree returns what the two sources say about a member: one of them is silent,
// or they say the same.
func agree[T comparable](member string, config, admin, preset T) (T, error) {
	var silent T
	switch {
	case config == silent && admin == silent:
		return preset, nil
	case config == silent:
		return admin, nil
	case admin == silent || admin == config:
		return config, nil
	}
	return preset, fmt.Errorf("%s: the configuration says %v, the admin API %v", member, config, admin)
}

// For returns the policy that applies to a repository, nil if none does. The
// caller must not change it.
func (r Rules) For(repository string) *Policy {
	for i := range r.policies {
		if matchAny(r.policies[i].Repositories, repository) {
			return &r.policies[i]
		}
	}
	return nil
}

// Grace is how long an item stays marked as expired before it is eligible.
func (r Rules) Grace() time.Duration { return time.Duration(r.grace) }

// Classes returns the terms of all classes. The caller owns the result.
func (r Rules) Classes() map[Class]Term { return maps.Clone(r.terms) }

// knowsClasses returns an error for each class that is named and does not exist.
func (r Rules) knowsClasses() error {
	var errs []error
	check := func(where string, class Class) {
		if _, known := r.terms[class]; !known {
			errs = append(errs, fmt.Errorf("%s: %w %q", where, ErrUnknownClass, class))
		}
	}
	check("default", r.preset)
	for _, p := range r.policies {
		if p.Class != "" {
			check(fmt.Sprintf("policy %q: class", p.Name), p.Class)
		}
		for _, class := range p.Choose {
			check(fmt.Sprintf("policy %q: choose", p.Name), class)
		}
	}
	return errors.Join(errs...)
}

// uniquePolicies refuses a policy of the admin API that has the name of one of
// the configuration.
func uniquePolicies(config, admin []Policy) error {
	var errs []error
	for _, p := range admin {
		if slices.ContainsFunc(config, func(other Policy) bool { return other.Name == p.Name }) {
			errs = append(errs, fmt.Errorf("policy %q: the configuration has one of this name", p.Name))
		}
	}
	return errors.Join(errs...)
}
