package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/config"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/filesystem"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/s3"
)

// home is where a configuration keeps a store: its database and its objects.
type home struct {
	*config.Config
	folder folder
	// logOnly: nothing is done with objects, so that it does not matter who
	// has them.
	logOnly bool
}

func homeOf(c *config.Config) home { return home{Config: c, folder: folder{c.Data}} }

// logOf is the home of a store for what has to do with its database alone.
func logOf(c *config.Config) home { return home{Config: c, folder: folder{c.Data}, logOnly: true} }

// shared: other nodes may have the database open.
func (h home) shared() bool { return h.Database.Driver == config.OnPostgreSQL }

// inFolder: something of it is in the data folder.
func (h home) inFolder() bool {
	return !h.shared() || !h.logOnly && h.Storage.Driver == config.InFilesystem
}

// String is the home in messages.
func (h home) String() string {
	if !h.shared() {
		return h.folder.path
	}
	return "the database of " + h.source()
}

// source names what says which database it is.
func (h home) source() string {
	if h.Database.DSNFile != "" {
		return h.Database.DSNFile
	}
	return "database.dsn"
}

// keeps says where everything is kept, for people.
func (h home) keeps() string {
	path, err := filepath.Abs(h.folder.path)
	if err != nil {
		path = h.folder.path
	}
	if !h.shared() && h.Storage.Driver == config.InFilesystem {
		return "its data in " + path
	}
	database := "its database in " + path
	if h.shared() {
		database = "its data in PostgreSQL"
	}
	switch h.Storage.Driver {
	case config.InS3:
		return database + " and in bucket " + h.S3.Bucket
	case config.InMemory:
		return database + ", and objects in memory: THEY ARE LOST WHEN IT STOPS"
	}
	return database + " and its objects in " + path
}

// claim takes the lock of the data folder, if something is kept there. With
// create it makes the folder first if it is missing.
func (h home) claim(create bool) (unlock func() error, err error) {
	if !h.inFolder() {
		return func() error { return nil }, nil
	}
	if create {
		if err := h.folder.make(); err != nil {
			return nil, err
		}
	} else if !h.shared() {
		if _, err := existing(h.folder.path); err != nil {
			return nil, err
		}
	}
	return h.folder.lock()
}

// openLedger opens the database, and becomes one of its nodes if it is shared.
// A file is migrated; a shared database only is with migrate, since older nodes
// may be at work. progress, if it is not nil, is told of each step.
func (h home) openLedger(ctx context.Context, o metastore.Options, migrate bool, progress func(metastore.Migration)) (*metastore.Store, error) {
	open := func() (*metastore.Store, error) { return metastore.Open(ctx, h.folder.database(), o) }
	wrap := h.folder.toWrite
	if h.shared() {
		open = func() (*metastore.Store, error) { return h.openPostgres(ctx, o) }
		wrap = func(err error) error { return err }
	}
	ledger, err := open()
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", h, wrap(advise(err)))
	}
	if h.shared() && !migrate {
		return ledger, nil
	}
	if err := ledger.Migrate(ctx, progress); err != nil {
		return nil, errors.Join(h.explainMigration(err), ledger.Close())
	}
	return ledger, nil
}

// explainMigration adds to the failure of a migration what the operator can do
// about it.
func (h home) explainMigration(err error) error {
	err = fmt.Errorf("migrate the store in %s: %w", h, advise(err))
	if _, ok := errors.AsType[*eventlog.Fault](err); ok {
		return fmt.Errorf("%w; the log is damaged: restore a backup; if nothing was changed, the older version can still serve the store", err)
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%w; it was interrupted and goes on when this is run again", err)
	}
	return err
}

// openToRead opens the database beside whoever writes to it.
func (h home) openToRead(ctx context.Context) (*metastore.Store, error) {
	o := metastore.Options{ReadOnly: true}
	if h.shared() {
		ledger, err := h.openPostgres(ctx, o)
		if err != nil {
			return nil, fmt.Errorf("open the store in %s: %w", h, advise(err))
		}
		return ledger, nil
	}
	if _, err := existing(h.folder.path); err != nil {
		return nil, err
	}
	ledger, err := metastore.Open(ctx, h.folder.database(), o)
	if err != nil {
		return nil, fmt.Errorf("open the store in %s: %w", h, h.folder.toRead(advise(err)))
	}
	return ledger, nil
}

func (h home) openPostgres(ctx context.Context, o metastore.Options) (*metastore.Store, error) {
	dsn, err := h.Database.Source()
	if err != nil {
		return nil, err
	}
	node, err := h.node(o.ReadOnly)
	if err != nil {
		return nil, err
	}
	return metastore.OpenPostgres(ctx, postgres.Options{
		DSN:              dsn,
		MaxConnections:   h.Database.MaxConnections,
		ConnectTimeout:   time.Duration(h.Database.ConnectTimeout),
		StatementTimeout: time.Duration(h.Database.StatementTimeout),
		Name:             "artifactstore " + node.Name,
	}, node, o)
}

