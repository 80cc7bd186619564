package metastore

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/identity"
)

// This file answers what operators ask: it reads the views of several tables
// together. Pages begin behind a key, and every statement walks an index.

// collect runs a query and returns what scan makes of its rows.
func collect[T any](v *view, scan func(database.Rows) (T, error), sql string, args ...any) ([]T, error) {
	var all []T
	err := each(v.conn, func(r database.Rows) error {
		item, err := scan(r)
		all = append(all, item)
		return err
	}, sql, args...)
	return all, err
}

// first returns the first row, or nil.
func first[T any](v *view, scan func(database.Rows) (T, error), sql string, args ...any) (*T, error) {
	var item T
	found, err := one(v.conn, func(r database.Rows) (err error) { item, err = scan(r); return err }, sql, args...)
	if err != nil || !found {
		return nil, err
	}
	return &item, nil
}

func micro(t int64) time.Time { return time.UnixMicro(t).UTC() }

// digests parses several digest columns.
func digests(r database.Rows, columns map[int]*identity.Digest) error {
	for column, d := range columns {
		var err error
		if *d, err = parseDigest(r.Text(column)); err != nil {
			return err
		}
	}
	return nil
}

// beforeOrEnd is the bound of a list that comes newest first.
func beforeOrEnd(before eventlog.Sequence) int64 {
	if before == 0 || before > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(before)
}

func scanRepository(r database.Rows) (registry.RepositoryInfo, error) {
	return registry.RepositoryInfo{Name: r.Text(0), Sequence: eventlog.Sequence(r.Int(1)), Created: micro(r.Int(2))}, nil
}

// RepositoryInfo implements registry.InspectView.
func (v *view) RepositoryInfo(name string) (*registry.RepositoryInfo, error) {
	return first(v, scanRepository, "SELECT name, id, created FROM repositories WHERE name = $1", name)
}

// RepositoryInfos implements registry.InspectView.
func (v *view) RepositoryInfos(after string, limit int) ([]registry.RepositoryInfo, error) {
	return collect(v, scanRepository,
		"SELECT name, id, created FROM repositories WHERE name > $1 AND deleted = 0 ORDER BY name LIMIT $2", after, int64(limit))
}

const tagInfo = `SELECT t.name, t.digest, b.blake3, m.media_type, m.artifact_type, m.size, t.moved, h.time, h.actor,
		m.class, m.rule, m.expires, m.marked, m.pulled
	FROM tags t
	JOIN blobs b ON b.id = t.blob_id
	JOIN manifests m ON m.repository_id = t.repository_id AND m.blob_id = t.blob_id
	JOIN tag_history h ON h.repository_id = t.repository_id AND h.name = t.name AND h.sequence = t.moved
	WHERE t.repository_id = ` + repositoryNamed

func scanTagInfo(r database.Rows) (registry.TagInfo, error) {
	t := registry.TagInfo{
		Name: r.Text(0), MediaType: r.Text(3), ArtifactType: r.Text(4), Size: r.Int(5),
		Sequence: eventlog.Sequence(r.Int(6)), Moved: micro(r.Int(7)), Actor: r.Text(8),
		Class: r.Text(9), Rule: r.Text(10), Expires: instant(r.Int(11)), Marked: instant(r.Int(12)), Pulled: instant(r.Int(13)),
	}
	return t, digests(r, map[int]*identity.Digest{1: &t.Digest, 2: &t.Manifest})
}

// TagInfo implements registry.InspectView.
func (v *view) TagInfo(repository, name string) (*registry.TagInfo, error) {
	return first(v, scanTagInfo, tagInfo+" AND t.name = $2", repository, name)
}

// TagInfos implements registry.InspectView.
func (v *view) TagInfos(repository, after string, limit int) ([]registry.TagInfo, error) {
	return collect(v, scanTagInfo, tagInfo+" AND t.name > $2 ORDER BY t.name LIMIT $3", repository, after, int64(limit))
}

// TagMoves implements registry.InspectView.
func (v *view) TagMoves(repository, tag string, before eventlog.Sequence, limit int) ([]registry.TagMove, error) {
	return collect(v, func(r database.Rows) (registry.TagMove, error) {
		m := registry.TagMove{Tag: tag, Sequence: eventlog.Sequence(r.Int(0)), Time: micro(r.Int(1)), Actor: r.Text(2)}
		return m, digests(r, map[int]*identity.Digest{3: &m.From, 4: &m.To})
	}, `SELECT h.sequence, h.time, h.actor, coalesce(f.sha256, h.from_digest), coalesce(t.sha256, h.to_digest)
		FROM tag_history h
		LEFT JOIN blobs f ON f.blake3 = h.from_digest
		LEFT JOIN blobs t ON t.blake3 = h.to_digest
		WHERE h.repository_id = `+repositoryNamed+` AND h.name = $2 AND h.sequence < $3
		ORDER BY h.sequence DESC LIMIT $4`,
		repository, tag, beforeOrEnd(before), int64(limit))
}

