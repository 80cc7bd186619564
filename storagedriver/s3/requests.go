package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// The requests that the driver makes. Their errors are failures: no caller
// sees one of the SDK.

const contentType = "application/octet-stream"

// ask looks whether the bucket is there.
func (d *Driver) ask(ctx context.Context) error {
	_, err := d.client.HeadBucket(ctx, &s3.HeadBucketInput{Bucket: &d.options.Bucket},
		func(o *s3.Options) { o.RetryMaxAttempts = fewAttempts })
	return failure("look after the bucket", err)
}

// putObject writes an object at its final key; if it is new, only where there is
// none. The error is then ErrNotExist unless what is there has the same size: it
// was written by an earlier attempt.
func (d *Driver) putObject(ctx context.Context, key string, body *io.SectionReader, isNew bool) error {
	in := d.newPut(key, body)
	in.StorageClass = types.StorageClass(d.options.StorageClass)
	if isNew {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := d.client.PutObject(ctx, in)
	err = failure("write an object", err)
	switch {
	case isNew && answered(err, "PreconditionFailed"):
		return d.stands(ctx, key, body.Size(), 1)
	case isNew && answered(err, "NotImplemented"): // then without
		return d.putObject(ctx, key, body, false)
	}
	return err
}

// putStaged writes an object below staging.
func (d *Driver) putStaged(ctx context.Context, key string, body *io.SectionReader) error {
	_, err := d.client.PutObject(ctx, d.newPut(key, body))
	return failure("write staged bytes", err)
}

// putGuard writes a guard and returns its etag; if instead is not empty, only
// in the place of the one that has this etag.
func (d *Driver) putGuard(ctx context.Context, id, text, instead string) (string, error) {
	in := d.newPut(d.stagedFolder(id)+guardName, io.NewSectionReader(strings.NewReader(text), 0, int64(len(text))))
	if instead != "" {
		in.IfMatch = aws.String(instead)
	}
	out, err := d.client.PutObject(ctx, in)
	if err != nil {
		return "", failure("write the guard of an upload", err)
	}
	return aws.ToString(out.ETag), nil
}

func (d *Driver) newPut(key string, body *io.SectionReader) *s3.PutObjectInput {
	return &s3.PutObjectInput{
		Bucket: &d.options.Bucket, Key: &key, Body: body, ContentLength: aws.Int64(body.Size()),
		ContentType: aws.String(contentType), ServerSideEncryption: types.ServerSideEncryption(d.options.SSE),
		SSEKMSKeyId: maybe(d.options.SSEKMSKeyID),
	}
}

// maybe is nil for the empty text.
func maybe(text string) *string {
	if text == "" {
		return nil
	}
	return &text
}

// get reads a range of an object, as Range has it; "" is everything.
func (d *Driver) get(ctx context.Context, key, byteRange, etag string) (*s3.GetObjectOutput, error) {
	out, err := d.client.GetObject(ctx, &s3.GetObjectInput{
		Bucket: &d.options.Bucket, Key: &key, Range: maybe(byteRange), IfMatch: maybe(etag),
	})
	return out, failure("read an object", err)
}

// object is what S3 says of an object.
type object struct {
	size   int64
	upload string // what create named the upload that it was made by
}

// uploadName is the metadata by which the object of a multipart upload is told
// from others that had, or may have, its key.
const uploadName = "upload"

// look asks what there is of an object.
func (d *Driver) look(ctx context.Context, key string) (object, error) {
	out, err := d.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &d.options.Bucket, Key: &key})
	if err == nil {
		return object{aws.ToInt64(out.ContentLength), out.Metadata[uploadName]}, nil
	}
	err = failure("look for an object", err)
	if !answered(err, headMissing) {
		return object{}, err
	}
	// A 404 without a body, from who knows whom, perhaps for want of the bucket:
	// that of GET says what is missing.
	again, err := d.get(ctx, key, "", "")
	if err != nil {
		return object{}, err
	}
	_ = again.Body.Close() // only what it is was wanted
	return object{aws.ToInt64(again.ContentLength), again.Metadata[uploadName]}, nil
}

// size asks for the size of an object.
func (d *Driver) size(ctx context.Context, key string) (int64, error) {
	found, err := d.look(ctx, key)
	return found.size, err
}

// remove deletes an object, which need not be there.
func (d *Driver) remove(ctx context.Context, key string) error {
	_, err := d.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &d.options.Bucket, Key: &key})
	if err = failure("delete an object", err); gone(err) {
		return nil
	}
	return err
}

// list returns the keys that begin with a prefix, or, below a delimiter, the
// beginnings that they share.
func (d *Driver) list(ctx context.Context, prefix, delimiter string) ([]string, error) {
	var names []string
	pages := s3.NewListObjectsV2Paginator(d.client, &s3.ListObjectsV2Input{
		Bucket: &d.options.Bucket, Prefix: &prefix, Delimiter: maybe(delimiter),
	})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list staged bytes", err)
		}
		for _, object := range page.Contents {
			names = append(names, aws.ToString(object.Key))
		}
		for _, shared := range page.CommonPrefixes {
			names = append(names, aws.ToString(shared.Prefix))
		}
	}
	return names, nil
}

