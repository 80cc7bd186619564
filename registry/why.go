package registry

import (
	"context"
	"errors"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// ReasonKind says what a Reason is about.
type ReasonKind string

const (
	ReasonBlob     ReasonKind = "blob"     // a repository holds the object as a blob
	ReasonManifest ReasonKind = "manifest" // the object is the pushed bytes of a manifest
	ReasonNative   ReasonKind = "native"   // it is the native form of a manifest
	ReasonLayer    ReasonKind = "layer"    // a manifest references it: see Role
	ReasonChild    ReasonKind = "child"    // an index lists the manifest
	ReasonReferrer ReasonKind = "referrer" // the manifest refers to a subject that is there
	ReasonTag      ReasonKind = "tag"      // a tag names the manifest
	ReasonHold     ReasonKind = "hold"     // a hold freezes it
	ReasonRule     ReasonKind = "rule"     // what retention decides of the manifest
	ReasonDeleted  ReasonKind = "deleted"  // the manifest or repository is deleted and can be put back until Until
	ReasonUnused   ReasonKind = "unused"   // nothing uses the blob: it goes after Until
	ReasonNothing  ReasonKind = "nothing"  // nothing keeps it any more
)

// Reason is one link of a Chain. Fields that its kind has no use for are zero.
type Reason struct {
	Kind ReasonKind
	// Text is the reason as a phrase for people.
	Text string

	Repository string
	// Digest is of the manifest that is the reason, by which it was pushed.
	Digest identity.Digest
	// Role is that of a reference: "config", "layer" or "manifest".
	Role string
	// Name is that of the tag, the hold or the rule.
	Name string
	// Until is how long the reason holds by itself; zero: not for a time.
	Until time.Time
	// Sequence is that of an event, where there is one to look at.
	Sequence eventlog.Sequence
}

// Chain says why an object is kept: what keeps it, what keeps that, and so on.
type Chain struct {
	Repository string // "" if no repository has a part in it
	Reasons    []Reason
}

// Why says what keeps an object alive: at most one chain for each repository, and
// ten in all. BlobUnknown if there is no such object, and none that is still to
// be deleted from its store; that one is found by its BLAKE3 digest alone.
func (r *Registry) Why(ctx context.Context, d identity.Digest) ([]Chain, error) {
	return nil, errors.New("why is not complete yet")
}
