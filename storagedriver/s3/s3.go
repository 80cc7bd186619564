// Package s3 keeps objects in a bucket of S3, or of a server that speaks its
// protocol. docs/format/layout.md describes the keys and what a crash leaves.
//
//	<prefix>objects/<locator>       objects
//	<prefix>staging/<id>/<random>   ends of staged objects, shorter than a part
//	<prefix>staging/<id>/multipart  says that a multipart upload is, or was, under way
//	<prefix>owner                   says whose all this is
//
// Long staged objects are multipart uploads of their final key, so that nothing
// is copied when they are published. Several processes may use one bucket and
// prefix. Ids are expected to be random and used once: Stage drops what this
// process knows of an id, and does not ask the bucket for more.
package s3

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/s3"

	"artifactstore/storagedriver"
)

// Options configure a Driver. The zero value of every field but Bucket is good.
type Options struct {
	// Bucket has to be there. Prefix is put before every key, with a slash
	// behind it if it has none.
	Bucket, Prefix string
	// Region is us-east-1 if empty.
	Region string
	// Endpoint is the URL of a server that is not AWS. PublicEndpoint is where
	// clients reach it, for redirects, if they do so at another address.
	Endpoint, PublicEndpoint string
	// PathStyle puts the bucket into the path of URLs instead of the host name.
	PathStyle bool
	// StorageClass of objects; that of staged bytes is the bucket's default.
	StorageClass string
	// SSE is the server-side encryption: "", AES256 or aws:kms, the latter
	// with the key SSEKMSKeyID, or the account's own one.
	SSE, SSEKMSKeyID string
	// AccessKeyIDFile and SecretAccessKeyFile hold the credentials. They are
	// read again when they change, and when S3 refuses what they held. Without
	// them the SDK looks where it always does, in the profile Profile.
	AccessKeyIDFile, SecretAccessKeyFile, Profile string
	// PartSize is the size of the first parts: 8 MiB, and 5 MiB at least.
	PartSize int64
	// Concurrency is how many parts of one staged object are sent at once: 4.
	Concurrency int
	// Memory is how many bytes of parts are kept in memory for all staged
	// objects together: 32 MiB. What finds no room is kept in Spool.
	Memory int64
	// Spool is the folder for temporary files; the system's if empty.
	Spool string
	// Redirect says which objects clients fetch from S3 themselves.
	Redirect Redirect
	// Log gets what goes wrong behind nobody's request; nil is nowhere.
	Log *slog.Logger
}

// Redirect says which objects clients fetch from S3 themselves.
type Redirect int64

const (
	// Never redirects.
	Never Redirect = 0
	// Always redirects, but for objects without bytes.
	Always Redirect = 1
)

// Above redirects to objects of more than n bytes.
func Above(n int64) Redirect { return Redirect(n + 1) }

const (
	objectsFolder = "objects/"
	stagingFolder = "staging/"
	byID          = "id/" // no driver's locators begin so: copied ones do not meet ours
	guardName     = "multipart"

	minPartSize     = 5 << 20 // of S3, for all parts but the last
	defaultPartSize = 8 << 20
	defaultMemory   = 32 << 20
	defaultFlights  = 4
	defaultRegion   = "us-east-1"
)

// Driver keeps objects in a bucket. It is safe for concurrent use.
type Driver struct {
	options Options
	client  *s3.Client
	public  *s3.PresignClient
	pool    *pool
	flights chan struct{} // parts in flight, of all staged objects
	memory  memory
	health  health
	log     *slog.Logger
	close   func()
}

var (
	_ storagedriver.Driver     = (*Driver)(nil)
	_ storagedriver.Lister     = (*Driver)(nil)
	_ storagedriver.Persistent = (*Driver)(nil)
	_ storagedriver.Linker     = (*Driver)(nil)
	_ storagedriver.Placer     = (*Driver)(nil)
	_ storagedriver.Walker     = (*Driver)(nil)
	_ storagedriver.Owned      = (*Driver)(nil)
	_ storagedriver.Releaser   = (*Driver)(nil)
	_ storagedriver.Holder     = (*stage)(nil)
	_ storagedriver.Sized      = (*reader)(nil)
)

// Open connects to a bucket and looks whether it is there. The errors say what
// an operator has to change; no error of this package holds a secret.
func Open(ctx context.Context, o Options) (*Driver, error) {
	if err := o.complete(); err != nil {
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	c, err := connect(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx)) // until Close
	d := &Driver{
		options: o,
		client:  c.own,
		public:  c.public,
		pool:    newPool(o.Memory, o.Spool),
		flights: make(chan struct{}, 16*o.Concurrency),
		log:     o.Log,
	}
	d.memory.init(d.pool)
	d.health.init(running, d.ask, o.Log)
	d.close = func() {
		cancel()
		d.health.wait()
		d.memory.clear()
		c.http.CloseIdleConnections()
	}
	if err := d.try(ctx); err != nil {
		d.close()
		return nil, fmt.Errorf("open S3 store: %w", err)
	}
	d.health.answer(nil)
	return d, nil
}

