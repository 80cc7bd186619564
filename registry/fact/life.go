package fact

import "artifactstore/registry/identity"

// The kinds of events about life and death.
const (
	KindRepositoryDeleted   = "v1.repository.deleted"
	KindRepositoryRestored  = "v1.repository.restored"
	KindRepositoryForgotten = "v1.repository.forgotten"
	KindManifestRestored    = "v1.manifest.restored"
	KindManifestForgotten   = "v1.manifest.forgotten"
	KindManifestPulled      = "v1.manifest.pulled"
	KindBlobCondemned       = "v1.blob.condemned"
	KindBlobRevived         = "v1.blob.revived"
	KindBlobReleased        = "v1.blob.released"
	KindBlobForgotten       = "v1.blob.forgotten"
	KindBlobErased          = "v1.blob.erased"
	KindDefaultApplied      = "v1.retention.default_applied"
	KindExtended            = "v1.retention.extended"
	KindClassChanged        = "v1.retention.class_changed"
	KindExpired             = "v1.retention.expired"
	KindRenewed             = "v1.retention.renewed"
	KindPoliciesSet         = "v1.retention.policies_set"
	KindHoldPlaced          = "v1.hold.placed"
	KindHoldReleased        = "v1.hold.released"
	KindClockJumped         = "v1.clock.jumped"
	KindClockConfirmed      = "v1.clock.confirmed"
	KindLocationVerified    = "v1.storage.location_verified"
	KindLocationDamaged     = "v1.storage.location_damaged"
)

// lifeKinds have one empty payload for each kind of this file.
var lifeKinds = []func() Fact{
	func() Fact { return new(RepositoryDeleted) }, func() Fact { return new(RepositoryRestored) },
	func() Fact { return new(RepositoryForgotten) },
	func() Fact { return new(ManifestRestored) }, func() Fact { return new(ManifestForgotten) },
	func() Fact { return new(ManifestPulled) },
	func() Fact { return new(BlobCondemned) }, func() Fact { return new(BlobRevived) },
	func() Fact { return new(BlobReleased) }, func() Fact { return new(BlobForgotten) }, func() Fact { return new(BlobErased) },
	func() Fact { return new(DefaultApplied) }, func() Fact { return new(Extended) }, func() Fact { return new(ClassChanged) },
	func() Fact { return new(Expired) }, func() Fact { return new(Renewed) }, func() Fact { return new(PoliciesSet) },
	func() Fact { return new(HoldPlaced) }, func() Fact { return new(HoldReleased) },
	func() Fact { return new(ClockJumped) }, func() Fact { return new(ClockConfirmed) },
	func() Fact { return new(LocationVerified) }, func() Fact { return new(LocationDamaged) },
}

// lives are the same by kind.
var lives = func() map[string]func() Fact {
	byKind := make(map[string]func() Fact)
	for _, empty := range lifeKinds {
		byKind[empty().Kind()] = empty
	}
	return byKind
}()

// RepositoryDeleted: a repository was deleted by request. It goes under the name
// Name from then on, which no client can say, with all that it holds, until it is
// restored or forgotten; its old name is free.
type RepositoryDeleted struct {
	Repository string `cbor:"repository"`
	Name       string `cbor:"name"`
}

func (*RepositoryDeleted) Kind() string      { return KindRepositoryDeleted }
func (f *RepositoryDeleted) Subject() string { return f.Repository }

// RepositoryRestored: a deleted repository has its old name again.
type RepositoryRestored struct {
	Repository string `cbor:"repository"`
	Name       string `cbor:"name"` // that it had while it was deleted
}

func (*RepositoryRestored) Kind() string      { return KindRepositoryRestored }
func (f *RepositoryRestored) Subject() string { return f.Repository }

// RepositoryForgotten: a deleted repository, of which nothing is left, is gone.
type RepositoryForgotten struct {
	Name string `cbor:"name"` // that it had while it was deleted
}

func (*RepositoryForgotten) Kind() string      { return KindRepositoryForgotten }
func (f *RepositoryForgotten) Subject() string { return f.Name }

// ManifestRestored: a deleted manifest is back as it was. Its tags are restored
// by events of their own.
type ManifestRestored struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"` // primary digest of the pushed bytes
}

func (*ManifestRestored) Kind() string      { return KindManifestRestored }
func (f *ManifestRestored) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// The causes of a ManifestForgotten.
const (
	CauseDeleted = "deleted" // the grace of what was deleted by request has passed
	CauseExpired = "expired" // that of what has expired
	CauseErased  = "erased"  // erased for a legal cause, which is the reason of the event
)

