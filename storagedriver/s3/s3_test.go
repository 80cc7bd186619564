package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/s3"
)

const blake3 = "00ab54a98ceb1f0ad2000000000000000000000000000000000000000000beef"

// options are those of a driver of the server's bucket.
func options(t testing.TB, server *harness.S3) s3.Options {
	t.Helper()
	access, secret := server.CredentialFiles(t)
	return s3.Options{
		Bucket: server.Bucket, Endpoint: server.Endpoint, PathStyle: true,
		AccessKeyIDFile: access, SecretAccessKeyFile: secret, Spool: t.TempDir(),
	}
}

func open(t testing.TB, o s3.Options) *s3.Driver {
	t.Helper()
	d, err := s3.Open(t.Context(), o)
	harness.Must(t, err)
	t.Cleanup(func() { harness.Must(t, d.Close()) })
	return d
}

// bucket is a driver that knows how it was opened, to open it again.
type bucket struct {
	*s3.Driver
	options s3.Options
}

func TestDriver(t *testing.T) {
	server := harness.StartS3(t)
	for _, tt := range []struct {
		name   string
		change func(o *s3.Options)
	}{
		{"as it comes", func(o *s3.Options) { o.PartSize = 64 << 20; o.Memory = 512 << 20 }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			drivertest.Run(t,
				func(t *testing.T) storagedriver.Driver {
					o := options(t, server)
					o.Bucket = server.NewBucket(t)
					tt.change(&o)
					return bucket{open(t, o), o}
				},
				func(t *testing.T, old storagedriver.Driver) storagedriver.Driver {
					o := old.(bucket).options
					return bucket{open(t, o), o}
				})
		})
	}
}

// random returns n bytes that are the same for the same seed.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data) // never fails
	return data
}

// write writes data to a stage in pieces.
func write(s storagedriver.Stage, data []byte) error {
	for piece := range slicesOf(data, 1<<20) {
		if _, err := s.Write(piece); err != nil {
			return err
		}
	}
	return nil
}

func slicesOf(data []byte, n int) func(func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for len(data) > 0 {
			m := min(n, len(data))
			if !yield(data[:m]) {
				return
			}
			data = data[m:]
		}
	}
}

// stage stages data and saves it.
func stage(ctx context.Context, d storagedriver.Driver, id string, data []byte) ([]byte, error) {
	s, err := d.Stage(ctx, id)
	if err != nil {
		return nil, err
	}
	err = write(s, data)
	state, saved := s.Save(ctx)
	return state, errors.Join(err, saved, s.Close())
}

// publish publishes what was staged.
func publish(ctx context.Context, d storagedriver.Driver, id string, state []byte, size int) (string, error) {
	locator := d.Locate(id, blake3)
	return locator, d.Publish(ctx, id, state, int64(size), locator)
}

// holds expects an object of these bytes.
func holds(t testing.TB, d storagedriver.Driver, locator string, want []byte) {
	t.Helper()
	r, err := d.Open(t.Context(), locator, 0, -1)
	harness.Must(t, err)
	got, err := io.ReadAll(r)
	harness.Must(t, errors.Join(err, r.Close()))
	if !bytes.Equal(got, want) {
		t.Errorf("object differs: got %d bytes, want %d", len(got), len(want))
	}
}

// empty expects a bucket with these keys and no multipart upload.
func empty(t testing.TB, server *harness.S3, bucket string, keys ...string) {
	t.Helper()
	if uploads := server.Uploads(t, bucket); len(uploads) > 0 {
		t.Errorf("multipart uploads are left: %v", uploads)
	}
	have := server.Keys(t, bucket)
	if len(have) != len(keys) {
		t.Errorf("the bucket has %v, want %v", have, keys)
	}
}

// short is a context for what has to end soon.
func short(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
