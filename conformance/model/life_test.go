package model_test

import (
	"maps"
	"slices"
	"strings"
)

// life is what a repository should remember of what was deleted and is held.
type life struct {
	graves map[*manifest]*grave
	// moves are what has happened to each tag.
	moves map[string][]move
	holds map[hold]bool
	// undone are events that were taken back, or that nothing is left of.
	undone []uint64
}

func newLife() life {
	return life{graves: map[*manifest]*grave{}, moves: map[string][]move{}, holds: map[hold]bool{}}
}

// grave is a deleted manifest.
type grave struct {
	placed
	tags     map[string]int // that went with it: how many moves each had then
	sequence uint64         // of the event, once the server has told
}

// move is one thing that has happened to a tag.
type move struct {
	from, to *manifest // nil for none
	digest   string    // that the tag answered with from then on
}

// hold is a hold on a repository, a tag or a manifest.
type hold struct {
	name, tag string
	manifest  *manifest
}

// deleted is a deleted repository.
type deleted struct {
	of *repository
	*content
	sequence uint64
}

func (r *repository) has(m *manifest) bool {
	_, ok := r.manifests[m]
	return ok
}

// moveTag makes a tag name a manifest.
func (r *repository) moveTag(name string, m *manifest, digest string) {
	now, exists := r.tags[name]
	if exists && now.manifest == m && now.digest == digest {
		return
	}
	r.tags[name] = tag{manifest: m, digest: digest}
	r.moves[name] = append(r.moves[name], move{from: now.manifest, to: m, digest: digest})
}

// dropTag takes a tag away from the manifest that it names.
func (r *repository) dropTag(name string, m *manifest) {
	delete(r.tags, name)
	r.moves[name] = append(r.moves[name], move{from: m})
}

// dropTags takes away all tags of a manifest and returns them, with how many
// moves each has now.
func (r *repository) dropTags(m *manifest) map[string]int {
	gone := map[string]int{}
	for name, t := range r.tags {
		if t.manifest == m {
			r.dropTag(name, m)
			gone[name] = len(r.moves[name])
		}
	}
	return gone
}

// bury deletes a manifest, which can be put back.
func (r *repository) bury(m *manifest) {
	r.graves[m] = &grave{placed: r.manifests[m], tags: r.dropTags(m)}
	delete(r.manifests, m)
}

// erase makes that a manifest never was there, but for its tags' past.
func (r *repository) erase(m *manifest) {
	r.dropTags(m)
	if g := r.graves[m]; g != nil && g.sequence != 0 {
		r.undone = append(r.undone, g.sequence)
	}
	delete(r.graves, m)
	delete(r.manifests, m)
}

// restorable tells whether a manifest is there or can be put back with all that
// it needs.
func (r *repository) restorable(m *manifest) bool {
	if r.has(m) {
		return true
	}
	return r.graves[m] != nil && !slices.ContainsFunc(m.children, func(child *manifest) bool { return !r.restorable(child) })
}

// restore puts a manifest back, with what it needs, and returns how many came
// back.
func (r *repository) restore(m *manifest) (n int) {
	if r.has(m) {
		return 0
	}
	for _, child := range m.children {
		n += r.restore(child)
	}
	for _, b := range m.blobs {
		r.blobs[b] = true
	}
	g := r.graves[m]
	if g.sequence != 0 {
		r.undone = append(r.undone, g.sequence)
	}
	r.manifests[m] = g.placed
	delete(r.graves, m)
	return n + 1
}

// buried tells whether a deleted manifest uses a blob.
func (r *repository) buried(b *blob) bool {
	for m := range r.graves {
		if slices.Contains(m.blobs, b) {
			return true
		}
	}
	return false
}

// held tells whether a hold is on just this: a tag, a manifest, or the repository.
func (r *repository) held(tag string, m *manifest) bool {
	for h := range r.holds {
		if h.tag == tag && h.manifest == m {
			return true
		}
	}
	return false
}

// heldManifest tells whether a hold freezes a manifest.
func (r *repository) heldManifest(m *manifest) bool {
	if r.held("", nil) {
		return true
	}
	for name, t := range r.tags {
		if t.manifest == m && r.held(name, nil) {
			return true
		}
	}
	return r.heldAbove(m, map[*manifest]bool{})
}

// heldAbove tells whether a hold is on a manifest, its subject, an index that
// lists it, or above those. What was deleted counts, while it can be put back.
func (r *repository) heldAbove(m *manifest, seen map[*manifest]bool) bool {
	if seen[m] {
		return false
	}
	seen[m] = true
	if r.held("", m) {
		return true
	}
	all := slices.AppendSeq(slices.Collect(maps.Keys(r.manifests)), maps.Keys(r.graves))
	for _, other := range all {
		if (slices.Contains(other.children, m) || m.subject != "" && other.is(m.subject)) && r.heldAbove(other, seen) {
			return true
		}
	}
	return false
}

