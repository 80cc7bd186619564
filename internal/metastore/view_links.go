package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var links = newTable("links", "links", 2, 2, nil,
	"repository_id", "blob_id")

func applyLinks(s *working, _ *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.BlobLinked:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.put(r, b)}, err
	case *fact.BlobUnlinked:
		r, b, err := s.both(f.Repository, f.Blob)
		return []edit{links.delete(r, b)}, err
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
		WHERE l.blob_id = (SELECT id FROM blobs WHERE `+column+" = $1) ORDER BY l.repository_id LIMIT 1", d.String())
	return name, err
}
