package s3

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"artifactstore/storagedriver"
)

// maxLifetime of a URL, which S3 sets.
const maxLifetime = 7 * 24 * time.Hour

// Link signs a URL for whoever has it. Credentials that end earlier end it.
func (d *Driver) Link(ctx context.Context, l storagedriver.Link) (string, error) {
	if err := checkLocator(ctx, l.Locator); err != nil {
		return "", fmt.Errorf("link: %w", err)
	}
	if d.options.Redirect == Never || l.Size < int64(d.options.Redirect) {
		return "", nil
	}
	if l.Lifetime < time.Second || l.Lifetime > maxLifetime {
		return "", fmt.Errorf("link %s for %v: S3 signs for a second to a week: %w", l.Locator, l.Lifetime, storagedriver.ErrInvalid)
	}
	signed, err := d.public.PresignGetObject(ctx, &s3.GetObjectInput{
		Bucket: &d.options.Bucket, Key: aws.String(d.objectKey(l.Locator)),
	}, s3.WithPresignExpires(l.Lifetime))
	if err != nil {
		return "", failure("link "+l.Locator, err)
	}
	return signed.URL, nil
}
