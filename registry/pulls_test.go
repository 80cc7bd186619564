package registry_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// pushed is what is known of a manifest.
func (w *world) pushed(t testing.TB, repository, manifest string) *registry.Manifest {
	t.Helper()
	r, err := w.Repository(repository, caller)
	if err == nil {
		m, err := r.ManifestInfo(context.Background(), registry.Reference{Digest: digest(manifest)})
		if err == nil {
			return m
		}
	}
	t.Fatal(err)
	return nil
}

// pulled expects the last day on which a manifest was asked for.
func (w *world) pulled(t *testing.T, repository, manifest string, want time.Time) {
	t.Helper()
	if m := w.pushed(t, repository, manifest); !m.Pulled.Equal(want) {
		t.Errorf("pulled %v, want %v", m.Pulled, want)
	}
}

// flush expects how many events a flush adds.
func (w *world) flush(t *testing.T, r *registry.Registry, want int) {
	t.Helper()
	before := head(t, w)
	must(t, r.FlushPulls(t.Context()))
	if n := int(head(t, w) - before); n != want {
		t.Errorf("%d events, want %d", n, want)
	}
}

func TestAPullIsOneEventADay(t *testing.T) {
	w := open(t, registry.Options{})
	m, other := put(t, w.repo(t, "a"), "v1", small, ""), put(t, w.repo(t, "a"), "v2", "other", "")
	put(t, w.repo(t, "b"), "v1", small, "")
	w.pulled(t, "a", m, time.Time{})
	w.flush(t, w.Registry, 0)
	today := w.clock.Now().Truncate(day)
	pull := func(repository, manifest string) {
		w.NotePull(w.clock.Now(), repository, w.pushed(t, repository, manifest))
	}
	for range 3 {
		pull("a", m)
	}
	w.pulled(t, "a", m, time.Time{}) // nothing is written for a client
	w.flush(t, w.Registry, 1)
	w.pulled(t, "a", m, today)
	w.pulled(t, "b", m, time.Time{})
	pull("a", m)
	w.flush(t, w.Registry, 0)
	pull("a", other)
	pull("b", m)
	w.flush(t, w.Registry, 2)
	w.pulled(t, "a", other, today)
	w.pulled(t, "b", m, today)

	// The day ends between a pull and its flush.
	w.pass(t, 23*time.Hour)
	pull("a", m)
	w.clock.advance(today.Add(2 * day).Sub(w.clock.Now()))
	w.flush(t, w.Registry, 1)
	w.pulled(t, "a", m, today.Add(day))
	pull("a", m)
	w.flush(t, w.Registry, 1)
	w.pulled(t, "a", m, today.Add(2*day))
}

// TestWhatIsGoneWasNotPulled, and what was pushed again since is another manifest.
func TestWhatIsGoneWasNotPulled(t *testing.T) {
	w := open(t, registry.Options{})
	r := w.repo(t, "a")
	m := put(t, r, "v1", small, "")
	before := w.pushed(t, "a", m)
	w.NotePull(w.clock.Now(), "a", before)
	w.NotePull(w.clock.Now(), "gone", before)
	remove(t, r, m)
	w.flush(t, w.Registry, 0)
	put(t, r, "v1", small, "")
	w.NotePull(w.clock.Now(), "a", before)
	w.flush(t, w.Registry, 0)
	w.NotePull(w.clock.Now(), "a", w.pushed(t, "a", m))
	w.flush(t, w.Registry, 1)
	w.pulled(t, "a", m, w.clock.Now().Truncate(day))
}

// TestNodesRecordAPullOnce: each flushes its own.
func TestNodesRecordAPullOnce(t *testing.T) {
	w := open(t, registry.Options{})
	m := put(t, w.repo(t, "a"), "v1", small, "")
	info := w.pushed(t, "a", m)
	one, two := w.node(t, nil), w.node(t, nil)
	late, ledger := w.lateNode(t)
	for _, n := range []*registry.Repository{one.Repository, two.Repository, late} {
		n.NotePull(w.clock.Now(), "a", info)
	}
	ledger.before = func() { w.flush(t, one.Registry, 1) } // it has looked before
	must(t, late.FlushPulls(t.Context()))
	w.flush(t, two.Registry, 0)
	w.flush(t, late.Registry, 0)
}

// absentee is a ledger that fails once it has been told to.
type absentee struct {
	registry.Ledger
	err error
}

func (f *absentee) Update(ctx context.Context, c registry.Caller, k registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if f.err != nil {
		return f.err
	}
	return f.Ledger.Update(ctx, c, k, decide)
}

