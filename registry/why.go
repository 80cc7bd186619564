package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// ReasonKind says what a Reason is about.
type ReasonKind string

const (
	ReasonBlob     ReasonKind = "blob"     // a repository holds the object as a blob
	ReasonManifest ReasonKind = "manifest" // the object is the pushed bytes of a manifest
	ReasonNative   ReasonKind = "native"   // it is the native form of a manifest
	ReasonLayer    ReasonKind = "layer"    // a manifest references it: see Role
	ReasonChild    ReasonKind = "child"    // an index lists the manifest
	ReasonReferrer ReasonKind = "referrer" // the manifest refers to a subject that is there
	ReasonTag      ReasonKind = "tag"      // a tag names the manifest
	ReasonHold     ReasonKind = "hold"     // a hold freezes it
	ReasonRule     ReasonKind = "rule"     // what retention decides of the manifest
	ReasonDeleted  ReasonKind = "deleted"  // the manifest or repository is deleted and can be put back until Until
	ReasonUnused   ReasonKind = "unused"   // nothing uses the blob: it is condemned, or goes, after Until
	ReasonNothing  ReasonKind = "nothing"  // nothing keeps it any more
)

// Reason is one link of a Chain. Fields that its kind has no use for are zero.
type Reason struct {
	Kind ReasonKind
	// Text is the reason as a phrase for people.
	Text string

	Repository string
	// Digest is of the manifest that is the reason, by which it was pushed.
	Digest identity.Digest
	// Role is that of a reference: "config", "layer" or "manifest".
	Role string
	// Name is that of the tag or the hold.
	Name string
	// Until is how long the reason holds by itself; zero: not for a time.
	Until time.Time
	// Sequence is that of an event, where there is one to look at.
	Sequence eventlog.Sequence
}

// Chain says why an object is kept: what keeps it, what keeps that, and so on.
type Chain struct {
	Repository string // "" if no repository has a part in it
	Reasons    []Reason
}

// maxChains is how many chains an answer has at most.
const maxChains = 10

// Why says what keeps an object alive: at most one chain for each repository, and
// ten in all. BlobUnknown if there is no such object, and none that is still to
// be deleted from its store; that one is found by its BLAKE3 digest alone.
func (r *Registry) Why(ctx context.Context, d identity.Digest) ([]Chain, error) {
	var found []*chain
	err := r.ledger.Read(ctx, func(v View) (err error) {
		found, err = r.chains(v, d)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]Chain, 0, len(found))
	for _, c := range found {
		if c.top != nil {
			if err := r.rule(ctx, c); err != nil {
				return nil, err
			}
		}
		all = append(all, c.Chain)
	}
	return all, nil
}

// chain is a Chain that is being made.
type chain struct {
	Chain
	v View
	// top is the manifest that keeps all that came before it, if there is one.
	top *Manifest
	// erase, grace and after are what the last reasons end by.
	erase, grace, after time.Duration
}

func (c *chain) add(r Reason) {
	r.Repository = c.Repository
	c.Reasons = append(c.Reasons, r)
}

// chains makes them all, up to what retention decides.
func (r *Registry) chains(v View, d identity.Digest) ([]*chain, error) {
	rules, err := r.book.rules(v)
	if err != nil {
		return nil, err
	}
	b, err := v.Blob(d)
	if err != nil {
		return nil, fmt.Errorf("look up blob: %w", err)
	}
	begin := func(repository string) *chain {
		return &chain{Chain: Chain{Repository: repository}, v: v, erase: r.opts.EraseDelay, grace: rules.Grace(), after: r.opts.SweepAfter}
	}
	if b == nil {
		c := begin("")
		if err := c.erasures(d); err != nil {
			return nil, err
		}
		return []*chain{c}, nil
	}
	repositories, err := keepers(v, b)
	if err != nil {
		return nil, err
	}
	all := make([]*chain, 0, len(repositories)+1)
	for _, name := range repositories {
		c := begin(name)
		if err := c.begin(b); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		c := begin("")
		c.add(c.nobody(b))
		all = append(all, c)
	}
	return all, nil
}

// keepers names the repositories that keep a byte sequence, those first in which
// it is a blob or a manifest.
func keepers(v View, b *Blob) (names []string, err error) {
	seen := map[string]bool{}
	add := func(name string) {
		if !seen[name] && len(names) < maxChains {
			seen[name] = true
			names = append(names, name)
		}
	}
	primary := b.Digests.Primary()
	holders, err := v.Holders(primary, 0, maxChains)
	if err != nil {
		return nil, fmt.Errorf("look up repositories: %w", err)
	}
	for _, h := range holders {
		add(h.Repository)
	}
	natives, err := v.NativeOf(primary, maxChains)
	if err != nil {
		return nil, fmt.Errorf("look up native forms: %w", err)
	}
	for _, u := range natives {
		add(u.Repository)
	}
	graves, err := v.GravesOf(b, maxChains)
	if err != nil {
		return nil, fmt.Errorf("look up deleted manifests: %w", err)
	}
	for _, g := range graves {
		add(g.Repository.Name)
	}
	return names, nil
}

