package registry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// stuck cannot discard what one upload staged.
type stuck struct {
	registry.Bytes
	id string
}

func (b *stuck) Discard(ctx context.Context, s fact.Staged) error {
	if s.ID == b.id {
		return errors.New("the store does not let go of it")
	}
	return b.Bytes.Discard(ctx, s)
}

// An upload that cannot be removed keeps no others from being removed, and is
// tried again later.
func TestPurgeGoesOnBehindAnUploadThatIsStuck(t *testing.T) {
	w, bytes := open(t, registry.Options{}), new(stuck)
	n := w.node(t, func(b registry.Bytes) registry.Bytes { bytes.Bytes = b; return bytes })
	for range 3 {
		n.start(t, large)
	}
	bytes.id = w.staged(t)[0]
	w.clock.advance(25 * time.Hour)
	removed, err := n.PurgeUploads(t.Context())
	must(t, err)
	if left := w.staged(t); removed != 2 || len(left) != 1 || left[0] != bytes.id {
		t.Fatalf("removed %d, left %v", removed, left)
	}
	bytes.id = ""
	w.clock.advance(7 * time.Hour)
	removed, err = n.PurgeUploads(t.Context())
	must(t, err)
	if removed != 1 || len(w.staged(t)) != 0 {
		t.Fatalf("removed %d, left %v", removed, w.staged(t))
	}
}
