package metastore_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"reflect"
	"syscall"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// whole reads all of a store's log with content rows, in pages.
func whole(t testing.TB, s *store, limit int) []metastore.Recorded {
	t.Helper()
	var all []metastore.Recorded
	for after := eventlog.Sequence(0); ; after = all[len(all)-1].Event.Sequence {
		page, err := s.Recorded(t.Context(), after, limit)
		must(t, err)
		if len(page) == 0 {
			return all
		}
		all = append(all, page...)
	}
}

// adopted makes an empty store that continues the log of another one.
func adopted(t testing.TB, source *store, o metastore.Options) *store {
	t.Helper()
	s := create(t, o)
	founding, err := source.Founding(t.Context())
	must(t, err)
	must(t, s.Adopt(founding))
	return s
}

func head(t testing.TB, s *store) eventlog.Head {
	t.Helper()
	h, err := s.Events().Head(t.Context())
	must(t, err)
	return h
}

// same checks that two stores hold the same log, content and views.
func same(t testing.TB, a, b *store) {
	t.Helper()
	if head(t, a) != head(t, b) {
		t.Fatalf("the heads are %+v and %+v", head(t, a), head(t, b))
	}
	if one, two := whole(t, a, 1000), whole(t, b, 1000); !reflect.DeepEqual(one, two) {
		t.Error("the events or content rows differ")
	}
	if one, two := a.dump(t), b.dump(t); one != two {
		t.Errorf("the views are\n%s\nand\n%s", one, two)
	}
}

func TestReceivedStoreIsTheSame(t *testing.T) {
	for _, limit := range []int{1, 3, 1000} {
		t.Run(fmt.Sprintf("%d events at a time", limit), func(t *testing.T) {
			source := checked(t)
			populated(t, source)
			source.sql(t, "UPDATE events SET private = NULL WHERE sequence = 3") // erased
			s := adopted(t, source, metastore.Options{})
			all := whole(t, source, limit)
			for len(all) > 0 {
				n := min(limit, len(all))
				must(t, s.Receive(t.Context(), all[:n]))
				all = all[n:]
			}
			same(t, source, s)
			s.check(t, "blobs", "manifests", "referrers", "tags")
			s.reopen(t)
			same(t, source, s)
			secrets := map[string]bool{}
			for _, each := range []*store{source, s} {
				each.read(t, func(v registry.View) error {
					secret, err := v.Secret("name")
					secrets[string(secret)] = true
					return err
				})
			}
			if len(secrets) != 1 {
				t.Error("they do not have the same secrets")
			}
			// It goes on as a store of its own.
			s.update(t, facts(&fact.RepositoryCreated{Repository: "later"}))
			s.check(t)
		})
	}
}

func TestRecordedPagesAreBoundedInBytes(t *testing.T) {
	source := create(t, metastore.Options{})
	source.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	const layers, size = 30, 1 << 20
	for i := range layers {
		source.update(t, layer("demo", fmt.Sprint(i)+repeat("x", size)))
	}
	pages := 0
	for after := eventlog.Sequence(0); ; {
		page, err := source.Recorded(t.Context(), after, 1000)
		must(t, err)
		if len(page) == 0 {
			break
		}
		total := 0
		for i := range page {
			after++
			if page[i].Event.Sequence != after {
				t.Fatalf("event %d follows %d", page[i].Event.Sequence, after-1)
			}
			total += len(page[i].Content)
		}
		if total > 10*size {
			t.Errorf("a page of %d bytes", total)
		}
		pages++
	}
	if pages < 3 {
		t.Errorf("%d pages", pages)
	}
}

