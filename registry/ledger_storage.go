package registry

import (
	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// ContentRow is a content row and whether anything needs it.
type ContentRow struct {
	Sequence eventlog.Sequence
	// Needed: it has the bytes of a stored sequence, or the descriptor of a
	// manifest, which may be deleted and not forgotten.
	Needed bool
}

// DescriptorItem is a manifest that has a subject, and so a descriptor.
type DescriptorItem struct {
	Repository string
	Manifest
}

// StorageView reads what is compared with what is stored. Lists have at most
// limit entries, in the order of sequences, after one of them.
type StorageView interface {
	// Named returns those of the locators of a store at which the views say
	// that there is an object: that of a stored byte sequence, or one that is
	// to be deleted.
	Named(store string, locators []string) (map[string]bool, error)
	// ContentRows are those of all events. ContentRow is one of them, or nil.
	ContentRows(after eventlog.Sequence, limit int) ([]ContentRow, error)
	ContentRow(s eventlog.Sequence) (*ContentRow, error)
	// Descriptors are of the manifests of all repositories, or, with deleted,
	// of those that can still be put back. next is where the following page
	// begins, 0 if there is none: what has no subject is passed over.
	Descriptors(deleted bool, after eventlog.Sequence, limit int) (page []DescriptorItem, next eventlog.Sequence, err error)
	// Descriptor is the content row of a manifest, nil if there is none.
	Descriptor(manifest eventlog.Sequence) ([]byte, error)
	// ErasuresAfter are by the event that gave the object up.
	ErasuresAfter(by eventlog.Sequence, limit int) ([]Erasure, error)
	// DamagedBelow returns the digest of a byte sequence under quarantine that
	// a manifest needs, directly or through others, or zero.
	DamagedBelow(manifest eventlog.Sequence) (identity.Digest, error)
}
