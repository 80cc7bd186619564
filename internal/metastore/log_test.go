package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/eventlog/logtest"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// logUnderTest lets the suite of package logtest work on a store.
type logUnderTest struct {
	eventlog.Reader
	*store
	t     *testing.T
	clock atomic.Int64
	made  atomic.Int64
}

func (l *logUnderTest) Read(ctx context.Context, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	return l.Reader.Read(ctx, after, limit)
}

func (l *logUnderTest) change(n int) *registry.Change {
	c := new(registry.Change)
	for range n {
		c.Add(&fact.RepositoryCreated{Repository: fmt.Sprintf("r%d", l.made.Add(1))})
	}
	return c
}

func (l *logUnderTest) Append(_ context.Context, n int) error { return l.try(l.change(n)) }

func (l *logUnderTest) Abort(_ context.Context, n int) error {
	c := l.change(n)
	c.Add(tag("no such repository", "latest", "nothing"))
	if l.try(c) == nil {
		return errors.New("a change that cannot be applied was committed")
	}
	return nil
}

func (l *logUnderTest) SetTime(now time.Time) { l.clock.Store(now.UnixMicro()) }

func (l *logUnderTest) Reopen(t *testing.T) {
	l.reopen(t)
	l.Reader = l.Events()
}

func (l *logUnderTest) Tamper(t *testing.T, edit logtest.Edit, at eventlog.Sequence) {
	statement, ok := map[logtest.Edit]string{
		logtest.ChangePayload: "UPDATE events SET payload = x'a0' WHERE sequence = %[1]d",
		logtest.ChangeSubject: "UPDATE events SET subject = 'other' WHERE sequence = %[1]d",
		logtest.ChangeActor:   "UPDATE events SET actor = 'other' WHERE sequence = %[1]d",
		logtest.ChangeTime:    "UPDATE events SET time = time + 1 WHERE sequence = %[1]d",
		logtest.ChangePrivate: "UPDATE events SET private = x'a0' WHERE sequence = %[1]d",
		logtest.ChangeChain:   "UPDATE events SET chain = zeroblob(32) WHERE sequence = %[1]d",
		logtest.ErasePrivate:  "UPDATE events SET private = NULL WHERE sequence = %[1]d",
		logtest.Drop:          "DELETE FROM events WHERE sequence = %[1]d",
		logtest.Swap: "UPDATE events SET sequence = 0 WHERE sequence = %[1]d;" +
			"UPDATE events SET sequence = %[1]d WHERE sequence = %[1]d + 1;" +
			"UPDATE events SET sequence = %[1]d + 1 WHERE sequence = 0",
		logtest.Cut: "DELETE FROM events WHERE sequence >= %[1]d",
		logtest.Restore: "DELETE FROM events WHERE sequence >= %[1]d; DELETE FROM repositories WHERE id >= %[1]d;" +
			"UPDATE head SET sequence = %[1]d - 1, time = (SELECT time FROM events WHERE sequence = %[1]d - 1)," +
			" chain = (SELECT chain FROM events WHERE sequence = %[1]d - 1)",
	}[edit]
	if !ok {
		t.Fatalf("unknown edit %q", edit)
	}
	l.sql(t, fmt.Sprintf(statement, at))
	l.Reader = l.Events()
}

func openLog(t *testing.T) logtest.Log {
	l := &logUnderTest{t: t}
	l.clock.Store(1_800_000_000_000_000)
	l.store = create(t, metastore.Options{Now: func() time.Time { return time.UnixMicro(l.clock.Load()) }})
	l.Reader = l.Events()
	return l
}

func TestLog(t *testing.T) { logtest.Run(t, openLog) }

func TestPageOfTheLogIsBoundedByItsBytes(t *testing.T) {
	s := checked(t)
	reason := repeat("x", 1<<20)
	for i := range 6 {
		s.update(t, &registry.Change{Entries: []registry.Entry{
			{Fact: &fact.RepositoryCreated{Repository: fmt.Sprintf("r%d", i)}, Reason: reason},
		}})
	}
	for _, want := range []int{4, 2, 0} {
		var after eventlog.Sequence
		if want < 4 {
			after = 4
		}
		if want == 0 {
			after = 6
		}
		page, err := s.Events().Read(t.Context(), after, 100)
		must(t, err)
		if len(page) != want {
			t.Errorf("page after %d has %d events, want %d", after, len(page), want)
		}
	}
}
