package filesystem

import (
	"context"
	"errors"
	"fmt"
	"io"

	"artifactstore/storagedriver"
)

// OwnerName is the name of the file, in the folder of the store, that says whose
// objects these are.
const OwnerName = "owner"

// Owner reads the file that says it.
func (d *Driver) Owner(ctx context.Context) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", fmt.Errorf("owner of the store: %w", err)
	}
	f, _, err := d.openFile(OwnerName)
	if errors.Is(err, storagedriver.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("owner of the store: %w", err)
	}
	line, err := io.ReadAll(io.LimitReader(f, int64(storagedriver.OwnerLimit)))
	if err = errors.Join(err, f.Close()); err != nil {
		return "", failure("owner of the store", err)
	}
	return storagedriver.ParseOwner(line)
}

// Own writes the file that says it. Nobody else does: the folder is locked.
func (d *Driver) Own(ctx context.Context, id, instead string) (string, error) {
	if err := check(ctx, id); err != nil {
		return "", fmt.Errorf("own the store: %w", err)
	}
	owner, err := d.Owner(ctx)
	if err != nil || owner != "" && owner != instead {
		return owner, err
	}
	if err := d.tree.WriteFile(OwnerName, storagedriver.OwnerLine(id)); err != nil {
		return "", failure("own the store", err)
	}
	return id, nil
}
