package registry

import (
	"context"
	"io"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// Caller is on whose behalf something happens; it goes into the events.
type Caller struct {
	// Actor is an opaque id, "anonymous" or "system".
	Actor string
	// Request is the id of the request, for correlation with the logs.
	Request string
}

// System is the caller of background work.
var System = Caller{Actor: "system"}

// Ledger commits changes and answers questions about the current state.
// It is safe for concurrent use.
type Ledger interface {
	// Update runs decide against the current state and commits the change
	// that it returns: its events, the views they imply, content rows and
	// upload rows, all or nothing. When Update returns nil the change has
	// reached the disk, except that a change without events which is not
	// Durable may be forgotten by a power cut.
	//
	// decide runs alone, after all earlier changes and before all later ones;
	// it does no I/O of its own, may run more than once, and takes the time
	// from the view. Its error is returned as it is and nothing is changed.
	// keys name what decide asks for: it may ask for anything, but where the
	// state is far away that costs a journey. A nil change commits nothing. ctx can give up only before decide
	// starts; ErrUnknown means that the change may or may not have happened.
	Update(ctx context.Context, caller Caller, keys Keys, decide func(View) (*Change, error)) error

	// Read runs query against one consistent state. It may be called
	// concurrently with anything. query must not keep the view, and must
	// return soon: no client is written to while it runs.
	Read(ctx context.Context, query func(View) error) error
}

// Keys name what a decide is going to ask for: of each of the repositories,
// itself, the blobs of Digests, the manifests and the tags; and uploads.
type Keys struct {
	Repositories []string
	Digests      []identity.Digest
	Manifests    []identity.Digest
	Tags         []string
	Uploads      []string // ids
}

// Change is what an Update commits.
type Change struct {
	Entries []Entry
	// Puts are upload rows to write, Drops the ids of upload rows to remove.
	Puts  []Upload
	Drops []string
	// Forget are sequences whose content rows are deleted.
	Forget []eventlog.Sequence
	// Working is what else changes of the working state.
	Working Working
	// Durable makes a change without events reach the disk as well.
	Durable bool

	// given counts what the change takes away of what keeps byte sequences,
	// givenBefore what was to be taken away before; forgotten are those that go.
	given, givenBefore map[eventlog.Sequence]int
	forgotten          []eventlog.Sequence
	// probe: the change only finds out which rows there is something to do about.
	probe bool
}

// Entry is an event to be.
type Entry struct {
	Fact fact.Fact
	// Reason goes into the private part.
	Reason string
	// Content becomes the content row of the event, if it is not nil.
	Content []byte
}

// Add appends an event without content.
func (c *Change) Add(f fact.Fact) { c.Entries = append(c.Entries, Entry{Fact: f}) }

// AddContent appends an event with its content row.
func (c *Change) AddContent(f fact.Fact, content []byte) {
	c.Entries = append(c.Entries, Entry{Fact: f, Content: content})
}

// View is the current state, as decide and query see it. A nil pointer means
// that there is no such thing. Digests of any algorithm find what they name.
// Byte slices are the caller's.
type View interface {
	// Now is the time of the events of this change, in microseconds UTC.
	Now() time.Time
	// Secret returns the 32 random bytes of this name, the same for ever.
	Secret(name string) ([]byte, error)
	RepositoryView
	BlobView
	ManifestView
	TagView
	ReferrerView
	UploadView
	InspectView
	LifeView
	StorageView
}

// RepositoryView reads repositories.
type RepositoryView interface {
	// RepositoryExists tells whether there is a repository of this name.
	RepositoryExists(name string) (bool, error)
	// RepositoryPage returns at most limit names after a name, in byte order.
	RepositoryPage(after string, limit int) ([]string, error)
}

// Blob is a stored byte sequence.
type Blob struct {
	// Sequence of the event that stored it; the key of its content row is
	// Content.
	Sequence eventlog.Sequence
	Digests  identity.DigestSet
	Size     int64 // bytes
	Receipt  fact.Receipt
	// Content is the sequence whose content row holds the bytes, if
	// Receipt.Store is fact.Content.
	Content eventlog.Sequence
	Stored  time.Time
	// Due is until when it is condemned as no repository holds it, Verified
	// when its bytes were last read and found right; zero: never.
	Due, Verified time.Time
	// Damaged: its bytes were found missing or wrong, and are not served.
	Damaged bool
}

// BlobView reads byte sequences and which repositories hold them.
type BlobView interface {
	// Blob finds a stored byte sequence, linked or not.
	Blob(d identity.Digest) (*Blob, error)
	// LinkedBlob finds a blob of a repository; Due is that of the link. If
	// the bytes are a content row they are returned too.
	LinkedBlob(repository string, d identity.Digest) (*Blob, []byte, error)
	// Linked tells whether a repository holds a blob, given its primary digest.
	Linked(repository string, primary identity.Digest) (bool, error)
	// BlobHolder names the oldest repository that holds a blob, or "".
	BlobHolder(d identity.Digest) (string, error)
	// Referencing returns the digest (as pushed) of one manifest of the
	// repository that references the byte sequence by any of the digests, or zero.
	Referencing(repository string, digests identity.DigestSet) (identity.Digest, error)
}

// Manifest is a manifest of a repository.
type Manifest struct {
	Sequence eventlog.Sequence // of the event that put it
	// Blob is the pushed bytes, Native the primary digest of the native form.
	Blob         Blob
	Native       identity.Digest
	Digest       identity.Digest // the digest it was pushed by
	MediaType    string
	ArtifactType string
	Subject      identity.Digest // as written, or zero
	Pushed       time.Time
	// Class is the retention class, Expires its end; zero means never. Rule
	// is what gave the class, "" if it is the shipped default.
	Class   string
	Expires time.Time
	Rule    string
	// Chosen: the class was picked for this very manifest. Extended: its end
	// was put off.
	Chosen, Extended bool
	// Marked is when it expired, Pulled the last day on which it was asked
	// for, Untagged when a tag last left it; zero: never.
	Marked, Pulled, Untagged time.Time
}

// ManifestView reads manifests.
type ManifestView interface {
	// Manifest finds a manifest of a repository. If the pushed bytes are a
	// content row they are returned too.
	Manifest(repository string, d identity.Digest) (*Manifest, []byte, error)
	// TaggedManifest finds the manifest that a tag names, and the tag.
	TaggedManifest(repository, tag string) (*Manifest, *Tag, []byte, error)
}

// Tag is a named pointer to a manifest.
type Tag struct {
	Name string
	// Manifest is the primary digest of the pushed bytes, Digest the one
	// that the tag answers with.
	Manifest identity.Digest
	Digest   identity.Digest
}

// TagView reads tags.
type TagView interface {
	Tag(repository, name string) (*Tag, error)
	// TagPage returns at most limit names after a name, in byte order.
	TagPage(repository, after string, limit int) ([]string, error)
	// TagsOf returns at most limit names of tags that name the manifest.
	TagsOf(repository string, manifest identity.Digest, limit int) ([]string, error)
}

// Referrer is a manifest whose subject is another one.
type Referrer struct {
	Sequence eventlog.Sequence // of the event that put it; the order of pages
	// Descriptor is its OCI descriptor with annotations, as JSON.
	Descriptor []byte
}

// ReferrerView reads referrers.
type ReferrerView interface {
	// ReferrerPage returns referrers of the manifest that any of the digests
	// names, in order of sequence, after a sequence: at most limit, and at
	// most maxBytes of descriptors, but at least one if there is one.
	// An empty artifactType matches all.
	ReferrerPage(repository string, subject []identity.Digest, artifactType string,
		after eventlog.Sequence, limit, maxBytes int) ([]Referrer, error)
	// ReferrerAfter tells whether there is a referrer after a sequence.
	ReferrerAfter(repository string, subject []identity.Digest, artifactType string, after eventlog.Sequence) (bool, error)
}

// The states of an Upload.
const (
	UploadOpen      = "open"
	UploadFinished  = "finished"
	UploadCancelled = "cancelled"
)

// Upload is the row of an upload session. It is working state: not part of
// the log, and not rebuilt from it.
type Upload struct {
	ID         string // [a-z0-9]{1,64}
	Repository string
	Actor      string
	State      string
	// Generation is raised by each request that claims the session.
	Generation int64
	Staged     fact.Staged
	// Result is the digest that a finished session was answered with.
	Result  identity.Digest
	Expires time.Time
}

// UploadView reads upload sessions.
type UploadView interface {
	Upload(id string) (*Upload, error)
	// UploadsExpired returns at most limit sessions that expired before a time.
	UploadsExpired(before time.Time, limit int) ([]Upload, error)
	// PreferredAlgorithm returns the algorithm of the digest by which the
	// newest manifest of the repository was pushed, or "".
	PreferredAlgorithm(repository string) (identity.Algorithm, error)
}

// Bytes is the data plane: it keeps byte sequences and knows nothing of
// repositories. It is safe for concurrent use; one Staged has one user at a time.
type Bytes interface {
	// Ingest appends r to a staged sequence (a new one has only its ID) in
	// one read, and updates s to what was accepted, also when it fails.
	// While all bytes are few they stay in s.Inline; before the first byte
	// goes to a store, spill is called with the state to be remembered, and
	// its error ends the call. A failure of r is returned as it is. If s.Last
	// the end of the bytes may be held by this process alone, which then
	// publishes, discards or releases them.
	Ingest(ctx context.Context, s *fact.Staged, r io.Reader, spill func(fact.Staged) error, also ...identity.Algorithm) error
	// Seal ends a staged sequence: it returns its digests, in the algorithm
	// also as well if that is not "", reading the bytes again if it must,
	// and sets s.Locator. Publish makes the bytes durable.
	Seal(ctx context.Context, s *fact.Staged, also identity.Algorithm) (fact.Sealed, error)
	// Publish makes a sealed sequence an object at s.Locator; it does
	// nothing for inline bytes. s must have been remembered before.
	Publish(ctx context.Context, s fact.Staged) error
	// Release forgets what only this process has of a staged sequence.
	Release(s fact.Staged)
	// Discard removes what a staged sequence left in its store, published
	// or not. The row that remembers it must be gone.
	Discard(ctx context.Context, s fact.Staged) error
	// Present tells whether the object of a receipt is there with this size.
	Present(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size int64) (bool, error)
	// Open reads length bytes from offset (-1: to the end) of an object. If
	// it is gone or shorter than size: an error that wraps fact.ErrGone.
	Open(ctx context.Context, r fact.Receipt, content eventlog.Sequence, size, offset, length int64) (io.ReadCloser, error)
	// Link returns a URL from which clients can fetch an object by
	// themselves, or "" if they cannot. It does not ask whether it is there.
	Link(ctx context.Context, r fact.Receipt, size int64) (string, error)
	// Staged lists what is being staged in the stores, with ID and Store set.
	Staged(ctx context.Context) ([]fact.Staged, error)
	// Verify reads the bytes of a receipt at a pace (nil: as fast as it can)
	// and hashes them. If they are missing or wrong, the error wraps
	// fact.ErrGone; any other says that they could not be read this time.
	Verify(ctx context.Context, r fact.Receipt, content eventlog.Sequence, digests identity.DigestSet, size int64, pace *budget.Pace) error
	// Delete removes the object of a receipt, or succeeds if it is gone.
	Delete(ctx context.Context, r fact.Receipt, content eventlog.Sequence) error
	// Stores names the stores, other than fact.Content. Objects lists what is
	// in one, after a name of the listing; fewer than limit are the last.
	Stores() []string
	Objects(ctx context.Context, store, after string, limit int) ([]fact.Object, error)
	// Room returns an error that wraps fact.ErrFull, fact.ErrUnavailable or
	// fact.ErrBroken while pushes must be refused.
	Room(ctx context.Context) error
}
