package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"artifactstore/storagedriver"
)

// Open asks S3 for the range. The reader knows the object's size
// (storagedriver.Sized), and asks for the rest when a connection breaks.
func (d *Driver) Open(ctx context.Context, locator string, offset, length int64) (io.ReadCloser, error) {
	if err := checkLocator(ctx, locator); err != nil {
		return nil, fmt.Errorf("open object: %w", err)
	}
	r, err := d.open(ctx, d.objectKey(locator), offset, length)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", locator, err)
	}
	return r, nil
}

// maxOffset is beyond every object of S3, and far from an overflow.
const maxOffset = 1 << 50

func (d *Driver) open(ctx context.Context, key string, offset, length int64) (*reader, error) {
	ask := length != 0 && 0 <= offset && offset < maxOffset && -1 <= length && length < maxOffset
	if !ask {
		return d.openNothing(ctx, key, offset, length)
	}
	r := &reader{d: d, ctx: ctx, key: key, at: offset}
	out, err := d.get(ctx, key, byteRange(offset, length), "")
	if answered(err, "InvalidRange") {
		return d.openNothing(ctx, key, offset, length)
	}
	if err != nil {
		return nil, err
	}
	if r.size, err = whole(out, offset, length); err == nil {
		length, err = storagedriver.CheckRange(r.size, offset, length)
	}
	if err != nil {
		return nil, errors.Join(err, out.Body.Close())
	}
	r.body, r.etag, r.end = out.Body, aws.ToString(out.ETag), offset+length
	return r, nil
}

// openNothing is for ranges that S3 has no form for: those without bytes, and
// those outside the object.
func (d *Driver) openNothing(ctx context.Context, key string, offset, length int64) (*reader, error) {
	size, err := d.size(ctx, key)
	if err == nil {
		length, err = storagedriver.CheckRange(size, offset, length)
	}
	if err == nil && length > 0 {
		err = fmt.Errorf("S3 refuses %d bytes from %d in %d", length, offset, size)
	}
	if err != nil {
		return nil, err
	}
	return &reader{d: d, key: key, at: offset, end: offset, size: size, body: io.NopCloser(strings.NewReader(""))}, nil
}

// byteRange is a range as HTTP writes it, "" for everything.
func byteRange(offset, length int64) string {
	switch {
	case length < 0 && offset == 0:
		return ""
	case length < 0:
		return fmt.Sprintf("bytes=%d-", offset)
	default:
		return fmt.Sprintf("bytes=%d-%d", offset, offset+length-1)
	}
}

// whole is the size of the object that an answer is a range of.
func whole(out *s3.GetObjectOutput, offset, length int64) (int64, error) {
	if byteRange(offset, length) == "" {
		return aws.ToInt64(out.ContentLength), nil
	}
	text := aws.ToString(out.ContentRange) // bytes 0-9/100
	head, total, _ := strings.Cut(text, "/")
	size, err := strconv.ParseInt(total, 10, 64)
	if err != nil || !strings.HasPrefix(head, fmt.Sprintf("bytes %d-", offset)) {
		return 0, fmt.Errorf("S3 answered a range from %d with %.60q", offset, text)
	}
	return size, nil
}

// Size asks for the object's size.
func (d *Driver) Size(ctx context.Context, locator string) (int64, error) {
	if err := checkLocator(ctx, locator); err != nil {
		return 0, fmt.Errorf("size of object: %w", err)
	}
	size, err := d.size(ctx, d.objectKey(locator))
	if err != nil {
		return 0, fmt.Errorf("size of %s: %w", locator, err)
	}
	return size, nil
}

// Delete removes an object.
func (d *Driver) Delete(ctx context.Context, locator string) error {
	if err := checkLocator(ctx, locator); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if err := d.remove(ctx, d.objectKey(locator)); err != nil {
		return fmt.Errorf("delete %s: %w", locator, err)
	}
	return nil
}

// OpenStaged reads the end where it is. What has parts is completed first,
// since S3 lets nobody read parts; after that it cannot be resumed.
func (d *Driver) OpenStaged(ctx context.Context, id string, saved []byte, size int64) (io.ReadCloser, error) {
	if err := check(ctx, id); err != nil {
		return nil, fmt.Errorf("open staged object: %w", err)
	}
	unlock, err := d.memory.lock(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("open staged object %s: %w", id, err)
	}
	defer unlock()
	r, err := d.openStaged(ctx, id, saved, size)
	if err != nil {
		return nil, fmt.Errorf("open staged object %s: %w", id, err)
	}
	return r, nil
}

func (d *Driver) openStaged(ctx context.Context, id string, saved []byte, size int64) (io.ReadCloser, error) {
	st, err := d.stateAt(id, saved, size)
	if err != nil {
		return nil, err
	}
	if st.upload == "" {
		end, err := d.fetchEnd(ctx, id, st, size)
		if err != nil {
			return nil, err
		}
		return &endReader{end.reader(size), end}, nil
	}
	key := d.objectKey(locate(id))
	if err := d.seal(ctx, id, key, st, size); err != nil {
		return nil, err
	}
	return d.open(ctx, key, 0, size)
}

// endReader reads a buffer and frees it.
type endReader struct {
	*io.SectionReader
	buffer *buffer
}

func (r *endReader) Close() error {
	r.buffer.free()
	r.buffer = nil
	return nil
}

// resumes is how often in a row a reader asks again without getting a byte.
const resumes = 3

// reader reads a range of an object.
type reader struct {
	d     *Driver
	ctx   context.Context // of Open: it ends reading, too
	key   string
	etag  string
	size  int64
	at    int64 // where the next byte is
	end   int64
	body  io.ReadCloser
	tries int
}

// ObjectSize implements storagedriver.Sized.
func (r *reader) ObjectSize() int64 { return r.size }

// Read ends with io.EOF after all bytes of the range, and with nothing else.
func (r *reader) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for r.at < r.end {
		if r.body == nil {
			return 0, fmt.Errorf("read object: %w", errClosed)
		}
		n, err := r.body.Read(p[:min(int64(len(p)), r.end-r.at)])
		r.at += int64(n)
		if n > 0 {
			r.tries = 0
			return n, nil // an error comes back with the next read
		}
		if err == nil {
			continue
		}
		if err := r.again(err); err != nil {
			return 0, err
		}
	}
	return 0, io.EOF
}

// again asks for the rest after a connection broke.
func (r *reader) again(broke error) error {
	if err := r.ctx.Err(); err != nil {
		return fmt.Errorf("read object: %w", err)
	}
	r.tries++
	if r.tries > resumes {
		return fmt.Errorf("read object: %w: %w", io.ErrUnexpectedEOF, failure("after some tries", broke))
	}
	out, err := r.d.get(r.ctx, r.key, byteRange(r.at, r.end-r.at), r.etag)
	if err != nil {
		return fmt.Errorf("read object on from byte %d: %w", r.at, err)
	}
	if _, err = whole(out, r.at, r.end-r.at); err != nil {
		return errors.Join(err, out.Body.Close())
	}
	_ = r.body.Close() // it broke
	r.body = out.Body
	return nil
}

func (r *reader) Close() error {
	if r.body == nil {
		return nil
	}
	body := r.body
	r.body = nil
	_ = body.Close() // what was not read is not wanted
	return nil
}