func TestAdoptTakesOnlyAnEmptyStore(t *testing.T) {
	source, other := checked(t), checked(t)
	populated(t, source)
	founding, err := source.Founding(t.Context())
	must(t, err)
	t.Run("a store with events of its own", func(t *testing.T) {
		populated(t, other)
		before := head(t, other)
		if err := other.Adopt(founding); !errors.Is(err, metastore.ErrOtherLog) {
			t.Errorf("got %v", err)
		}
		if head(t, other) != before {
			t.Error("its head was changed")
		}
	})
	t.Run("one that has adopted it before", func(t *testing.T) {
		s := adopted(t, source, metastore.Options{})
		must(t, s.Adopt(founding))
		must(t, s.Receive(t.Context(), whole(t, source, 1000)))
		must(t, s.Adopt(founding))
		same(t, source, s)
	})
	t.Run("one that is open to read", func(t *testing.T) {
		s, err := source.opened(metastore.Options{ReadOnly: true})
		must(t, err)
		if err := s.Adopt(founding); !errors.Is(err, metastore.ErrReadOnly) {
			t.Errorf("Adopt gave %v", err)
		}
		if err := s.Receive(t.Context(), nil); !errors.Is(err, metastore.ErrReadOnly) {
			t.Errorf("Receive gave %v", err)
		}
		must(t, s.Close())
	})
	t.Run("an empty founding", func(t *testing.T) {
		if err := create(t, metastore.Options{}).Adopt(metastore.Founding{Log: "x"}); err == nil {
			t.Error("it was adopted")
		}
	})
}

// TestReceiveRefusesWhatDoesNotFollow edits the pages that are received. Of a
// page that is refused nothing is appended, not even what was right.
func TestReceiveRefusesWhatDoesNotFollow(t *testing.T) {
	source, foreign := checked(t), checked(t)
	populated(t, source)
	populated(t, foreign)
	for _, c := range []struct {
		name string
		edit func([]metastore.Recorded) []metastore.Recorded
	}{
		{"a gap", func(p []metastore.Recorded) []metastore.Recorded { return append(p[:3:3], p[4:]...) }},
		{"an event that is there already", func(p []metastore.Recorded) []metastore.Recorded { return append(p[:3:3], p[2:]...) }},
		{"events in another order", func(p []metastore.Recorded) []metastore.Recorded { p[3], p[4] = p[4], p[3]; return p }},
		{"another log", func([]metastore.Recorded) []metastore.Recorded { return whole(t, foreign, 1000) }},
		{"another actor", func(p []metastore.Recorded) []metastore.Recorded { p[3].Event.Actor = "x"; return p }},
		{"another payload", func(p []metastore.Recorded) []metastore.Recorded { p[3].Event.Payload = p[2].Event.Payload; return p }},
		{"a payload with its digest", func(p []metastore.Recorded) []metastore.Recorded {
			p[3].Event.Payload, p[3].Event.PayloadDigest = p[2].Event.Payload, p[2].Event.PayloadDigest
			return p
		}},
		{"another private part", func(p []metastore.Recorded) []metastore.Recorded { p[3].Event.Private = []byte{0xa0}; return p }},
		{"another running hash", func(p []metastore.Recorded) []metastore.Recorded { p[3].Event.Chain[0]++; return p }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := adopted(t, source, metastore.Options{})
			before := head(t, s)
			err := s.Receive(t.Context(), c.edit(whole(t, source, 1000)))
			if fault := new(eventlog.Fault); !errors.As(err, &fault) {
				t.Errorf("got %v", err)
			}
			if head(t, s) != before || s.count(t, "SELECT count(*) FROM events") != 0 || s.count(t, "SELECT count(*) FROM objects") != 0 {
				t.Error("something was appended")
			}
			must(t, s.Receive(t.Context(), whole(t, source, 1000)))
			same(t, source, s)
		})
	}
}

func TestReceiveRefusesAKindThatItDoesNotKnow(t *testing.T) {
	source := create(t, metastore.Options{})
	s := adopted(t, source, metastore.Options{})
	e := eventlog.Event{ID: repeat("0", 32), Kind: "v9.unknown", Payload: []byte{0xa0}}
	_, err := head(t, s).Seal(&e)
	must(t, err)
	if err := s.Receive(t.Context(), []metastore.Recorded{{Event: e}}); err == nil || head(t, s).Sequence != 0 {
		t.Errorf("got %v", err)
	}
	s.check(t)
}

