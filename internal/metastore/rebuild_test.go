package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// dump returns all rows of all views of a closed or open store.
func (s *store) dump(t testing.TB) string {
	t.Helper()
	var out strings.Builder
	db := s.db(t)
	for table, columns := range map[string]int{
		"repositories": 3, "blobs": 9, "links": 2, "manifests": 12, "manifest_references": 8,
		"referrers": 4, "tags": 5, "tag_history": 7,
	} {
		must(t, db.Read(context.Background(), func(c database.Conn) error {
			rows := c.Query("SELECT * FROM " + table)
			for rows.Next() {
				out.WriteString(table)
				for i := range columns {
					fmt.Fprintf(&out, " %v", rows.Value(i))
				}
				out.WriteByte('\n')
			}
			return rows.Close()
		}))
	}
	must(t, db.Close())
	lines := strings.Split(out.String(), "\n")
	return strings.Join(sorted(lines), "\n")
}

func TestRebuildMakesTheSameViews(t *testing.T) {
	s := checked(t)
	populated(t, s)
	before := s.dump(t)
	var last, total eventlog.Sequence
	must(t, s.Rebuild(t.Context(), func(done, of eventlog.Sequence) { last, total = done, of }))
	if after := s.dump(t); before != after {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	head, err := s.Events().Head(t.Context())
	must(t, err)
	if last != head.Sequence || total != head.Sequence {
		t.Errorf("progress ended at %d of %d, the log at %d", last, total, head.Sequence)
	}
	// It repairs what was changed.
	s.sql(t, "DELETE FROM tags; DELETE FROM blobs WHERE id = 2; UPDATE repositories SET created = 0")
	must(t, s.Rebuild(t.Context(), nil))
	if after := s.dump(t); before != after {
		t.Errorf("before:\n%s\nrepaired:\n%s", before, after)
	}
}

func TestInterruptedRebuildMustBeFinished(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, image("demo", "image", "", "", nil))
	for i := range 3 { // three pages of the replay
		c := new(registry.Change)
		for j := range 5000 {
			c.Add(tag("demo", fmt.Sprintf("t%d", i*5000+j), "image"))
		}
		s.update(t, c)
	}
	before := s.dump(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := s.Rebuild(ctx, func(done, _ eventlog.Sequence) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the rebuild gave %v", err)
	}
	for range 2 {
		for name, err := range map[string]error{
			"Healthy": s.Healthy(),
			"Update":  s.try(facts(&fact.RepositoryCreated{Repository: "r"})),
			"Read":    s.Read(t.Context(), func(registry.View) error { return nil }),
			"Check":   func() error { _, err := s.Check(t.Context(), nil); return err }(),
		} {
			if !errors.Is(err, metastore.ErrRebuild) {
				t.Errorf("%s gave %v", name, err)
			}
		}
		_, err := eventlog.Verify(t.Context(), s.Events())
		must(t, err)
		s.reopen(t)
	}
	first := eventlog.Sequence(0)
	must(t, s.Rebuild(t.Context(), func(done, _ eventlog.Sequence) {
		if first == 0 {
			first = done
		}
	}))
	if first <= 5000 {
		t.Errorf("the rebuild began anew, its first page ended with %d", first)
	}
	if after := s.dump(t); before != after {
		t.Error("the views differ from those before")
	}
	s.update(t, facts(&fact.RepositoryCreated{Repository: "r"}))
}

// TestRebuildThatWasTakenOverStops: while it stood still another process has
// finished it, and the store has gone on since.
func TestRebuildThatWasTakenOverStops(t *testing.T) {
	if !onPostgres {
		return // one process has a file open
	}
	s := create(t, metastore.Options{})
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, image("demo", "image", "", "", nil))
	for i := range 2 { // two pages of the replay
		c := new(registry.Change)
		for j := range 3000 {
			c.Add(tag("demo", fmt.Sprintf("t%d", i*3000+j), "image"))
		}
		s.update(t, c)
	}
	took := false
	err := s.Rebuild(t.Context(), func(done, total eventlog.Sequence) {
		if !took && done < total {
			took = true
			s.server.SQL(t, "DELETE FROM state WHERE name = 'rebuild'")
		}
	})
	if !took || !errors.Is(err, metastore.ErrInUse) {
		t.Errorf("taken over: %v; Rebuild gave %v", took, err)
	}
	if n := s.count(t, "SELECT count(*) FROM state WHERE name = 'rebuild'"); n != 0 {
		t.Error("the store is being rebuilt again")
	}
}