// try looks whether temporary files can be made, and the bucket is there.
func (d *Driver) try(ctx context.Context) error {
	b, err := d.pool.buffer(true)
	if err != nil {
		return err
	}
	b.free()
	if err := d.ask(ctx); err != nil {
		return d.advise(err)
	}
	return nil
}

// Close forgets what is held in this process. Nothing may be in use.
func (d *Driver) Close() error {
	d.close()
	return nil
}

// complete fills in what was left out and refuses what cannot be.
func (o *Options) complete() error {
	if o.Bucket == "" {
		return errors.New("no bucket is configured")
	}
	o.Prefix = folder(o.Prefix)
	if strings.HasPrefix(o.Prefix, "/") || strings.Contains(o.Prefix, "//") || strings.Contains("/"+o.Prefix, "/../") ||
		strings.Contains("/"+o.Prefix, "/./") || len(o.Prefix) > 512 {
		return fmt.Errorf("prefix %.100q: want names with a slash between them, up to 512 bytes", o.Prefix)
	}
	for _, endpoint := range []string{o.Endpoint, o.PublicEndpoint} {
		if err := checkEndpoint(endpoint); err != nil {
			return err
		}
	}
	switch {
	case (o.AccessKeyIDFile == "") != (o.SecretAccessKeyFile == ""):
		return errors.New("the files of the access key id and of the secret access key are needed both, or neither")
	case o.SSE != "" && o.SSE != "AES256" && o.SSE != "aws:kms":
		return fmt.Errorf("server-side encryption %q: want AES256 or aws:kms", o.SSE)
	case o.SSEKMSKeyID != "" && o.SSE != "aws:kms":
		return errors.New("a KMS key needs the server-side encryption aws:kms")
	case o.PartSize != 0 && (o.PartSize < minPartSize || o.PartSize > maxPartSize):
		return fmt.Errorf("parts of %d bytes: S3 wants from 5 MiB to 5 GiB", o.PartSize)
	case o.Concurrency < 0 || o.Concurrency > 1000:
		return fmt.Errorf("%d parts at once: want from 1 to 1000", o.Concurrency)
	case o.Memory < 0:
		return fmt.Errorf("memory of %d bytes", o.Memory)
	}
	o.Region = either(o.Region, defaultRegion)
	o.PartSize = either(o.PartSize, defaultPartSize)
	o.Concurrency = either(o.Concurrency, defaultFlights)
	o.Memory = either(o.Memory, defaultMemory)
	o.Spool = either(o.Spool, os.TempDir())
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// either returns value unless it is zero.
func either[T comparable](value, otherwise T) T {
	var zero T
	if value == zero {
		return otherwise
	}
	return value
}

func checkEndpoint(endpoint string) error {
	if endpoint == "" {
		return nil
	}
	u, err := url.Parse(endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.RawQuery != "" {
		return errors.New("an endpoint is no URL such as https://s3.example.org (without a user and a query)")
	}
	return nil
}

// StagedPersists is true: what was saved is in the bucket.
func (d *Driver) StagedPersists() bool { return true }

// Locate returns "id/<ab>/<id>", ab being the first two characters of the id.
func (d *Driver) Locate(id, _ string) string { return locate(id) }

func locate(id string) string { return byID + id[:min(2, len(id))] + "/" + id }

// idOf is the id whose locator is given, "" if there is none.
func idOf(locator string) string {
	id := locator[strings.LastIndexByte(locator, '/')+1:]
	if storagedriver.CheckID(id) != nil || locate(id) != locator {
		return ""
	}
	return id
}

// Key is the key of an object, for a prefix as in Options.
func Key(prefix, locator string) string { return folder(prefix) + objectsFolder + locator }

// folder is a prefix with the slash behind it.
func folder(prefix string) string {
	if prefix == "" || strings.HasSuffix(prefix, "/") {
		return prefix
	}
	return prefix + "/"
}

func (d *Driver) objectKey(locator string) string { return d.options.Prefix + objectsFolder + locator }

func (d *Driver) stagedFolder(id string) string { return d.options.Prefix + stagingFolder + id + "/" }

// check is what every method on a staged object begins with.
func check(ctx context.Context, id string) error {
	if err := storagedriver.CheckID(id); err != nil {
		return err
	}
	return ctx.Err()
}

// checkLocator is what every method on an object begins with.
func checkLocator(ctx context.Context, locator string) error {
	if err := storagedriver.CheckLocator(locator); err != nil {
		return err
	}
	return ctx.Err()
}
