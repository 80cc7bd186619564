package registry_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

const day = 24 * time.Hour

// pass lets time pass under somebody's eyes, so that it is no jump of the clock.
func (w *world) pass(t *testing.T, d time.Duration) {
	t.Helper()
	for ; d > 0; d -= 12 * time.Hour {
		w.clock.advance(min(d, 12*time.Hour))
		w.change(t, &registry.Change{Working: registry.Working{Heartbeat: true}})
	}
}

func (w *world) change(t *testing.T, c *registry.Change) {
	t.Helper()
	must(t, w.ledger.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { return c, nil }))
}

// events commits facts.
func (w *world) events(t *testing.T, facts ...fact.Fact) {
	t.Helper()
	c := new(registry.Change)
	for _, f := range facts {
		c.Add(f)
	}
	w.change(t, c)
}

// sweep runs a sweep and sums its phases up.
func (w *world) sweep(t *testing.T) registry.SweepCounts {
	t.Helper()
	report, err := w.Sweep(context.Background(), registry.SweepOptions{})
	must(t, err)
	return sum(report)
}

func sum(report registry.SweepReport) (all registry.SweepCounts) {
	for _, p := range report.Phases {
		all.Visited += p.Visited
		for to, from := range map[*registry.SweepCount]registry.SweepCount{
			&all.Condemned: p.Condemned, &all.Revived: p.Revived, &all.Released: p.Released, &all.Forgotten: p.Forgotten, &all.Erased: p.Erased,
		} {
			to.Number += from.Number
			to.Bytes += from.Bytes
		}
		all.Manifests += p.Manifests
		all.Repositories += p.Repositories
		all.Held += p.Held
		all.Failed += p.Failed
	}
	return all
}

// expect sweeps and compares what was done, apart from the rows that were visited.
func (w *world) expect(t *testing.T, want registry.SweepCounts) {
	t.Helper()
	got := w.sweep(t)
	got.Visited = 0
	if got != want {
		t.Errorf("the sweep counts\n%+v, want\n%+v", got, want)
	}
}

var nothing registry.SweepCounts

func counted(contents ...string) (n registry.SweepCount) {
	for _, c := range contents {
		n.Number++
		n.Bytes += int64(len(c))
	}
	return n
}

// put pushes an image with its config, and returns its manifest.
func put(t *testing.T, r *registry.Repository, tag, config, subject string) string {
	t.Helper()
	push(t, r, config)
	m := body(config, 0, subject)
	ref := registry.Reference{Digest: digest(m)}
	if tag != "" {
		ref = tagged(tag)
	}
	_, err := r.PutManifest(context.Background(), image(ref, m))
	must(t, err)
	return m
}

func remove(t *testing.T, r *registry.Repository, manifest string) {
	t.Helper()
	must(t, r.DeleteManifest(context.Background(), registry.Reference{Digest: digest(manifest)}))
}

// stored is how many byte sequences there are, objects how many objects.
func (w *world) stored(t *testing.T) (n int) {
	t.Helper()
	must(t, w.ledger.Read(context.Background(), func(v registry.View) error {
		all, err := v.BlobItems(0, 10_000)
		n = len(all)
		return err
	}))
	return n
}

func (w *world) objects(t *testing.T) int {
	t.Helper()
	all, err := w.driver.Objects(context.Background(), "", 10_000)
	must(t, err)
	return len(all)
}

func (w *world) rows(t *testing.T) int {
	t.Helper()
	var n int
	must(t, w.ledger.Read(context.Background(), func(v registry.View) error {
		rows, err := v.ContentRows(0, 10_000)
		n = len(rows)
		return err
	}))
	return n
}

// empty expects that nothing is left of what was ever pushed.
func (w *world) empty(t *testing.T) {
	t.Helper()
	if n, o, r := w.stored(t), w.objects(t), w.rows(t); n+o+r != 0 {
		t.Errorf("%d byte sequences, %d objects and %d content rows are left", n, o, r)
	}
}

func TestWhatNobodyUsesGoesInItsTime(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, small)
	push(t, a, large)
	w.expect(t, nothing) // it is about to be used
	w.pass(t, 2*time.Hour)
	w.expect(t, registry.SweepCounts{Condemned: counted(small, large)})
	w.expect(t, nothing)
	if read(t, a, digest(large)) != large || read(t, a, digest(small)) != small {
		t.Error("what is condemned is not served")
	}
	w.pass(t, day-time.Minute)
	w.expect(t, nothing)
	w.pass(t, time.Minute)
	w.expect(t, registry.SweepCounts{Released: counted(small, large), Forgotten: counted(small, large)})
	_, err := a.Blob(context.Background(), digest(large))
	refused(t, err, registry.BlobUnknown)
	if w.rows(t) != 0 {
		t.Error("the content row is still there")
	}
	if w.objects(t) != 1 {
		t.Error("the object went too early")
	}
	w.pass(t, day-time.Minute)
	w.expect(t, nothing)
	w.pass(t, time.Minute)
	w.expect(t, registry.SweepCounts{Erased: counted(large)})
	w.empty(t)
	w.expect(t, nothing)
}

