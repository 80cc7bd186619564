package metastore

import (
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var erasures = newTable("erasures", "erasures", 1, 1, nil,
	"id", "digest", "store", "locator", "size", "time")

func applyErasures(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	give := func(d identity.Digest, r fact.Receipt, size int64) []edit {
		if r.Store == fact.Content {
			return nil
		}
		return []edit{erasures.put(int64(e.Sequence), d.String(), r.Store, r.Locator, size, e.Time)}
	}
	switch f := f.(type) {
	case *fact.BlobMoved:
		row, err := s.blobRow(f.Blob)
		if err != nil || f.From == f.To {
			return nil, err
		}
		return give(f.Blob, f.From, row.size), nil
	case *fact.BlobForgotten:
		return give(f.Blob, f.Receipt, f.Size), nil
	case *fact.BlobErased:
		return []edit{erasures.delete(int64(f.By))}, nil
	}
	return nil, nil
}

const erasureColumns = "id, digest, store, locator, size, time"

func scanErasure(r database.Rows) (registry.Erasure, error) {
	e := registry.Erasure{
		By: eventlog.Sequence(r.Int(0)), Receipt: fact.Receipt{Store: r.Text(2), Locator: r.Text(3)},
		Size: r.Int(4), Time: micro(r.Int(5)),
	}
	var err error
	e.Blob, err = identity.Parse(r.Text(1))
	return e, err
}

// Erasures implements registry.LifeView.
func (v *view) Erasures(after registry.ErasurePlace, before time.Time, limit int) ([]registry.Erasure, error) {
	return collect(v, scanErasure, "SELECT "+erasureColumns+" FROM erasures WHERE (time, id) > ($1, $2) AND time < $3 ORDER BY time, id LIMIT $4",
		after.Time, int64(after.By), before.UnixMicro(), int64(limit))
}

// Erasure implements registry.LifeView.
func (v *view) Erasure(by eventlog.Sequence) (*registry.Erasure, error) {
	return first(v, scanErasure, "SELECT "+erasureColumns+" FROM erasures WHERE id = $1", int64(by))
}

// ErasuresOf implements registry.LifeView.
func (v *view) ErasuresOf(d identity.Digest) ([]registry.Erasure, error) {
	return collect(v, scanErasure, "SELECT "+erasureColumns+" FROM erasures WHERE digest = $1 ORDER BY id", d.String())
}
