package registry

import (
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
)

// forgetManifest adds the events with which a manifest, live or deleted, goes for
// ever: its tags first, then itself, then its bytes and its native form if
// nothing else keeps them. Content rows go in the same transaction. If more than
// 1,000 tags name it only tags go, more is true, and the manifest goes with a
// later change. A change should take no second manifest of many references: it
// may have 20,000 rows, of which each reference is one.
//
// It refuses (Denied) what a hold freezes, whoever asks. The caller has looked the
// manifest up in this very view.
func forgetManifest(v View, c *Change, repository string, m *Manifest, cause string) (more bool, err error) {
	if err := spared(v, repository, m); err != nil {
		return false, err
	}
	primary := m.Blob.Digests.Primary()
	tags, err := v.TagsOf(repository, primary, tagBatch+1)
	if err != nil {
		return false, fmt.Errorf("look up tags: %w", err)
	}
	page := cut(tags, tagBatch)
	for _, t := range page.Names {
		c.Add(&fact.TagDeleted{Repository: repository, Tag: t, Manifest: primary})
	}
	if page.More {
		return true, nil
	}
	return false, forgetUntagged(v, c, repository, m, cause)
}

// spared is the refusal for a manifest that a hold freezes.
func spared(v View, repository string, m *Manifest) error {
	holds, err := binding(v, repository)
	if err != nil {
		return err
	}
	on, err := manifestHolds(v, repository, m, holds)
	if err != nil {
		return err
	}
	return held("the manifest", on)
}

// forgetUntagged is forgetManifest for one that no hold freezes and no tag names.
func forgetUntagged(v View, c *Change, repository string, m *Manifest, cause string) error {
	c.Add(&fact.ManifestForgotten{Repository: repository, Manifest: m.Blob.Digests.Primary(), Cause: cause})
	if !m.Subject.IsZero() {
		c.Forget = append(c.Forget, m.Sequence) // its descriptor
	}
	if err := c.give(v, &m.Blob); err != nil {
		return err
	}
	native, err := v.Blob(m.Native)
	if err != nil || native == nil {
		return err
	}
	return c.give(v, native)
}

// give says that the change takes away one of the things that keep a byte
// sequence, by an event that it has already, and forgets the sequence if nothing
// else keeps it. The view still has what the change takes away.
func (c *Change) give(v View, b *Blob) error {
	if c.probe {
		return nil
	}
	if c.given == nil {
		c.given = map[eventlog.Sequence]int{}
	}
	c.given[b.Sequence]++
	given := c.given[b.Sequence] + c.givenBefore[b.Sequence]
	n, err := v.Keepers(b, given+1)
	if err != nil {
		return fmt.Errorf("look up what keeps a blob: %w", err)
	}
	if n > given {
		return nil
	}
	c.forgetBlob(b)
	return nil
}

// forgetBlob forgets a byte sequence that nothing keeps.
func (c *Change) forgetBlob(b *Blob) {
	c.forgotten = append(c.forgotten, b.Sequence)
	c.Add(&fact.BlobForgotten{Blob: b.Digests.Primary(), Size: b.Size, Receipt: b.Receipt})
	if b.Receipt.Store == fact.Content {
		c.Forget = append(c.Forget, b.Content)
	}
}
