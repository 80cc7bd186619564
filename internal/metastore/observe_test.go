package metastore_test

import (
	"fmt"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// observed makes a store whose batches are collected. They may be read when no
// Update is under way.
func observed(t *testing.T, s *store) *[]metastore.Batch {
	t.Helper()
	batches := new([]metastore.Batch)
	must(t, s.Close())
	s.options.Observe = func(b metastore.Batch) { *batches = append(*batches, b) }
	s.open(t)
	return batches
}

func TestObserverIsToldOfEveryCommit(t *testing.T) {
	s := create(t, metastore.Options{})
	batches := observed(t, s)
	upload := registry.Upload{ID: "a", State: registry.UploadOpen, Expires: time.Unix(1_900_000_000, 0)}
	tests := []struct {
		name   string
		change *registry.Change
		want   []metastore.Batch // without times
	}{
		{"events are flushed", &registry.Change{Entries: []registry.Entry{{Fact: &fact.RepositoryCreated{Repository: "demo"}}, stored("x")}},
			[]metastore.Batch{{Changes: 1, Events: 2, Flushed: true}}},
		{"working state alone is not", &registry.Change{Puts: []registry.Upload{upload}},
			[]metastore.Batch{{Changes: 1, Flushed: false}}},
		{"unless it has to be", &registry.Change{Drops: []string{"a"}, Durable: true},
			[]metastore.Batch{{Changes: 1, Flushed: true}}},
		{"a change of nothing is no commit", &registry.Change{}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			*batches = nil
			var told metastore.Batch
			must(t, s.Update(metastore.WithBatch(t.Context(), &told), caller, registry.Keys{},
				func(registry.View) (*registry.Change, error) { return test.change, nil }))
			if len(*batches) != len(test.want) {
				t.Fatalf("told of %+v", *batches)
			}
			for i, got := range *batches {
				if got != told || got.Rows == 0 || got.Duration <= 0 || got.Began.IsZero() || got.Err != nil {
					t.Errorf("the observer was told %+v, the caller %+v", got, told)
				}
				got.Rows, got.Duration, got.Began = 0, 0, time.Time{}
				if got != test.want[i] {
					t.Errorf("told %+v, want %+v", got, test.want[i])
				}
			}
		})
	}
}

func TestObserverIsToldWhatWasCommittedTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := create(t, metastore.Options{})
		batches := observed(t, s)
		var decisions []func(registry.View) (*registry.Change, error)
		queued := 0
		decisions = append(decisions, func(registry.View) (*registry.Change, error) {
			queued = s.Queued()
			return nil, errRefused
		})
		for i := range 7 {
			decisions = append(decisions, decided(facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)})))
		}
		inOneBatch(t, s, decisions...)
		if len(*batches) != 1 || (*batches)[0].Changes != 7 || (*batches)[0].Events != 7 {
			t.Errorf("told of %+v, want one batch of 7 changes", *batches)
		}
		if queued != 7 || s.Queued() != 0 {
			t.Errorf("%d changes waited, then %d", queued, s.Queued())
		}
		if s.Sequence() != 7 {
			t.Errorf("the sequence is %d", s.Sequence())
		}
		must(t, s.Close())
	})
}

func TestObserverIsToldOfFailures(t *testing.T) {
	d := newDisk(t)
	s := createOn(t, d)
	batches := observed(t, s)
	d.fail(1, true, syscall.EIO)
	var told metastore.Batch
	err := s.Update(metastore.WithBatch(t.Context(), &told), caller, registry.Keys{}, decided(facts(&fact.RepositoryCreated{Repository: "demo"})))
	if err == nil || len(*batches) != 1 || (*batches)[0].Err == nil || told.Err == nil {
		t.Errorf("the change failed with %v; told of %+v", err, *batches)
	}
}

func TestOpenUploadsAreCounted(t *testing.T) {
	s := create(t, metastore.Options{})
	c := new(registry.Change)
	for i, state := range []string{registry.UploadOpen, registry.UploadOpen, registry.UploadFinished, registry.UploadCancelled} {
		c.Puts = append(c.Puts, registry.Upload{ID: fmt.Sprint(i), State: state, Expires: time.Unix(1_900_000_000, 0)})
	}
	s.update(t, c)
	n, err := s.OpenUploads(t.Context())
	if n != 2 || err != nil {
		t.Errorf("%d open uploads, %v, want 2", n, err)
	}
}

func TestWhatIsUnderQuarantineIsCounted(t *testing.T) {
	s := checked(t)
	s.update(t, inFiles("one", "three", "fine"))
	expect := func(number, bytes int64) {
		t.Helper()
		if n, b, err := s.Quarantined(t.Context()); n != number || b != bytes || err != nil {
			t.Errorf("%d of %d bytes, %v, want %d of %d", n, b, err, number, bytes)
		}
	}
	expect(0, 0)
	s.update(t, facts(&fact.LocationDamaged{Blob: primary("one"), Receipt: at("one")}, &fact.LocationDamaged{Blob: primary("three"), Receipt: at("three")}))
	expect(2, 8)
	s.update(t, facts(&fact.BlobMoved{Blob: primary("three"), From: at("three"), To: at("again")}))
	expect(1, 3)
}