// ManifestForgotten: a manifest is gone and cannot be put back. The tags that
// still named it were deleted by earlier events.
type ManifestForgotten struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"` // primary digest of the pushed bytes
	Cause      string          `cbor:"cause"`
}

func (*ManifestForgotten) Kind() string      { return KindManifestForgotten }
func (f *ManifestForgotten) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// ManifestPulled: manifests of a repository were asked for on a day, once or more
// often. There is at most one event for each manifest and day and node.
type ManifestPulled struct {
	Repository string            `cbor:"repository"`
	Day        int64             `cbor:"day"`       // its start, microseconds since 1970 UTC
	Manifests  []identity.Digest `cbor:"manifests"` // primary digests of the pushed bytes
}

func (*ManifestPulled) Kind() string      { return KindManifestPulled }
func (f *ManifestPulled) Subject() string { return f.Repository }

// BlobCondemned: nothing uses a blob of a repository, or, without a repository,
// a byte sequence that no repository holds. Unless something does before Due, it
// will be released or forgotten.
type BlobCondemned struct {
	Repository string          `cbor:"repository,omitempty"`
	Blob       identity.Digest `cbor:"blob"` // primary digest
	Due        int64           `cbor:"due"`  // microseconds since 1970 UTC
}

func (*BlobCondemned) Kind() string      { return KindBlobCondemned }
func (f *BlobCondemned) Subject() string { return inRepository(f.Repository, f.Blob) }

// BlobRevived: a condemned blob of a repository was pushed again, or is used again.
type BlobRevived struct {
	Repository string          `cbor:"repository"`
	Blob       identity.Digest `cbor:"blob"` // primary digest
}

func (*BlobRevived) Kind() string      { return KindBlobRevived }
func (f *BlobRevived) Subject() string { return inRepository(f.Repository, f.Blob) }

// BlobReleased: a repository lost a condemned blob, as nothing used it, or a deleted
// repository lost one of its own.
type BlobReleased struct {
	Repository string          `cbor:"repository"`
	Blob       identity.Digest `cbor:"blob"` // primary digest
}

func (*BlobReleased) Kind() string      { return KindBlobReleased }
func (f *BlobReleased) Subject() string { return inRepository(f.Repository, f.Blob) }

// BlobForgotten: nothing keeps a byte sequence any more, and nothing can bring it
// back: what is pushed with the same content is another one. A content row is
// deleted with the event, an object in a store some time later.
type BlobForgotten struct {
	Blob    identity.Digest `cbor:"blob"` // primary digest
	Size    int64           `cbor:"size"` // bytes
	Receipt Receipt         `cbor:"receipt"`
}

func (*BlobForgotten) Kind() string      { return KindBlobForgotten }
func (f *BlobForgotten) Subject() string { return f.Blob.String() }

// BlobErased: the object of a byte sequence that was forgotten, or served from
// another place, was deleted from its store.
type BlobErased struct {
	Blob    identity.Digest `cbor:"blob"` // primary digest
	Receipt Receipt         `cbor:"receipt"`
	// By is the sequence of the event that gave the object up.
	By uint64 `cbor:"by"`
}

func (*BlobErased) Kind() string      { return KindBlobErased }
func (f *BlobErased) Subject() string { return f.Blob.String() }

// DefaultApplied: the retention class of a manifest was decided when it was
// pushed, by a rule.
type DefaultApplied struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"`
	Class      string          `cbor:"class"`
	Expires    int64           `cbor:"expires"` // microseconds since 1970 UTC, 0 for never
	// Rule is what decided, such as "policy ci"; empty for the shipped default.
	Rule string `cbor:"rule,omitempty"`
	// Chosen: the manifest itself asked for the class, by its annotation.
	Chosen bool `cbor:"chosen,omitempty"`
}

func (*DefaultApplied) Kind() string      { return KindDefaultApplied }
func (f *DefaultApplied) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// Extended: a manifest expires later than it would have. The reason is in the
// private part.
type Extended struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"`
	From       int64           `cbor:"from"` // microseconds since 1970 UTC
	To         int64           `cbor:"to"`   // later than From; 0 for never
}

func (*Extended) Kind() string      { return KindExtended }
func (f *Extended) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// ClassChanged: a manifest has another retention class. The reason is in the
// private part.
type ClassChanged struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"`
	From       string          `cbor:"from"`
	To         string          `cbor:"to"`
	Expires    int64           `cbor:"expires"` // microseconds since 1970 UTC, 0 for never
}