// create begins a multipart upload, whose object look tells by its name.
func (d *Driver) create(ctx context.Context, key, name string) (string, error) {
	out, err := d.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
		Bucket: &d.options.Bucket, Key: &key, ContentType: aws.String(contentType),
		Metadata:             map[string]string{uploadName: name},
		StorageClass:         types.StorageClass(d.options.StorageClass),
		ServerSideEncryption: types.ServerSideEncryption(d.options.SSE), SSEKMSKeyId: maybe(d.options.SSEKMSKeyID),
	})
	if err != nil {
		return "", failure("begin a multipart upload", err)
	}
	return aws.ToString(out.UploadId), nil
}

// send uploads a part.
func (d *Driver) send(ctx context.Context, key, upload string, number int, body *io.SectionReader) (part, error) {
	out, err := d.client.UploadPart(ctx, &s3.UploadPartInput{
		Bucket: &d.options.Bucket, Key: &key, UploadId: &upload, PartNumber: aws.Int32(int32(number)),
		Body: body, ContentLength: aws.Int64(body.Size()),
	})
	if err != nil {
		return part{}, failure(fmt.Sprintf("send part %d", number), err)
	}
	return part{number, body.Size(), strings.Trim(aws.ToString(out.ETag), `"`)}, nil
}

// join makes an object of the parts of an upload; if it is new, only where there
// is none.
func (d *Driver) join(ctx context.Context, u upload, parts []part, isNew bool) error {
	done := make([]types.CompletedPart, len(parts))
	for i, p := range parts {
		done[i] = types.CompletedPart{PartNumber: aws.Int32(int32(p.number)), ETag: aws.String(`"` + p.etag + `"`)}
	}
	in := &s3.CompleteMultipartUploadInput{
		Bucket: &d.options.Bucket, Key: &u.key, UploadId: &u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: done},
	}
	if isNew {
		in.IfNoneMatch = aws.String("*")
	}
	_, err := d.client.CompleteMultipartUpload(patiently(ctx, completePatience), in,
		func(o *s3.Options) { o.RetryMaxAttempts = joinAttempts })
	err = failure("complete a multipart upload", err)
	if isNew && answered(err, "NotImplemented") { // then without
		return d.join(ctx, u, parts, false)
	}
	return err
}

// parts lists what an upload has.
func (d *Driver) parts(ctx context.Context, key, upload string) ([]part, error) {
	var parts []part
	pages := s3.NewListPartsPaginator(d.client, &s3.ListPartsInput{Bucket: &d.options.Bucket, Key: &key, UploadId: &upload})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list parts", err)
		}
		for _, p := range page.Parts {
			parts = append(parts, part{int(aws.ToInt32(p.PartNumber)), aws.ToInt64(p.Size), strings.Trim(aws.ToString(p.ETag), `"`)})
		}
	}
	return parts, nil
}

// upload is a multipart upload that is under way.
type upload struct{ key, id string }

// uploads lists the multipart uploads of keys that begin with a prefix.
func (d *Driver) uploads(ctx context.Context, prefix string) ([]upload, error) {
	var all []upload
	pages := s3.NewListMultipartUploadsPaginator(d.client, &s3.ListMultipartUploadsInput{Bucket: &d.options.Bucket, Prefix: &prefix})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, failure("list multipart uploads", err)
		}
		for _, u := range page.Uploads {
			all = append(all, upload{aws.ToString(u.Key), aws.ToString(u.UploadId)})
		}
	}
	return all, nil
}

const (
	abortTries = 10
	abortPause = 100 * time.Millisecond
)

// abort ends all multipart uploads of a key. What was being sent when an
// upload was aborted may be stored all the same, a moment later, so it is done
// again until S3 knows none.
func (d *Driver) abort(ctx context.Context, key string) error {
	for try := 1; ; try++ {
		found, err := d.uploads(ctx, key)
		if err != nil {
			return err
		}
		left := 0
		for _, u := range found {
			if u.key != key {
				continue // of a longer key
			}
			left++
			if err := d.abortOne(ctx, u); err != nil {
				return err
			}
		}
		if left == 0 {
			return nil
		}
		if try == abortTries {
			return fmt.Errorf("abort a multipart upload: S3 still has it after %d times", try)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * abortPause):
		}
	}
}

// abortOne aborts an upload until S3 does not know its parts.
func (d *Driver) abortOne(ctx context.Context, u upload) error {
	for range 2 {
		_, err := d.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &d.options.Bucket, Key: &u.key, UploadId: &u.id})
		if err = failure("abort a multipart upload", err); err == nil {
			_, err = d.parts(ctx, u.key, u.id)
		}
		if gone(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil // whoever lists the uploads sees it again
}

// random returns a name that nobody else has.
func random() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
