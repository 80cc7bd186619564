package registry

import (
	"context"
	"fmt"

	"artifactstore/registry/fact"
)

// Tags returns the n tag names that follow last in byte order; last need not
// exist, "" begins at the start. NameUnknown if there is no such repository.
func (r *Repository) Tags(ctx context.Context, last string, n int) (page Page, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		exists, err := v.RepositoryExists(r.name)
		if err != nil {
			return fmt.Errorf("look up repository: %w", err)
		}
		if !exists {
			return Errorf(NameUnknown, "there is no repository of this name")
		}
		names, err := v.TagPage(r.name, last, n+1)
		page = cut(names, n)
		return err
	})
	return page, err
}

// deleteTag removes a tag; the manifest stays.
func (r *Repository) deleteTag(ctx context.Context, tag string) error {
	return r.update(ctx, Keys{Tags: []string{tag}}, func(v View, c *Change) error {
		t, err := v.Tag(r.name, tag)
		if err != nil {
			return fmt.Errorf("look up tag: %w", err)
		}
		if t == nil {
			return r.unknown(v, ManifestUnknown, "tag")
		}
		if err := r.mayDeleteTag(v, tag); err != nil {
			return err
		}
		c.Add(&fact.TagDeleted{Repository: r.name, Tag: tag, Manifest: t.Manifest})
		return nil
	})
}

func (r *Repository) mayDeleteTag(v View, tag string) error {
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	now, err := v.Trusted()
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	if err := refused(rules.MayDeleteTag(r.name, tag, now)); err != nil {
		return err
	}
	holds, err := binding(v, r.name)
	if err != nil {
		return err
	}
	return held("the tag "+tag, tagHolds(holds, tag))
}

// mayMoveTag refuses to let a tag name another manifest than it does.
func (r *Repository) mayMoveTag(v View, tag string) error {
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	now, err := v.Trusted()
	if err != nil {
		return fmt.Errorf("read the clock: %w", err)
	}
	if err := refused(rules.MayMoveTag(r.name, tag, true, now)); err != nil {
		return err
	}
	holds, err := binding(v, r.name)
	if err != nil {
		return err
	}
	return held("the tag "+tag, tagHolds(holds, tag))
}
