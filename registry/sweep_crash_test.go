package registry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/budget"
	"artifactstore/internal/dataplane"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
)

// failingLedger fails its n-th Update: before it happens, or, if it is to be
// lost, after.
type failingLedger struct {
	registry.Ledger
	n    int
	lost bool
}

var errCrash = errors.New("crash")

func (l *failingLedger) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	if l.n--; l.n != 0 {
		return l.Ledger.Update(ctx, caller, keys, decide)
	}
	if l.lost {
		if err := l.Ledger.Update(ctx, caller, keys, decide); err != nil {
			return err
		}
	}
	return errCrash
}

// failingBytes fails its n-th Delete in the same way.
type failingBytes struct {
	registry.Bytes
	n    int
	lost bool
	err  error
}

func (b *failingBytes) Delete(ctx context.Context, r fact.Receipt, content eventlog.Sequence) error {
	if b.n--; b.n != 0 {
		return b.Bytes.Delete(ctx, r, content)
	}
	if b.lost {
		if err := b.Bytes.Delete(ctx, r, content); err != nil {
			return err
		}
	}
	return b.err
}

// over is a registry over the ledger and the objects of a world, seen through
// others.
func (w *world) over(t *testing.T, ledger registry.Ledger, through func(registry.Bytes) registry.Bytes) *registry.Registry {
	t.Helper()
	plane, err := dataplane.New(map[string]storagedriver.Driver{"m": w.driver}, "m", w.ledger,
		dataplane.Options{InlineLimit: inline, BootID: "b", Now: w.clock.Now})
	must(t, err)
	var bytes registry.Bytes = plane
	if through != nil {
		bytes = through(plane)
	}
	r, err := registry.New(context.Background(), ledger, bytes, registry.Options{})
	must(t, err)
	return r
}

// littered is a world in which every phase of a sweep has something to do, now or
// once another has done its part; what stays is in repository "kept".
func littered(t *testing.T) *world {
	t.Helper()
	w := open(t, registry.Options{})
	kept, a, b := w.repo(t, "kept"), w.repo(t, "a"), w.repo(t, "b")
	subject := put(t, kept, "v1", large, "")
	put(t, kept, "", small, subject)
	for i := range 4 {
		push(t, a, fmt.Sprint(large, i))
		push(t, b, fmt.Sprint(large, i))
		push(t, b, fmt.Sprint("b", i))
		push(t, a, fmt.Sprint("unlinked", i))
		must(t, a.DeleteBlob(context.Background(), digest(fmt.Sprint("unlinked", i))))
		remove(t, a, put(t, a, "v", fmt.Sprint(large, "manifest", i), subject))
	}
	put(t, b, "x", large, "")
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	w.events(t, &fact.RepositoryDeleted{Repository: "b", Name: "b#9"})
	w.pass(t, 8*day)
	return w
}

// settle sweeps until nothing is left to do, and says what there still is.
func (w *world) settle(t *testing.T, r *registry.Registry) string {
	t.Helper()
	for range 8 {
		_, err := r.Sweep(context.Background(), registry.SweepOptions{Batch: 4})
		must(t, err)
		w.pass(t, 2*day)
	}
	report, err := r.Sweep(context.Background(), registry.SweepOptions{})
	must(t, err)
	left := sum(report)
	left.Visited = 0
	if left != nothing {
		t.Errorf("the last sweep still counts %+v", left)
	}
	if read(t, w.repo(t, "kept"), digest(large)) != large {
		t.Error("what is used is damaged")
	}
	w.whole(t)
	return fmt.Sprintf("%d byte sequences, %d objects, %d content rows", w.stored(t), w.objects(t), w.rows(t))
}

// whole expects that every manifest has what it references.
func (w *world) whole(t *testing.T) {
	t.Helper()
	must(t, w.ledger.Read(context.Background(), func(v registry.View) error {
		names, err := v.RepositoryPage("", 1000)
		must(t, err)
		for _, name := range names {
			manifests, err := v.Manifests(name, 0, 10_000)
			must(t, err)
			for _, m := range manifests {
				references, err := v.References(m.Sequence, -1, 10_000)
				must(t, err)
				for _, f := range references {
					b, _, err := v.LinkedBlob(name, f.Digest)
					if err != nil || b == nil {
						t.Errorf("manifest %s of %s has lost %s: %v", m.Digest, name, f.Digest, err)
						continue
					}
					if b.Receipt.Store != fact.Content {
						if _, err := w.driver.Size(context.Background(), b.Receipt.Locator); err != nil {
							t.Errorf("manifest %s of %s has lost the object of %s: %v", m.Digest, name, f.Digest, err)
						}
					}
				}
			}
		}
		return nil
	}))
}

