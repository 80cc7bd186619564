package metastore

import (
	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var references = newTable("references", "manifest_references", 2, 1, nil,
	"manifest_id", "ordinal", "repository_id", "role", "digest", "target", "size", "media_type").putOnce()

func applyReferences(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.ManifestPut:
		old, edits, err := s.dropReferences(f.Repository, f.Manifest)
		if err != nil {
			return nil, err
		}
		for i, r := range f.References {
			edits = append(edits, references.put(int64(e.Sequence), int64(i), old.repository, r.Role,
				r.Digest.String(), digestOrNull(r.Target), r.Size, r.MediaType))
		}
		return edits, nil
	case *fact.ManifestForgotten:
		_, edits, err := s.dropReferences(f.Repository, f.Manifest)
		return edits, err
	}
	return nil, nil
}

// dropReferences deletes the references of a manifest, be it there or deleted.
func (s *working) dropReferences(repository string, d identity.Digest) (manifestKey, []edit, error) {
	old, err := s.manifest(repository, d)
	if err != nil {
		return old, nil, err
	}
	grave, err := s.grave(repository, d)
	if err != nil {
		return old, nil, err
	}
	var edits []edit
	for _, id := range []int64{old.id, grave.id} {
		if id == 0 {
			continue
		}
		conn := s.all()
		if id <= s.known { // they were written long ago: nothing of this transaction has to be written first
			conn = s.conn
		}
		err := each(conn, func(r database.Rows) error {
			edits = append(edits, references.delete(id, r.Int(0)))
			return nil
		}, "SELECT ordinal FROM manifest_references WHERE manifest_id = $1 ORDER BY ordinal", id)
		if err != nil {
			return old, nil, err
		}
	}
	return old, edits, nil
}

// Referencing implements registry.BlobView.
func (v *view) Referencing(repository string, digests identity.DigestSet) (identity.Digest, error) {
	for _, d := range digests {
		var manifest identity.Digest
		found, err := one(v.conn, func(r database.Rows) (err error) { manifest, err = identity.Parse(r.Text(0)); return err },
			`SELECT m.digest FROM repositories r
			JOIN manifest_references f ON f.digest = $1 AND f.repository_id = r.id
			JOIN manifests m ON m.id = f.manifest_id
			WHERE r.name = $2 LIMIT 1`, d.String(), repository)
		if err != nil || found {
			return manifest, err
		}
	}
	return identity.Digest{}, nil
}
