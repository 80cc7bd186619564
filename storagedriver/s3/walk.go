package s3

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"artifactstore/storagedriver"
)

// maxKeys is how many keys S3 lists at once.
const maxKeys = 1000

// Objects lists the keys below objects, in their byte order.
func (d *Driver) Objects(ctx context.Context, after string, limit int) ([]storagedriver.Object, error) {
	err := ctx.Err()
	if err == nil && limit < 1 {
		err = fmt.Errorf("a page of %d: %w", limit, storagedriver.ErrInvalid)
	}
	var page []storagedriver.Object
	for more := true; more && err == nil && len(page) < limit; {
		var found []storagedriver.Object
		if found, more, err = d.objects(ctx, after, min(limit-len(page), maxKeys)); len(found) > 0 {
			page = append(page, found...)
			after = found[len(found)-1].Name
		}
	}
	if err != nil {
		return nil, fmt.Errorf("list objects: %w", err)
	}
	return page, nil
}

// objects asks once. A server that lists in another order than S3 would let
// objects be passed over unseen.
func (d *Driver) objects(ctx context.Context, after string, limit int) (found []storagedriver.Object, more bool, err error) {
	prefix := d.objectKey("")
	out, err := d.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{
		Bucket: &d.options.Bucket, Prefix: &prefix, StartAfter: aws.String(prefix + after), MaxKeys: aws.Int32(int32(limit)),
		EncodingType: types.EncodingTypeUrl, // XML has no form for some keys
	})
	if err != nil {
		return nil, false, failure("ask for keys", err)
	}
	for _, object := range out.Contents {
		key := aws.ToString(object.Key)
		if out.EncodingType == types.EncodingTypeUrl {
			if key, err = url.QueryUnescape(key); err != nil {
				return nil, false, errors.New("S3 lists a key that is not encoded as it says")
			}
		}
		name, below := strings.CutPrefix(key, prefix)
		if !below || name <= after {
			return nil, false, fmt.Errorf("S3 lists the key %.200q after %.200q: this server has no order of keys to rely on", key, prefix+after)
		}
		after = name
		o := storagedriver.Object{Name: name, Size: aws.ToInt64(object.Size), Modified: aws.ToTime(object.LastModified)}
		if storagedriver.CheckLocator(name) == nil {
			o.Locator = name
		}
		found = append(found, o)
	}
	more = aws.ToBool(out.IsTruncated)
	if more && len(found) == 0 {
		return nil, false, errors.New("S3 lists no key and says that there are more")
	}
	return found, more, nil
}