// node is this process among those that share the database.
func (h home) node(readOnly bool) (metastore.Node, error) {
	n := metastore.Node{Name: h.Node.Name, Rules: h.Rules()}
	n.Version, _ = buildVersion()
	if n.Name == "" {
		name, err := os.Hostname()
		if err != nil {
			return n, fmt.Errorf("find the name of this machine: %w; set node.name", err)
		}
		n.Name = name
	}
	if readOnly || h.logOnly {
		return n, nil
	}
	n.Place = config.Place()
	if h.Storage.Driver != config.InFilesystem {
		return n, nil
	}
	id, err := h.folder.id()
	n.Files = id
	return n, err
}

// openOwned opens where objects are kept, and sees that they are those of a log:
// what would be cleaned up there as nobody's may be what another store lives on.
// Unless it is readOnly, a place that is nobody's is the log's from now on.
func (h home) openOwned(ctx context.Context, log eventlog.Reader, readOnly bool, notes *slog.Logger) (_ storagedriver.Driver, _ func() error, err error) {
	driver, closeDriver, err := h.openObjects(ctx, readOnly, notes)
	if err != nil {
		return nil, nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeDriver())
		}
	}()
	owned, ok := storagedriver.Find[storagedriver.Owned](driver)
	if !ok {
		return driver, closeDriver, nil
	}
	head, err := log.Head(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("open the store in %s: %w", h, err)
	}
	var owner string
	if readOnly {
		owner, err = owned.Owner(ctx)
	} else {
		owner, err = owned.Own(ctx, head.Log, "")
	}
	if err != nil {
		return nil, nil, fmt.Errorf("find out whose the objects in %s are: %w", h.objects(), err)
	}
	if owner != "" && owner != head.Log {
		return nil, nil, h.foreign(head.Log, owner)
	}
	return driver, closeDriver, nil
}

// foreign says that the objects are those of another log, and what to do.
func (h home) foreign(log, owner string) error {
	mark := filepath.Join(h.folder.store(), filesystem.OwnerName)
	instead := "put the database back that belongs to it, or name another folder"
	if h.Storage.Driver == config.InS3 {
		mark = fmt.Sprintf("the object %s of bucket %s", s3.OwnerKey(h.S3.Prefix), h.S3.Bucket)
		instead = "correct bucket, prefix or database, or name a prefix that nothing uses"
	}
	return fmt.Errorf("the objects in %s are those of another store, of log %s; the log of %s is %s; %s; "+
		"if the other store is gone for good, remove %s and start again", h.objects(), owner, h, log, instead, mark)
}

// objects names the place of objects, for people.
func (h home) objects() string {
	switch {
	case h.Storage.Driver != config.InS3:
		return h.folder.store()
	case h.S3.Prefix == "":
		return "bucket " + h.S3.Bucket
	}
	return fmt.Sprintf("prefix %s of bucket %s", h.S3.Prefix, h.S3.Bucket)
}

// openObjects opens where objects are kept, whosever they are.
func (h home) openObjects(ctx context.Context, readOnly bool, log *slog.Logger) (storagedriver.Driver, func() error, error) {
	switch h.Storage.Driver {
	case config.InS3:
		c := h.S3
		d, err := s3.Open(ctx, s3.Options{
			Bucket: c.Bucket, Prefix: c.Prefix, Region: c.Region, Endpoint: c.Endpoint, PublicEndpoint: c.PublicEndpoint,
			PathStyle: c.PathStyle, StorageClass: c.StorageClass, SSE: string(c.SSE), SSEKMSKeyID: c.SSEKMSKeyID,
			AccessKeyIDFile: c.AccessKeyIDFile, SecretAccessKeyFile: c.SecretAccessKeyFile, Profile: c.Profile,
			PartSize: int64(c.PartSize), Concurrency: c.Concurrency, Memory: int64(c.Memory), Spool: c.Spool,
			Redirect: s3.Redirect(c.Redirect), Log: log,
		})
		if err != nil {
			return nil, nil, fmt.Errorf("open bucket %s: %w", c.Bucket, err)
		}
		return d, d.Close, nil
	case config.InMemory:
		return memory.New(memory.Options{}), func() error { return nil }, nil
	}
	d, err := filesystem.Open(h.folder.store(), filesystem.Options{ReadOnly: readOnly})
	if err != nil {
		return nil, nil, fmt.Errorf("open the store of files: %w", err)
	}
	return d, d.Close, nil
}

// id identifies the folder, also when it is moved to another machine. It is
// made once; the folder's lock is held.
func (f folder) id() (id string, err error) {
	root, err := os.OpenRoot(f.path)
	if err != nil {
		return "", fmt.Errorf("open data folder: %w", err)
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	if text, err := root.ReadFile(idName); err == nil && strings.TrimSpace(string(text)) != "" {
		return strings.TrimSpace(string(text)), nil
	}
	id = rand.Text()
	file, err := root.OpenFile(idName, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return "", fmt.Errorf("write the id of the data folder: %w", f.owned(err))
	}
	_, err = io.WriteString(file, id+"\n")
	if err = errors.Join(err, file.Sync(), file.Close()); err != nil {
		return "", fmt.Errorf("write the id of the data folder: %w", err)
	}
	return id, nil
}
