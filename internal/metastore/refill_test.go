package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// withMigration are options of a program that has one migration more.
func withMigration(t testing.TB, o metastore.Options, sql string) metastore.Options {
	t.Helper()
	files, err := fs.Glob(metastore.Schema, "schema/*.sql")
	must(t, err)
	all := fstest.MapFS{fmt.Sprintf("schema/%04d_injected.sql", len(files)+1): {Data: []byte(sql)}}
	for _, name := range files {
		text, err := fs.ReadFile(metastore.Schema, name)
		must(t, err)
		all[name] = &fstest.MapFile{Data: text}
	}
	return o.WithSchema(all)
}

// refilling is a migration that leaves nothing as the log says.
var refilling = fmt.Sprintf(`-- refill format %d
-- It is longer than a line.
DELETE FROM tags;
UPDATE manifests SET class = 'unknown';
UPDATE repositories SET created = 0;
`, fact.NewestFormat)

// told collects what a store tells of a refill.
type told struct {
	verified, filled, total eventlog.Sequence
	first                   eventlog.Sequence // that was filled
	calls                   int
}

func (r *told) tell(verified bool, done, total eventlog.Sequence) {
	r.calls++
	r.total = total
	switch {
	case !verified:
		r.verified = done
	default:
		r.filled = done
		if r.first == 0 {
			r.first = done
		}
	}
}

// upgraded closes a store and opens it with a program that has the migration.
func (s *store) upgraded(t testing.TB, sql string, refill metastore.Refilling) {
	t.Helper()
	must(t, s.Close())
	o := withMigration(t, s.options, sql)
	o.Refill = refill
	var err error
	s.Store, err = s.opened(o)
	must(t, err)
}

// pages is a store whose log is some pages of a replay.
func pages(t testing.TB, n int) *store {
	t.Helper()
	s := create(t, metastore.Options{})
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, image("demo", "image", "", "", nil))
	for i := range n {
		c := new(registry.Change)
		for j := range 5000 {
			c.Add(tag("demo", fmt.Sprintf("t%d", i*5000+j), "image"))
		}
		s.update(t, c)
	}
	return s
}

func TestMigrationRefillsTheViews(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	before := s.dump(t)
	head, err := s.Events().Head(t.Context())
	must(t, err)
	r := new(told)
	s.upgraded(t, refilling, r.tell)
	if err := s.Healthy(); !errors.Is(err, metastore.ErrOutdated) {
		t.Errorf("healthy before the migration: %v", err)
	}
	var ran []string
	must(t, s.Migrate(t.Context(), func(m metastore.Migration) { ran = append(ran, m.Name) }))
	if len(ran) != 1 || ran[0] != "injected" {
		t.Errorf("migrations %v", ran)
	}
	if r.verified != head.Sequence || r.filled != head.Sequence || r.total != head.Sequence {
		t.Errorf("told %+v of %d events", r, head.Sequence)
	}
	if after := s.dump(t); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if n := s.count(t, "SELECT format FROM head"); n != fact.NewestFormat {
		t.Errorf("the format is %d", n)
	}
	if n := s.count(t, "SELECT count(*) FROM state WHERE name <> 'clean'"); n != 0 {
		t.Errorf("%d flags are left", n)
	}
	s.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
	s.check(t)
	r.calls = 0
	must(t, s.Migrate(t.Context(), nil))
	s.upgraded(t, refilling, r.tell)
	must(t, s.Migrate(t.Context(), nil))
	if r.calls != 0 {
		t.Error("the views were filled again")
	}
	s.update(t, facts(&fact.RepositoryCreated{Repository: "last"}))
}

func TestMigrationOfAnEmptyLogRefillsNothing(t *testing.T) {
	for name, isNew := range map[string]bool{"a new store": true, "an empty store": false} {
		t.Run(name, func(t *testing.T) {
			s := create(t, metastore.Options{})
			switch {
			case isNew && s.server == nil:
				s.path += ".new"
			case isNew:
				s.server = harness.StartPostgres(t)
			}
			r := new(told)
			s.upgraded(t, refilling, r.tell)
			must(t, s.Migrate(t.Context(), nil))
			if r.calls != 0 {
				t.Errorf("told %+v", r)
			}
			if n := s.count(t, "SELECT count(*) FROM state WHERE name <> 'clean'"); n != 0 {
				t.Errorf("%d flags are left", n)
			}
			if n := s.count(t, "SELECT format FROM head"); n != fact.NewestFormat {
				t.Errorf("the format is %d", n)
			}
			populated(t, s)
			s.check(t)
		})
	}
}

