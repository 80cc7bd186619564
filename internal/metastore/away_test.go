package metastore_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestDatabaseIsAwayUntilItIsThere: reading says so at once, changes wait for a
// while and then are refused, and the store knows of it all the time, also
// between one change that was refused and the next.
func TestDatabaseIsAwayUntilItIsThere(t *testing.T) {
	if !onPostgres {
		return // a file is not away
	}
	t.Parallel() // it waits most of the time
	server := harness.StartPrivatePostgres(t)
	log := slog.New(slog.DiscardHandler)
	s, err := metastore.OpenPostgres(t.Context(), postgres.Options{DSN: server.DSN(), ConnectTimeout: 2 * time.Second, Log: log},
		metastore.Node{Name: "test"}, metastore.Options{Log: log})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.Migrate(t.Context(), nil))
	change := func(name string) error {
		return s.Update(t.Context(), caller, registry.Keys{Repositories: []string{name}}, func(registry.View) (*registry.Change, error) {
			return &registry.Change{Entries: []registry.Entry{{Fact: &fact.RepositoryCreated{Repository: name}}}}, nil
		})
	}
	must(t, change("before"))
	must(t, server.Kill())

	reads := map[string]func(context.Context) error{
		"Read":   func(ctx context.Context) error { return s.Read(ctx, registryView) },
		"Object": func(ctx context.Context) error { _, err := s.Object(ctx, 1); return err },
		"Head":   func(ctx context.Context) error { _, err := s.Events().Head(ctx); return err },
		"Cursor": func(ctx context.Context) error { _, err := s.Cursor(ctx, "x"); return err },
	}
	for name, read := range reads {
		if err := read(t.Context()); !errors.Is(err, fact.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"one", "two"} {
		if err := change(name); !errors.Is(err, fact.ErrUnavailable) || errors.Is(err, registry.ErrUnknown) {
			t.Errorf("a change: %v", err)
		}
		if err := s.Healthy(); !errors.Is(err, fact.ErrUnavailable) {
			t.Errorf("after a change that was refused the store says: %v", err)
		}
	}
	must(t, server.Start())
	for deadline := time.Now().Add(30 * time.Second); s.Healthy() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(s.Healthy())
		}
	}
	must(t, change("after"))
	if head, err := s.Events().Head(t.Context()); err != nil || head.Sequence != 2 {
		t.Errorf("the log ends with %d (%v)", head.Sequence, err)
	}
}

func registryView(v registry.View) error {
	_, err := v.RepositoryExists("before")
	return err
}

// TestDatabaseThatDoesNotAnswerIsNotWaitedForByReaders: what stands in the way may
// stay there.
func TestDatabaseThatDoesNotAnswerIsNotWaitedForByReaders(t *testing.T) {
	if !onPostgres {
		return // a file always answers
	}
	t.Parallel() // it waits most of the time
	server := harness.StartPostgres(t)
	log := slog.New(slog.DiscardHandler)
	s, err := metastore.OpenPostgres(t.Context(), postgres.Options{DSN: server.DSN(), ConnectTimeout: time.Second, StatementTimeout: time.Second, Log: log},
		metastore.Node{Name: "test"}, metastore.Options{Log: log})
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.Migrate(t.Context(), nil))
	other, err := postgres.Open(t.Context(), postgres.Options{DSN: server.DSN(), Log: log})
	must(t, err)
	t.Cleanup(func() { _ = other.Close() })
	must(t, other.Writer().Begin(false))
	must(t, other.Writer().Exec("LOCK TABLE repositories IN ACCESS EXCLUSIVE MODE"))
	if err := s.Read(t.Context(), registryView); !errors.Is(err, fact.ErrUnavailable) || !strings.Contains(err.Error(), "database.statement_timeout") {
		t.Errorf("Read gave %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := s.Read(ctx, registryView); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Read of one who waits for less gave %v", err)
	}
	must(t, other.Writer().Rollback())
	must(t, s.Read(t.Context(), registryView))
}
