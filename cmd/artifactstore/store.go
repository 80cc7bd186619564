package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/internal/config"
	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/storagedriver"
)

// storeOfFiles is the logical name, in receipts, of the store of objects,
// whichever driver has them. It is part of the format of the log: see
// docs/format/layout.md.
const storeOfFiles = "files"

// store is everything behind the front door, over one data folder.
type store struct {
	registry *registry.Registry
	ledger   *metastore.Store
	plane    *dataplane.Plane
	watch    *watch         // nil if nobody does
	scrub    config.Scrub   // how fast, and how often
	readOnly bool           // it was opened to be looked at
	held     *budget.Share  // memory that is held at the pace of clients
	closers  []func() error // in the order of opening
}

// openStore opens the store that a configuration names; one in a data folder is
// made if it is missing, and migrated. It holds the lock of the folder until close.
func openStore(ctx context.Context, c *config.Config, log *slog.Logger, w *watch) (_ *store, err error) {
	s := &store{watch: w}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	h := homeOf(c)
	unlock, err := h.claim(true)
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, unlock)
	o := w.batches(metastore.Options{Log: log})
	o.Refill = everyNow(10*time.Second, func(what string, done, total eventlog.Sequence) {
		log.Info("migrating", "step", what, "events", done, "of", total)
	})
	s.ledger, err = h.openLedger(ctx, o, false, func(m metastore.Migration) {
		log.Info("migrating", "version", m.Version, "migration", m.Name)
	})
	if err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.ledger.Close)
	return s, s.openRegistry(ctx, h, false, log)
}

// openInside opens the store to look at it, beside a server or without one:
// nothing is changed, and nothing locked. With logOnly there is nothing but the
// log, which needs no views.
func openInside(ctx context.Context, c *config.Config, logOnly bool, log *slog.Logger) (_ *store, err error) {
	s := &store{readOnly: true}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	h := homeOf(c)
	if s.ledger, err = h.openToRead(ctx); err != nil {
		return nil, err
	}
	s.closers = append(s.closers, s.ledger.Close)
	if err := s.ledger.Healthy(); logOnly && (err == nil || errors.Is(err, metastore.ErrRebuild)) {
		return s, nil
	}
	return s, s.openRegistry(ctx, h, true, log)
}

// openRegistry puts the registry on top of the ledger.
func (s *store) openRegistry(ctx context.Context, h home, readOnly bool, log *slog.Logger) error {
	if err := s.ledger.Healthy(); err != nil {
		return fmt.Errorf("open the store in %s: %w", h, advise(err))
	}
	driver, closeDriver, err := h.openOwned(ctx, s.ledger.Events(), readOnly, log)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, closeDriver)
	c := h.Config
	s.scrub = c.Scrub
	s.held = budget.NewShare(int64(c.Limits.MemoryBudget) / 4)
	memory := budget.New(int64(c.Limits.MemoryBudget) / 4 * 3)
	stores := map[string]storagedriver.Driver{storeOfFiles: s.watch.driver(storeOfFiles, driver)}
	s.plane, err = dataplane.New(stores, storeOfFiles, s.ledger, dataplane.Options{
		InlineLimit: int64(c.Storage.InlineLimit),
		MinFree:     int64(c.Storage.MinFree),
		Budget:      memory,
		BootID:      bootID(),

		LinkLifetime: time.Duration(c.S3.RedirectExpiry),
	})
	if err != nil {
		return fmt.Errorf("open the data plane: %w", err)
	}
	s.registry, err = registry.New(ctx, s.watch.ledger(s.ledger), s.plane, registry.Options{
		AllowSparse:    c.Manifests.AllowSparse,
		DeleteDisabled: !c.Delete.Enabled,
		AllowErase:     c.Retention.Erase,
		UploadExpiry:   time.Duration(c.Uploads.Expire),
		SweepAfter:     time.Duration(c.Sweep.After),
		SweepGrace:     time.Duration(c.Sweep.Grace),
		EraseDelay:     time.Duration(c.Erase.Delay),
		MaxManifest:    int64(c.Manifests.MaxSize),
		Budget:         memory,
		Held:           s.held,
		Log:            log,
	})
	if err != nil {
		return fmt.Errorf("open the store in %s: %w", h, advise(err))
	}
	return nil
}

// bootID names this run of the machine. Where the system has no name for it
// each process is taken for a run of its own, which only costs reading staged
// bytes again.
func bootID() string {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id") // Linux: random(4)
	if err != nil || len(id) == 0 {
		return rand.Text()
	}
	return strings.TrimSpace(string(id))
}

// close closes everything in reverse order.
func (s *store) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

// ready returns why pushes would be refused now, or nil.
func (s *store) ready(ctx context.Context) error {
	return errors.Join(s.ledger.Healthy(), s.ledger.Fit(), s.registry.Ready(ctx))
}

// advise adds to the error of a store what the operator can do about it.
func advise(err error) error {
	switch {
	case errors.Is(err, metastore.ErrNewer):
		return fmt.Errorf("%w; use that version or a later one; nothing in the store was changed", err)
	case errors.Is(err, metastore.ErrEmpty):
		return fmt.Errorf("%w; 'artifactstore migrate' with this configuration makes one", err)
	case errors.Is(err, metastore.ErrOutdated):
		return fmt.Errorf("%w; run 'artifactstore migrate'", err)
	case errors.Is(err, metastore.ErrRefill):
		return fmt.Errorf("%w; wait for it, or run 'artifactstore migrate', which goes on where it was", err)
	case errors.Is(err, metastore.ErrRebuild):
		return fmt.Errorf("%w; run 'artifactstore rebuild'", err)
	}
	return err
}
