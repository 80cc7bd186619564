package registry

import (
	"context"
	"errors"
	"iter"

	"artifactstore/registry/identity"
)

// ManifestName names a manifest, live or deleted, by any of its digests.
type ManifestName struct {
	Repository string
	Digest     identity.Digest
}

// Freed says what goes with manifests.
type Freed struct {
	Manifests int64 // that were found, each once
	// Bytes is the sum of all: of Blobs byte sequences, of which ManifestBytes
	// are pushed bytes and NativeBytes native forms.
	Blobs, Bytes               int64
	ManifestBytes, NativeBytes int64
}

// MaxFreed is about how many manifests Freed can be asked at once.
const MaxFreed = 100_000

// Freed says how many bytes would be free once these manifests were gone and the
// sweep had done its work: their own bytes, their native forms, and the blobs of
// which every user is among them. Deleted manifests that can still be put back
// are users. The result is exact if nothing changes meanwhile. Names of what is
// not there count for nothing; more than MaxFreed are refused (Unsupported).
func (r *Registry) Freed(ctx context.Context, manifests iter.Seq2[ManifestName, error]) (Freed, error) {
	return Freed{}, errors.New("freed is not complete yet")
}
