// Package fact holds the payload of every kind of event, and the values that
// travel between the registry and the places where bytes are kept. It is data
// and nothing else: what a fact does to the state is decided by the views.
//
// Payloads are encoded as canonical CBOR maps with the names given in the
// `cbor` tags; docs/format/events.md describes them. A payload type is never
// changed once released: a new meaning is a new kind with a new version.
package fact

import (
	"artifactstore/registry/identity"
)

// The kinds of events.
const (
	KindRepositoryCreated = "v1.repository.created"
	KindBlobStored        = "v1.blob.stored"
	KindBlobIdentified    = "v1.blob.identified"
	KindBlobMoved         = "v1.blob.moved"
	KindBlobLinked        = "v1.blob.linked"
	KindBlobUnlinked      = "v1.blob.unlinked"
	KindManifestPut       = "v1.manifest.put"
	KindManifestDeleted   = "v1.manifest.deleted"
	KindTagMoved          = "v1.tag.moved"
	KindTagDeleted        = "v1.tag.deleted"
	KindEpochStarted      = "v1.log.epoch_started"
)

// Kinds returns the kinds that this version knows.
func Kinds() []string {
	all := []string{
		KindRepositoryCreated, KindBlobStored, KindBlobIdentified, KindBlobMoved, KindBlobLinked, KindBlobUnlinked,
		KindManifestPut, KindManifestDeleted, KindTagMoved, KindTagDeleted,
		KindEpochStarted,
	}
	for _, empty := range lifeKinds {
		all = append(all, empty().Kind())
	}
	return all
}

// NewestFormat is the newest format of records that this version knows.
const NewestFormat = 3

// Format returns the oldest format of records that knows a kind. Programs of an
// older one can neither replay such an event nor write behind it. A kind that
// this version does not know is of a newer format than NewestFormat.
func Format(kind string) int {
	switch {
	case kind == KindEpochStarted:
		return 2
	case lives[kind] != nil:
		return 3
	case New(kind) != nil:
		return 1
	}
	return NewestFormat + 1
}

// Fact is the payload of an event.
type Fact interface {
	// Kind is the event's versioned slug.
	Kind() string
	// Subject is what the event is about, for people and filters:
	// "repository", "repository:tag", "repository@digest", a digest, or the
	// id of the log.
	Subject() string
}

// New returns a pointer to an empty payload of the kind, to decode into, or
// nil if the kind is unknown.
func New(kind string) Fact {
	switch kind {
	case KindRepositoryCreated:
		return new(RepositoryCreated)
	case KindBlobStored:
		return new(BlobStored)
	case KindBlobIdentified:
		return new(BlobIdentified)
	case KindBlobMoved:
		return new(BlobMoved)
	case KindBlobLinked:
		return new(BlobLinked)
	case KindBlobUnlinked:
		return new(BlobUnlinked)
	case KindManifestPut:
		return new(ManifestPut)
	case KindManifestDeleted:
		return new(ManifestDeleted)
	case KindTagMoved:
		return new(TagMoved)
	case KindTagDeleted:
		return new(TagDeleted)
	case KindEpochStarted:
		return new(EpochStarted)
	}
	if empty := lives[kind]; empty != nil {
		return empty()
	}
	return nil
}

// RepositoryCreated: the first push into a repository made it.
type RepositoryCreated struct {
	Repository string `cbor:"repository"`
}

func (*RepositoryCreated) Kind() string      { return KindRepositoryCreated }
func (f *RepositoryCreated) Subject() string { return f.Repository }

// BlobStored: a byte sequence that was not here before is on disk. The byte
// sequence is known from now on by the sequence number of this event. If the
// receipt names the store Content, the bytes are the content row of this event.
type BlobStored struct {
	Digests identity.DigestSet `cbor:"digests"`
	Size    int64              `cbor:"size"` // bytes
	Receipt Receipt            `cbor:"receipt"`
}

func (*BlobStored) Kind() string      { return KindBlobStored }
func (f *BlobStored) Subject() string { return f.Digests.Primary().String() }

// BlobIdentified: a stored byte sequence gained a digest in one more algorithm.
type BlobIdentified struct {
	Blob   identity.Digest `cbor:"blob"` // primary digest
	Digest identity.Digest `cbor:"digest"`
}

func (*BlobIdentified) Kind() string      { return KindBlobIdentified }
func (f *BlobIdentified) Subject() string { return f.Blob.String() }

// BlobMoved: the bytes of a stored sequence are served from another place from
// now on, because the object at From was missing or damaged when the same
// content was pushed again. As with BlobStored, a receipt that names Content
// means the content row of this event.
type BlobMoved struct {
	Blob identity.Digest `cbor:"blob"` // primary digest
	From Receipt         `cbor:"from"`
	To   Receipt         `cbor:"to"`
}

