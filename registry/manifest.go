package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

// Manifest returns the pushed bytes of a manifest to a client, which counts as a
// pull; ManifestUnknown, NameUnknown. Found by tag, it answers with the digest that
// the tag was pushed by.
func (r *Repository) Manifest(ctx context.Context, ref Reference) (*Content, error) {
	return r.pushed(ctx, ref, true)
}

// Pushed returns the same to an operator, and is no pull.
func (r *Repository) Pushed(ctx context.Context, ref Reference) (*Content, error) {
	return r.pushed(ctx, ref, false)
}

func (r *Repository) pushed(ctx context.Context, ref Reference, pull bool) (*Content, error) {
	var c *Content
	err := r.ledger.Read(ctx, func(v View) error {
		m, d, inline, err := r.lookUp(v, ref)
		if err != nil {
			return fmt.Errorf("look up manifest: %w", err)
		}
		if m == nil {
			return r.unknown(v, ManifestUnknown, "manifest")
		}
		if pull {
			r.pulls.note(v.Now(), r.name, m)
		}
		c = &Content{Digest: d, MediaType: m.MediaType, Size: m.Blob.Size, Subject: m.Subject,
			plane: r.bytes, blob: m.Blob, inline: inline}
		if ref.Tag == "" {
			c.whole = func(ctx context.Context) error { return r.whole(ctx, m) }
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.again = func(ctx context.Context) (*Content, error) { return r.pushed(ctx, Reference{Digest: c.Digest}, false) }
	return c, nil
}

// whole refuses a manifest of which something that it needs is under quarantine.
func (r *Repository) whole(ctx context.Context, m *Manifest) error {
	var damaged identity.Digest
	err := r.ledger.Read(ctx, func(v View) (err error) {
		damaged, err = v.DamagedBelow(m.Sequence)
		return err
	})
	if err != nil {
		return fmt.Errorf("look for damaged content: %w", err)
	}
	if damaged.IsZero() {
		return nil
	}
	return &Error{Code: ManifestUnknown, Message: "content of the manifest is damaged and under quarantine; pushing all of it again heals it",
		Detail: map[string]string{"digest": damaged.String()}, Err: fact.ErrGone}
}

// lookUp finds a manifest by tag or digest, and the digest to answer with.
func (r *Repository) lookUp(v View, ref Reference) (*Manifest, identity.Digest, []byte, error) {
	if ref.Tag == "" {
		m, inline, err := v.Manifest(r.name, ref.Digest)
		return m, ref.Digest, inline, err
	}
	m, t, inline, err := v.TaggedManifest(r.name, ref.Tag)
	if m == nil || err != nil {
		return nil, identity.Digest{}, nil, err
	}
	return m, t.Digest, inline, nil
}

// tagBatch is how many tags are deleted in one commit.
const tagBatch = 1000

// DeleteManifest removes a tag, or, by digest, a manifest and all tags that
// name it; ManifestUnknown, NameUnknown. If more than 1,000 tags name the
// manifest they go in several commits, the manifest in the last.
func (r *Repository) DeleteManifest(ctx context.Context, ref Reference) error {
	if err := r.mayDelete(); err != nil {
		return err
	}
	if ref.Tag != "" {
		return r.deleteTag(ctx, ref.Tag)
	}
	for more := true; more; {
		err := r.update(ctx, Keys{Manifests: []identity.Digest{ref.Digest}}, func(v View, c *Change) (err error) {
			more, err = r.deleteManifest(v, c, ref.Digest)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// mayDeleteManifest refuses to delete what a policy, its class or a hold keeps.
func (r *Repository) mayDeleteManifest(v View, m *Manifest, tags []string) error {
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	now, err := v.Trusted()
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	if err := refused(rules.MayDeleteManifest(r.name, tags, now)); err != nil {
		return err
	}
	if retention.Permanent(retention.Class(m.Class), m.Rule != "") {
		return Errorf(Denied, "the manifest is a permanent record, by %s", m.Rule)
	}
	if err := r.mayLoseChild(v, m, rules, now); err != nil {
		return err
	}
	holds, err := binding(v, r.name)
	if err != nil {
		return err
	}
	if holds, err = manifestHolds(v, r.name, m, holds); err != nil {
		return err
	}
	return held("the manifest", holds)
}

// mayLoseChild refuses to delete what an index lists, or one that lists that, which is
// a permanent record or which an immutable tag names: it would be nothing without it.
func (r *Repository) mayLoseChild(v View, m *Manifest, rules retention.Rules, now time.Time) error {
	permanent, err := v.PermanentManifest(r.name)
	if err != nil {
		return fmt.Errorf("look for permanent records: %w", err)
	}
	if p := rules.For(r.name); permanent.IsZero() && (p == nil || len(p.ImmutableTags) == 0) {
		return nil
	}
	seen, left := map[identity.Digest]bool{}, maxAbove
	for todo := []*Manifest{m}; len(todo) > 0; todo = todo[1:] {
		parents, err := v.Parents(r.name, todo[0].Blob.Digests, left+1)
		if err != nil {
			return fmt.Errorf("look up parents: %w", err)
		}
		if left -= len(parents); left < 0 {
			return Errorf(Denied, "the manifest is listed more than %d times, by indexes of which one may have to stay; delete some of them first", maxAbove)
		}
		for _, p := range parents {
			if p.Deleted || seen[p.Manifest] {
				continue
			}
			seen[p.Manifest] = true
			index, _, err := v.Manifest(r.name, p.Manifest)
			if err != nil {
				return fmt.Errorf("look up index: %w", err)
			}
			if index == nil {
				continue
			}
			if err := r.stays(v, index, rules, now); err != nil {
				return err
			}
			todo = append(todo, index)
		}
	}
	return nil
}

// stays refuses to delete a child of an index that has to stay.
func (r *Repository) stays(v View, index *Manifest, rules retention.Rules, now time.Time) error {
	if retention.Permanent(retention.Class(index.Class), index.Rule != "") {
		return Errorf(Denied, "the manifest is listed by index %s, which is a permanent record, by %s", index.Digest, index.Rule)
	}
	tags, err := v.TagsOf(r.name, index.Blob.Digests.Primary(), tagBatch)
	if err != nil {
		return fmt.Errorf("look up tags: %w", err)
	}
	if err := refused(rules.MayDeleteManifest(r.name, tags, now)); err != nil {
		return fmt.Errorf("the manifest is listed by index %s: %w", index.Digest, err)
	}
	return nil
}

func (r *Repository) deleteManifest(v View, c *Change, d identity.Digest) (more bool, err error) {
	m, _, err := v.Manifest(r.name, d)
	if err != nil {
		return false, fmt.Errorf("look up manifest: %w", err)
	}
	if m == nil {
		return false, r.unknown(v, ManifestUnknown, "manifest")
	}
	primary := m.Blob.Digests.Primary()
	tags, err := v.TagsOf(r.name, primary, tagBatch+1)
	if err != nil {
		return false, fmt.Errorf("look up tags: %w", err)
	}
	if err := r.mayDeleteManifest(v, m, tags); err != nil {
		return false, err
	}
	page := cut(tags, tagBatch)
	for _, t := range page.Names {
		c.Add(&fact.TagDeleted{Repository: r.name, Tag: t, Manifest: primary})
	}
	if !page.More {
		c.Add(&fact.ManifestDeleted{Repository: r.name, Manifest: primary})
	}
	return page.More, nil
}
