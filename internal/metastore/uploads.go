package metastore

import (
	"fmt"
	"time"

	"artifactstore/internal/canon"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
)

// uploads are working state, and no view.
var uploads = newTable("uploads", "uploads", 1, 0, nil,
	"id", "repository", "actor", "state", "generation", "staged", "result", "expires")

const uploadColumns = "id, repository, actor, state, generation, staged, result, expires"

func scanUpload(r database.Rows) (registry.Upload, error) {
	u := registry.Upload{
		ID: r.Text(0), Repository: r.Text(1), Actor: r.Text(2), State: r.Text(3),
		Generation: r.Int(4), Expires: time.UnixMicro(r.Int(7)).UTC(),
	}
	err := canon.Unmarshal(r.Bytes(5), &u.Staged)
	if err == nil {
		u.Result, err = parseDigest(r.Text(6))
	}
	if err != nil {
		return u, fmt.Errorf("upload %s: %w", u.ID, err)
	}
	return u, nil
}

// rowOfUpload returns the row of a session.
func rowOfUpload(u *registry.Upload) ([]any, error) {
	staged, err := canon.Marshal(u.Staged)
	if err != nil {
		return nil, fmt.Errorf("upload %s: %w", u.ID, err)
	}
	return []any{u.ID, u.Repository, u.Actor, u.State, u.Generation, staged, digestOrNull(u.Result), u.Expires.UnixMicro()}, nil
}

// Upload implements registry.UploadView.
func (v *view) Upload(id string) (*registry.Upload, error) {
	var u registry.Upload
	found, err := one(v.conn, func(r database.Rows) (err error) { u, err = scanUpload(r); return err },
		"SELECT "+uploadColumns+" FROM uploads WHERE id = $1", id)
	if err != nil || !found {
		return nil, err
	}
	return &u, nil
}

// UploadsExpired implements registry.UploadView.
func (v *view) UploadsExpired(before time.Time, limit int) ([]registry.Upload, error) {
	var all []registry.Upload
	err := each(v.conn, func(r database.Rows) error {
		u, err := scanUpload(r)
		all = append(all, u)
		return err
	}, "SELECT "+uploadColumns+" FROM uploads WHERE expires < $1 ORDER BY expires, id LIMIT $2",
		before.UnixMicro(), int64(limit))
	return all, err
}