func TestASweepThatDiesAnywhereIsFinishedByTheNext(t *testing.T) {
	calm := littered(t)
	want := calm.settle(t, calm.Registry)
	for _, lost := range []bool{false, true} {
		for n := 1; ; n++ {
			w := littered(t)
			ledger := &failingLedger{Ledger: w.ledger, n: n, lost: lost}
			r := w.over(t, ledger, nil)
			failed := 0
			for range 3 { // the n-th change is in any of them
				if _, err := r.Sweep(context.Background(), registry.SweepOptions{Batch: 4}); err != nil {
					if !errors.Is(err, errCrash) {
						t.Fatal(err)
					}
					failed++
				}
				w.pass(t, day)
			}
			ledger.n = -1
			if got := w.settle(t, r); got != want {
				t.Fatalf("change %d, lost %v: %s are left, want %s", n, lost, got, want)
			}
			if failed == 0 {
				if n < 10 {
					t.Fatalf("there were %d changes only", n)
				}
				break
			}
			n += n / 3 // not every one of them: each is a store of its own
		}
	}
}

func TestAnObjectThatCannotBeDeletedKeepsNoOthers(t *testing.T) {
	calm := littered(t)
	want := calm.settle(t, calm.Registry)
	for n := 1; n < 8; n += 3 {
		for _, b := range []*failingBytes{{n: n, err: errCrash}, {n: n, err: errCrash, lost: true}, {n: n, err: fact.ErrUnavailable}, {n: n, err: fact.ErrUnavailable, lost: true}} {
			w, away := littered(t), b.err != errCrash
			r := w.over(t, w.ledger, func(inner registry.Bytes) registry.Bytes { b.Bytes = inner; return b })
			failed, stopped := int64(0), 0
			for range 3 {
				report, err := r.Sweep(context.Background(), registry.SweepOptions{Batch: 4})
				failed += sum(report).Failed
				if err != nil {
					refused(t, err, registry.Unavailable)
					stopped++
				}
				w.pass(t, day)
			}
			if away && (stopped != 1 || failed != 0) || !away && (stopped != 0 || failed != 1) {
				t.Errorf("object %d, away %v: %d sweeps stopped, %d objects failed", n, away, stopped, failed)
			}
			if got := w.settle(t, r); got != want {
				t.Errorf("object %d: %s are left, want %s", n, got, want)
			}
		}
	}
}

// counting is a ledger that counts the rows of lists that one Read or Update gets.
type counting struct {
	registry.Ledger
	most, events int
	rows         int // in all
}

type countingView struct {
	registry.View
	rows int
}

func counts[T any](v *countingView, all []T, err error) ([]T, error) {
	v.rows += len(all)
	return all, err
}

func (v *countingView) Links(after registry.LinkPlace, limit int) ([]registry.LinkItem, error) {
	all, err := v.View.Links(after, limit)
	return counts(v, all, err)
}
func (v *countingView) LinksIn(name string, after int64, limit int) ([]registry.LinkItem, error) {
	all, err := v.View.LinksIn(name, after, limit)
	return counts(v, all, err)
}
func (v *countingView) BlobItems(after eventlog.Sequence, limit int) ([]registry.BlobItem, error) {
	all, err := v.View.BlobItems(after, limit)
	return counts(v, all, err)
}
func (v *countingView) Graves(after eventlog.Sequence, limit int) ([]registry.GraveItem, error) {
	all, err := v.View.Graves(after, limit)
	return counts(v, all, err)
}
func (v *countingView) GravesBefore(name string, before eventlog.Sequence, limit int) ([]registry.Grave, error) {
	all, err := v.View.GravesBefore(name, before, limit)
	return counts(v, all, err)
}
func (v *countingView) Manifests(name string, before eventlog.Sequence, limit int) ([]registry.Manifest, error) {
	all, err := v.View.Manifests(name, before, limit)
	return counts(v, all, err)
}
func (v *countingView) TagInfos(name, after string, limit int) ([]registry.TagInfo, error) {
	all, err := v.View.TagInfos(name, after, limit)
	return counts(v, all, err)
}
func (v *countingView) Erasures(after registry.ErasurePlace, before time.Time, limit int) ([]registry.Erasure, error) {
	all, err := v.View.Erasures(after, before, limit)
	return counts(v, all, err)
}
func (v *countingView) DeletedRepositories(after int64, limit int) ([]registry.RepositoryState, error) {
	all, err := v.View.DeletedRepositories(after, limit)
	return counts(v, all, err)
}

func (l *counting) Read(ctx context.Context, query func(registry.View) error) error {
	return l.Ledger.Read(ctx, func(v registry.View) error {
		c := &countingView{View: v}
		err := query(c)
		l.most, l.rows = max(l.most, c.rows), l.rows+c.rows
		return err
	})
}

