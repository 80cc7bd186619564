package registry

import (
	"context"
	"fmt"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// What operators ask. Nothing here changes anything, and every list is a page
// of at most n entries; more tells that further ones follow.

// RepositoryInfo is a repository as operators see it.
type RepositoryInfo struct {
	Name     string
	Sequence eventlog.Sequence // of the event that made it
	Created  time.Time
}

// TagInfo is a tag, what it names and who moved it there.
type TagInfo struct {
	Name         string
	Digest       identity.Digest // that the tag answers with
	Manifest     identity.Digest // primary digest of the pushed bytes
	MediaType    string
	ArtifactType string
	Size         int64             // bytes of the manifest
	Sequence     eventlog.Sequence // of the last move
	Moved        time.Time
	Actor        string
	// Of the manifest, as in Manifest.
	Class, Rule             string
	Expires, Marked, Pulled time.Time
}

// TagMove is one move of a tag. From is zero if the tag was new, To if it was
// deleted; both are SHA-256 digests of manifests, or BLAKE3 once the bytes were
// forgotten.
type TagMove struct {
	Tag      string
	Sequence eventlog.Sequence
	Time     time.Time
	Actor    string
	From, To identity.Digest
}

// ReferenceInfo is one descriptor of a manifest.
type ReferenceInfo struct {
	Ordinal   int64  // its place in the manifest, from 0
	Role      string // "config", "layer" or "manifest"
	MediaType string
	Digest    identity.Digest // as written
	// Target is the primary digest of the bytes, or zero if they were absent
	// when the manifest was pushed.
	Target identity.Digest
	Size   int64 // bytes, as written
}

// Holder is a repository that has a byte sequence, as a blob, as the pushed
// bytes of a manifest, or both.
type Holder struct {
	Repository string
	// Deleted: the repository was, and has the name that it got then.
	Deleted  bool
	Sequence eventlog.Sequence // of the event that made the repository; the order of pages
	Blob     bool
	Manifest bool
}

// User is a manifest that references a byte sequence.
type User struct {
	Repository string
	Deleted    bool            // as in Holder
	Manifest   identity.Digest // by which the manifest was pushed
	MediaType  string
	Role       string
	// Place orders users; it is opaque.
	Place UserPlace
}

// UserPlace is a position in the list of users; the zero value is its start.
type UserPlace struct {
	Digest                        int // index of the digest in the set
	Repository, Manifest, Ordinal int64
}

// Usage says how much there is.
type Usage struct {
	Tags, Manifests, Blobs int64
	Bytes                  int64 // of the blobs and manifests, each counted once
}

// StoreUsage says how much one store of the data plane was given to keep.
type StoreUsage struct {
	Name  string
	Blobs int64 // byte sequences of all kinds, native forms included
	Bytes int64
}

// Totals says how much there is in all. What is in deleted repositories is counted
// by Stores alone.
type Totals struct {
	Repositories, Tags, Manifests, Uploads int64
	// Deleted is how many repositories were deleted and can still be put back.
	Deleted int64
	Stores  []StoreUsage
}

// InspectView answers the questions of this file. Its lists have at most limit
// entries.
type InspectView interface {
	RepositoryInfo(name string) (*RepositoryInfo, error)
	// RepositoryInfos follow a name in byte order.
	RepositoryInfos(after string, limit int) ([]RepositoryInfo, error)
	TagInfo(repository, name string) (*TagInfo, error)
	// TagInfos follow a name in byte order.
	TagInfos(repository, after string, limit int) ([]TagInfo, error)
	// TagMoves come newest first, those before a sequence; 0 begins at the end.
	TagMoves(repository, tag string, before eventlog.Sequence, limit int) ([]TagMove, error)
	// Manifests come newest first, those before a sequence; 0 begins at the end.
	Manifests(repository string, before eventlog.Sequence, limit int) ([]Manifest, error)
	// NativeOf finds manifests by the primary digest of their native form.
	NativeOf(native identity.Digest, limit int) ([]User, error)
	// References are those of a manifest behind an ordinal; -1 begins at the start.
	References(manifest eventlog.Sequence, after int64, limit int) ([]ReferenceInfo, error)
	// Holders come in the order in which the repositories were made.
	Holders(primary identity.Digest, after eventlog.Sequence, limit int) ([]Holder, error)
	// Users reference a byte sequence by any of its digests.
	Users(digests identity.DigestSet, after UserPlace, limit int) ([]User, error)
	// Uploads follow an id in byte order.
	Uploads(after string, limit int) ([]Upload, error)
	RepositoryUsage(name string) (Usage, error)
	Totals() (Totals, error)
}

// cutList makes a page of n entries from up to n+1 that were read.
func cutList[T any](all []T, n int) (page []T, more bool) {
	if len(all) > n {
		return all[:n], true
	}
	return all, false
}

// list reads one page.
func list[T any](ctx context.Context, r *Registry, what string, n int, query func(v View, limit int) ([]T, error)) (page []T, more bool, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		all, err := query(v, n+1)
		page, more = cutList(all, n)
		return err
	})
	if err != nil {
		return nil, false, fmt.Errorf("list %s: %w", what, err)
	}
	return page, more, nil
}

