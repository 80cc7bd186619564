package registry_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

func (w *world) fsck(t *testing.T, o registry.FsckOptions) registry.FsckReport {
	t.Helper()
	report, err := w.Fsck(t.Context(), o)
	must(t, err)
	return report
}

// clean expects that nothing is wrong.
func (w *world) clean(t *testing.T) {
	t.Helper()
	if report := w.fsck(t, registry.FsckOptions{Deep: true}); report.Wrong() {
		t.Errorf("fsck finds %+v", report.Findings)
	}
}

// openNow is a world whose clock is ahead of that of its store, so that nothing
// in it is young.
func openNow(t *testing.T) (*world, *registry.Repository) {
	t.Helper()
	w := open(t, registry.Options{})
	w.clock.advance(time.Since(time.Unix(1_700_000_000, 0)) + 2*time.Hour)
	return w, w.repo(t, "a")
}

// only expects findings of one kind, and returns them.
func only(t *testing.T, report registry.FsckReport, kind string, n int) []registry.Finding {
	t.Helper()
	if len(report.Counts) != min(n, 1) || report.Counts[kind].Found != int64(n) || len(report.Findings) != n {
		t.Fatalf("found %+v, want %d of kind %s", report.Findings, n, kind)
	}
	for _, f := range report.Findings {
		if f.Problem == "" || f.Store == "" || f.Name == "" {
			t.Errorf("a finding says too little: %+v", f)
		}
	}
	return report.Findings
}

func TestFsckOfAStoreThatIsAsItShouldBeFindsNothing(t *testing.T) {
	w, r := openNow(t)
	all := everything(t, w, r)
	refers(t, r)
	must(t, r.DeleteManifest(t.Context(), registry.Reference{Digest: digest(body(small, 0, ""))}))
	before := head(t, w)
	stages := map[string]bool{}
	for _, deep := range []bool{false, true} {
		report := w.fsck(t, registry.FsckOptions{Deep: deep, Repair: true, Progress: func(r registry.FsckReport) { stages[r.Stage] = true }})
		only(t, report, "", 0)
		if report.Wrong() || report.Blobs < int64(len(all)) || report.Bytes == 0 || report.Objects == 0 || report.Rows == 0 || report.Stage != "" {
			t.Errorf("report %+v", report)
		}
	}
	if head(t, w) != before {
		t.Error("it has written events")
	}
	for _, stage := range []string{"content", "referrers", "rows", "objects", "erasures", ""} {
		if !stages[stage] {
			t.Errorf("progress was not told of stage %q", stage)
		}
	}
}

func TestFsckFindsDamageAndPutsItUnderQuarantine(t *testing.T) {
	for name, damage := range map[string]func(*world, *testing.T, identity.Digest){"flipped": (*world).flip, "lost": (*world).lose} {
		for _, data := range []string{small, large} {
			t.Run(fmt.Sprint(name, " ", len(data), " bytes"), func(t *testing.T) {
				w, r := openNow(t)
				everything(t, w, r)
				damage(w, t, digest(data))
				shallow := w.fsck(t, registry.FsckOptions{})
				if name == "flipped" {
					only(t, shallow, "", 0) // nobody has read them
				} else {
					only(t, shallow, registry.FoundDamaged, 1)
				}
				before := head(t, w)
				f := only(t, w.fsck(t, registry.FsckOptions{Deep: true}), registry.FoundDamaged, 1)[0]
				if f.Subject != w.found(t, digest(data)).Digests.Primary().String() || f.Repaired || head(t, w) != before {
					t.Errorf("without repair: %+v", f)
				}
				report := w.fsck(t, registry.FsckOptions{Deep: true, Repair: true})
				if f := only(t, report, registry.FoundDamaged, 1)[0]; !f.Repaired || !report.Wrong() {
					t.Errorf("with repair: %+v", f)
				}
				c, err := r.Blob(t.Context(), digest(data))
				must(t, err)
				refused(t, c.Check(t.Context()), registry.BlobUnknown)
				for _, deep := range []bool{false, true} {
					report := w.fsck(t, registry.FsckOptions{Deep: deep, Repair: true})
					if only(t, report, registry.FoundQuarantined, 1); !report.Wrong() {
						t.Error("nothing is wrong with what is under quarantine")
					}
				}
				push(t, r, data)
				w.clean(t)
			})
		}
	}
}