// nobody is the reason of what nothing keeps.
func (c *chain) nobody(b *Blob) Reason {
	if b.Due.IsZero() {
		return Reason{Kind: ReasonNothing, Text: "nothing: the next sweep condemns it", Until: b.Stored.Add(c.after)}
	}
	return Reason{Kind: ReasonNothing, Text: "nothing: condemned, and forgotten after " + stamp(b.Due) + " unless it is pushed again", Until: b.Due}
}

// stamp is a time for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

// erasures is the chain of what was forgotten.
func (c *chain) erasures(d identity.Digest) error {
	all, err := c.v.ErasuresOf(d)
	if err != nil {
		return fmt.Errorf("look up erasures: %w", err)
	}
	for _, e := range all {
		due := e.Time.Add(c.erase)
		c.add(Reason{Kind: ReasonNothing, Sequence: e.By, Until: due,
			Text: fmt.Sprintf("nothing: forgotten at event %d, the object is deleted after %s", e.By, stamp(due))})
	}
	if len(all) == 0 {
		return Errorf(BlobUnknown, "no repository has anything with this digest; what is forgotten and not yet deleted from its store is found by its blake3 digest alone")
	}
	return nil
}

// begin finds what the byte sequence is to the repository, and goes on from there.
func (c *chain) begin(b *Blob) error {
	primary := b.Digests.Primary()
	m, _, err := c.v.Manifest(c.Repository, primary)
	if err != nil {
		return fmt.Errorf("look up manifest: %w", err)
	}
	if m != nil {
		c.add(Reason{Kind: ReasonManifest, Digest: m.Digest, Sequence: m.Sequence, Text: "manifest of repository " + c.Repository})
		return c.climb(m)
	}
	link, err := c.v.Link(c.Repository, primary)
	if err != nil {
		return fmt.Errorf("look up link: %w", err)
	}
	if link != nil {
		return c.linked(b, link)
	}
	return c.kept(b)
}

// linked is the chain of a blob of the repository.
func (c *chain) linked(b *Blob, link *Link) error {
	c.add(Reason{Kind: ReasonBlob, Text: "blob of repository " + c.Repository})
	m, user, err := c.user(b.Digests)
	switch {
	case err != nil:
		return err
	case m != nil:
		c.add(Reason{Kind: ReasonLayer, Digest: user.Digest, Role: user.Role, Text: fmt.Sprintf("%s of manifest %s", user.Role, user.Digest)})
		return c.climb(m)
	case user.Deleted:
		c.add(Reason{Kind: ReasonLayer, Digest: user.Digest, Role: user.Role, Text: fmt.Sprintf("%s of deleted manifest %s", user.Role, user.Digest)})
		return c.deleted(user.Manifest)
	}
	unused := Reason{Kind: ReasonUnused, Until: link.Due, Text: "no manifest uses it: condemned, and taken away after " + stamp(link.Due) + " unless one does"}
	if link.Due.IsZero() {
		unused.Until = link.Linked.Add(c.after)
		unused.Text = "no manifest uses it: the next sweep after " + stamp(unused.Until) + " condemns it"
	}
	c.add(unused)
	holds, err := binding(c.v, c.Repository)
	c.held(repositoryHolds(holds))
	if err != nil {
		return err
	}
	return c.end()
}

// maxUsers is how many manifests are looked at to find one that a tag names.
const maxUsers = 10

// user finds a manifest that references any of the digests, best one that a tag
// names; nil, and how a deleted one does, if there is no other.
func (c *chain) user(digests identity.DigestSet) (m *Manifest, as Edge, err error) {
	edges, err := c.v.Parents(c.Repository, digests, maxUsers)
	if err != nil {
		return nil, as, fmt.Errorf("look up users: %w", err)
	}
	for i, e := range edges {
		if i == 0 || m == nil {
			as = e
		}
		if e.Deleted {
			break
		}
		tags, err := c.v.TagsOf(c.Repository, e.Manifest, 1)
		if err != nil {
			return nil, as, fmt.Errorf("look up tags: %w", err)
		}
		if m != nil && len(tags) == 0 {
			continue
		}
		if m, _, err = c.v.Manifest(c.Repository, e.Manifest); err != nil {
			return nil, as, fmt.Errorf("look up manifest: %w", err)
		}
		if as = e; len(tags) > 0 {
			break
		}
	}
	return m, as, nil
}

// maxClimb bounds a chain.
const maxClimb = 20

// climb goes up from a manifest: to a tag, or to a manifest that keeps it.
func (c *chain) climb(m *Manifest) error {
	holds, err := binding(c.v, c.Repository)
	if err != nil {
		return err
	}
	on, err := manifestHolds(c.v, c.Repository, m, holds)
	if err != nil {
		return err
	}
	for range maxClimb {
		c.top = m
		up, err := c.step(m)
		if err != nil {
			return err
		}
		if m = up; m == nil {
			break
		}
	}
	c.held(on)
	return c.end()
}

