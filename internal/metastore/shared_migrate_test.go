package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestSharedMigrationsRunOnce, whoever runs them.
func TestSharedMigrationsRunOnce(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	var stores []*store
	for range 5 {
		s, err := tryJoin(server, node{})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		stores = append(stores, s)
	}
	late, stores := stores[4], stores[:4]
	var all sync.WaitGroup
	for _, s := range stores {
		all.Go(func() {
			if err := s.Migrate(context.Background(), nil); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	must(t, late.Migrate(t.Context(), nil)) // nothing is left to do
	for i, s := range append(stores, late) {
		must(t, s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)})))
	}
	if got := server.SQL(t, "SELECT count(*) = max(version) FROM migrations"); got != "t" {
		t.Error("a migration is missing or ran twice")
	}
	sound(t, stores[0])
}

// TestSharedMigrationRunsBesideNodes that commit to the tables that it changes.
func TestSharedMigrationRunsBesideNodes(t *testing.T) {
	t.Parallel()
	a, _ := two(t)
	stop := make(chan struct{})
	var all sync.WaitGroup
	for c := range 4 {
		all.Go(func() { busy(t, a, c, stop, nil) })
	}
	const cursors = `DROP TABLE cursors;
CREATE TABLE cursors (
  name     TEXT    NOT NULL PRIMARY KEY,
  log      TEXT    NOT NULL,
  sequence INTEGER NOT NULL,
  chain    BLOB    NOT NULL
) STRICT;`
	newer := withMigration(t, metastore.Options{}, cursors)
	for range 8 {
		a.server.SQL(t, "DELETE FROM migrations WHERE name = 'injected'")
		s, err := tryJoin(a.server, node{Options: newer})
		must(t, err)
		if err := s.Healthy(); !errors.Is(err, metastore.ErrOutdated) {
			t.Errorf("before the migration: %v", err)
		}
		must(t, s.Migrate(t.Context(), nil))
		must(t, s.Close())
	}
	close(stop)
	all.Wait()
}

// busy uses a store until it is told to stop. Errors that wrap allowed are no
// failures, if it is not nil.
func busy(t *testing.T, s *store, client int, stop <-chan struct{}, allowed error) {
	must := func(err error) {
		if err != nil && (allowed == nil || !errors.Is(err, allowed)) {
			t.Errorf("beside a migration: %v", err)
		}
	}
	for i := 0; ; i++ {
		select {
		case <-stop:
			return
		default:
		}
		must(s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%d-%d", client, i)})))
		must(s.try(&registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen}}}))
		head, err := s.Events().Head(context.Background())
		must(err)
		must(s.SetCursor(context.Background(), fmt.Sprint("f", client), head.Cursor()))
	}
}

// TestSharedMigrationRefillsBesideNodes: several run it, of which one does it, while
// a node is at work. That one decides nothing by views that are not whole, and none
// of its changes is left out of them.
func TestSharedMigrationRefillsBesideNodes(t *testing.T) {
	t.Parallel()
	a, _ := two(t)
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	a.update(t, image("demo", "image", "", "", nil, "v1"))
	stop := make(chan struct{})
	var working, migrating sync.WaitGroup
	working.Go(func() { busy(t, a, 0, stop, metastore.ErrRebuild) })
	var filled atomic.Int64
	newer := withMigration(t, metastore.Options{}, refilling)
	newer.Refill = func(verified bool, done, total eventlog.Sequence) {
		if verified && done == total {
			filled.Add(1)
		}
	}
	for i := range 3 {
		s, err := tryJoin(a.server, node{Node: metastore.Node{Name: fmt.Sprint("newer", i)}, Options: newer})
		must(t, err)
		t.Cleanup(func() { _ = s.Close() })
		migrating.Go(func() {
			if err := errors.Join(s.Migrate(context.Background(), nil), s.Healthy()); err != nil {
				t.Error(err)
			}
			if err := s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprint("by newer", i)})); err != nil {
				t.Error(err)
			}
		})
	}
	migrating.Wait()
	if filled.Load() != 1 {
		t.Errorf("the views were filled %d times", filled.Load())
	}
	until(t, "the node goes on", func() bool { return a.Healthy() == nil })
	close(stop)
	working.Wait()
	if got := a.server.SQL(t, "SELECT created > 0 FROM repositories WHERE id = 1"); got != "t" {
		t.Errorf("the first repository was not refilled: %q", got)
	}
}

