package s3

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"artifactstore/storagedriver"
)

// Staged lists what is below staging, multipart uploads that are under way,
// and what this process has begun. Of an id that another process has begun and
// saved nothing of there is nothing to be found, or removed.
func (d *Driver) Staged(ctx context.Context) ([]string, error) {
	ids, err := d.staged(ctx)
	if err != nil {
		return nil, fmt.Errorf("list staged objects: %w", err)
	}
	ids = slices.DeleteFunc(ids, func(id string) bool { return storagedriver.CheckID(id) != nil })
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

func (d *Driver) staged(ctx context.Context) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	folders, err := d.list(ctx, d.options.Prefix+stagingFolder, "/")
	if err != nil {
		return nil, err
	}
	objects := d.options.Prefix + objectsFolder
	uploads, err := d.uploads(ctx, objects+byID)
	if err != nil {
		return nil, err
	}
	ids := d.memory.begun()
	for _, folder := range folders {
		ids = append(ids, path.Base(folder))
	}
	for _, u := range uploads {
		ids = append(ids, idOf(strings.TrimPrefix(u.key, objects)))
	}
	return ids, nil
}