func (l *counting) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	return l.Ledger.Update(ctx, caller, keys, func(v registry.View) (*registry.Change, error) {
		c := &countingView{View: v}
		change, err := decide(c)
		l.most, l.rows = max(l.most, c.rows), l.rows+c.rows
		if change != nil {
			l.events = max(l.events, len(change.Entries))
		}
		return change, err
	})
}

func TestAStepVisitsNoMoreThanItsBatch(t *testing.T) {
	const batch = 5
	w := littered(t)
	ledger := &counting{Ledger: w.ledger}
	r := w.over(t, ledger, nil)
	for range 5 {
		_, err := r.Sweep(context.Background(), registry.SweepOptions{Batch: batch})
		must(t, err)
		w.pass(t, 2*day)
	}
	if ledger.most != batch || ledger.events > batch || ledger.events == 0 {
		t.Errorf("a step visits %d rows and commits %d events, want %d at most", ledger.most, ledger.events, batch)
	}
}

func TestADryRunTellsWhatASweepWouldDo(t *testing.T) {
	w := littered(t)
	for range 6 {
		before := head(t, w)
		told, err := w.Sweep(context.Background(), registry.SweepOptions{DryRun: true, Batch: 3})
		must(t, err)
		if head(t, w) != before {
			t.Fatal("a dry run wrote events")
		}
		done, err := w.Sweep(context.Background(), registry.SweepOptions{Batch: 3})
		must(t, err)
		for i := range done.Phases {
			got, want := told.Phases[i].SweepCounts, done.Phases[i].SweepCounts
			got.Visited, want.Visited = 0, 0
			if got != want {
				t.Errorf("%s: a dry run tells\n%+v, the sweep does\n%+v", done.Phases[i].Phase, got, want)
			}
		}
		w.pass(t, day)
	}
}

func TestASweepGoesOnWhereItWasStopped(t *testing.T) {
	w := open(t, registry.Options{})
	for i := range 30 {
		push(t, w.repo(t, "a"), fmt.Sprint(i))
	}
	w.pass(t, 2*time.Hour)
	ctx, cancel := context.WithCancel(context.Background())
	_, err := w.Sweep(ctx, registry.SweepOptions{Batch: 3, Progress: func(p registry.SweepProgress) {
		if p.Condemned.Number >= 15 {
			cancel()
		}
	}})
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("the sweep that was stopped: %v", err)
	}
	report, err := w.Sweep(context.Background(), registry.SweepOptions{Batch: 3})
	must(t, err)
	if links := report.Phases[0]; links.Condemned.Number != 15 || links.Visited != 15 {
		t.Errorf("the next sweep counts %+v", links)
	}
	report, err = w.Sweep(context.Background(), registry.SweepOptions{Batch: 3})
	must(t, err)
	if links := report.Phases[0]; links.Condemned.Number != 0 || links.Visited != 30 {
		t.Errorf("the one after it counts %+v", links)
	}
}

// TestASweepReadsLittleInVain: where a change is full before its rows are used up
// the next step does not read as many again.
func TestASweepReadsLittleInVain(t *testing.T) {
	const manifests = 150
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	for i := range manifests {
		remove(t, a, put(t, a, "", fmt.Sprint(i), ""))
	}
	w.pass(t, 8*day)
	ledger := &counting{Ledger: w.ledger}
	report, err := w.over(t, ledger, nil).Sweep(context.Background(), registry.SweepOptions{})
	must(t, err)
	if n := report.Total(); n.Manifests != manifests || ledger.rows > 2*int(n.Visited) {
		t.Errorf("%d manifests are forgotten, and of %d rows %d were read", n.Manifests, n.Visited, ledger.rows)
	}
}

// slow is a ledger whose changes take their time.
type slow struct {
	registry.Ledger
	took    time.Duration
	updates int
}

func (l *slow) Update(ctx context.Context, caller registry.Caller, keys registry.Keys, decide func(registry.View) (*registry.Change, error)) error {
	l.updates++
	time.Sleep(l.took)
	return l.Ledger.Update(ctx, caller, keys, decide)
}

