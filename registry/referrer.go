package registry

import (
	"context"
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/registry/identity"
)

// Referrers returns manifests of the repository whose subject is the manifest
// d, in the order in which they were pushed, after a sequence: at most n, and
// at most maxBytes of descriptors, but at least one if there is one. An empty
// artifactType matches all. more tells that further ones follow. The subject
// need not exist. NameUnknown is never returned: nothing refers to nothing.
func (r *Repository) Referrers(ctx context.Context, d identity.Digest, artifactType string, after eventlog.Sequence, n, maxBytes int) (page []Referrer, more bool, err error) {
	err = r.ledger.Read(ctx, func(v View) error {
		subject := []identity.Digest{d}
		m, _, err := v.Manifest(r.name, d)
		if err != nil {
			return fmt.Errorf("look up subject: %w", err)
		}
		if m != nil {
			subject = m.Blob.Digests
		}
		page, err = v.ReferrerPage(r.name, subject, artifactType, after, n, maxBytes)
		if err != nil || len(page) == 0 {
			return err
		}
		more, err = v.ReferrerAfter(r.name, subject, artifactType, page[len(page)-1].Sequence)
		return err
	})
	return page, more, err
}