func TestWhatIsPushedAgainAfterItWasForgottenIsAnother(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, large)
	first := locator(t, w, digest(large))
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	w.pass(t, day)
	w.sweep(t)
	push(t, a, large)
	if again := locator(t, w, digest(large)); again == first {
		t.Fatal("the object has the place of one that is to be deleted")
	}
	w.pass(t, day)
	w.expect(t, registry.SweepCounts{Condemned: counted(large), Erased: counted(large)})
	if read(t, a, digest(large)) != large {
		t.Error("wrong bytes")
	}
}

func TestManifestMayNameWhatASweepHasCondemned(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, large)
	w.pass(t, 2*time.Hour)
	_, err := a.Blob(ctx, digest(large)) // HEAD: 200
	must(t, err)
	w.expect(t, registry.SweepCounts{Condemned: counted(large)})
	w.pass(t, day-time.Minute)
	_, err = a.PutManifest(ctx, image(tagged("v1"), body(large, 0, "")))
	must(t, err)
	w.pass(t, 2*time.Minute)
	w.sweep(t)
	w.pass(t, 10*day)
	w.expect(t, nothing)
	if read(t, a, digest(large)) != large {
		t.Error("wrong bytes")
	}
	must(t, w.ledger.Read(ctx, func(v registry.View) error {
		l, err := v.Link("a", identity.FromBytes(identity.BLAKE3, []byte(large)))
		if err == nil && (l == nil || !l.Due.IsZero()) {
			t.Errorf("the link is %+v", l)
		}
		return err
	}))
}

// TestSweepRevivesWhatIsUsedAgain: a manifest that is put back uses what had been
// condemned without it.
func TestSweepRevivesWhatIsUsedAgain(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	m := put(t, a, "v1", large, "")
	blob := identity.FromBytes(identity.BLAKE3, []byte(large))
	w.events(t, &fact.BlobCondemned{Repository: "a", Blob: blob, Due: w.clock.Now().Add(time.Hour).UnixMicro()})
	w.expect(t, registry.SweepCounts{Revived: counted(large)})
	remove(t, a, m)
	w.pass(t, 6*day)
	w.expect(t, nothing) // it can be put back
	w.events(t, &fact.ManifestRestored{Repository: "a", Manifest: identity.FromBytes(identity.BLAKE3, []byte(m))})
	w.pass(t, 30*day)
	w.expect(t, nothing)
}

func TestSharedBlobGoesWithTheLastThatHoldsIt(t *testing.T) {
	w := open(t, registry.Options{})
	push(t, w.repo(t, "a"), large)
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	push(t, w.repo(t, "b"), large)
	push(t, w.repo(t, "c"), large)
	w.pass(t, day)
	w.expect(t, registry.SweepCounts{Released: counted(large), Condemned: counted(large, large)})
	w.pass(t, day)
	// Both repositories lose it in one change, in which each is the other's.
	w.expect(t, registry.SweepCounts{Released: counted(large, large), Forgotten: counted(large)})
	w.pass(t, day)
	w.expect(t, registry.SweepCounts{Erased: counted(large)})
	w.empty(t)
}

func TestBlobThatWasDeletedByRequestStaysForTheGrace(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, large)
	push(t, a, small)
	must(t, a.DeleteBlob(ctx, digest(large)))
	must(t, a.DeleteBlob(ctx, digest(small)))
	w.pass(t, 2*time.Hour)
	w.expect(t, registry.SweepCounts{Condemned: counted(large, small)})
	push(t, a, small) // takes it back
	w.pass(t, 7*day)
	w.expect(t, registry.SweepCounts{Condemned: counted(small), Forgotten: counted(large)})
	if read(t, a, digest(small)) != small {
		t.Error("wrong bytes")
	}
}

