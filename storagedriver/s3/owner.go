package s3

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"

	"artifactstore/storagedriver"
)

// ownerKey says whose objects these are.
const ownerKey = "owner"

// OwnerKey is the key of the object that says whose a prefix is.
func OwnerKey(prefix string) string { return folder(prefix) + ownerKey }

// Owner reads the object that says it.
func (d *Driver) Owner(ctx context.Context) (string, error) {
	owner, _, err := d.owner(ctx)
	return owner, err
}

func (d *Driver) owner(ctx context.Context) (owner, etag string, err error) {
	if err = ctx.Err(); err == nil {
		owner, etag, err = d.readOwner(ctx)
	}
	if gone(err) {
		return "", "", nil
	}
	if err != nil {
		return "", "", fmt.Errorf("owner of the bucket: %w", err)
	}
	return owner, etag, nil
}

func (d *Driver) readOwner(ctx context.Context) (owner, etag string, err error) {
	out, err := d.get(ctx, OwnerKey(d.options.Prefix), "", "")
	if err != nil {
		return "", "", err
	}
	line, err := io.ReadAll(io.LimitReader(out.Body, int64(storagedriver.OwnerLimit)))
	if err = errors.Join(err, out.Body.Close()); err != nil {
		return "", "", failure("read who owns the bucket", err)
	}
	owner, err = storagedriver.ParseOwner(line)
	return owner, aws.ToString(out.ETag), err
}

// Own writes the object that says it, only where there is none, or only in the
// place of the one that was read. Where S3 does not know such conditions, the
// last of those who come at once is the owner.
func (d *Driver) Own(ctx context.Context, id, instead string) (string, error) {
	if err := check(ctx, id); err != nil {
		return "", fmt.Errorf("own the bucket: %w", err)
	}
	owner, etag, err := d.owner(ctx)
	if err != nil || owner != "" && owner != instead {
		return owner, err
	}
	err = d.putOwner(ctx, id, etag, true)
	if answered(err, "NotImplemented") {
		err = d.putOwner(ctx, id, etag, false)
	}
	if err != nil && !answered(err, "PreconditionFailed") {
		return "", err
	}
	owner, _, err = d.owner(ctx)
	if err == nil && owner == "" {
		err = errors.New("own the bucket: S3 does not have what it has taken")
	}
	return owner, err
}

func (d *Driver) putOwner(ctx context.Context, id, etag string, conditional bool) error {
	line := storagedriver.OwnerLine(id)
	in := d.newPut(OwnerKey(d.options.Prefix), io.NewSectionReader(bytes.NewReader(line), 0, int64(len(line))))
	switch {
	case conditional && etag == "":
		in.IfNoneMatch = aws.String("*")
	case conditional:
		in.IfMatch = &etag
	}
	_, err := d.client.PutObject(ctx, in)
	return failure("own the bucket", err)
}
