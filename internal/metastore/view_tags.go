package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var tags = newTable("tags", "tags", 2, 1, nil,
	"repository_id", "name", "blob_id", "digest", "moved")

func applyTags(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.TagMoved:
		r, b, err := s.both(f.Repository, f.To)
		return []edit{tags.put(r, f.Tag, b, f.Digest.String(), int64(e.Sequence))}, err
	case *fact.TagDeleted:
		r, err := s.repository(f.Repository)
		return []edit{tags.delete(r, f.Tag)}, err
	}
	return nil, nil
}

// Tag implements registry.TagView.
func (v *view) Tag(repository, name string) (*registry.Tag, error) {
	t := &registry.Tag{Name: name}
	found, err := one(v.conn, func(r database.Rows) (err error) {
		if t.Manifest, err = identity.Parse(r.Text(0)); err != nil {
			return err
		}
		t.Digest, err = identity.Parse(r.Text(1))
		return err
	}, `SELECT b.blake3, t.digest FROM repositories r
		JOIN tags t ON t.repository_id = r.id AND t.name = $1
		JOIN blobs b ON b.id = t.blob_id
		WHERE r.name = $2`, name, repository)
	if err != nil || !found {
		return nil, err
	}
	return t, nil
}

// TagPage implements registry.TagView.
func (v *view) TagPage(repository, after string, limit int) ([]string, error) {
	return texts(v.conn, "SELECT name FROM tags WHERE repository_id = "+repositoryNamed+" AND name > $2 ORDER BY name LIMIT $3",
		repository, after, int64(limit))
}

// TagsOf implements registry.TagView.
func (v *view) TagsOf(repository string, manifest identity.Digest, limit int) ([]string, error) {
	column, err := digestColumn(manifest)
	if err != nil {
		return nil, nil
	}
	return texts(v.conn, "SELECT name FROM tags WHERE repository_id = "+repositoryNamed+
		" AND blob_id = (SELECT id FROM blobs WHERE "+column+" = $2) ORDER BY name LIMIT $3",
		repository, manifest.String(), int64(limit))
}