func (*ClassChanged) Kind() string      { return KindClassChanged }
func (f *ClassChanged) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// Expired: the end of a manifest has come. It is served until it is forgotten.
type Expired struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"`
	// Why is the sentence that package retention gave.
	Why string `cbor:"why"`
}

func (*Expired) Kind() string      { return KindExpired }
func (f *Expired) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// Renewed: an expired manifest is current again, because it was pushed again or
// because what had ended it does no longer.
type Renewed struct {
	Repository string          `cbor:"repository"`
	Manifest   identity.Digest `cbor:"manifest"`
	Class      string          `cbor:"class"`
	Expires    int64           `cbor:"expires"` // microseconds since 1970 UTC, 0 for never
}

func (*Renewed) Kind() string      { return KindRenewed }
func (f *Renewed) Subject() string { return f.Repository + "@" + f.Manifest.String() }

// The sources of retention policies.
const (
	SourceConfiguration = "configuration"
	SourceAdmin         = "admin"
)

// PoliciesSet: these are the retention policies of a source from now on.
type PoliciesSet struct {
	Source string `cbor:"source"`
	// Document is the retention.Document as JSON; empty for none.
	Document Text `cbor:"document"`
}

func (*PoliciesSet) Kind() string      { return KindPoliciesSet }
func (f *PoliciesSet) Subject() string { return "policies " + f.Source }

// Text is bytes that are text, and are recorded as such: people read the log as
// JSON, which has no other.
type Text []byte

// MarshalText returns the text as it is.
func (t Text) MarshalText() ([]byte, error) { return t, nil }

// UnmarshalText takes a copy of a text.
func (t *Text) UnmarshalText(text []byte) error {
	*t = append(Text(nil), text...)
	return nil
}

// Target is what a hold is on: a repository, a tag or a manifest of it.
type Target struct {
	Repository string          `cbor:"repository"`
	Tag        string          `cbor:"tag,omitempty"`
	Manifest   identity.Digest `cbor:"manifest,omitzero"` // primary digest of the pushed bytes
}

func (t Target) String() string {
	switch {
	case t.Tag != "":
		return t.Repository + ":" + t.Tag
	case !t.Manifest.IsZero():
		return t.Repository + "@" + t.Manifest.String()
	}
	return t.Repository
}

// HoldPlaced: nothing that the target is or keeps may go, until the hold ends or
// is released. The reason is in the private part. A hold of the same name on the
// same target is replaced.
type HoldPlaced struct {
	Name   string `cbor:"name"`
	Target Target `cbor:"target"`
	Until  int64  `cbor:"until"` // microseconds since 1970 UTC, 0 for no end
}

func (*HoldPlaced) Kind() string      { return KindHoldPlaced }
func (f *HoldPlaced) Subject() string { return f.Target.String() }

// HoldReleased: a hold is no longer on its target. The reason is in the private part.
type HoldReleased struct {
	Name   string `cbor:"name"`
	Target Target `cbor:"target"`
}

func (*HoldReleased) Kind() string      { return KindHoldReleased }
func (f *HoldReleased) Subject() string { return f.Target.String() }

// ClockJumped: the clock has gone ahead by more than it should have in the time
// since From. Until it is confirmed nothing expires and no hold ends.
type ClockJumped struct {
	From int64 `cbor:"from"` // microseconds since 1970 UTC
	To   int64 `cbor:"to"`
}

func (*ClockJumped) Kind() string    { return KindClockJumped }
func (*ClockJumped) Subject() string { return "clock" }

// ClockConfirmed: an operator says that the clock is right.
type ClockConfirmed struct {
	At int64 `cbor:"at"` // microseconds since 1970 UTC
}

func (*ClockConfirmed) Kind() string    { return KindClockConfirmed }
func (*ClockConfirmed) Subject() string { return "clock" }

// LocationVerified: the bytes of these sequences were read and are what they should be.
type LocationVerified struct {
	Store string            `cbor:"store"`
	Blobs []identity.Digest `cbor:"blobs"` // primary digests
}

func (*LocationVerified) Kind() string      { return KindLocationVerified }
func (f *LocationVerified) Subject() string { return "store " + f.Store }

// LocationDamaged: the bytes of a sequence are missing or are others than they
// should be. They are not served any more; pushing the content again heals it.
type LocationDamaged struct {
	Blob    identity.Digest `cbor:"blob"` // primary digest
	Receipt Receipt         `cbor:"receipt"`
}

func (*LocationDamaged) Kind() string      { return KindLocationDamaged }
func (f *LocationDamaged) Subject() string { return f.Blob.String() }

func inRepository(repository string, d identity.Digest) string {
	if repository == "" {
		return d.String()
	}
	return repository + "@" + d.String()
}