func TestFsckServesWhatWasPutBack(t *testing.T) {
	w, r := openNow(t)
	everything(t, w, r)
	w.flip(t, digest(large))
	w.fsck(t, registry.FsckOptions{Deep: true, Repair: true})
	w.flip(t, digest(large)) // back
	if only(t, w.fsck(t, registry.FsckOptions{Deep: true}), registry.FoundHealed, 1)[0].Repaired {
		t.Error("repaired without being told to")
	}
	report := w.fsck(t, registry.FsckOptions{Deep: true, Repair: true})
	if !only(t, report, registry.FoundHealed, 1)[0].Repaired || report.Wrong() {
		t.Errorf("report %+v", report)
	}
	if got := read(t, r, digest(large)); got != large {
		t.Error("other bytes are served")
	}
}

func TestFsckLeavesAStoreAloneThatIsNotMounted(t *testing.T) {
	w, r := openNow(t)
	push(t, r, large)
	w.lose(t, digest(large))
	before := head(t, w)
	f := only(t, w.fsck(t, registry.FsckOptions{Repair: true}), registry.FoundDamaged, 1)[0]
	if f.Repaired || !strings.Contains(f.Problem, "mounted") || head(t, w) != before {
		t.Errorf("found %+v", f)
	}
}

func TestFsckMakesDescriptorsAnew(t *testing.T) {
	w, r := openNow(t)
	_, referrer, list := refers(t, r)
	want := list()
	var put eventlog.Sequence
	must(t, w.ledger.Read(t.Context(), func(v registry.View) error {
		m, _, err := v.Manifest("a", digest(referrer))
		put = m.Sequence
		return err
	}))
	w.rewrite(t, put, []byte(`{"mediaType":"x"}`))
	f := only(t, w.fsck(t, registry.FsckOptions{}), registry.FoundDescriptor, 1)[0]
	if f.Subject != "a@"+digest(referrer).String() || f.Repaired {
		t.Errorf("found %+v", f)
	}
	if !only(t, w.fsck(t, registry.FsckOptions{Repair: true}), registry.FoundDescriptor, 1)[0].Repaired {
		t.Error("not repaired")
	}
	if got := list(); len(got) != 1 || got[0] != want[0] {
		t.Errorf("listed are %v", got)
	}
	w.clean(t)
	// Without its manifest nothing can be made of it.
	w.flip(t, digest(referrer))
	w.fsck(t, registry.FsckOptions{Deep: true, Repair: true})
	w.rewrite(t, put, []byte("{{"))
	report := w.fsck(t, registry.FsckOptions{Repair: true})
	if n := report.Counts[registry.FoundDescriptor]; n.Found != 1 || n.Repaired != 0 || !report.Wrong() {
		t.Errorf("report %+v", report)
	}
}

func TestFsckRemovesContentRowsThatNothingNeeds(t *testing.T) {
	w, r := openNow(t)
	everything(t, w, r)
	refers(t, r)
	w.lose(t, digest(small))
	push(t, r, small) // its row is another one now
	w.clean(t)
	w.rewrite(t, 1, []byte("of an event that stored nothing"))
	if f := only(t, w.fsck(t, registry.FsckOptions{}), registry.FoundSpareRow, 1)[0]; f.Name != "1" || f.Repaired {
		t.Errorf("found %+v", f)
	}
	if !only(t, w.fsck(t, registry.FsckOptions{Repair: true}), registry.FoundSpareRow, 1)[0].Repaired {
		t.Error("not repaired")
	}
	w.clean(t)
	if got := read(t, r, digest(small)); got != small {
		t.Error("other bytes are served")
	}
}