func TestRebuildRefusesALogThatWasChanged(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	s.sql(t, "UPDATE events SET actor = 'other' WHERE sequence = 3")
	fault := new(eventlog.Fault)
	if err := s.Rebuild(t.Context(), nil); !errors.As(err, &fault) || fault.Sequence != 3 {
		t.Errorf("got %v", err)
	}
}

// TestCheckFindsEveryEditedRow edits each view and each part of the log.
func TestCheckFindsEveryEditedRow(t *testing.T) {
	for _, c := range []struct {
		statement string
		want      string // in the error
	}{
		{"UPDATE repositories SET created = created + 1", "view repositories: row id=1: created is"},
		{"UPDATE blobs SET size = size + 1 WHERE id = 2", "view blobs: row id=2: size is"},
		{"UPDATE blobs SET locator = 'x' WHERE id = 2", "view blobs: row id=2: locator is"},
		{"DELETE FROM blobs WHERE id = 4", "view blobs: row id=5: is where id=4 should be"},
		{"DELETE FROM links", "view links: row repository_id=1 blob_id=2: is missing"},
		{"INSERT INTO links VALUES (1, 4, 0, 0)", "view links: row repository_id=1 blob_id=4: is there without cause"},
		{"UPDATE manifests SET media_type = 'x' WHERE id = 6", "view manifests: row repository_id=1 blob_id=4: media_type is"},
		{"UPDATE manifests SET expires = 0 WHERE id = 6", "view manifests: row repository_id=1 blob_id=4: expires is"},
		{"UPDATE manifest_references SET digest = 'x'", "view references: row manifest_id=6 ordinal=0: digest is"},
		{"UPDATE manifest_references SET target = NULL", "view references: row manifest_id=6 ordinal=0: target is"},
		{"UPDATE referrers SET artifact_type = 'x'", "view referrers: row repository_id=1 subject=sha256:"},
		{"UPDATE tags SET name = 'oldest'", "view tags: row repository_id=1 name=oldest: is where repository_id=1 name=latest should be"},
		{"UPDATE tag_history SET actor = 'x' WHERE sequence = 7", "view tag_history: row repository_id=1 name=latest sequence=7: actor is"},
		{"UPDATE events SET subject = 'x' WHERE sequence = 5", "event 5: the running hash"},
		{"UPDATE events SET payload = x'a0' WHERE sequence = 5", "event 5: its payload"},
		{"UPDATE events SET payload_digest = 'x' WHERE sequence = 5", "event 5: its payload digest is malformed"},
		{"UPDATE events SET private = x'a0' WHERE sequence = 5", "event 5: its private part"},
		{"UPDATE events SET chain = x'00' WHERE sequence = 5", "event 5: its running hash is malformed"},
		{"DELETE FROM events WHERE sequence = 5", "event 5: missing; the log goes on with 6"},
		{"DELETE FROM events WHERE sequence > 5", "event 6: missing; the head says"},
		{"UPDATE events SET sequence = 99 WHERE sequence = (SELECT max(sequence) FROM events)", "missing; the log goes on with 99"},
		{"INSERT INTO events SELECT sequence + 1, id, time, kind, subject, actor, request, payload, payload_digest, private, private_digest, chain " +
			"FROM events ORDER BY sequence DESC LIMIT 1", "the running hash"},
		{"UPDATE head SET sequence = 5, chain = (SELECT chain FROM events WHERE sequence = 5), time = (SELECT time FROM events WHERE sequence = 5)",
			"event 6: it is after the end of the log"},
		{"UPDATE head SET chain = zeroblob(32)", "the head does not agree"},
	} {
		t.Run(c.statement, func(t *testing.T) {
			s := create(t, metastore.Options{})
			populated(t, s)
			s.sql(t, c.statement)
			_, err := s.Check(t.Context(), nil)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			fault, difference := new(eventlog.Fault), new(metastore.Difference)
			if !errors.As(err, &fault) && !errors.As(err, &difference) {
				t.Errorf("%T is neither a fault nor a difference", err)
			}
		})
	}
}

func TestCheckReportsMissingContent(t *testing.T) {
	s := create(t, metastore.Options{})
	populated(t, s)
	must(t, s.DeleteObject(t.Context(), 4))
	must(t, s.DeleteObject(t.Context(), 5))
	report, err := s.Check(t.Context(), nil)
	must(t, err)
	if report.Missing != 2 || report.FirstMissing != 4 {
		t.Errorf("%d missing, the first is %d", report.Missing, report.FirstMissing)
	}
}

func TestCheckGivesUpWithItsContext(t *testing.T) {
	s := checked(t)
	populated(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := s.Check(ctx, func(eventlog.Sequence, eventlog.Sequence) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