// TestSharedRefillOfADeadProcessIsTakenOver: its lease ends, and another one goes on.
func TestSharedRefillOfADeadProcessIsTakenOver(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	a := join(t, server, node{})
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	must(t, a.Close())
	server.SQL(t, "INSERT INTO state VALUES ('refill', 1); INSERT INTO state VALUES ('rebuild', 0); DELETE FROM repositories;"+
		"INSERT INTO leases VALUES ('refill', 'the dead', 7, (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 1000000)")
	s, err := tryJoin(server, node{})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Migrate(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("gave up with %v", err)
	}
	must(t, s.Migrate(t.Context(), nil))
	s.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
	sound(t, s)
}

// TestSharedOlderProgramStopsWhenTheFormatIsRaised: not a row of it is written.
func TestSharedOlderProgramStopsWhenTheFormatIsRaised(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	a := join(t, server, node{Node: metastore.Node{Name: "a"}})
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	server.SQL(t, "INSERT INTO migrations VALUES (9999, 'from the future', 0)")
	a.update(t, facts(&fact.RepositoryCreated{Repository: "while the head allows it"}))
	server.SQL(t, "UPDATE head SET format = 9999")
	before := server.SQL(t, "SELECT sequence, (SELECT count(*) FROM events), (SELECT max(seen) FROM nodes) FROM head")
	ran := false
	err := a.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		ran = true
		return facts(&fact.RepositoryCreated{Repository: "late"}), nil
	})
	if !errors.Is(err, metastore.ErrNewer) || errors.Is(err, registry.ErrUnknown) || ran {
		t.Errorf("a change was told %v, decided %v", err, ran)
	}
	if err := a.Healthy(); !errors.Is(err, metastore.ErrNewer) {
		t.Errorf("healthy: %v", err)
	}
	if after := server.SQL(t, "SELECT sequence, (SELECT count(*) FROM events), (SELECT max(seen) FROM nodes) FROM head"); after != before {
		t.Errorf("it was %s, and is %s", before, after)
	}
	must(t, a.Close())
}

// TestSharedKindsRaiseTheFormat, live and received.
func TestSharedKindsRaiseTheFormat(t *testing.T) {
	t.Parallel()
	a, _ := two(t)
	format := func(s *store) string { return s.server.SQL(t, "SELECT format FROM head") }
	a.server.SQL(t, "UPDATE head SET format = 1") // as in a store that an older program made
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	if got := format(a); got != "1" {
		t.Errorf("the format is %s before", got)
	}
	a.update(t, facts(&fact.EpochStarted{Log: head(t, a).Log}))
	a.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
	if got := format(a); got != "2" {
		t.Errorf("the format is %s after", got)
	}
	c := &store{Store: join(t, harness.StartPostgres(t), node{}).Store}
	founding, err := a.Founding(t.Context())
	must(t, err)
	must(t, c.Adopt(founding))
	must(t, c.Receive(t.Context(), whole(t, a, 100)))
	if _, err := c.Check(t.Context(), nil); err != nil {
		t.Error(err)
	}
	if h := head(t, c); h != head(t, a) {
		t.Errorf("received up to %+v", h)
	}
}

// TestSharedRebuildKeepsOthersOut: no node decides by views that are not whole,
// also one that opened the store since.
func TestSharedRebuildKeepsOthersOut(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	if err := a.Rebuild(t.Context(), nil); !errors.Is(err, metastore.ErrInUse) || !strings.Contains(err.Error(), "b") {
		t.Errorf("beside another node: %v", err)
	}
	a.server.SQL(t, "INSERT INTO state VALUES ('rebuild', 0)")
	ran := false
	err := b.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { ran = true; return nil, nil })
	if !errors.Is(err, metastore.ErrRebuild) || ran {
		t.Errorf("a change was told %v, decided %v", err, ran)
	}
	if err := b.Read(t.Context(), func(registry.View) error { return nil }); !errors.Is(err, metastore.ErrRebuild) {
		t.Errorf("a reader was told %v", err)
	}
	a.server.SQL(t, "DELETE FROM state WHERE name = 'rebuild'")
	until(t, "the views are used again", func() bool { return b.Healthy() == nil })
	must(t, b.try(facts(&fact.RepositoryCreated{Repository: "later"})))
	must(t, b.Close())
	must(t, a.Rebuild(t.Context(), nil))
	b.Store, err = b.opened(b.options)
	must(t, err)
}