// orphan puts an object into the store that nothing names, and returns its locator.
func (w *world) orphan(t *testing.T, id string) string {
	t.Helper()
	return w.place(t, w.driver.Locate(digest(id).Hex()[:32], ""))
}

func (w *world) place(t *testing.T, locator string) string {
	t.Helper()
	must(t, w.driver.Place(t.Context(), locator, 6, strings.NewReader("orphan")))
	return locator
}

func (w *world) there(t *testing.T, locator string) bool {
	t.Helper()
	_, err := w.driver.Size(t.Context(), locator)
	return err == nil
}

func TestFsckDeletesObjectsThatNothingNames(t *testing.T) {
	w, r := openNow(t)
	everything(t, w, r)
	lost := w.orphan(t, "lost")
	if f := only(t, w.fsck(t, registry.FsckOptions{}), registry.FoundOrphan, 1)[0]; f.Name != lost || f.Size != 6 || f.Repaired {
		t.Errorf("found %+v", f)
	}
	if !w.there(t, lost) {
		t.Fatal("deleted without being told to")
	}
	report := w.fsck(t, registry.FsckOptions{Repair: true})
	if !only(t, report, registry.FoundOrphan, 1)[0].Repaired || report.Wrong() || w.there(t, lost) {
		t.Errorf("report %+v", report)
	}
	w.clean(t)
}

// TestFsckLeavesStrangersAlone: what others have put among the objects may have a
// name that is a locator as well.
func TestFsckLeavesStrangersAlone(t *testing.T) {
	w, r := openNow(t)
	everything(t, w, r)
	for _, locator := range []string{"readme", "logs/app-1", "0123456789abcdef0123456789abcdef0", "objects/aa-0123456789abcdef"} {
		w.place(t, locator)
		report := w.fsck(t, registry.FsckOptions{Repair: true, ManyOrphans: true})
		if only(t, report, registry.FoundStranger, 1); report.Wrong() || !w.there(t, locator) {
			t.Errorf("%s: report %+v", locator, report)
		}
		must(t, w.driver.Delete(t.Context(), locator))
	}
}

func TestFsckLeavesYoungObjectsAlone(t *testing.T) {
	w := open(t, registry.Options{})
	everything(t, w, w.repo(t, "a"))
	w.clock.advance(time.Since(time.Unix(1_700_000_000, 0)) + 50*time.Minute)
	w.orphan(t, "lost")
	only(t, w.fsck(t, registry.FsckOptions{Repair: true}), "", 0)
	w.clock.advance(time.Hour)
	only(t, w.fsck(t, registry.FsckOptions{Repair: true}), registry.FoundOrphan, 1)
}

// TestFsckLeavesTheStoreOfAnotherRegistryAlone: the database knows little of what
// is in it.
func TestFsckLeavesTheStoreOfAnotherRegistryAlone(t *testing.T) {
	w, r := openNow(t)
	push(t, r, large)
	for i := range 20 {
		w.orphan(t, fmt.Sprint("other", i))
	}
	report := w.fsck(t, registry.FsckOptions{Repair: true})
	only(t, report, registry.FoundOrphan, 20)
	if report.Counts[registry.FoundOrphan].Repaired != 0 || len(report.Refused) != 1 || !report.Wrong() {
		t.Errorf("report %+v", report)
	}
	report = w.fsck(t, registry.FsckOptions{Repair: true, ManyOrphans: true})
	if report.Counts[registry.FoundOrphan].Repaired != 20 || len(report.Refused) != 0 || report.Wrong() {
		t.Errorf("report %+v", report)
	}
	if got := read(t, r, digest(large)); got != large {
		t.Error("other bytes are served")
	}
}

