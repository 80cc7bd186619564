package metastore

import (
	"fmt"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// graves has the columns of manifests, and when and by what each was deleted.
var graves = newTable("graves", "graves", 2, 2, nil,
	append(slices.Clone(manifests.Columns), "deleted", "event")...)

func applyGraves(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.ManifestDeleted:
		r, b, err := s.both(f.Repository, f.Manifest)
		if err != nil {
			return nil, err
		}
		row, err := s.row(manifests, r, b)
		if err == nil && row == nil {
			err = fmt.Errorf("manifest %s of %s: %w", f.Manifest, f.Repository, errUnknownRow)
		}
		if err != nil {
			return nil, err
		}
		return []edit{graves.put(append(slices.Clone(row), e.Time, int64(e.Sequence))...)}, nil
	case *fact.ManifestPut:
		return s.closeGrave(f.Repository, f.Manifest)
	case *fact.ManifestRestored:
		return s.closeGrave(f.Repository, f.Manifest)
	case *fact.ManifestForgotten:
		return s.closeGrave(f.Repository, f.Manifest)
	}
	return nil, nil
}

func (s *working) closeGrave(repository string, d identity.Digest) ([]edit, error) {
	old, err := s.grave(repository, d)
	if err != nil || old.id == 0 {
		return nil, err
	}
	b, err := s.blobID(d)
	return []edit{graves.delete(old.repository, b)}, err
}

// grave returns the deleted manifest that an event names, as it was before it.
func (s *working) grave(repository string, d identity.Digest) (manifestKey, error) {
	r, b, err := s.both(repository, d)
	key := manifestKey{repository: r}
	if err != nil {
		return key, err
	}
	row, err := s.row(graves, r, b)
	if row != nil {
		key.id, _ = row[columnID].(int64)
	}
	return key, err
}

// graveRow returns the row of a deleted manifest; with an error it is one of nothing.
func (s *working) graveRow(repository string, d identity.Digest) ([]any, error) {
	nothing := make([]any, len(graves.Columns))
	r, b, err := s.both(repository, d)
	if err != nil {
		return nothing, err
	}
	row, err := s.row(graves, r, b)
	if err == nil && row == nil {
		err = fmt.Errorf("deleted manifest %s of %s: %w", d, repository, errUnknownRow)
	}
	if err != nil {
		return nothing, err
	}
	return slices.Clone(row), nil
}

const graveColumns = manifestColumns + ", m.deleted, m.event"

func scanGrave(r database.Rows) (registry.Grave, error) {
	m, err := scanManifest(r)
	if err != nil {
		return registry.Grave{}, err
	}
	return registry.Grave{Manifest: *m, Deleted: micro(r.Int(pastManifest)), By: eventlog.Sequence(r.Int(pastManifest + 1))}, nil
}

// Grave implements registry.LifeView.
func (v *view) Grave(repository string, d identity.Digest) (*registry.Grave, error) {
	column, err := digestColumn(d)
	if err != nil {
		return nil, nil
	}
	return first(v, scanGrave, "SELECT "+blobColumns+", "+graveColumns+`
		FROM blobs b
		JOIN repositories r ON r.name = $1
		JOIN graves m ON m.repository_id = r.id AND m.blob_id = b.id
		WHERE b.`+column+" = $2", repository, d.String())
}

// Graves implements registry.LifeView.
func (v *view) Graves(after eventlog.Sequence, limit int) ([]registry.GraveItem, error) {
	return collect(v, scanGraveItem, graveItem+`
		FROM (SELECT * FROM graves WHERE id > $1 ORDER BY id LIMIT $2) m
		JOIN blobs b ON b.id = m.blob_id
		JOIN repositories r ON r.id = m.repository_id
		ORDER BY m.id`, int64(after), int64(limit))
}

const graveItem = "SELECT " + blobColumns + ", " + graveColumns + ", " + stateColumns

func scanGraveItem(r database.Rows) (registry.GraveItem, error) {
	g, err := scanGrave(r)
	return registry.GraveItem{Repository: scanState(r, pastManifest+2), Grave: g}, err
}

// GravesOf implements registry.LifeView.
func (v *view) GravesOf(b *registry.Blob, limit int) ([]registry.GraveItem, error) {
	return collect(v, scanGraveItem, graveItem+`
		FROM (SELECT * FROM graves WHERE blob_id = $1 UNION ALL SELECT * FROM graves WHERE native = $2) m
		JOIN blobs b ON b.id = m.blob_id
		JOIN repositories r ON r.id = m.repository_id
		ORDER BY m.id LIMIT $3`, int64(b.Sequence), b.Digests.Primary().String(), int64(limit))
}

// GravesIn implements registry.LifeView.
func (v *view) GravesIn(repository string, after eventlog.Sequence, limit int) ([]registry.Grave, error) {
	return collect(v, scanGrave, gravesIn+" AND m.id > $2 ORDER BY m.id LIMIT $3", repository, int64(after), int64(limit))
}

// GravesBefore implements registry.LifeView.
func (v *view) GravesBefore(repository string, before eventlog.Sequence, limit int) ([]registry.Grave, error) {
	return collect(v, scanGrave, gravesIn+" AND m.id < $2 ORDER BY m.id DESC LIMIT $3", repository, beforeOrEnd(before), int64(limit))
}

const gravesIn = "SELECT " + blobColumns + ", " + graveColumns + `
	FROM graves m
	JOIN blobs b ON b.id = m.blob_id
	WHERE m.repository_id = ` + repositoryNamed