func TestPullsThatCouldNotBeRecordedAreKept(t *testing.T) {
	w := open(t, registry.Options{})
	ledger := &absentee{Ledger: w.ledger}
	r, err := registry.New(t.Context(), ledger, nil, registry.Options{})
	must(t, err)
	m := put(t, w.repo(t, "a"), "v1", small, "")
	r.NotePull(w.clock.Now(), "a", w.pushed(t, "a", m))
	ledger.err = errors.New("the database is away")
	if err := r.FlushPulls(t.Context()); !errors.Is(err, ledger.err) {
		t.Errorf("flush: %v", err)
	}
	ledger.err = nil
	w.flush(t, r, 1)
	w.pulled(t, "a", m, w.clock.Now().Truncate(day))
}

// many are that many manifests in each of some repositories, without their bytes.
func (w *world) many(t testing.TB, prefix string, repositories, each int) map[string][]registry.Manifest {
	t.Helper()
	all := map[string][]registry.Manifest{}
	for i := range repositories {
		name := fmt.Sprint(prefix, i)
		c := new(registry.Change)
		c.Add(&fact.RepositoryCreated{Repository: name})
		for j := range each {
			text := fmt.Sprint(name, " ", j)
			set := identity.Of([]byte(text))
			c.Add(&fact.BlobStored{Digests: set, Size: int64(len(text)), Receipt: fact.Receipt{Store: "m", Locator: fmt.Sprintf("objects/%s/%d", name, j)}})
			c.Add(&fact.ManifestPut{Repository: name, Manifest: set.Primary(), Native: set.Primary(), Digest: set.Primary(), MediaType: "m",
				References: []fact.Reference{}, Class: "permanent-record"})
		}
		err := w.ledger.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { return c, nil })
		if err == nil {
			err = w.ledger.Read(context.Background(), func(v registry.View) (err error) {
				all[name], err = v.Manifests(name, 0, each)
				return err
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return all
}

func TestManyPullsAreFewEvents(t *testing.T) {
	for name, c := range map[string]struct{ repositories, each, events int }{
		"of one repository":       {1, 2050, 21},
		"each of another":         {150, 1, 150},
		"some of each repository": {20, 120, 40},
	} {
		t.Run(name, func(t *testing.T) {
			w := open(t, registry.Options{})
			all := w.many(t, "r", c.repositories, c.each)
			now := w.clock.Now()
			for repository, manifests := range all {
				for i := range manifests {
					w.NotePull(now, repository, &manifests[i])
				}
			}
			w.flush(t, w.Registry, c.events)
			must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
				for repository := range all {
					manifests, err := v.Manifests(repository, 0, c.each)
					must(t, err)
					for _, m := range manifests {
						if !m.Pulled.Equal(now.Truncate(day)) {
							t.Fatalf("pulled %v", m.Pulled)
						}
					}
				}
				return nil
			}))
			w.flush(t, w.Registry, 0)
		})
	}
}

// TestPullsTakeBoundedMemory: what there is no room for is dropped, and said to be.
func TestPullsTakeBoundedMemory(t *testing.T) {
	var log strings.Builder
	w := open(t, registry.Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	for i := range 20_107 {
		w.NotePull(w.clock.Now(), "a", &registry.Manifest{Blob: registry.Blob{Digests: identity.Of([]byte(fmt.Sprint(i)))}})
	}
	w.flush(t, w.Registry, 0)
	if !strings.Contains(log.String(), "pulls=107") {
		t.Errorf("logged: %s", log.String())
	}
	put(t, w.repo(t, "a"), "v1", small, "")
	w.NotePull(w.clock.Now(), "a", w.pushed(t, "a", body(small, 0, "")))
	w.flush(t, w.Registry, 1) // there is room again
}

func TestPullsWhileTheyAreFlushed(t *testing.T) {
	w := open(t, registry.Options{})
	all := w.many(t, "r", 4, 50)
	now := w.clock.Now()
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for range 20 {
				for repository, manifests := range all {
					for i := range manifests {
						w.NotePull(now, repository, &manifests[i])
					}
				}
				if err := w.FlushPulls(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	n := map[identity.Digest]int{}
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		events, err := v.EventsAfter(0, 10_000)
		for i := range events {
			if f := new(fact.ManifestPulled); events[i].Kind == fact.KindManifestPulled {
				must(t, events[i].Decode(f))
				for _, d := range f.Manifests {
					n[d]++
				}
			}
		}
		return err
	}))
	for d, times := range n {
		if times != 1 {
			t.Errorf("%s was recorded %d times", d, times)
		}
	}
	if len(n) != 200 {
		t.Errorf("%d manifests were recorded", len(n))
	}
}

// BenchmarkNotePull is what a pull pays for being noted.
func BenchmarkNotePull(b *testing.B) {
	all := make([]*registry.Manifest, 1000)
	for i := range all {
		all[i] = &registry.Manifest{Blob: registry.Blob{Digests: identity.Of([]byte(fmt.Sprint(i)))}}
	}
	r := new(registry.Registry)
	now := time.Now()
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			r.NotePull(now, "team/app", all[i%len(all)])
		}
	})
}
