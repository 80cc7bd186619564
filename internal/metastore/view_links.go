package metastore

import (
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var links = newTable("links", "links", 2, 2, nil,
	"repository_id", "blob_id", "linked", "due")

func applyLinks(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.BlobLinked:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.put(r, b, e.Time, int64(0))}, err
	case *fact.BlobUnlinked:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.delete(r, b)}, err
	case *fact.BlobReleased:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.delete(r, b)}, err
	case *fact.BlobRevived:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.put(r, b, e.Time, int64(0))}, err
	case *fact.BlobCondemned:
		if f.Repository == "" {
			return nil, nil
		}
		r, b, err := s.both(f.Repository, f.Blob)
		if err != nil {
			return nil, err
		}
		row, err := s.row(links, r, b)
		if err == nil && row == nil {
			err = fmt.Errorf("blob %s of %s: %w", f.Blob, f.Repository, errUnknownRow)
		}
		if err != nil {
			return nil, err
		}
		return []edit{links.put(r, b, row[2], f.Due)}, nil
	}
	return nil, nil
}

// Linked implements registry.BlobView.
func (v *view) Linked(repository string, primary identity.Digest) (bool, error) {
	column, err := digestColumn(primary)
	if err != nil {
		return false, nil
	}
	return one(v.conn, func(database.Rows) error { return nil },
		`SELECT 1 FROM blobs b
		JOIN repositories r ON r.name = $1
		JOIN links l ON l.repository_id = r.id AND l.blob_id = b.id
		WHERE b.`+column+" = $2", repository, primary.String())
}

// BlobHolder implements registry.BlobView.
func (v *view) BlobHolder(d identity.Digest) (string, error) {
	column, err := digestColumn(d)
	if err != nil {
		return "", nil
	}
	var name string
	_, err = one(v.conn, func(r database.Rows) error { name = r.Text(0); return nil },
		`SELECT r.name FROM links l
		JOIN repositories r ON r.id = l.repository_id
		WHERE r.deleted = 0 AND l.due = 0 AND l.blob_id = (SELECT id FROM blobs WHERE `+column+" = $1) ORDER BY l.repository_id LIMIT 1", d.String())
	return name, err
}
