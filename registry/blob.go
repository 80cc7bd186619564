package registry

import (
	"context"
	"fmt"

	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// Blob returns a blob of the repository; BlobUnknown, NameUnknown.
func (r *Repository) Blob(ctx context.Context, d identity.Digest) (*Content, error) {
	var c *Content
	err := r.ledger.Read(ctx, func(v View) error {
		b, inline, err := v.LinkedBlob(r.name, d)
		if err != nil {
			return fmt.Errorf("look up blob: %w", err)
		}
		if b == nil {
			return r.unknown(v, BlobUnknown, "blob")
		}
		c = &Content{Digest: d, Size: b.Size, plane: r.bytes, blob: *b, inline: inline, condemned: !b.Due.IsZero()}
		return nil
	})
	if err != nil {
		return nil, err
	}
	c.again = func(ctx context.Context) (*Content, error) { return r.Blob(ctx, d) }
	return c, nil
}

// MountBlob makes a blob that the repository from holds a blob of this one
// too; "" means any repository that the caller may pull from. It returns
// whether it did: false is no error, the client then pushes the bytes.
func (r *Repository) MountBlob(ctx context.Context, d identity.Digest, from string) (bool, error) {
	if from != "" && checkName(from) != nil {
		return false, nil
	}
	var source string
	var b *Blob
	err := r.ledger.Read(ctx, func(v View) (err error) {
		source, b, err = mountable(v, d, from)
		return err
	})
	if err != nil || source == "" {
		return false, err
	}
	// What is missing or damaged is not spread: the client pushes, and heals it.
	if present, err := r.present(ctx, b); err != nil || !present {
		return false, err
	}
	keys := Keys{Repositories: []string{source}, Digests: []identity.Digest{d, b.Digests.Primary()}}
	err = r.update(ctx, keys, func(v View, c *Change) error {
		source, b, err = mountable(v, d, from)
		if err != nil || source == "" {
			return err
		}
		primary := b.Digests.Primary()
		return r.linkBlob(v, c, primary, source)
	})
	return err == nil && source != "", err
}

// linkBlob makes a stored byte sequence a blob of the repository. One that is
// condemned is revived.
func (r *Repository) linkBlob(v View, c *Change, primary identity.Digest, source string) error {
	link, err := v.Link(r.name, primary)
	if err != nil {
		return fmt.Errorf("look up link: %w", err)
	}
	switch {
	case link == nil:
		if err := r.ensure(v, c); err != nil {
			return err
		}
		c.Add(&fact.BlobLinked{Repository: r.name, Blob: primary, Source: source})
	case !link.Due.IsZero():
		c.Add(&fact.BlobRevived{Repository: r.name, Blob: primary})
	}
	return nil
}

// mountable finds the repository to mount a blob from, "" if there is none.
func mountable(v View, d identity.Digest, from string) (source string, b *Blob, err error) {
	if source = from; source == "" {
		if source, err = v.BlobHolder(d); err != nil || source == "" {
			return "", nil, err
		}
	}
	if b, err = linkedBlob(v, source, d); err != nil || b == nil {
		return "", nil, err
	}
	// What is condemned there could be gone soon: the client pushes it.
	link, err := v.Link(source, b.Digests.Primary())
	if err != nil || link == nil || !link.Due.IsZero() {
		return "", nil, err
	}
	return source, b, nil
}

// present tells whether the bytes of a blob are where they should be. Content
// rows are taken to be: they are in the ledger's own database. What is under
// quarantine is not.
func (r *Registry) present(ctx context.Context, b *Blob) (bool, error) {
	if b.Damaged || b.Receipt.Store == fact.Content {
		return !b.Damaged, nil
	}
	present, err := r.bytes.Present(ctx, b.Receipt, b.Content, b.Size)
	if err != nil {
		return false, storage(fmt.Errorf("check stored content: %w", err))
	}
	return present, nil
}

// linkedBlob finds a blob of a repository, without its bytes.
func linkedBlob(v View, repository string, d identity.Digest) (*Blob, error) {
	b, err := v.Blob(d)
	if err != nil || b == nil {
		return nil, err
	}
	linked, err := v.Linked(repository, b.Digests.Primary())
	if err != nil || !linked {
		return nil, err
	}
	return b, nil
}

// DeleteBlob takes a blob out of the repository. Its bytes stay for others. A
// blob that a manifest of the repository references is refused (BlobInUse).
func (r *Repository) DeleteBlob(ctx context.Context, d identity.Digest) error {
	if err := r.mayDelete(); err != nil {
		return err
	}
	return r.update(ctx, Keys{Digests: []identity.Digest{d}}, func(v View, c *Change) error {
		if err := r.mayLose(v); err != nil {
			return err
		}
		b, err := linkedBlob(v, r.name, d)
		if err != nil {
			return fmt.Errorf("look up blob: %w", err)
		}
		if b == nil {
			return r.unknown(v, BlobUnknown, "blob")
		}
		user, err := v.Referencing(r.name, b.Digests)
		if err != nil {
			return fmt.Errorf("look up references: %w", err)
		}
		if !user.IsZero() {
			return &Error{Code: BlobInUse, Message: "a manifest of the repository references the blob; delete the manifest first",
				Detail: map[string]string{"manifest": user.String()}}
		}
		if err := r.mayLoseUsed(v, b); err != nil {
			return err
		}
		c.Add(&fact.BlobUnlinked{Repository: r.name, Blob: b.Digests.Primary()})
		return nil
	})
}

// mayLose refuses to take a blob out of a repository that is write-once or held.
func (r *Repository) mayLose(v View) error {
	rules, err := r.book.rules(v)
	if err != nil {
		return err
	}
	if err := refused(rules.MayDeleteBlob(r.name)); err != nil {
		return err
	}
	holds, err := binding(v, r.name)
	if err != nil {
		return err
	}
	return held("the repository", repositoryHolds(holds))
}

// mayLoseUsed refuses to take out a blob that a deleted manifest uses while a hold
// may freeze that one. Which of the holds does is not looked at: there are few, and
// the manifest can still be put back.
func (r *Repository) mayLoseUsed(v View, b *Blob) error {
	holds, err := binding(v, r.name)
	if err != nil || len(holds) == 0 {
		return err
	}
	used, err := v.Used(r.name, b.Digests)
	if err != nil {
		return fmt.Errorf("look up references: %w", err)
	}
	if !used {
		return nil
	}
	return held("a deleted manifest that uses the blob", holds)
}

// mayDelete refuses deletion where the operator switched it off.
func (r *Registry) mayDelete() error {
	if r.opts.DeleteDisabled {
		return Errorf(Unsupported, "deleting is switched off on this registry")
	}
	return nil
}
