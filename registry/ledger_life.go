package registry

import (
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// RepositoryState is a repository as decisions see it.
type RepositoryState struct {
	ID   int64 // sequence of the event that made it
	Name string
	// Holds is how many holds are on it and in it, those that have ended included.
	Holds int64
	// Deleted is when it was deleted, zero if it was not. It goes by another
	// name since then.
	Deleted time.Time
	// Lost is how many of its tags were deleted.
	Lost int64
}

// Link says that a repository holds a blob.
type Link struct {
	Linked time.Time
	// Due is until when it is condemned, zero if it is not.
	Due time.Time
}

// Grave is a deleted manifest that can still be put back.
type Grave struct {
	Manifest
	Deleted time.Time
	By      eventlog.Sequence // of the event that deleted it
}

// Hold is a hold that was placed and not released.
type Hold struct {
	Sequence eventlog.Sequence // of the event that placed it
	Name     string
	Target   fact.Target
	Until    time.Time // zero: until it is released
	Placed   time.Time
	Actor    string
}

// HoldPlace is a position in the list of all holds; the zero value is its start.
type HoldPlace struct {
	Name       string
	Repository int64
	Target     string
}

// Policies are the retention policies of one source.
type Policies struct {
	Source   string
	Document []byte // JSON
	Sequence eventlog.Sequence
	Time     time.Time
}

// ClockJump is a jump of the clock that nobody has confirmed.
type ClockJump struct {
	Since, Until time.Time
	Sequence     eventlog.Sequence
}

// LinkItem is a link as the sweep finds it.
type LinkItem struct {
	Repository RepositoryState
	Blob       Blob
	Link
	// Used: a manifest of the repository, or a deleted one that can still be
	// put back, references the blob.
	Used bool
}

// LinkPlace is a position in the list of links; the zero value is its start.
type LinkPlace struct{ Repository, Blob int64 }

// Place is where the item stands.
func (l *LinkItem) Place() LinkPlace { return LinkPlace{l.Repository.ID, int64(l.Blob.Sequence)} }

// BlobItem is a stored byte sequence as the sweep and the scrub find it.
type BlobItem struct {
	Blob
	// Kept: a repository holds it, it is the bytes or the native form of a
	// manifest, or of a deleted one that can still be put back.
	Kept bool
}

// ManifestItem is a manifest as retention finds it.
type ManifestItem struct {
	Repository RepositoryState
	Manifest
	// Tags are the names of at most limit tags that name it.
	Tags []TagState
	// Child: another manifest of the repository references it.
	Child bool
	// SubjectLives: its subject is a manifest of the repository.
	SubjectLives bool
}

// TagState is a tag and when it was moved.
type TagState struct {
	Name  string
	Moved time.Time
}

// Erasure is an object that is to be deleted from its store.
type Erasure struct {
	By      eventlog.Sequence // of the event that gave it up
	Blob    identity.Digest
	Receipt fact.Receipt
	Size    int64
	Time    time.Time
}

// ErasurePlace is a position in the list of erasures; the zero value is its start.
type ErasurePlace struct {
	Time int64 // microseconds since 1970 UTC
	By   eventlog.Sequence
}

// Place is where the erasure stands.
func (e *Erasure) Place() ErasurePlace { return ErasurePlace{e.Time.UnixMicro(), e.By} }

// Edge is a manifest that references something.
type Edge struct {
	Manifest identity.Digest // primary digest of the pushed bytes
	Digest   identity.Digest // by which it was pushed
	Role     string          // "config", "layer" or "manifest"
	Deleted  bool            // it can still be put back
}

// LifeView reads what keeps things and what lets them go. Lists have at most
// limit entries, in the order of the tables' keys. Repositories are given by
// name, also by the one that they have while they are deleted.
type LifeView interface {
	// Trusted is the time by which things expire and holds end: it stands
	// still from the last event or heartbeat before a jump of the clock until
	// that is confirmed. It is never later than Now.
	Trusted() (time.Time, error)
	// ClockJump returns the jump that nobody has confirmed, or nil.
	ClockJump() (*ClockJump, error)
	// Watched is the time of the last event or heartbeat.
	Watched() (time.Time, error)

	RepositoryState(name string) (*RepositoryState, error)
	// DeletedRepositories follow an id.
	DeletedRepositories(after int64, limit int) ([]RepositoryState, error)

	// Policies returns those of every source.
	Policies() ([]Policies, error)

	// Hold finds one hold. HoldsIn returns all of a repository. HoldPage lists those
	// of all repositories by name.
	Hold(name string, target fact.Target) (*Hold, error)
	HoldsIn(repository string) ([]Hold, error)
	HoldPage(after HoldPlace, limit int) ([]Hold, []HoldPlace, error)

	// Link finds the link of a repository to a blob, given its primary digest.
	Link(repository string, primary identity.Digest) (*Link, error)
	// Links follow a place; Used is asked of the tables.
	Links(after LinkPlace, limit int) ([]LinkItem, error)
	// LinksIn are those of one repository.
	LinksIn(repository string, after int64, limit int) ([]LinkItem, error)
	// Used tells whether a manifest of the repository, or a deleted one,
	// references the byte sequence by any of the digests.
	Used(repository string, digests identity.DigestSet) (bool, error)

	// BlobItems follow a sequence.
	BlobItems(after eventlog.Sequence, limit int) ([]BlobItem, error)
	// Kept tells it of one byte sequence, Keepers how many repositories and
	// manifests keep it, counting to limit.
	Kept(b *Blob) (bool, error)
	Keepers(b *Blob, limit int) (int, error)
	// DamagedBlobs follow a sequence.
	DamagedBlobs(after eventlog.Sequence, limit int) ([]Blob, error)

	// ManifestItems are those of a repository after a sequence.
	ManifestItems(repository string, after eventlog.Sequence, limit, tags int) ([]ManifestItem, error)
	// ManifestsAfter are those of a repository after a sequence, Ending those of
	// them that have an end or are marked.
	ManifestsAfter(repository string, after eventlog.Sequence, limit int) ([]Manifest, error)
	Ending(repository string, after eventlog.Sequence, limit int) ([]Manifest, error)
	// ManifestItem is one of them, or nil.
	ManifestItem(repository string, d identity.Digest, tags int) (*ManifestItem, error)
	// PermanentManifest returns the digest (as pushed) of one manifest of the
	// repository that was made a permanent record, or zero.
	PermanentManifest(repository string) (identity.Digest, error)
	// Pulled returns the last day on which each of these manifests of a repository
	// was asked for, zero for never; those that are not there are left out. The
	// digests are primary ones.
	Pulled(repository string, manifests []identity.Digest) (map[identity.Digest]time.Time, error)
	// TagStates follow a name in byte order.
	TagStates(repository, after string, limit int) ([]TagState, error)
	// Parents are the manifests of the repository that reference one of the
	// digests: first those that are there, then deleted ones.
	Parents(repository string, digests identity.DigestSet, limit int) ([]Edge, error)
	// ReferenceCount is how many references a manifest has, by its put event.
	ReferenceCount(manifest eventlog.Sequence) (int, error)

	// Grave finds a deleted manifest of a repository.
	Grave(repository string, d identity.Digest) (*Grave, error)
	// Graves are those of all repositories after a sequence of their put event.
	Graves(after eventlog.Sequence, limit int) ([]GraveItem, error)
	// GravesIn are those of one repository. GravesBefore come newest first: those
	// that were put before a sequence; 0 begins at the end.
	GravesIn(repository string, after eventlog.Sequence, limit int) ([]Grave, error)
	GravesBefore(repository string, before eventlog.Sequence, limit int) ([]Grave, error)
	// GravesOf are those of which a byte sequence is the pushed bytes or the
	// native form.
	GravesOf(b *Blob, limit int) ([]GraveItem, error)

	// Erasures follow a place and were given up before a time, oldest first.
	Erasures(after ErasurePlace, before time.Time, limit int) ([]Erasure, error)
	// Erasure returns one by the event that gave it up, or nil.
	Erasure(by eventlog.Sequence) (*Erasure, error)
	// ErasuresOf are those of the objects with a primary digest.
	ErasuresOf(primary identity.Digest) ([]Erasure, error)

	// Pass returns how far a pass over the tables has come, or nil.
	Pass(name string) ([]byte, error)

	// Event returns an event of the log, or nil.
	Event(s eventlog.Sequence) (*eventlog.Event, error)
	// EventsAfter returns events of the log.
	EventsAfter(s eventlog.Sequence, limit int) ([]eventlog.Event, error)
	// Reasons returns the reasons of events, without those that have none.
	Reasons(of []eventlog.Sequence) (map[eventlog.Sequence]string, error)
	// Head is the last sequence.
	Head() (eventlog.Sequence, error)

	// Sharing sums up the bytes of a repository.
	Sharing(repository string) (Sharing, error)
	// Keeps are the byte sequences that a manifest keeps, live or deleted, by its
	// put event: those of the references from an ordinal and before another that
	// its repository holds as blobs, and, from 0, its bytes and its native form.
	Keeps(manifest eventlog.Sequence, from, to int64) ([]KeptItem, error)
	// KeeperManifests are the manifests, live or deleted, of which it is the
	// pushed bytes or the native form, after a sequence of their put event.
	KeeperManifests(b *Blob, after eventlog.Sequence, limit int) ([]eventlog.Sequence, error)
	// Uses are references to it that follow a place.
	Uses(b *Blob, after UserPlace, limit int) ([]Use, error)
	// HeldHolders are repositories that hold it as a blob and have holds.
	HeldHolders(b *Blob, limit int) ([]string, error)

	PlanView
}

// GraveItem is a deleted manifest and its repository.
type GraveItem struct {
	Repository RepositoryState
	Grave
}

// Sharing says what a repository holds, in bytes, each byte sequence counted once:
// its blobs, and the pushed bytes of its manifests, of deleted ones that can still
// be put back as well. Native forms are no part of it.
type Sharing struct {
	Logical int64 // the sum
	// Shared is the part that other repositories hold as well, Exclusive the
	// rest: what would be free if the repository were not.
	Shared, Exclusive int64
	// Condemned and Deleted are parts of Exclusive: blobs that nothing uses and
	// that are condemned, and what only deleted manifests are or use.
	Condemned, Deleted int64
}

// The roles of a KeptItem that is no reference.
const (
	KeptManifest = "manifest bytes"
	KeptNative   = "native form"
)

// KeptItem is a byte sequence that a manifest keeps.
type KeptItem struct {
	Role   string            // KeptManifest, KeptNative, or "" for a reference
	Blob   eventlog.Sequence // of the event that stored it
	Digest identity.Digest   // primary
	Size   int64             // bytes
	// Alone: no other manifest is it or references it, anywhere, and no
	// repository that has holds holds it.
	Alone bool
}

// Use is a reference to a byte sequence, by a manifest that is there or deleted.
type Use struct {
	// Linked: the repository of the manifest holds the byte sequence as a blob.
	Linked bool
	Place  UserPlace
}

// The states of a Plan.
const (
	PlanOpen     = "open"
	PlanExecuted = "executed"
	PlanRefused  = "refused"
)

// Plan is a retention plan as it is kept. It is working state.
type Plan struct {
	ID       string
	Sequence eventlog.Sequence // of the log when it was made
	Created  time.Time
	State    string
	Summary  []byte // JSON
}

// PlanItem is one decision of a plan.
type PlanItem struct {
	Ordinal    int64
	Repository string
	Manifest   identity.Digest // primary digest of the pushed bytes
	Action     string
	Item       []byte // JSON
}

// PlanCut are at most Limit items of a plan, the first ones; those of a repository if it is
// not "".
type PlanCut struct {
	Plan, Repository string
	Limit            int
}

// PlanView reads plans.
type PlanView interface {
	Plan(id string) (*Plan, error)
	// PlanPage lists plans, newest first: those made before a time and id.
	PlanPage(before time.Time, id string, limit int) ([]Plan, error)
	// PlanItems follow an ordinal; of an action if it is not "".
	PlanItems(id, action string, after int64, limit int) ([]PlanItem, error)
	// PlanAction returns what a plan has for a manifest, or "" if it does not
	// name it. PlanNames tells whether it names any of a repository.
	PlanAction(id, repository string, manifest identity.Digest) (string, error)
	PlanNames(id, repository string) (bool, error)
}

// Working are changes of working state that go with a Change.
type Working struct {
	// Passes are states of passes to write; nil removes one.
	Passes map[string][]byte
	// Plans are written, PlanItems added to the plan they are keyed by, DropItems
	// removes some, and DropPlans plans with the items that are left.
	Plans     []Plan
	PlanItems map[string][]PlanItem
	DropItems []PlanCut
	DropPlans []string
	// Contents are content rows of earlier events to write again.
	Contents map[eventlog.Sequence][]byte
	// Heartbeat says that the clock is being watched.
	Heartbeat bool
}
