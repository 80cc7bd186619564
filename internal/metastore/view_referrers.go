package metastore

import (
	"errors"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

var referrers = newTable("referrers", "referrers", 3, 1, nil,
	"repository_id", "subject", "manifest_id", "artifact_type")

func applyReferrers(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.ManifestPut:
		old, edits, err := s.dropReferrer(f.Repository, f.Manifest)
		if err == nil && !f.SubjectDigest.IsZero() {
			edits = append(edits, referrers.put(old.repository, f.SubjectDigest.String(), int64(e.Sequence), f.ArtifactType))
		}
		return edits, err
	case *fact.ManifestDeleted:
		_, edits, err := s.dropReferrer(f.Repository, f.Manifest)
		return edits, err
	case *fact.ManifestForgotten:
		_, edits, err := s.dropReferrer(f.Repository, f.Manifest)
		return edits, err
	case *fact.ManifestRestored:
		grave, err := s.graveRow(f.Repository, f.Manifest)
		if subject, ok := grave[columnSubject].(string); ok && err == nil {
			return []edit{referrers.put(grave[0], subject, grave[columnID], grave[columnArtifactType])}, nil
		}
		return nil, err
	}
	return nil, nil
}

// dropReferrer deletes what a manifest is as a referrer of its subject.
func (s *working) dropReferrer(repository string, d identity.Digest) (manifestKey, []edit, error) {
	old, err := s.manifest(repository, d)
	if err != nil || old.id == 0 || old.subject == "" {
		return old, nil, err
	}
	return old, []edit{referrers.delete(old.repository, old.subject, old.id)}, nil
}

// ReferrerPage implements registry.ReferrerView. Each digest of the subject is
// one range of an index; their pages are merged here.
func (v *view) ReferrerPage(repository string, subject []identity.Digest, artifactType string,
	after eventlog.Sequence, limit, maxBytes int) ([]registry.Referrer, error) {
	for {
		ids, err := v.referrersAfter(repository, subject, artifactType, after, limit)
		if err != nil || len(ids) == 0 {
			return nil, err
		}
		page, err := v.referrers(ids, maxBytes)
		if err != nil || len(page) > 0 {
			return page, err
		}
		after = eventlog.Sequence(ids[len(ids)-1]) // all of these are lost: a page without any would end the list
	}
}

// descriptorsSQL reads the content rows of referrers, in order.
var descriptorsSQL = "SELECT sequence, bytes FROM objects WHERE sequence IN (" + marks(1) + ") ORDER BY sequence"

// referrers reads the descriptors of referrers that are there, given in order.
// One lost row must not hide the others; the check reports it.
func (v *view) referrers(ids []int64, maxBytes int) (page []registry.Referrer, err error) {
	size, full := 0, errors.New("page is full")
	for some := range slices.Chunk(ids, listed) {
		args := make([]any, listed)
		for i := range args {
			args[i] = some[min(i, len(some)-1)]
		}
		err := each(v.conn, func(r database.Rows) error {
			descriptor := r.Bytes(1)
			if size += len(descriptor); size > maxBytes && len(page) > 0 {
				return full
			}
			page = append(page, registry.Referrer{Sequence: eventlog.Sequence(r.Int(0)), Descriptor: descriptor})
			return nil
		}, descriptorsSQL, args...)
		if errors.Is(err, full) {
			return page, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return page, nil
}

// ReferrerAfter implements registry.ReferrerView.
func (v *view) ReferrerAfter(repository string, subject []identity.Digest, artifactType string, after eventlog.Sequence) (bool, error) {
	ids, err := v.referrersAfter(repository, subject, artifactType, after, 1)
	return len(ids) > 0, err
}

// referrersAfter returns the ids of at most limit referrers, in order.
func (v *view) referrersAfter(repository string, subject []identity.Digest, artifactType string,
	after eventlog.Sequence, limit int) ([]int64, error) {
	id, err := v.repositoryID(repository)
	if err != nil || id == 0 {
		return nil, err
	}
	var ids []int64
	for _, d := range subject {
		more, err := v.referrerIDs(id, d, artifactType, after, limit)
		if err != nil {
			return nil, err
		}
		ids = append(ids, more...)
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	return ids[:min(limit, len(ids))], nil
}

// repositoryID returns the id of a repository, or 0.
func (v *view) repositoryID(name string) (int64, error) {
	var id int64
	_, err := one(v.conn, func(r database.Rows) error { id = r.Int(0); return nil },
		"SELECT id FROM repositories WHERE name = $1", name)
	return id, err
}

func (v *view) referrerIDs(repository int64, subject identity.Digest, artifactType string, after eventlog.Sequence, limit int) ([]int64, error) {
	var ids []int64
	scan := func(r database.Rows) error { ids = append(ids, r.Int(0)); return nil }
	if artifactType == "" {
		err := each(v.conn, scan, `SELECT manifest_id FROM referrers
			WHERE repository_id = $1 AND subject = $2 AND manifest_id > $3
			ORDER BY manifest_id LIMIT $4`, repository, subject.String(), int64(after), int64(limit))
		return ids, err
	}
	err := each(v.conn, scan, `SELECT manifest_id FROM referrers
		WHERE repository_id = $1 AND subject = $2 AND artifact_type = $3 AND manifest_id > $4
		ORDER BY manifest_id LIMIT $5`, repository, subject.String(), artifactType, int64(after), int64(limit))
	return ids, err
}
