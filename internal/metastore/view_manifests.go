package metastore

import (
	"fmt"
	"slices"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/retention"
)

var manifests = newTable("manifests", "manifests", 2, 2, nil,
	"repository_id", "blob_id", "id", "native", "digest", "media_type", "artifact_type", "subject", "size", "class", "expires", "created",
	"rule", "chosen", "extended", "marked", "pulled", "untagged").writtenPartly()

func applyManifests(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.ManifestPut:
		r, b, err := s.both(f.Repository, f.Manifest)
		return []edit{manifests.put(r, b, int64(e.Sequence), f.Native.String(), f.Digest.String(), f.MediaType,
			f.ArtifactType, digestOrNull(f.SubjectDigest), f.Size, f.Class, f.Expires, e.Time,
			"", int64(0), int64(0), int64(0), int64(0), int64(0))}, err
	case *fact.ManifestDeleted:
		r, b, err := s.both(f.Repository, f.Manifest)
		return []edit{manifests.delete(r, b)}, err
	case *fact.ManifestForgotten:
		r, b, err := s.both(f.Repository, f.Manifest)
		return []edit{manifests.delete(r, b)}, err
	case *fact.ManifestRestored:
		grave, err := s.graveRow(f.Repository, f.Manifest)
		grave[columnMarked] = int64(0) // its grace would have passed meanwhile
		return []edit{manifests.put(grave[:len(manifests.Columns)]...)}, err
	case *fact.TagMoved:
		if f.From.IsZero() || f.From == f.To {
			return nil, nil
		}
		return s.changeManifest(f.Repository, f.From, func(m []any) { m[columnUntagged] = e.Time })
	case *fact.TagDeleted:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) { m[columnUntagged] = e.Time })
	}
	return applyRetention(s, e, f)
}

// Columns of the view that events change.
const (
	columnID           = 2
	columnArtifactType = 6
	columnSubject      = 7
	columnClass        = 9
	columnExpires      = 10
	columnPushed       = 11
	columnRule         = 12
	columnChosen       = 13
	columnExtended     = 14
	columnMarked       = 15
	columnPulled       = 16
	columnUntagged     = 17
)

// number is a truth as a column.
func number(truth bool) int64 {
	if truth {
		return 1
	}
	return 0
}

// applyRetention changes what is known of the retention of a manifest.
func applyRetention(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error) {
	switch f := f.(type) {
	case *fact.DefaultApplied:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) {
			m[columnClass], m[columnExpires], m[columnRule], m[columnChosen] = f.Class, f.Expires, f.Rule, number(f.Chosen)
		})
	case *fact.Extended:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) { m[columnExpires], m[columnExtended], m[columnMarked] = f.To, int64(1), int64(0) })
	case *fact.ClassChanged:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) {
			m[columnClass], m[columnExpires], m[columnRule] = f.To, f.Expires, "operator"
			m[columnChosen], m[columnExtended], m[columnMarked] = int64(1), int64(0), int64(0)
		})
	case *fact.Renewed:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) {
			m[columnClass], m[columnExpires], m[columnExtended], m[columnMarked] = f.Class, f.Expires, int64(0), int64(0)
			m[columnPushed] = e.Time
		})
	case *fact.Expired:
		return s.changeManifest(f.Repository, f.Manifest, func(m []any) { m[columnMarked] = e.Time })
	case *fact.ManifestPulled:
		var all []edit
		for _, d := range f.Manifests {
			edits, err := s.changeManifest(f.Repository, d, func(m []any) { m[columnPulled] = max(m[columnPulled].(int64), f.Day) })
			if err != nil {
				return nil, err
			}
			all = append(all, edits...)
		}
		return all, nil
	}
	return nil, nil
}

// changeManifest changes the row of a manifest, if it is there.
func (s *working) changeManifest(repository string, d identity.Digest, change func(m []any)) ([]edit, error) {
	r, b, err := s.both(repository, d)
	if err != nil {
		return nil, err
	}
	row, err := s.row(manifests, r, b)
	if err != nil || row == nil {
		return nil, err
	}
	row = slices.Clone(row)
	change(row)
	return []edit{manifests.put(row...)}, nil
}

// manifestKey is what other views need of a manifest that an event replaces
// or deletes.
type manifestKey struct {
	repository int64
	id         int64  // 0: there is none
	subject    string // "": none
}

// manifest returns the manifest that an event names, as it was before it.
func (s *working) manifest(repository string, d identity.Digest) (manifestKey, error) {
	r, b, err := s.both(repository, d)
	key := manifestKey{repository: r}
	if err != nil {
		return key, err
	}
	row, err := s.row(manifests, r, b)
	if row != nil {
		key.id, _ = row[columnID].(int64)
		key.subject, _ = row[columnSubject].(string)
	}
	return key, err
}

// manifestColumns are what scanManifest reads after blobColumns, of the table
// manifests under the name m.
const manifestColumns = "m.id, m.native, m.digest, m.media_type, m.artifact_type, m.subject, m.class, m.expires, m.created, " +
	"m.rule, m.chosen, m.extended, m.marked, m.pulled, m.untagged"