// Repositories lists repositories after a name in byte order.
func (r *Registry) Repositories(ctx context.Context, after string, n int) ([]RepositoryInfo, bool, error) {
	return list(ctx, r, "repositories", n, func(v View, limit int) ([]RepositoryInfo, error) {
		return v.RepositoryInfos(after, limit)
	})
}

// Find finds a stored byte sequence by any digest, linked or not; BlobUnknown.
func (r *Registry) Find(ctx context.Context, d identity.Digest) (*Blob, error) {
	var b *Blob
	err := r.ledger.Read(ctx, func(v View) (err error) {
		b, err = v.Blob(d)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("look up digest: %w", err)
	}
	if b == nil {
		return nil, Errorf(BlobUnknown, "nothing with this digest is stored")
	}
	return b, nil
}

// Holders lists the repositories that have a byte sequence, after a sequence,
// in the order in which they were made.
func (r *Registry) Holders(ctx context.Context, b *Blob, after eventlog.Sequence, n int) ([]Holder, bool, error) {
	return list(ctx, r, "holders", n, func(v View, limit int) ([]Holder, error) {
		return v.Holders(b.Digests.Primary(), after, limit)
	})
}

// Users lists the manifests that reference a byte sequence, of every repository.
func (r *Registry) Users(ctx context.Context, b *Blob, after UserPlace, n int) ([]User, bool, error) {
	return list(ctx, r, "references", n, func(v View, limit int) ([]User, error) {
		return v.Users(b.Digests, after, limit)
	})
}

// NativeOf returns at most n manifests whose native form is this byte sequence.
func (r *Registry) NativeOf(ctx context.Context, b *Blob, n int) ([]User, bool, error) {
	return list(ctx, r, "manifests of a native form", n, func(v View, limit int) ([]User, error) {
		return v.NativeOf(b.Digests.Primary(), limit)
	})
}

// Uploads lists upload sessions of which bytes have come, after an id.
func (r *Registry) Uploads(ctx context.Context, after string, n int) ([]Upload, bool, error) {
	return list(ctx, r, "uploads", n, func(v View, limit int) ([]Upload, error) {
		return v.Uploads(after, limit)
	})
}

// Totals counts everything; it reads every row of some tables, once.
func (r *Registry) Totals(ctx context.Context) (t Totals, err error) {
	err = r.ledger.Read(ctx, func(v View) (err error) {
		t, err = v.Totals()
		return err
	})
	if err != nil {
		return Totals{}, fmt.Errorf("count usage: %w", err)
	}
	return t, nil
}

// Info describes the repository; NameUnknown.
func (r *Repository) Info(ctx context.Context) (*RepositoryInfo, error) {
	var info *RepositoryInfo
	err := r.ledger.Read(ctx, func(v View) (err error) {
		info, err = r.info(v)
		return err
	})
	return info, err
}

func (r *Repository) info(v View) (*RepositoryInfo, error) {
	info, err := v.RepositoryInfo(r.name)
	if err != nil {
		return nil, fmt.Errorf("look up repository: %w", err)
	}
	if info == nil {
		return nil, Errorf(NameUnknown, "there is no repository of this name")
	}
	return info, nil
}

// Usage counts what the repository holds; NameUnknown. It reads a row for each.
func (r *Repository) Usage(ctx context.Context) (u Usage, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		if _, err := r.info(v); err != nil {
			return err
		}
		u, err = v.RepositoryUsage(r.name)
		return err
	})
	return u, err
}

