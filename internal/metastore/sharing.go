package metastore

import (
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// This file answers which byte sequences belong to whom.

// usedBy is whether a manifest of the repository $1 that is in a table references
// a blob b by any of its digests.
func usedBy(table string) string {
	probe := func(column string) string {
		return `EXISTS (SELECT 1 FROM manifest_references f JOIN ` + table + ` u ON u.id = f.manifest_id
			WHERE f.digest = b.` + column + ` AND f.repository_id = $1)`
	}
	return "(" + probe("blake3") + " OR " + probe("sha256") + " OR b.sha512 IS NOT NULL AND " + probe("sha512") + ")"
}

// sharedWith is whether another repository than $1 has a blob b.
const sharedWith = `(EXISTS (SELECT 1 FROM links o WHERE o.blob_id = b.id AND o.repository_id <> $1)
	OR EXISTS (SELECT 1 FROM manifests o WHERE o.blob_id = b.id AND o.repository_id <> $1)
	OR EXISTS (SELECT 1 FROM graves o WHERE o.blob_id = b.id AND o.repository_id <> $1)
	OR EXISTS (SELECT 1 FROM manifests o WHERE o.native = b.blake3 AND o.repository_id <> $1)
	OR EXISTS (SELECT 1 FROM graves o WHERE o.native = b.blake3 AND o.repository_id <> $1))`

// sharing has a row for each byte sequence of a repository: whether it is a live
// manifest, whether it is a deleted one, and until when it is condemned.
var sharing = "SELECT b.size, " + truth(sharedWith) + ", h.live, h.dead, h.due, " + truth("h.live = 0 AND "+usedBy("manifests")) + ", " +
	truth("h.live = 0 AND h.dead = 0 AND "+usedBy("graves")) + ` FROM (
		SELECT l.blob_id, l.due,
			CASE WHEN EXISTS (SELECT 1 FROM manifests m WHERE m.repository_id = $1 AND m.blob_id = l.blob_id) THEN 1 ELSE 0 END AS live,
			CASE WHEN EXISTS (SELECT 1 FROM graves g WHERE g.repository_id = $1 AND g.blob_id = l.blob_id) THEN 1 ELSE 0 END AS dead
		FROM links l WHERE l.repository_id = $1
		UNION ALL
		SELECT m.blob_id, 0, 1, 0 FROM manifests m WHERE m.repository_id = $1
			AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repository_id = $1 AND l.blob_id = m.blob_id)
		UNION ALL
		SELECT g.blob_id, 0, 0, 1 FROM graves g WHERE g.repository_id = $1
			AND NOT EXISTS (SELECT 1 FROM links l WHERE l.repository_id = $1 AND l.blob_id = g.blob_id)
	) h JOIN blobs b ON b.id = h.blob_id`

// Sharing implements registry.LifeView.
func (v *view) Sharing(repository string) (registry.Sharing, error) {
	var s registry.Sharing
	id, err := v.repositoryID(repository)
	if err != nil || id == 0 {
		return s, err
	}
	err = each(v.conn, func(r database.Rows) error {
		size := r.Int(0)
		s.Logical += size
		if r.Int(1) != 0 {
			s.Shared += size
			return nil
		}
		s.Exclusive += size
		live, dead, due := r.Int(2) != 0 || r.Int(5) != 0, r.Int(3) != 0 || r.Int(6) != 0, r.Int(4) != 0
		switch {
		case live:
		case dead:
			s.Deleted += size
		case due:
			s.Condemned += size
		}
		return nil
	}, sharing, id)
	return s, err
}

// alone is whether nothing but the manifest $1 is a blob b or references it, and
// no repository that has holds holds it.
var alone = func() string {
	probe := func(column string) string {
		return "EXISTS (SELECT 1 FROM manifest_references f WHERE f.digest = b." + column + " AND f.manifest_id <> $1)"
	}
	other := func(table, condition string) string {
		return " OR EXISTS (SELECT 1 FROM " + table + " o WHERE " + condition + " AND o.id <> $1)"
	}
	return "NOT (" + probe("blake3") + " OR " + probe("sha256") + " OR b.sha512 IS NOT NULL AND " + probe("sha512") +
		other("manifests", "o.blob_id = b.id") + other("manifests", "o.native = b.blake3") +
		other("graves", "o.blob_id = b.id") + other("graves", "o.native = b.blake3") +
		" OR EXISTS (SELECT 1 FROM links l JOIN repositories r ON r.id = l.repository_id WHERE l.blob_id = b.id AND r.holds > 0))"
}()

// keepsSQL finds what one manifest keeps: its own, and the blobs of some of its
// references, by whichever digest they are written.
var keepsSQL = func() string {
	own, referenced := "", ""
	for _, table := range []string{"manifests", "graves"} {
		own += "SELECT -2 AS ordinal, m.blob_id AS id FROM " + table + " m WHERE m.id = $1 AND $2 = 0 UNION ALL " +
			"SELECT -1, n.id FROM " + table + " m JOIN blobs n ON n.blake3 = m.native WHERE m.id = $1 AND $2 = 0 UNION ALL "
	}
	for i, column := range []string{"blake3", "sha256", "sha512"} {
		if i > 0 {
			referenced += " UNION ALL "
		}
		referenced += "SELECT f.ordinal, x.id FROM manifest_references f JOIN blobs x ON x." + column + ` = f.digest
			JOIN links l ON l.repository_id = f.repository_id AND l.blob_id = x.id
			WHERE f.manifest_id = $1 AND f.ordinal >= $2 AND f.ordinal < $3`
	}
	return "SELECT k.ordinal, b.id, b.blake3, b.size, " + truth(alone) +
		" FROM (" + own + referenced + ") k JOIN blobs b ON b.id = k.id ORDER BY k.ordinal"
}()

// Keeps implements registry.LifeView.
func (v *view) Keeps(manifest eventlog.Sequence, from, to int64) ([]registry.KeptItem, error) {
	return collect(v, func(r database.Rows) (registry.KeptItem, error) {
		k := registry.KeptItem{Blob: eventlog.Sequence(r.Int(1)), Size: r.Int(3), Alone: r.Int(4) != 0}
		switch r.Int(0) {
		case -2:
			k.Role = registry.KeptManifest
		case -1:
			k.Role = registry.KeptNative
		}
		return k, digests(r, map[int]*identity.Digest{2: &k.Digest})
	}, keepsSQL, int64(manifest), from, to)
}

// KeeperManifests implements registry.LifeView.
func (v *view) KeeperManifests(b *registry.Blob, after eventlog.Sequence, limit int) ([]eventlog.Sequence, error) {
	return collect(v, func(r database.Rows) (eventlog.Sequence, error) { return eventlog.Sequence(r.Int(0)), nil }, `SELECT k.id FROM (
			SELECT id FROM manifests WHERE id > $1 AND blob_id = $2
			UNION ALL SELECT id FROM manifests WHERE id > $1 AND native = $3
			UNION ALL SELECT id FROM graves WHERE id > $1 AND blob_id = $2
			UNION ALL SELECT id FROM graves WHERE id > $1 AND native = $3
		) k ORDER BY k.id LIMIT $4`, int64(after), int64(b.Sequence), b.Digests.Primary().String(), int64(limit))
}

// Uses implements registry.LifeView: one range of an index for each digest, one
// after the other.
func (v *view) Uses(b *registry.Blob, after registry.UserPlace, limit int) ([]registry.Use, error) {
	var all []registry.Use
	for i := max(0, after.Digest); i < len(b.Digests) && len(all) < limit; i++ {
		from := registry.UserPlace{Digest: i}
		if i == after.Digest {
			from = after
		}
		more, err := collect(v, func(r database.Rows) (registry.Use, error) {
			return registry.Use{Linked: r.Int(3) != 0,
				Place: registry.UserPlace{Digest: i, Repository: r.Int(0), Manifest: r.Int(1), Ordinal: r.Int(2)}}, nil
		}, "SELECT f.repository_id, f.manifest_id, f.ordinal, "+
			truth("EXISTS (SELECT 1 FROM links l WHERE l.repository_id = f.repository_id AND l.blob_id = $1)")+`
			FROM manifest_references f
			WHERE f.digest = $2 AND (f.repository_id, f.manifest_id, f.ordinal) > ($3, $4, $5)
			ORDER BY f.repository_id, f.manifest_id, f.ordinal LIMIT $6`,
			int64(b.Sequence), b.Digests[i].String(), from.Repository, from.Manifest, from.Ordinal, int64(limit-len(all)))
		if err != nil {
			return nil, fmt.Errorf("references to %s: %w", b.Digests[i], err)
		}
		all = append(all, more...)
	}
	return all, nil
}

// HeldHolders implements registry.LifeView.
func (v *view) HeldHolders(b *registry.Blob, limit int) ([]string, error) {
	return texts(v.conn, `SELECT r.name FROM links l
		JOIN repositories r ON r.id = l.repository_id
		WHERE l.blob_id = $1 AND r.holds > 0 ORDER BY r.id LIMIT $2`, int64(b.Sequence), int64(limit))
}