// step adds the reason of one manifest, and returns the manifest that it is.
func (c *chain) step(m *Manifest) (*Manifest, error) {
	tags, err := c.v.TagsOf(c.Repository, m.Blob.Digests.Primary(), 1)
	if err != nil {
		return nil, fmt.Errorf("look up tags: %w", err)
	}
	if len(tags) > 0 {
		c.add(Reason{Kind: ReasonTag, Name: tags[0], Text: "tag " + tags[0]})
		return nil, nil
	}
	up, as, err := c.user(m.Blob.Digests)
	if err != nil {
		return nil, err
	}
	if up != nil {
		c.add(Reason{Kind: ReasonChild, Digest: as.Digest, Role: as.Role, Text: "child of index " + as.Digest.String()})
		return up, nil
	}
	if m.Subject.IsZero() {
		return nil, nil
	}
	if up, _, err = c.v.Manifest(c.Repository, m.Subject); err != nil {
		return nil, fmt.Errorf("look up subject: %w", err)
	}
	if up != nil {
		c.add(Reason{Kind: ReasonReferrer, Digest: m.Subject, Text: "referrer of manifest " + m.Subject.String()})
	}
	return up, nil
}

// held adds a reason for each hold.
func (c *chain) held(holds []Hold) {
	for _, h := range holds {
		text := "hold " + h.Name + " on " + h.Target.String()
		if !h.Until.IsZero() {
			text += " until " + stamp(h.Until)
		}
		c.add(Reason{Kind: ReasonHold, Name: h.Name, Until: h.Until, Sequence: h.Sequence, Text: text})
	}
}

// kept is the chain of a native form, or of the bytes of a deleted manifest.
func (c *chain) kept(b *Blob) error {
	primary := b.Digests.Primary()
	natives, err := c.v.NativeOf(primary, maxChains)
	if err != nil {
		return fmt.Errorf("look up native forms: %w", err)
	}
	for _, u := range natives {
		if u.Repository != c.Repository {
			continue
		}
		m, _, err := c.v.Manifest(c.Repository, u.Manifest)
		if err != nil || m == nil {
			return err
		}
		c.add(Reason{Kind: ReasonNative, Digest: m.Digest, Sequence: m.Sequence, Text: "native form of manifest " + m.Digest.String() + " of repository " + c.Repository})
		return c.climb(m)
	}
	graves, err := c.v.GravesOf(b, maxChains)
	if err != nil {
		return fmt.Errorf("look up deleted manifests: %w", err)
	}
	for _, g := range graves {
		if g.Repository.Name != c.Repository {
			continue
		}
		if g.Native == primary {
			c.add(Reason{Kind: ReasonNative, Digest: g.Digest, Sequence: g.Sequence, Text: "native form of deleted manifest " + g.Digest.String() + " of repository " + c.Repository})
		} else {
			c.add(Reason{Kind: ReasonManifest, Digest: g.Digest, Sequence: g.Sequence, Text: "deleted manifest of repository " + c.Repository})
		}
		return c.deleted(g.Blob.Digests.Primary())
	}
	return nil
}

// deleted ends a chain at a deleted manifest.
func (c *chain) deleted(d identity.Digest) error {
	g, err := c.v.Grave(c.Repository, d)
	if err != nil {
		return fmt.Errorf("look up deleted manifest: %w", err)
	}
	if g == nil {
		return nil
	}
	until := g.Deleted.Add(c.grace)
	c.add(Reason{Kind: ReasonDeleted, Digest: g.Digest, Until: until, Sequence: g.By,
		Text: fmt.Sprintf("deleted at event %d, can be put back until %s", g.By, stamp(until))})
	holds, err := binding(c.v, c.Repository)
	if err != nil {
		return err
	}
	on, err := manifestHolds(c.v, c.Repository, &g.Manifest, holds)
	if err != nil {
		return err
	}
	c.held(on)
	return c.end()
}

// end tells that the repository itself is deleted, if it is.
func (c *chain) end() error {
	state, err := c.v.RepositoryState(c.Repository)
	if err != nil || state == nil || state.Deleted.IsZero() {
		return err
	}
	c.top = nil
	until := state.Deleted.Add(c.grace)
	c.add(Reason{Kind: ReasonDeleted, Until: until, Text: fmt.Sprintf("the repository is deleted as %s, can be put back until %s", c.Repository, stamp(until))})
	return nil
}

// rule adds what retention decides of the manifest at the end of a chain.
func (r *Registry) rule(ctx context.Context, c *chain) error {
	j, err := r.judge(ctx, c.Repository)
	if errors.Is(err, errNoRepository) {
		return nil // it has just been deleted
	}
	if err != nil {
		return err
	}
	return r.ledger.Read(ctx, func(v View) error {
		now, err := v.Trusted()
		if err != nil {
			return fmt.Errorf("read the clock: %w", err)
		}
		holds, err := binding(v, c.Repository)
		if err != nil {
			return err
		}
		decided, err := j.about(v, c.top.Blob.Digests.Primary(), now, holds)
		if err == nil && decided != nil {
			c.add(Reason{Kind: ReasonRule, Digest: c.top.Digest, Until: decided.Next, Text: decided.Reason})
		}
		return err
	})
}