func TestDeletedManifestIsForgottenAfterTheGrace(t *testing.T) {
	w := open(t, registry.Options{})
	a, b := w.repo(t, "a"), w.repo(t, "b")
	subject := put(t, a, "v1", small, "")
	long := strings.Repeat("c", 500)
	referrer := put(t, a, "", long, subject)
	other := put(t, b, "v1", small, "")
	remove(t, a, referrer)
	remove(t, a, subject)
	w.pass(t, 7*day-time.Minute)
	w.expect(t, nothing)
	w.pass(t, 2*time.Minute)
	got := w.sweep(t)
	// The bytes and the native form of the referrer alone: the other is in b.
	if got.Manifests != 2 || got.Forgotten.Number != 2 || got.Condemned.Number != 0 {
		t.Errorf("the sweep counts %+v", got)
	}
	w.expect(t, registry.SweepCounts{Condemned: counted(small, long)})
	w.pass(t, day)
	w.expect(t, registry.SweepCounts{Released: counted(small, long), Forgotten: counted(long), Erased: registry.SweepCount{
		Number: got.Forgotten.Number, Bytes: got.Forgotten.Bytes}})
	if read(t, b, digest(small)) != small {
		t.Error("wrong bytes")
	}
	remove(t, b, other)
	w.pass(t, 8*day)
	w.sweep(t) // the manifest
	w.sweep(t) // condemned
	w.pass(t, day)
	w.sweep(t) // forgotten
	w.pass(t, day)
	w.sweep(t)
	w.empty(t)
}

func TestManifestsOfOneContentGoTogether(t *testing.T) {
	w := open(t, registry.Options{})
	var m string
	for _, name := range []string{"a", "b", "c"} {
		m = put(t, w.repo(t, name), "v1", small, "")
		remove(t, w.repo(t, name), m)
	}
	w.pass(t, 8*day)
	if got := w.sweep(t); got.Manifests != 3 || got.Forgotten.Number != 2 {
		t.Errorf("the sweep counts %+v", got)
	}
}

func TestManifestWithManyReferencesIsForgottenWhole(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, small)
	layer := descriptor("application/octet-stream", small)
	data := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":%q,"size":%d},"layers":[%s]}`,
		layer["digest"], layer["size"], strings.TrimSuffix(strings.Repeat(fmt.Sprintf(`{"mediaType":"x/y","digest":%q,"size":%d},`, layer["digest"], layer["size"]), 9_999), ","))
	for i := range 3 {
		m := data + strings.Repeat(" ", i)
		_, err := a.PutManifest(context.Background(), image(tagged("v1"), m))
		must(t, err)
		remove(t, a, m)
	}
	w.pass(t, 8*day)
	if got := w.sweep(t); got.Manifests != 3 {
		t.Errorf("the sweep counts %+v", got)
	}
	w.expect(t, registry.SweepCounts{Condemned: counted(small)})
}

// hold places a hold on something in repository a.
func hold(name string, on fact.Target, until time.Time) *fact.HoldPlaced {
	h := &fact.HoldPlaced{Name: name, Target: on}
	if !until.IsZero() {
		h.Until = until.UnixMicro()
	}
	return h
}

func TestHoldsKeepWhatTheSweepWouldTake(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, small) // unused
	push(t, a, large)
	child := put(t, a, "", small+"!", "")
	index := fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":%q,"size":%d}]}`,
		digest(child), len(child))
	p := image(tagged("v1"), index)
	p.MediaType = "application/vnd.oci.image.index.v1+json"
	_, err := a.PutManifest(ctx, p)
	must(t, err)
	referrer := put(t, a, "", small, index)
	for _, m := range []string{referrer, index, child} {
		remove(t, a, m)
	}
	on := func(m string) fact.Target {
		return fact.Target{Repository: "a", Manifest: identity.FromBytes(identity.BLAKE3, []byte(m))}
	}
	whole := fact.Target{Repository: "a"}
	w.events(t, hold("audit", on(index), time.Time{}), hold("whole", whole, w.clock.Now().Add(20*day)))
	w.pass(t, 10*day)
	got := w.sweep(t)
	if got.Held != 4 || got.Condemned.Number+got.Manifests != 0 { // large, and three manifests
		t.Errorf("under a hold of the repository the sweep counts %+v", got)
	}
	w.pass(t, 11*day) // the hold has ended, the other has not
	got = w.sweep(t)
	if got.Held != 3 || got.Condemned != counted(large) || got.Manifests != 0 {
		t.Errorf("under a hold of the index the sweep counts %+v", got)
	}
	w.events(t, &fact.HoldReleased{Name: "audit", Target: on(index)})
	if got = w.sweep(t); got.Held != 0 || got.Manifests != 3 {
		t.Errorf("without a hold the sweep counts %+v", got)
	}
}

