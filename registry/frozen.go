package registry

import (
	"fmt"
	"slices"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// binding returns the holds in force of a repository; none is the usual case,
// and costs one look at the repository.
func binding(v View, repository string) ([]Hold, error) {
	state, err := v.RepositoryState(repository)
	if err != nil || state == nil || state.Holds == 0 {
		return nil, err
	}
	holds, err := v.HoldsIn(repository)
	if err != nil {
		return nil, fmt.Errorf("read holds: %w", err)
	}
	now, err := v.Trusted()
	if err != nil {
		return nil, fmt.Errorf("read the clock: %w", err)
	}
	return slices.DeleteFunc(holds, func(h Hold) bool { return !h.Until.IsZero() && !now.Before(h.Until) }), nil
}

// tagHolds are those of holds that freeze a tag.
func tagHolds(holds []Hold, tag string) []Hold {
	var on []Hold
	for _, h := range holds {
		if h.Target.Tag == tag {
			on = append(on, h)
		}
	}
	return on
}

// repositoryHolds are those of holds that are on the repository as a whole.
func repositoryHolds(holds []Hold) []Hold {
	var on []Hold
	for _, h := range holds {
		if h.Target.Tag == "" && h.Target.Manifest.IsZero() {
			on = append(on, h)
		}
	}
	return on
}

// maxAbove bounds how many manifests and references are looked at to find what holds
// one, which every push waits for. What is even more entangled counts as held.
const maxAbove = 1000

// manifestHolds are those of holds that freeze a manifest: on its repository, on
// a tag that names it, on itself, on an index that lists it, or on its subject,
// and so on upwards, as long as holds are given at all.
func manifestHolds(v View, repository string, m *Manifest, holds []Hold) ([]Hold, error) {
	if len(holds) == 0 {
		return nil, nil
	}
	on := repositoryHolds(holds)
	for _, h := range holds {
		if h.Target.Tag == "" {
			continue
		}
		t, err := v.Tag(repository, h.Target.Tag)
		if err != nil {
			return nil, fmt.Errorf("look up tag: %w", err)
		}
		if t != nil && m.Blob.Digests.Has(t.Manifest) {
			on = append(on, h)
		}
	}
	manifests := slices.DeleteFunc(slices.Clone(holds), func(h Hold) bool { return h.Target.Manifest.IsZero() })
	if len(manifests) == 0 {
		return on, nil
	}
	up, err := above(v, repository, m)
	if err != nil {
		return nil, err
	}
	for _, h := range manifests {
		if up == nil || up[h.Target.Manifest] {
			on = append(on, h)
		}
	}
	return on, nil
}

// above returns the primary digests of a manifest and of all manifests above it:
// those that list it, its subject, and what is above them. It is nil if there
// are more than can be looked at.
func above(v View, repository string, m *Manifest) (map[identity.Digest]bool, error) {
	up := map[identity.Digest]bool{m.Blob.Digests.Primary(): true}
	left := maxAbove
	for todo := []*Manifest{m}; len(todo) > 0; todo = todo[1:] {
		next, references, err := directlyAbove(v, repository, todo[0], left+1)
		if err != nil {
			return nil, err
		}
		if left -= references; left < 0 {
			return nil, nil
		}
		for _, n := range next {
			primary := n.Blob.Digests.Primary()
			if up[primary] {
				continue
			}
			up[primary] = true
			todo = append(todo, n)
		}
	}
	return up, nil
}

// directlyAbove returns the manifests that list one, and its subject, and how many
// references that are, limit if there may be more.
func directlyAbove(v View, repository string, m *Manifest, limit int) (all []*Manifest, references int, err error) {
	parents, err := v.Parents(repository, m.Blob.Digests, limit)
	if err != nil {
		return nil, 0, fmt.Errorf("look up parents: %w", err)
	}
	var digests []identity.Digest
	for _, p := range parents {
		digests = append(digests, p.Manifest)
	}
	if references = len(parents); !m.Subject.IsZero() {
		references++
		digests = append(digests, m.Subject)
	}
	for _, d := range digests {
		n, _, err := v.Manifest(repository, d)
		if err == nil && n == nil {
			// Deleted, with a hold that was placed on it since.
			var g *Grave
			if g, err = v.Grave(repository, d); g != nil {
				n = &g.Manifest
			}
		}
		if err != nil {
			return nil, 0, fmt.Errorf("look up manifest: %w", err)
		}
		if n != nil {
			all = append(all, n)
		}
	}
	return all, references, nil
}

// held is the refusal for what holds freeze; nil if there are none.
func held(what string, holds []Hold) error {
	if len(holds) == 0 {
		return nil
	}
	names := make([]string, 0, len(holds))
	for _, h := range holds {
		names = append(names, h.Name)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	return &Error{Code: Denied, Message: what + " is under " + retention.HoldsText(names),
		Detail: map[string]any{"holds": names[:min(holdsNamed, len(names))]}}
}

// forRetention are holds as package retention knows them.
func forRetention(holds []Hold) []retention.Hold {
	all := make([]retention.Hold, 0, len(holds))
	for _, h := range holds {
		all = append(all, retention.Hold{Name: h.Name, Until: h.Until})
	}
	return all
}

// targetOf checks what a hold is on and gives its manifest by the primary digest.
func targetOf(v View, repository string, ref Reference) (fact.Target, error) {
	t := fact.Target{Repository: repository, Tag: ref.Tag}
	if ref.Digest.IsZero() {
		return t, nil
	}
	m, _, err := v.Manifest(repository, ref.Digest)
	if err != nil {
		return t, fmt.Errorf("look up manifest: %w", err)
	}
	if m != nil {
		t.Manifest = m.Blob.Digests.Primary()
		return t, nil
	}
	g, err := v.Grave(repository, ref.Digest)
	if err != nil {
		return t, fmt.Errorf("look up deleted manifest: %w", err)
	}
	if g == nil {
		return t, Errorf(ManifestUnknown, "the repository has no such manifest")
	}
	t.Manifest = g.Blob.Digests.Primary()
	return t, nil
}