// TestASweepWithAPaceLeavesTheLedgerToOthers after each change.
func TestASweepWithAPaceLeavesTheLedgerToOthers(t *testing.T) {
	w := open(t, registry.Options{})
	for i := range 20 {
		push(t, w.repo(t, "a"), fmt.Sprint(i))
	}
	w.pass(t, day)
	ledger := &slow{Ledger: w.ledger, took: 300 * time.Millisecond}
	o := registry.SweepOptions{Batch: 10, Pace: budget.NewPace(0, 1_000_000)}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	o.Progress = func(registry.SweepProgress) { time.AfterFunc(ledger.took/3, cancel) }
	report, err := w.over(t, ledger, nil).Sweep(ctx, o)
	if n := report.Total(); !errors.Is(err, context.Canceled) || ledger.updates != 1 || n.Condemned.Number == 0 {
		t.Errorf("%d changes, %+v, %v", ledger.updates, n, err)
	}
	o.Progress = nil
	ledger.took = time.Millisecond
	report, err = w.over(t, ledger, nil).Sweep(context.Background(), o)
	if n := report.Total(); err != nil || n.Condemned.Number == 0 {
		t.Errorf("then %+v, %v", n, err)
	}
}

// TestASweepKeepsItsPace: at one row a second, thirty are not done at once.
func TestASweepKeepsItsPace(t *testing.T) {
	w := open(t, registry.Options{})
	for i := range 30 {
		push(t, w.repo(t, "a"), fmt.Sprint(i))
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	report, err := w.Sweep(ctx, registry.SweepOptions{Batch: 10, Pace: budget.NewPace(0, 1)})
	if !errors.Is(err, context.DeadlineExceeded) || report.Phases[0].Visited > 10 {
		t.Errorf("the sweep counts %+v, %v", report, err)
	}
}

// TestPushesMountsAndDeletesRaceWithSweeps: what was accepted is there, and stays
// whole, while time flies and two sweeps run all the while.
func TestPushesMountsAndDeletesRaceWithSweeps(t *testing.T) {
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Second)
	defer stop()
	w := open(t, registry.Options{})
	other := w.over(t, w.ledger, nil)
	var wg sync.WaitGroup
	for _, r := range []*registry.Registry{w.Registry, other} {
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := r.Sweep(ctx, registry.SweepOptions{Batch: 10}); err != nil && ctx.Err() == nil {
					t.Errorf("sweep: %v", err)
				}
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			w.pass(t, 6*time.Hour)
			time.Sleep(time.Millisecond)
		}
	})
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var accepted [3]int
	for i := range accepted {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for ctx.Err() == nil {
				if err := racer(ctx, w, random, i, &accepted[i]); err != nil && ctx.Err() == nil {
					t.Errorf("racer %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	w.whole(t)
	for i, n := range accepted {
		if n == 0 {
			t.Errorf("racer %d has got nothing in", i)
		}
	}
}

// racer brings a manifest in, looks whether it is whole, and deletes it now and then.
func racer(ctx context.Context, w *world, random *rand.Rand, i int, accepted *int) error {
	r, err := w.Repository([]string{"a", "b"}[random.IntN(2)], caller)
	if err != nil {
		return err
	}
	config := []string{small, large, large + "2", large + "3"}[random.IntN(4)]
	if mounted, err := r.MountBlob(ctx, digest(config), ""); err != nil {
		return fmt.Errorf("mount: %w", err)
	} else if !mounted {
		if _, err := r.PushBlob(ctx, digest(config), whole(config)); err != nil {
			return fmt.Errorf("push: %w", err)
		}
	}
	m := body(config, 0, "")
	m += strings.Repeat(" ", i+3*random.IntN(5))
	var e *registry.Error
	_, err = r.PutManifest(ctx, image(registry.Reference{Digest: digest(m)}, m))
	if errors.As(err, &e) && e.Code == registry.ManifestBlobUnknown {
		return nil // weeks have passed since
	}
	if err != nil {
		return fmt.Errorf("put: %w", err)
	}
	*accepted++
	if err := servesWhole(ctx, r, m, config); err != nil {
		return err
	}
	if random.IntN(3) > 0 {
		return r.DeleteManifest(ctx, registry.Reference{Digest: digest(m)})
	}
	return nil
}

// servesWhole reads a manifest and its config.
func servesWhole(ctx context.Context, r *registry.Repository, m, config string) error {
	for i, want := range []string{m, config} {
		var c *registry.Content
		var err error
		if i == 0 {
			c, err = r.Manifest(ctx, registry.Reference{Digest: identity.FromBytes(identity.SHA256, []byte(want))})
		} else {
			c, err = r.Blob(ctx, digest(want))
		}
		if err != nil {
			return fmt.Errorf("%d of what was accepted: %w", i, err)
		}
		rc, err := c.Open(ctx, 0, -1)
		if err != nil {
			return fmt.Errorf("%d of what was accepted: %w", i, err)
		}
		got, err := io.ReadAll(io.LimitReader(rc, c.Size))
		if err := errors.Join(err, rc.Close()); err != nil {
			return err
		}
		if string(got) != want {
			return fmt.Errorf("%d of what was accepted has other bytes", i)
		}
	}
	return nil
}