// Manifests implements registry.InspectView.
func (v *view) Manifests(repository string, before eventlog.Sequence, limit int) ([]registry.Manifest, error) {
	return collect(v, func(r database.Rows) (registry.Manifest, error) {
		m, err := scanManifest(r)
		if err != nil {
			return registry.Manifest{}, err
		}
		return *m, nil
	}, "SELECT "+blobColumns+", "+manifestColumns+`
		FROM manifests m
		JOIN blobs b ON b.id = m.blob_id
		WHERE m.repository_id = `+repositoryNamed+` AND m.id < $2
		ORDER BY m.id DESC LIMIT $3`, repository, beforeOrEnd(before), int64(limit))
}

// NativeOf implements registry.InspectView.
func (v *view) NativeOf(native identity.Digest, limit int) ([]registry.User, error) {
	return collect(v, func(r database.Rows) (registry.User, error) {
		u := registry.User{Repository: r.Text(0), Deleted: r.Int(3) != 0, MediaType: r.Text(2), Role: "native"}
		return u, digests(r, map[int]*identity.Digest{1: &u.Manifest})
	}, `SELECT r.name, m.digest, m.media_type, r.deleted
		FROM manifests m
		JOIN repositories r ON r.id = m.repository_id
		WHERE m.native = $1 ORDER BY m.id LIMIT $2`, native.String(), int64(limit))
}

// References implements registry.InspectView.
func (v *view) References(manifest eventlog.Sequence, after int64, limit int) ([]registry.ReferenceInfo, error) {
	return collect(v, func(r database.Rows) (registry.ReferenceInfo, error) {
		f := registry.ReferenceInfo{Ordinal: r.Int(0), Role: r.Text(1), MediaType: r.Text(2), Size: r.Int(5)}
		return f, digests(r, map[int]*identity.Digest{3: &f.Digest, 4: &f.Target})
	}, `SELECT ordinal, role, media_type, digest, target, size FROM manifest_references
		WHERE manifest_id = $1 AND ordinal > $2 ORDER BY ordinal LIMIT $3`,
		int64(manifest), after, int64(limit))
}

// Holders implements registry.InspectView. What a repository has as a blob and
// what it has as a manifest are two ranges of two indexes, in the same order.
func (v *view) Holders(primary identity.Digest, after eventlog.Sequence, limit int) ([]registry.Holder, error) {
	var pages [2][]registry.Holder
	for i, table := range []string{"links", "manifests"} {
		var err error
		pages[i], err = collect(v, func(r database.Rows) (registry.Holder, error) {
			return registry.Holder{Sequence: eventlog.Sequence(r.Int(0)), Repository: r.Text(1), Deleted: r.Int(2) != 0, Blob: i == 0, Manifest: i == 1}, nil
		}, `SELECT r.id, r.name, r.deleted FROM `+table+` h
			JOIN repositories r ON r.id = h.repository_id
			WHERE h.blob_id = (SELECT id FROM blobs WHERE blake3 = $1) AND h.repository_id > $2 ORDER BY h.repository_id LIMIT $3`,
			primary.String(), int64(after), int64(limit))
		if err != nil {
			return nil, err
		}
	}
	return mergeHolders(pages[0], pages[1], limit), nil
}

// mergeHolders makes one list of two, both in the order of sequences.
func mergeHolders(blobs, manifests []registry.Holder, limit int) []registry.Holder {
	all := append(blobs, manifests...)
	slices.SortStableFunc(all, func(a, b registry.Holder) int { return cmp.Compare(a.Sequence, b.Sequence) })
	merged := all[:0]
	for _, h := range all {
		if last := len(merged) - 1; last >= 0 && merged[last].Sequence == h.Sequence {
			merged[last].Manifest = true
			continue
		}
		merged = append(merged, h)
	}
	return merged[:min(limit, len(merged))]
}