// TestFsckTakesNothingFromUploads: their objects are there before the event that
// names them.
func TestFsckTakesNothingFromUploads(t *testing.T) {
	w, _ := openNow(t)
	var repo *registry.Repository
	n := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &publishing{b, func(ctx context.Context, s fact.Staged) error {
			if err := b.Publish(ctx, s); err != nil {
				return err
			}
			report, err := repo.Fsck(ctx, registry.FsckOptions{Repair: true, Deep: true})
			if err != nil || len(report.Findings) != 0 || report.Objects != 1 {
				t.Errorf("in the middle of a push: %+v, %v", report, err)
			}
			return nil
		}}
	})
	repo = n.Repository
	push(t, repo, large)
	if got := read(t, repo, digest(large)); got != large {
		t.Error("other bytes are served")
	}
	w.clean(t)
}

func TestFsckNamesWhatIsToBeDeletedAndIsGone(t *testing.T) {
	w, r := openNow(t)
	push(t, r, large)
	push(t, r, large+large)
	w.flip(t, digest(large))
	w.fsck(t, registry.FsckOptions{Deep: true, Repair: true})
	old := w.found(t, digest(large)).Receipt.Locator
	push(t, r, large)
	only(t, w.fsck(t, registry.FsckOptions{Repair: true}), "", 0) // it is there
	must(t, w.driver.Delete(t.Context(), old))
	if only(t, w.fsck(t, registry.FsckOptions{}), registry.FoundErased, 1)[0].Repaired {
		t.Error("repaired without being told to")
	}
	before := head(t, w)
	if !only(t, w.fsck(t, registry.FsckOptions{Repair: true}), registry.FoundErased, 1)[0].Repaired {
		t.Error("not repaired")
	}
	if n := w.kinds(t, before); n[fact.KindBlobErased] != 1 || len(n) != 1 {
		t.Errorf("events %v", n)
	}
	only(t, w.fsck(t, registry.FsckOptions{Repair: true}), "", 0)
}

func TestFsckListsNoMoreThanItsBound(t *testing.T) {
	w, r := openNow(t)
	push(t, r, large)
	for i := range registry.MaxFindings + 5 {
		w.orphan(t, fmt.Sprintf("o%d", i))
	}
	report := w.fsck(t, registry.FsckOptions{})
	if len(report.Findings) != registry.MaxFindings || report.Counts[registry.FoundOrphan].Found != registry.MaxFindings+5 {
		t.Errorf("%d findings, counted %v", len(report.Findings), report.Counts)
	}
}

// TestFsckSaysNothingOfWhatChangesUnderIt: what it has listed is moved before it
// looks.
func TestFsckSaysNothingOfWhatChangesUnderIt(t *testing.T) {
	w, r := openNow(t)
	push(t, r, small)
	push(t, r, large)
	n := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &unreadable{b, func(fact.Receipt) error {
			for _, data := range []string{small, large} {
				w.lose(t, digest(data))
				push(t, r, data)
			}
			return nil
		}}
	})
	report, err := n.Fsck(t.Context(), registry.FsckOptions{Deep: true})
	if err != nil || report.Wrong() {
		t.Errorf("found %+v, %v", report.Findings, err)
	}
}

func TestFsckEndsWhenItsStoreIsAway(t *testing.T) {
	w, r := openNow(t)
	asked := 0
	for i := range 10 {
		push(t, r, fmt.Sprint(large, i))
	}
	n := w.node(t, func(b registry.Bytes) registry.Bytes {
		return &unreadable{b, func(fact.Receipt) error {
			asked++
			return fmt.Errorf("verify: %w", fact.ErrUnavailable)
		}}
	})
	before := head(t, w)
	if _, err := n.Fsck(t.Context(), registry.FsckOptions{Deep: true, Repair: true}); !errors.Is(err, fact.ErrUnavailable) || asked != 3 || head(t, w) != before {
		t.Errorf("after %d: %v", asked, err)
	}
}
