package metastore

import (
	"fmt"
	"slices"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// This file answers what is asked to compare the views with what is stored.

// locatorsAtOnce are asked for by one statement.
const locatorsAtOnce = 100

// namedSQL finds the rows of a table that name one of so many locators.
func namedSQL(table string) string {
	marks := make([]string, locatorsAtOnce)
	for i := range marks {
		marks[i] = fmt.Sprintf("$%d", i+2)
	}
	// The index of blobs has no empty locators, and is used only if that is said.
	return "SELECT locator FROM " + table + " WHERE store = $1 AND locator <> '' AND locator IN (" + strings.Join(marks, ", ") + ")"
}

var namedSQLs = []string{namedSQL("blobs"), namedSQL("erasures")}

// Named implements registry.StorageView.
func (v *view) Named(store string, locators []string) (map[string]bool, error) {
	named := make(map[string]bool)
	for some := range slices.Chunk(locators, locatorsAtOnce) {
		args := make([]any, 0, locatorsAtOnce+1)
		args = append(args, store)
		for i := range locatorsAtOnce {
			args = append(args, some[min(i, len(some)-1)])
		}
		for _, sql := range namedSQLs {
			err := each(v.conn, func(r database.Rows) error { named[r.Text(0)] = true; return nil }, sql, args...)
			if err != nil {
				return nil, err
			}
		}
	}
	return named, nil
}

// neededRow is whether the row of an event o is that of the byte sequence that
// the event stored, or the descriptor of the manifest that it put. That of a
// byte sequence that was moved is found by its event.
const neededRow = `(EXISTS (SELECT 1 FROM blobs b WHERE b.id = o.sequence AND b.content = o.sequence)
	OR EXISTS (SELECT 1 FROM manifests m WHERE m.id = o.sequence AND m.subject IS NOT NULL)
	OR EXISTS (SELECT 1 FROM graves g WHERE g.id = o.sequence AND g.subject IS NOT NULL))`

// ContentRows implements registry.StorageView.
func (v *view) ContentRows(after eventlog.Sequence, limit int) ([]registry.ContentRow, error) {
	return v.contentRows("WHERE sequence > $1 ORDER BY sequence LIMIT $2", int64(after), int64(limit))
}

// ContentRow implements registry.StorageView.
func (v *view) ContentRow(s eventlog.Sequence) (*registry.ContentRow, error) {
	rows, err := v.contentRows("WHERE sequence = $1", int64(s))
	if err != nil || len(rows) == 0 {
		return nil, err
	}
	return &rows[0], nil
}

func (v *view) contentRows(which string, args ...any) ([]registry.ContentRow, error) {
	rows, err := collect(v, func(r database.Rows) (registry.ContentRow, error) {
		return registry.ContentRow{Sequence: eventlog.Sequence(r.Int(0)), Needed: r.Int(1) != 0}, nil
	}, "SELECT o.sequence, "+truth(neededRow)+" FROM (SELECT sequence FROM objects "+which+") o ORDER BY o.sequence", args...)
	for i := range rows {
		if err == nil && !rows[i].Needed {
			rows[i].Needed, err = v.movedHere(rows[i].Sequence)
		}
	}
	return rows, err
}

// movedHere tells whether an event has moved a byte sequence to its content row,
// which still has it.
func (v *view) movedHere(s eventlog.Sequence) (bool, error) {
	e, err := v.Event(s)
	if err != nil || e == nil || e.Kind != fact.KindBlobMoved {
		return false, err
	}
	f, err := decode(e)
	if err != nil {
		return false, err
	}
	moved, ok := f.(*fact.BlobMoved)
	if !ok {
		return false, nil
	}
	b, err := v.Blob(moved.Blob)
	return b != nil && b.Content == s, err
}

// Descriptors implements registry.StorageView.
func (v *view) Descriptors(deleted bool, after eventlog.Sequence, limit int) (page []registry.DescriptorItem, next eventlog.Sequence, err error) {
	table := "manifests"
	if deleted {
		table = "graves"
	}
	last, seen := after, 0
	err = each(v.conn, func(r database.Rows) error {
		m, err := scanManifest(r)
		if err != nil {
			return err
		}
		last, seen = m.Sequence, seen+1
		if m.Subject.IsZero() {
			return nil
		}
		page = append(page, registry.DescriptorItem{Repository: r.Text(pastManifest), Manifest: *m})
		return nil
	}, "SELECT "+blobColumns+", "+manifestColumns+`, r.name
		FROM (SELECT * FROM `+table+` WHERE id > $1 ORDER BY id LIMIT $2) m
		JOIN repositories r ON r.id = m.repository_id
		JOIN blobs b ON b.id = m.blob_id
		ORDER BY m.id`, int64(after), int64(limit))
	if seen == limit {
		next = last
	}
	return page, next, err
}

// Descriptor implements registry.StorageView.
func (v *view) Descriptor(manifest eventlog.Sequence) ([]byte, error) {
	var descriptor []byte
	_, err := one(v.conn, func(r database.Rows) error { descriptor = append([]byte{}, r.Bytes(0)...); return nil },
		"SELECT bytes FROM objects WHERE sequence = $1", int64(manifest))
	return descriptor, err
}

// ErasuresAfter implements registry.StorageView.
func (v *view) ErasuresAfter(by eventlog.Sequence, limit int) ([]registry.Erasure, error) {
	return collect(v, scanErasure, "SELECT "+erasureColumns+" FROM erasures WHERE id > $1 ORDER BY id LIMIT $2", int64(by), int64(limit))
}

// maxBelow bounds how many manifests are looked at below one.
const maxBelow = 1000

// DamagedBelow implements registry.StorageView. As long as nothing is under
// quarantine it asks one empty index.
func (v *view) DamagedBelow(manifest eventlog.Sequence) (identity.Digest, error) {
	any, err := one(v.conn, func(database.Rows) error { return nil }, "SELECT 1 FROM blobs WHERE damaged <> 0 LIMIT 1")
	if err != nil || !any {
		return identity.Digest{}, err
	}
	var damaged identity.Digest
	all := []int64{int64(manifest)}
	for i := 0; i < len(all) && damaged.IsZero(); i++ {
		err := each(v.conn, func(r database.Rows) (err error) {
			if child := r.Int(2); child != 0 && len(all) < maxBelow && !slices.Contains(all, child) {
				all = append(all, child)
			}
			if r.Int(1) != 0 && damaged.IsZero() {
				damaged, err = identity.Parse(r.Text(0))
			}
			return err
		}, `SELECT f.digest, b.damaged, m.id
			FROM manifest_references f
			JOIN blobs b ON b.blake3 = f.target
			LEFT JOIN manifests m ON m.repository_id = f.repository_id AND m.blob_id = b.id
			WHERE f.manifest_id = $1 ORDER BY f.ordinal`, all[i])
		if err != nil {
			return damaged, err
		}
	}
	return damaged, nil
}