func TestReceiveGivesUpWithItsContext(t *testing.T) {
	source := checked(t)
	populated(t, source)
	s := adopted(t, source, metastore.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Receive(ctx, whole(t, source, 1000)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if head(t, s).Sequence != 0 {
		t.Error("something was appended")
	}
}

func TestReceiveWakesThoseWhoWait(t *testing.T) {
	source := checked(t)
	populated(t, source)
	s := adopted(t, source, metastore.Options{})
	woken := make(chan error)
	go func() { woken <- s.Events().Wait(t.Context(), 5) }()
	must(t, s.Receive(t.Context(), whole(t, source, 1000)))
	must(t, <-woken)
}

// TestReceiveIsAllOrNothing fails the n-th write, flush or truncation, for n =
// 1, 2, ... until none is left to fail. The store then holds a beginning of the
// log, cut between pages, and goes on to the whole of it.
func TestReceiveIsAllOrNothing(t *testing.T) {
	source := checked(t)
	populated(t, source)
	source.update(t, layer("demo", repeat("large ", 5_000))) // several writes
	all := whole(t, source, 1000)
	const page = 4
	for cause, step := range map[error]int{syscall.EIO: 1, syscall.ENOSPC: 5} {
		if underRace {
			step = 11
		}
		for n := 1; ; n += step {
			d := newDisk(t)
			s := adopted(t, source, metastore.Options{VFS: d.name})
			d.fail(n, cause == syscall.ENOSPC, cause)
			var failed error
			for at := 0; at < len(all) && failed == nil; at += page {
				failed = s.Receive(t.Context(), all[at:min(at+page, len(all))])
			}
			what := d.failed
			d.fail(0, false, nil)
			if failed != nil && !errors.Is(failed, fact.ErrBroken) && !errors.Is(failed, fact.ErrFull) {
				t.Errorf("%d %s gave %v", n, what, failed)
			}
			_ = s.Close()
			s.open(t)
			have := int(head(t, s).Sequence)
			if have%page != 0 && have != len(all) || failed == nil && have != len(all) {
				t.Fatalf("%d %s: the store ends with event %d (%v)", n, what, have, failed)
			}
			s.check(t)
			must(t, s.Receive(t.Context(), all[have:]))
			same(t, source, s)
			must(t, s.Close())
			if what == "" {
				if n < 5 {
					t.Errorf("only %d operations", n)
				}
				break
			}
		}
	}
}

func TestMissingContentIsNamed(t *testing.T) {
	source := create(t, metastore.Options{})
	populated(t, source)
	all := whole(t, source, 1000)
	var lost []eventlog.Sequence
	s := adopted(t, source, metastore.Options{})
	for i := range all {
		if all[i].Content != nil && (bytes.Equal(all[i].Content, []byte("layer")) || all[i].Event.Kind == fact.KindManifestPut) {
			all[i].Content = nil
			lost = append(lost, all[i].Event.Sequence)
		}
	}
	must(t, s.Receive(t.Context(), all))
	var found []eventlog.Sequence
	must(t, s.MissingContent(t.Context(), func(m metastore.Missing) error {
		found = append(found, m.Row)
		if m.Subject == "" || (m.Blob == digest(identity.SHA256, "layer")) == m.Blob.IsZero() {
			t.Errorf("%+v", m)
		}
		return nil
	}))
	if len(lost) != 2 || !reflect.DeepEqual(lost, found) {
		t.Errorf("lost %v, found %v", lost, found)
	}
}

func TestObjectsAreListedInPages(t *testing.T) {
	s := checked(t)
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, layer("demo", "a content row"))
	c := new(registry.Change)
	for i := range 5 {
		c.Add(&fact.BlobStored{Digests: digests(fmt.Sprint(i)), Size: int64(i), Receipt: fact.Receipt{Store: "files", Locator: fmt.Sprint(i)}})
	}
	s.update(t, c)
	s.update(t, facts(&fact.BlobMoved{Blob: primary("3"), From: fact.Receipt{Store: "files", Locator: "3"},
		To: fact.Receipt{Store: "files", Locator: "new"}}))
	var locators []string
	for after := eventlog.Sequence(0); ; {
		page, err := s.Objects(t.Context(), after, 2)
		must(t, err)
		if len(page) == 0 {
			break
		}
		for _, o := range page {
			locators = append(locators, o.Receipt.Locator)
			after = o.Sequence
			if n := len(locators) - 1; o.Size != int64(n) || !o.Digests.Equal(digests(fmt.Sprint(n))) {
				t.Errorf("%+v", o)
			}
		}
	}
	if fmt.Sprint(locators) != "[0 1 2 new 4]" {
		t.Errorf("%v", locators)
	}
}