// Users implements registry.InspectView: one range of an index for each digest,
// one after the other.
func (v *view) Users(set identity.DigestSet, after registry.UserPlace, limit int) ([]registry.User, error) {
	var all []registry.User
	for i := max(0, after.Digest); i < len(set) && len(all) < limit; i++ {
		from := registry.UserPlace{Digest: i}
		if i == after.Digest {
			from = after
		}
		more, err := collect(v, func(r database.Rows) (registry.User, error) {
			u := registry.User{Repository: r.Text(0), Deleted: r.Int(7) != 0, MediaType: r.Text(2), Role: r.Text(3),
				Place: registry.UserPlace{Digest: i, Repository: r.Int(4), Manifest: r.Int(5), Ordinal: r.Int(6)}}
			return u, digests(r, map[int]*identity.Digest{1: &u.Manifest})
		}, `SELECT r.name, m.digest, m.media_type, f.role, f.repository_id, f.manifest_id, f.ordinal, r.deleted
			FROM manifest_references f
			JOIN manifests m ON m.id = f.manifest_id
			JOIN repositories r ON r.id = f.repository_id
			WHERE f.digest = $1 AND (f.repository_id, f.manifest_id, f.ordinal) > ($2, $3, $4)
			ORDER BY f.repository_id, f.manifest_id, f.ordinal LIMIT $5`,
			set[i].String(), from.Repository, from.Manifest, from.Ordinal, int64(limit-len(all)))
		if err != nil {
			return nil, err
		}
		all = append(all, more...)
	}
	return all, nil
}

// uploadOpen is the condition of the index uploads_open, in its words.
const uploadOpen = "state = '" + registry.UploadOpen + "'"

// Uploads implements registry.InspectView.
func (v *view) Uploads(after string, limit int) ([]registry.Upload, error) {
	return collect(v, scanUpload,
		"SELECT "+uploadColumns+" FROM uploads WHERE "+uploadOpen+" AND id > $1 ORDER BY id LIMIT $2", after, int64(limit))
}

// RepositoryUsage implements registry.InspectView.
func (v *view) RepositoryUsage(name string) (registry.Usage, error) {
	var u registry.Usage
	id, err := v.repositoryID(name)
	if err != nil || id == 0 {
		return u, err
	}
	for _, q := range []struct {
		sql  string
		into []*int64
	}{
		{"SELECT count(*) FROM tags WHERE repository_id = $1", []*int64{&u.Tags}},
		{"SELECT count(*), coalesce(sum(size), 0) FROM manifests WHERE repository_id = $1", []*int64{&u.Manifests, &u.Bytes}},
		// What is a manifest here and a blob as well was counted already.
		{`SELECT count(*) FROM links WHERE repository_id = $1`, []*int64{&u.Blobs}},
	} {
		_, err := one(v.conn, func(r database.Rows) error {
			for i, n := range q.into {
				*n = r.Int(i)
			}
			return nil
		}, q.sql, id)
		if err != nil {
			return u, err
		}
	}
	_, err = one(v.conn, func(r database.Rows) error { u.Bytes += r.Int(0); return nil },
		`SELECT coalesce(sum(b.size), 0) FROM links l JOIN blobs b ON b.id = l.blob_id
		WHERE l.repository_id = $1 AND NOT EXISTS (
			SELECT 1 FROM manifests m WHERE m.repository_id = l.repository_id AND m.blob_id = l.blob_id)`, id)
	return u, err
}

// Totals implements registry.InspectView.
func (v *view) Totals() (registry.Totals, error) {
	var t registry.Totals
	for sql, n := range map[string]*int64{
		"SELECT count(*) FROM repositories WHERE deleted = 0":  &t.Repositories,
		"SELECT count(*) FROM repositories WHERE deleted <> 0": &t.Deleted,
		living("tags"):      &t.Tags,
		living("manifests"): &t.Manifests,
		"SELECT count(*) FROM uploads WHERE " + uploadOpen: &t.Uploads,
	} {
		if _, err := one(v.conn, func(r database.Rows) error { *n = r.Int(0); return nil }, sql); err != nil {
			return t, fmt.Errorf("%s: %w", sql, err)
		}
	}
	err := v.storeUsage(&t)
	return t, err
}

// living counts the rows of a table but those of deleted repositories, of which
// there are few.
func living(table string) string {
	return "SELECT (SELECT count(*) FROM " + table + ") - (SELECT count(*) FROM repositories r JOIN " + table +
		" t ON t.repository_id = r.id WHERE r.deleted <> 0)"
}

// storeUsage reads the table once for each store, of which there are few: groups
// would be sorted, in memory that grows with the table.
func (v *view) storeUsage(t *registry.Totals) error {
	names, err := texts(v.conn, "SELECT DISTINCT store FROM blobs")
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		usage := registry.StoreUsage{Name: name}
		_, err := one(v.conn, func(r database.Rows) error { usage.Blobs, usage.Bytes = r.Int(0), r.Int(1); return nil },
			"SELECT count(*), sum(size) FROM blobs WHERE store = $1", name)
		if err != nil {
			return err
		}
		t.Stores = append(t.Stores, usage)
	}
	return nil
}