func TestDeletedRepositoryGoesWhole(t *testing.T) {
	ctx := context.Background()
	w := open(t, registry.Options{})
	a, b := w.repo(t, "a"), w.repo(t, "b")
	subject := put(t, a, "v1", small, "")
	put(t, a, "v2", large, subject)
	remove(t, a, put(t, a, "v3", large+"!", ""))
	push(t, a, "unused")
	push(t, b, large)
	w.events(t, hold("audit", fact.Target{Repository: "a", Tag: "v1"}, w.clock.Now().Add(10*day)))
	w.events(t, &fact.RepositoryDeleted{Repository: "a", Name: "a#2"})
	w.pass(t, 6*day)
	if got := w.sweep(t); got.Repositories+got.Manifests != 0 {
		t.Errorf("within the grace the sweep counts %+v", got)
	}
	w.pass(t, 2*day)
	if got := w.sweep(t); got.Repositories != 0 || got.Held != 1 {
		t.Errorf("under a hold the sweep counts %+v", got)
	}
	w.pass(t, 3*day)
	if got := w.sweep(t); got.Repositories != 1 || got.Manifests != 3 {
		t.Errorf("the sweep counts %+v", got)
	}
	must(t, w.ledger.Read(ctx, func(v registry.View) error {
		if state, err := v.RepositoryState("a#2"); state != nil || err != nil {
			t.Errorf("the repository is %+v, %v", state, err)
		}
		if holds, _, err := v.HoldPage(registry.HoldPlace{}, 10); len(holds) != 0 || err != nil {
			t.Errorf("holds %+v, %v", holds, err)
		}
		return nil
	}))
	w.pass(t, 2*day)
	w.sweep(t)
	if n := w.stored(t); n != 0 && read(t, b, digest(large)) != large {
		t.Errorf("%d byte sequences are left", n)
	}
	if w.stored(t) > 1 {
		t.Errorf("%d byte sequences are left, want that of b", w.stored(t))
	}
}

// TestClockThatJumpedAheadTakesNothing: neither before the log tells of the jump,
// nor after, until an operator confirms it.
func TestClockThatJumpedAheadTakesNothing(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, "condemned")
	push(t, a, large)
	must(t, a.DeleteBlob(context.Background(), digest(large)))
	remove(t, a, put(t, a, "v1", small, ""))
	w.pass(t, 2*time.Hour)
	w.sweep(t)
	w.clock.advance(30 * day)
	w.expect(t, nothing)
	push(t, a, "something else")
	w.expect(t, nothing)
	w.clock.advance(30 * day)
	w.expect(t, nothing)
	w.events(t, &fact.ClockConfirmed{At: w.clock.Now().UnixMicro()})
	got := w.sweep(t)
	if got.Manifests != 1 || got.Released.Number != 1 || got.Forgotten.Number != 4 {
		t.Errorf("after the clock was confirmed the sweep counts %+v", got)
	}
}

// TestWhatIsCondemnedWhileTheClockIsDoubtedHasItsGrace, however the doubt ends.
func TestWhatIsCondemnedWhileTheClockIsDoubtedHasItsGrace(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, large)
	w.pass(t, 2*time.Hour)
	w.clock.advance(30 * day)
	w.events(t, &fact.RepositoryCreated{Repository: "b"})
	w.expect(t, registry.SweepCounts{Condemned: counted(large)})
	w.events(t, &fact.ClockConfirmed{At: w.clock.Now().UnixMicro()})
	w.expect(t, nothing)
	w.pass(t, day)
	w.expect(t, registry.SweepCounts{Released: counted(large), Forgotten: counted(large)})
}

func TestAnObjectThatABlobIsServedFromIsNeverDeleted(t *testing.T) {
	w := open(t, registry.Options{})
	a := w.repo(t, "a")
	push(t, a, large)
	// An event that nothing writes: the blob is where it was before.
	at := fact.Receipt{Store: "m", Locator: locator(t, w, digest(large))}
	blob := identity.FromBytes(identity.BLAKE3, []byte(large))
	w.events(t, &fact.BlobMoved{Blob: blob, From: at, To: fact.Receipt{Store: "m", Locator: "objects/other"}},
		&fact.BlobMoved{Blob: blob, From: fact.Receipt{Store: "m", Locator: "objects/other"}, To: at})
	w.pass(t, day)
	got := w.sweep(t)
	if got.Failed != 1 || got.Erased.Number != 1 || read(t, a, digest(large)) != large {
		t.Errorf("the sweep counts %+v", got)
	}
}