// TestInterruptedRefillIsGoneOnWith by the next Migrate, or by Rebuild. Until then
// nobody uses the views.
func TestInterruptedRefillIsGoneOnWith(t *testing.T) {
	for name, goOn := range map[string]func(*store) error{
		"Migrate": func(s *store) error { return s.Migrate(context.Background(), nil) },
		"Rebuild": func(s *store) error { return s.Rebuild(context.Background(), nil) },
	} {
		t.Run(name, func(t *testing.T) {
			s := pages(t, 3)
			before := s.dump(t)
			ctx, cancel := context.WithCancel(t.Context())
			s.upgraded(t, refilling, func(verified bool, _, _ eventlog.Sequence) {
				if verified {
					cancel()
				}
			})
			if err := s.Migrate(ctx, nil); !errors.Is(err, context.Canceled) {
				t.Fatalf("Migrate gave %v", err)
			}
			r := new(told)
			for range 2 {
				refused(t, s)
				s.upgraded(t, refilling, r.tell)
			}
			beside, err := s.opened(withMigration(t, metastore.Options{ReadOnly: true}, refilling))
			must(t, err)
			if err := beside.Healthy(); !errors.Is(err, metastore.ErrRefill) {
				t.Errorf("a reader is told %v", err)
			}
			must(t, beside.Close())
			must(t, goOn(s))
			if name == "Migrate" && r.first <= 5000 {
				t.Errorf("it began anew: %+v", r)
			}
			if r.verified != 0 {
				t.Error("the log was verified again")
			}
			must(t, s.Healthy())
			if s.dump(t) != before {
				t.Error("the views differ from those before")
			}
			s.update(t, facts(&fact.RepositoryCreated{Repository: "r"}))
			s.check(t)
		})
	}
}

// refused finds that nothing is answered from the views, but from the log.
func refused(t *testing.T, s *store) {
	t.Helper()
	for name, err := range map[string]error{
		"Healthy": s.Healthy(),
		"Update":  s.try(facts(&fact.RepositoryCreated{Repository: "r"})),
		"Read":    s.Read(t.Context(), func(registry.View) error { return nil }),
		"Check":   func() error { _, err := s.Check(t.Context(), nil); return err }(),
	} {
		if !errors.Is(err, metastore.ErrRefill) || !errors.Is(err, metastore.ErrRebuild) {
			t.Errorf("%s gave %v", name, err)
		}
	}
	_, err := eventlog.Verify(t.Context(), s.Events())
	must(t, err)
}

// TestMigrationThatDiedBeforeTheRefill leaves the flag alone. How far an older
// rebuild had come does not count.
func TestMigrationThatDiedBeforeTheRefill(t *testing.T) {
	s := pages(t, 2)
	before := s.dump(t)
	must(t, s.Close())
	s.raw(t, "INSERT INTO state VALUES ('refill', 1)", "DELETE FROM tags")
	r := new(told)
	s.options.Refill = r.tell
	s.open(t)
	if s.dump(t) != before || r.filled != r.total || r.verified != 0 {
		t.Errorf("refilled as %+v", r)
	}
	*r = told{}
	must(t, s.Close())
	s.raw(t, "INSERT INTO state VALUES ('rebuild', 5000)", "DELETE FROM tags")
	s.upgraded(t, refilling, r.tell)
	must(t, s.Migrate(t.Context(), nil))
	if s.dump(t) != before || r.first > 5000 {
		t.Errorf("refilled as %+v", r)
	}
}

func TestMigrationIsRefusedBeforeItBegins(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	const state = "SELECT (SELECT format FROM head) + 100 * (SELECT max(version) FROM migrations)"
	before := s.count(t, state)
	unchanged := func(t *testing.T) {
		t.Helper()
		if n := s.count(t, state); n != before {
			t.Errorf("format and version are %d, were %d", n, before)
		}
		s.reopen(t)
		must(t, s.Healthy())
	}
	t.Run("by one who gives up", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s.upgraded(t, refilling, func(bool, eventlog.Sequence, eventlog.Sequence) { cancel() })
		if err := s.Migrate(ctx, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		unchanged(t)
		s.check(t)
	})
	for line, want := range map[string]string{
		"-- refill":                  "does not name a format",
		"-- refill format 1":         "does not name a format from 2 to",
		"-- refill format 9999":      "does not name a format",
		"-- refill format 2 please":  "does not name a format",
		"-- refill formats of views": "does not name a format",
	} {
		t.Run("because of "+line, func(t *testing.T) {
			must(t, s.Close())
			_, err := s.opened(withMigration(t, s.options, line+"\nDELETE FROM tags;\n"))
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "_injected.sql") {
				t.Errorf("got %v", err)
			}
			s.open(t)
		})
	}
	t.Run("because of the log", func(t *testing.T) {
		s.sql(t, "UPDATE events SET actor = 'other' WHERE sequence = 3")
		s.upgraded(t, refilling, nil)
		fault := new(eventlog.Fault)
		if err := s.Migrate(t.Context(), nil); !errors.As(err, &fault) || fault.Sequence != 3 {
			t.Errorf("got %v", err)
		}
		unchanged(t)
	})
}