func (*BlobMoved) Kind() string      { return KindBlobMoved }
func (f *BlobMoved) Subject() string { return f.Blob.String() }

// BlobLinked: a repository gained a blob, by push, or by mount from the
// repository Source.
type BlobLinked struct {
	Repository string          `cbor:"repository"`
	Blob       identity.Digest `cbor:"blob"` // primary digest
	Source     string          `cbor:"source,omitempty"`
}

func (*BlobLinked) Kind() string      { return KindBlobLinked }
func (f *BlobLinked) Subject() string { return f.Repository + "@" + f.Blob.String() }

// BlobUnlinked: a repository lost a blob by request. Its bytes stay.
type BlobUnlinked struct {
	Repository string          `cbor:"repository"`
	Blob       identity.Digest `cbor:"blob"` // primary digest
}

func (*BlobUnlinked) Kind() string      { return KindBlobUnlinked }
func (f *BlobUnlinked) Subject() string { return f.Repository + "@" + f.Blob.String() }

// Reference is one descriptor of a manifest, in the order of the manifest.
type Reference struct {
	Role      string `cbor:"role"` // "config", "layer" or "manifest"
	MediaType string `cbor:"mediaType"`
	// Digest is the digest as written in the manifest.
	Digest identity.Digest `cbor:"digest"`
	// Target is the primary digest of the bytes, or zero if they were absent.
	Target identity.Digest `cbor:"target,omitzero"`
	Size   int64           `cbor:"size"`
}

// ManifestPut: a manifest entered a repository. The pushed bytes and the native
// form are byte sequences of their own, stored by earlier events. If the
// manifest has a subject, the content row of this event is its descriptor as
// the referrers of that subject list it (JSON).
type ManifestPut struct {
	Repository   string          `cbor:"repository"`
	Manifest     identity.Digest `cbor:"manifest"` // primary digest of the pushed bytes
	Native       identity.Digest `cbor:"native"`   // primary digest of the canonical CBOR
	Digest       identity.Digest `cbor:"digest"`   // the digest it was pushed by
	MediaType    string          `cbor:"mediaType"`
	ArtifactType string          `cbor:"artifactType,omitempty"`
	Size         int64           `cbor:"size"` // of the pushed bytes
	// SubjectDigest is the digest of the manifest's subject as written, or zero.
	SubjectDigest identity.Digest `cbor:"subject,omitzero"`
	References    []Reference     `cbor:"references"`
	// Class is the retention class, Expires its end in microseconds since
	// 1970 UTC, 0 for never.
	Class   string `cbor:"class"`
	Expires int64  `cbor:"expires"`
}

func (*ManifestPut) Kind() string      { return KindManifestPut }
func (f *ManifestPut) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// ManifestDeleted: a manifest left a repository by request. The tags that named
// it were deleted by earlier events.
type ManifestDeleted struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"` // primary digest of the pushed bytes
}

func (*ManifestDeleted) Kind() string      { return KindManifestDeleted }
func (f *ManifestDeleted) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// TagMoved: a tag names a manifest from now on. From is zero if the tag is new.
type TagMoved struct {
	Repository string          `cbor:"repository"`
	Tag        string          `cbor:"tag"`
	From       identity.Digest `cbor:"from,omitzero"` // primary digests of pushed bytes
	To         identity.Digest `cbor:"to"`
	// Digest is the digest the tag answers with: the one it was pushed by,
	// SHA-256 if it was pushed by tag.
	Digest identity.Digest `cbor:"digest"`
}

func (*TagMoved) Kind() string      { return KindTagMoved }
func (f *TagMoved) Subject() string { return f.Repository + ":" + f.Tag }

// TagDeleted: a tag was removed, by request or with its manifest.
type TagDeleted struct {
	Repository string          `cbor:"repository"`
	Tag        string          `cbor:"tag"`
	Manifest   identity.Digest `cbor:"manifest"` // what it named
}

func (*TagDeleted) Kind() string      { return KindTagDeleted }
func (f *TagDeleted) Subject() string { return f.Repository + ":" + f.Tag }

// EpochStarted: the database was put back to an older state, by a restore or by a
// failover that lost events, and goes on from there. It changes no view. As it is
// the first event after the state that is left, the log differs from then on from
// the one that was lost, and whoever has seen more of that finds out.
//
// Log, Sequence and Chain are the end of the log as the operator found it; the
// reason is in the private part.
type EpochStarted struct {
	Log      string `cbor:"log"`
	Sequence uint64 `cbor:"sequence"`
	Chain    string `cbor:"chain"` // running hash, 64 hex digits
}

func (*EpochStarted) Kind() string      { return KindEpochStarted }
func (f *EpochStarted) Subject() string { return f.Log }