// inRepository reads one page of a repository; NameUnknown.
func inRepository[T any](ctx context.Context, r *Repository, what string, n int, query func(v View, limit int) ([]T, error)) ([]T, bool, error) {
	return list(ctx, r.Registry, what, n, func(v View, limit int) ([]T, error) {
		if _, err := r.info(v); err != nil {
			return nil, err
		}
		return query(v, limit)
	})
}

// TagInfos lists tags after a name in byte order; NameUnknown.
func (r *Repository) TagInfos(ctx context.Context, after string, n int) ([]TagInfo, bool, error) {
	return inRepository(ctx, r, "tags", n, func(v View, limit int) ([]TagInfo, error) {
		return v.TagInfos(r.name, after, limit)
	})
}

// TagInfo describes a tag; TagInvalid, ManifestUnknown, NameUnknown.
func (r *Repository) TagInfo(ctx context.Context, tag string) (*TagInfo, error) {
	if err := checkTag(tag); err != nil {
		return nil, err
	}
	var info *TagInfo
	err := r.ledger.Read(ctx, func(v View) (err error) {
		info, err = v.TagInfo(r.name, tag)
		if err == nil && info == nil {
			err = r.unknown(v, ManifestUnknown, "tag")
		}
		return err
	})
	return info, err
}

// TagMoves lists the moves of a tag, also of one that was deleted, newest
// first: those before a sequence, 0 for all; TagInvalid, NameUnknown.
func (r *Repository) TagMoves(ctx context.Context, tag string, before eventlog.Sequence, n int) ([]TagMove, bool, error) {
	if err := checkTag(tag); err != nil {
		return nil, false, err
	}
	return inRepository(ctx, r, "moves of a tag", n, func(v View, limit int) ([]TagMove, error) {
		return v.TagMoves(r.name, tag, before, limit)
	})
}

// Manifests lists manifests, newest first: those before a sequence, 0 for all;
// NameUnknown.
func (r *Repository) Manifests(ctx context.Context, before eventlog.Sequence, n int) ([]Manifest, bool, error) {
	return inRepository(ctx, r, "manifests", n, func(v View, limit int) ([]Manifest, error) {
		return v.Manifests(r.name, before, limit)
	})
}

// TagsNaming returns the names of at most n tags that name a manifest.
func (r *Repository) TagsNaming(ctx context.Context, m *Manifest, n int) ([]string, bool, error) {
	return list(ctx, r.Registry, "tags of a manifest", n, func(v View, limit int) ([]string, error) {
		return v.TagsOf(r.name, m.Blob.Digests.Primary(), limit)
	})
}

// ManifestInfo describes a manifest; ManifestUnknown, NameUnknown.
func (r *Repository) ManifestInfo(ctx context.Context, ref Reference) (*Manifest, error) {
	var m *Manifest
	err := r.ledger.Read(ctx, func(v View) (err error) {
		m, _, _, err = r.lookUp(v, ref)
		if err == nil && m == nil {
			err = r.unknown(v, ManifestUnknown, "manifest")
		}
		return err
	})
	return m, err
}

// Native returns the native form of a manifest: its canonical CBOR.
func (r *Registry) Native(ctx context.Context, m *Manifest) (*Content, error) {
	b, err := r.Find(ctx, m.Native)
	if err != nil {
		return nil, err
	}
	return &Content{Digest: m.Native, MediaType: "application/cbor", Size: b.Size, plane: r.bytes, blob: *b,
		again: func(ctx context.Context) (*Content, error) { return r.Native(ctx, m) }}, nil
}

// ManifestReferences lists the descriptors of a manifest behind an ordinal; -1
// begins at the start.
func (r *Registry) ManifestReferences(ctx context.Context, m *Manifest, after int64, n int) ([]ReferenceInfo, bool, error) {
	return list(ctx, r, "references", n, func(v View, limit int) ([]ReferenceInfo, error) {
		return v.References(m.Sequence, after, limit)
	})
}