// frozenTag tells whether a policy or a hold keeps a tag where it is.
func (m *model) frozenTag(r *repository, name string) bool {
	p := m.rules.of(r.name)
	return p.WriteOnce || p.immutable(name) || r.held(name, nil)
}

// frozen tells whether a policy, its class or a hold keeps a manifest from being
// deleted.
func (m *model) frozen(r *repository, of *manifest) bool {
	p := m.rules.of(r.name)
	for name, t := range r.tags {
		if t.manifest == of && p.immutable(name) {
			return true
		}
	}
	return p.WriteOnce || r.manifests[of].class.permanent() || r.heldManifest(of)
}

// frozenRepository tells whether something keeps a repository from being deleted.
func (m *model) frozenRepository(r *repository) bool {
	p := m.rules.of(r.name)
	if p.WriteOnce || len(r.holds) > 0 || slices.ContainsFunc(r.tagNames(), p.immutable) {
		return true
	}
	for _, placed := range r.manifests {
		if placed.class.permanent() {
			return true
		}
	}
	return false
}

// class is the retention class of a manifest.
type class struct {
	name  string
	given bool // by a policy, the manifest or an operator
	// ends: the class has a term. extended is the year to which an operator has
	// put that off, or 0.
	ends     bool
	extended int
}

const permanent = "permanent-record"

// classAnnotation is the annotation by which a manifest asks for a class.
const classAnnotation = "dev.artifactstore.retention.class"

func newClass(name string, given bool) class {
	return class{name: name, given: given, ends: name != permanent}
}

func (c class) permanent() bool { return c.given && c.name == permanent }

// document is what was said about retention.
type document struct {
	Default  string   `json:"default,omitempty"`
	Policies []policy `json:"policies,omitempty"`
}

type policy struct {
	Name         string      `json:"name"`
	Repositories []string    `json:"repositories"`
	Class        string      `json:"class,omitempty"`
	Choose       []string    `json:"choose,omitempty"`
	Immutable    []immutable `json:"immutable_tags,omitempty"`
	WriteOnce    bool        `json:"write_once,omitempty"`
}

type immutable struct {
	Tags  []string `json:"tags"`
	Until string   `json:"until,omitempty"`
}

// documents are those that a history sets. Nothing ends in the time of a test.
var documents = []document{
	{},
	{Default: "summary-evidence", Policies: []policy{
		{Name: "past", Repositories: []string{"a-b"}, Immutable: []immutable{{Tags: []string{"*"}, Until: "2020-01-01"}}},
		{Name: "tags", Repositories: []string{"a", "c/**"}, Choose: []string{"raw-evidence", permanent},
			Immutable: []immutable{{Tags: []string{"v1*"}}, {Tags: []string{"latest", "A"}, Until: "2999-01-01"}}},
	}},
	{Policies: []policy{
		{Name: "archive", Repositories: []string{"a/b"}, WriteOnce: true},
		{Name: "ci", Repositories: []string{"**"}, Class: "transient", Choose: []string{"raw-evidence"}},
	}},
	{Default: "raw-evidence", Policies: []policy{{Name: "records", Repositories: []string{"a-b"}, Class: permanent}}},
}

// of returns the policy that applies to a repository, or one that says nothing.
func (d document) of(repository string) policy {
	for _, p := range d.Policies {
		if slices.ContainsFunc(p.Repositories, func(pattern string) bool { return matches(pattern, repository) }) {
			return p
		}
	}
	return policy{}
}

// matches knows the patterns of documents: a star stands for any end.
func matches(pattern, name string) bool {
	start, open := strings.CutSuffix(strings.Replace(pattern, "**", "*", 1), "*")
	return pattern == name || open && strings.HasPrefix(name, start)
}

func (p policy) immutable(tag string) bool {
	for _, rule := range p.Immutable {
		if rule.Until < "2021" && rule.Until != "" {
			continue
		}
		if slices.ContainsFunc(rule.Tags, func(pattern string) bool { return matches(pattern, tag) }) {
			return true
		}
	}
	return false
}

// class is the class that a new manifest gets, and whether it may have the one
// that it asks for, if it does.
func (d document) class(repository, want string) (c class, allowed bool) {
	p := d.of(repository)
	c = newClass(p.Class, true)
	if p.Class == "" {
		c = newClass(d.Default, false)
	}
	if c.name == "" {
		c = newClass(permanent, false)
	}
	if slices.Contains(p.Choose, want) {
		return newClass(want, true), true
	}
	return c, want == "" || want == c.name
}