// scanManifest reads blobColumns and manifestColumns; what follows has the
// column pastManifest.
func scanManifest(r database.Rows) (*registry.Manifest, error) {
	row, err := scanBlob(r)
	if err != nil {
		return nil, err
	}
	const c = pastBlob
	m := &registry.Manifest{
		Sequence: eventlog.Sequence(r.Int(c)), Blob: row.blob(),
		MediaType: r.Text(c + 3), ArtifactType: r.Text(c + 4),
		Class: r.Text(c + 6), Expires: instant(r.Int(c + 7)), Pushed: micro(r.Int(c + 8)),
		Rule: r.Text(c + 9), Chosen: r.Int(c+10) != 0, Extended: r.Int(c+11) != 0,
		Marked: instant(r.Int(c + 12)), Pulled: instant(r.Int(c + 13)), Untagged: instant(r.Int(c + 14)),
	}
	for column, d := range map[int]*identity.Digest{c + 1: &m.Native, c + 2: &m.Digest, c + 5: &m.Subject} {
		if *d, err = parseDigest(r.Text(column)); err != nil {
			return nil, fmt.Errorf("manifest %d: %w", m.Sequence, err)
		}
	}
	return m, nil
}

const pastManifest = pastBlob + 15

// manifestOf reads a manifest from the row of its bytes and its own.
func manifestOf(blob, m []any) (*registry.Manifest, error) {
	row := append(slices.Clip(blob), m[2], m[3], m[4], m[5], m[6], m[7], m[9], m[10], m[11], m[12], m[13], m[14], m[15], m[16], m[17])
	return scanManifest(&values{row})
}

// Manifest implements registry.ManifestView.
func (v *view) Manifest(repository string, d identity.Digest) (*registry.Manifest, []byte, error) {
	column, err := digestColumn(d)
	if err != nil {
		return nil, nil, nil // no manifest has it
	}
	var m *registry.Manifest
	var content []byte
	_, err = one(v.conn, func(r database.Rows) (err error) {
		m, err = scanManifest(r)
		content = r.Bytes(pastManifest)
		return err
	}, "SELECT "+blobColumns+", "+manifestColumns+`, o.bytes
		FROM blobs b
		JOIN repositories r ON r.name = $1
		JOIN manifests m ON m.repository_id = r.id AND m.blob_id = b.id
		LEFT JOIN objects o ON o.sequence = b.content
		WHERE b.`+column+" = $2", repository, d.String())
	return m, content, err
}

// TaggedManifest implements registry.ManifestView.
func (v *view) TaggedManifest(repository, tag string) (*registry.Manifest, *registry.Tag, []byte, error) {
	var m *registry.Manifest
	var content []byte
	t := &registry.Tag{Name: tag}
	found, err := one(v.conn, func(r database.Rows) (err error) {
		if m, err = scanManifest(r); err != nil {
			return err
		}
		content = r.Bytes(pastManifest)
		t.Manifest = m.Blob.Digests.Primary()
		t.Digest, err = identity.Parse(r.Text(pastManifest + 1))
		return err
	}, "SELECT "+blobColumns+", "+manifestColumns+`, o.bytes, t.digest
		FROM repositories r
		JOIN tags t ON t.repository_id = r.id AND t.name = $1
		JOIN manifests m ON m.repository_id = r.id AND m.blob_id = t.blob_id
		JOIN blobs b ON b.id = t.blob_id
		LEFT JOIN objects o ON o.sequence = b.content
		WHERE r.name = $2`, tag, repository)
	if err != nil || !found {
		return nil, nil, nil, err
	}
	return m, t, content, nil
}

// PreferredAlgorithm implements registry.UploadView.
func (v *view) PreferredAlgorithm(repository string) (identity.Algorithm, error) {
	var d identity.Digest
	_, err := one(v.conn, func(r database.Rows) (err error) { d, err = identity.Parse(r.Text(0)); return err },
		"SELECT digest FROM manifests WHERE repository_id = "+repositoryNamed+" ORDER BY id DESC LIMIT 1", repository)
	return d.Algorithm(), err
}

// PermanentManifest implements registry.LifeView.
func (v *view) PermanentManifest(repository string) (identity.Digest, error) {
	var d identity.Digest
	_, err := one(v.conn, func(r database.Rows) (err error) { d, err = identity.Parse(r.Text(0)); return err },
		"SELECT digest FROM manifests WHERE repository_id = "+repositoryNamed+" AND "+madePermanent+" ORDER BY id LIMIT 1", repository)
	return d, err
}

// madePermanent is the condition of the index manifests_permanent, in its words.
// It is retention.Permanent.
const madePermanent = "class = '" + string(retention.PermanentRecord) + "' AND rule <> ''"

// Pulled implements registry.LifeView.
func (v *view) Pulled(repository string, all []identity.Digest) (map[identity.Digest]time.Time, error) {
	id, err := v.repositoryID(repository)
	if err != nil || id == 0 {
		return nil, err
	}
	pulled := make(map[identity.Digest]time.Time, len(all))
	for some := range slices.Chunk(all, listed) {
		args := []any{id}
		for i := range listed {
			args = append(args, some[min(i, len(some)-1)].String())
		}
		err := each(v.conn, func(r database.Rows) error {
			d, err := identity.Parse(r.Text(0))
			pulled[d] = instant(r.Int(1))
			return err
		}, "SELECT b.blake3, m.pulled FROM blobs b JOIN manifests m ON m.repository_id = $1 AND m.blob_id = b.id WHERE b.blake3 IN ("+marks(2)+")", args...)
		if err != nil {
			return nil, err
		}
	}
	return pulled, nil
}
