package s3_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"go.uber.org/goleak"

	"artifactstore/conformance/harness"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/s3"
)

const blake3 = "00ab54a98ceb1f0ad2000000000000000000000000000000000000000000beef"

// TestMain fails if a driver leaves goroutines behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

// TestDriver runs the suite. Its object of 5 GiB makes the server write twice as
// much; large parts, which find room in memory, keep that from being more.
func TestDriver(t *testing.T) {
	server := harness.StartS3(t)
	drivertest.Run(t,
		func(t *testing.T) storagedriver.Driver {
			o := options(t, server)
			o.Bucket, o.PartSize, o.Memory = server.NewBucket(t), 64<<20, 512<<20
			return bucket{open(t, o), o}
		},
		func(t *testing.T, old storagedriver.Driver) storagedriver.Driver {
			o := old.(bucket).options
			return bucket{open(t, o), o}
		})
}

// random returns n bytes that are the same for the same seed.
func random(n int, seed uint64) []byte {
	data := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed)}).Read(data) // never fails
	return data
}

// write writes data to a stage in pieces.
func write(s storagedriver.Stage, data []byte) error {
	for piece := range slices.Chunk(data, 1<<20) {
		if _, err := s.Write(piece); err != nil {
			return err
		}
	}
	return nil
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

// only expects a bucket with objects at these locators and nothing else, no
// multipart upload either.
func only(t testing.TB, server *harness.S3, bucket string, locators ...string) {
	t.Helper()
	if uploads := server.Uploads(t, bucket); len(uploads) > 0 {
		t.Errorf("multipart uploads are left: %v", uploads)
	}
	keys := make([]string, len(locators))
	for i, locator := range locators {
		keys[i] = "objects/" + locator
	}
	slices.Sort(keys)
	if have := server.Keys(t, bucket); !slices.Equal(have, keys) {
		t.Errorf("the bucket has %v, want %v", have, keys)
	}
}

// readStaged reads staged bytes.
func readStaged(ctx context.Context, d storagedriver.Driver, id string, state []byte, size int) ([]byte, error) {
	r, err := d.OpenStaged(ctx, id, state, int64(size))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(r)
	return data, errors.Join(err, r.Close())
}
