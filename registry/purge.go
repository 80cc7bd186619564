package registry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"artifactstore/registry/fact"
)

// end cancels an upload row and discards what it names, if its outcome is not
// a committed blob.
func (r *Registry) end(ctx context.Context, id string) error {
	var row *Upload
	err := r.ledger.Update(ctx, System, Keys{Uploads: []string{id}}, func(v View) (*Change, error) {
		up, err := v.Upload(id)
		if err != nil || up == nil {
			return nil, err
		}
		if up.State == UploadOpen {
			up.State = UploadCancelled
			up.Generation++
		}
		row = up
		return &Change{Puts: []Upload{*up}}, nil
	})
	if err != nil || row == nil {
		return err
	}
	return r.discard(ctx, *row, true)
}

// discard removes what an ended session left in the stores and then forgets it
// did: the row is kept without bytes, or dropped. A row that is not open can no
// longer become a blob, so nothing that discard removes can be named later.
func (r *Registry) discard(ctx context.Context, row Upload, drop bool) error {
	if row.Staged.Store != "" {
		if err := r.bytes.Discard(ctx, row.Staged); err != nil {
			return fmt.Errorf("discard staged bytes: %w", err)
		}
	}
	row.Staged = fact.Staged{}
	return r.ledger.Update(ctx, System, Keys{Uploads: []string{row.ID}}, func(View) (*Change, error) {
		if drop {
			return &Change{Drops: []string{row.ID}}, nil
		}
		return &Change{Puts: []Upload{row}}, nil
	})
}

// purgeBatch is how many upload rows are read at a time.
const purgeBatch = 100

// PurgeUploads removes the sessions that have expired and the staged bytes that
// no session names, and returns how many it removed.
func (r *Registry) PurgeUploads(ctx context.Context) (int, error) {
	removed, err := r.purgeExpired(ctx)
	if err != nil {
		return removed, err
	}
	staged, err := r.bytes.Staged(ctx)
	if err != nil {
		return removed, fmt.Errorf("list staged bytes: %w", err)
	}
	for _, s := range staged {
		var known *Upload
		err := r.ledger.Read(ctx, func(v View) (err error) {
			known, err = v.Upload(s.ID)
			return err
		})
		// A row is written before its bytes are, so bytes without a row
		// have lost it and nobody can come back for them.
		if err != nil || known != nil {
			continue
		}
		if err := r.bytes.Discard(ctx, s); err != nil {
			return removed, fmt.Errorf("discard staged bytes: %w", err)
		}
		removed++
	}
	return removed, nil
}

func (r *Registry) purgeExpired(ctx context.Context) (removed int, err error) {
	for {
		var expired []Upload
		err := r.ledger.Read(ctx, func(v View) (err error) {
			expired, err = v.UploadsExpired(v.Now(), purgeBatch)
			return err
		})
		if err != nil || len(expired) == 0 {
			return removed, err
		}
		for _, up := range expired {
			err := r.purge(ctx, up.ID)
			if err == nil {
				removed++
				continue
			}
			if ctx.Err() != nil || errors.Is(err, fact.ErrUnavailable) {
				return removed, err
			}
			r.opts.Log.Error("an expired upload could not be removed; it is tried again later", "upload", up.ID, "error", err)
			if err := r.putOff(ctx, up.ID); err != nil {
				return removed, err
			}
		}
	}
}

// purgeAgain is after how long an expired session is tried again.
const purgeAgain = 6 * time.Hour

// putOff makes an expired session expire again later, so that one that cannot
// be removed keeps no others.
func (r *Registry) putOff(ctx context.Context, id string) error {
	return r.ledger.Update(ctx, System, Keys{Uploads: []string{id}}, func(v View) (*Change, error) {
		up, err := v.Upload(id)
		if err != nil || up == nil {
			return nil, err
		}
		up.Expires = v.Now().Add(purgeAgain)
		return &Change{Puts: []Upload{*up}}, nil
	})
}

// purge ends one expired session, unless a request is working on it: that one
// is stopped first.
func (r *Registry) purge(ctx context.Context, id string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, leave, err := r.active.enter(ctx, id, nil)
	if err != nil {
		return err
	}
	defer leave()
	return r.end(ctx, id)
}
