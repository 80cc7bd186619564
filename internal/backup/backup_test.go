package backup_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"artifactstore/eventlog"
	"artifactstore/internal/backup"
	"artifactstore/internal/metastore/sqlite"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/fault"
	"artifactstore/storagedriver/filesystem"
)

func TestCopyIsTheSameStore(t *testing.T) {
	source, to := populated(t), newWorld(t)
	var last backup.Progress
	result, err := backup.Run(t.Context(), source.source(), to.target(), func(p backup.Progress) { last = p })
	must(t, err)
	to.whole(t, source)
	const objects = 6 + 2 + 1 // the one that was healed once
	events := int(source.head(t).Sequence)
	if result.Head != source.head(t) || result.Events != events || result.Objects != objects || result.Damaged != 0 {
		t.Errorf("%+v", result)
	}
	if int(last.Done) != events || last.Done != last.Total || last.Objects != objects || last.Bytes != result.Bytes {
		t.Errorf("the last progress was %+v", last)
	}
	t.Run("a second run copies nothing", func(t *testing.T) {
		if result := source.copyTo(t, to); result.Head != source.head(t) || result.Events+result.Objects+int(result.Bytes) != 0 {
			t.Errorf("%+v", result)
		}
	})
	t.Run("a later run copies what is new", func(t *testing.T) {
		source.small(t, "new and small")
		source.large(t, "new and large")
		if result := source.copyTo(t, to); result.Events != 2 || result.Objects != 1 ||
			result.Bytes != int64(len("new and small")+len("new and large")) {
			t.Errorf("%+v", result)
		}
		to.whole(t, source)
	})
	t.Run("the copy shares nothing with the source", func(t *testing.T) {
		for _, o := range mustObjects(t, source) {
			a, err := os.Stat(source.path(o))
			must(t, err)
			b, err := os.Stat(to.path(o))
			must(t, err)
			if os.SameFile(a, b) {
				t.Errorf("%s is one file", o.Locator)
			}
		}
	})
}

func mustObjects(t *testing.T, w *world) (receipts []fact.Receipt) {
	t.Helper()
	objects, err := w.ledger.Objects(t.Context(), 0, 10_000)
	must(t, err)
	for _, o := range objects {
		receipts = append(receipts, o.Receipt)
	}
	return receipts
}

func TestAnEmptyStoreIsCopied(t *testing.T) {
	source, to := newWorld(t), newWorld(t)
	if result := source.copyTo(t, to); result.Head != source.head(t) || result.Events != 0 {
		t.Errorf("%+v", result)
	}
	source.repository(t, "later")
	if result := source.copyTo(t, to); result.Events != 1 {
		t.Errorf("%+v", result)
	}
}

// TestEveryFailedOperationLeavesAStore fails the n-th operation on the copy's
// objects, for n = 1, 2, ... until none is left to fail: the copy is a
// beginning of the source each time, and the next run makes it whole.
func TestEveryFailedOperationLeavesAStore(t *testing.T) {
	source := newWorld(t)
	source.repository(t, "demo")
	for i := range 3 {
		source.large(t, fmt.Sprint("large ", i))
	}
	step := 1
	if testing.Short() {
		step = 5
	}
	for _, mode := range []fault.Mode{fault.Before, fault.After} {
		n, fired := 1, true
		for ; fired && n < 100; n += step {
			var op fault.Op
			if op, fired = failAt(t, source, &fault.Plan{FailAt: n, Err: errors.New("injected"), Mode: mode, Down: n%2 == 0}); t.Failed() {
				t.Fatalf("operation %d (%s, %v)", n, op, mode)
			}
		}
		if fired || n < 9 {
			t.Errorf("%d operations", n)
		}
	}
}

// failAt copies into a new store whose objects fail as planned, and again
// without a failure.
func failAt(t *testing.T, source *world, plan *fault.Plan) (fault.Op, bool) {
	t.Helper()
	to := newWorld(t)
	faulty := to.target()
	faulty.Objects = map[string]storagedriver.Driver{"files": fault.Wrap(to.files, plan)}
	_, err := backup.Run(t.Context(), source.source(), faulty, nil)
	op, fired := plan.Fired()
	if fired == (err == nil) {
		t.Errorf("the run gave %v", err)
	}
	to.whole(t, source)
	if result := source.copyTo(t, to); result.Head != source.head(t) || result.Damaged != 0 {
		t.Errorf("the next run gave %+v", result)
	}
	to.whole(t, source)
	must(t, errors.Join(to.ledger.Close(), to.files.Close()))
	return op, fired
}

func TestWhatIsDamagedIsNamedAndTheRestIsCopied(t *testing.T) {
	for name, damage := range map[string]func(path string) error{
		"missing":   os.Remove,
		"too short": func(path string) error { return os.Truncate(path, 3) },
		"too long":  func(path string) error { return os.WriteFile(path, []byte("victim and more"), 0o600) },
		"changed":   func(path string) error { return os.WriteFile(path, []byte("vICTIM"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			source, to := populated(t), newWorld(t)
			victim := source.large(t, "victim")
			source.large(t, "after it")
			must(t, damage(source.path(victim)))
			want := identity.FromBytes(identity.SHA256, []byte("victim")).String()
			for range 2 { // a later run tries again, and says so again
				result := source.copyTo(t, to)
				if result.Head != source.head(t) || result.Damaged != 1 || len(result.Damages) != 1 {
					t.Fatalf("%+v", result)
				}
				if d := result.Damages[0]; d.Subject != want || d.Receipt != victim || d.Problem == "" || strings.Contains(d.Problem, "source") {
					t.Errorf("%+v", d)
				}
			}
			if objects := len(mustObjects(t, to)); objects != len(mustObjects(t, source)) {
				t.Errorf("the copy names %d objects", objects)
			}
			source.moved(t, "victim", victim) // pushed again
			if result := source.copyTo(t, to); result.Damaged != 0 || result.Objects != 1 {
				t.Errorf("%+v", result)
			}
			to.whole(t, source)
		})
	}
}

func TestWhatIsMendedInPlaceIsCopiedLater(t *testing.T) {
	source, to := populated(t), newWorld(t)
	victim := source.large(t, "victim")
	must(t, os.Rename(source.path(victim), source.path(victim)+".away"))
	if result := source.copyTo(t, to); result.Damaged != 1 {
		t.Errorf("%+v", result)
	}
	must(t, os.Rename(source.path(victim)+".away", source.path(victim)))
	if result := source.copyTo(t, to); result.Damaged != 0 || result.Events != 0 || result.Objects != 1 {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}

func TestAReadErrorOfTheSourceIsDamage(t *testing.T) {
	source, to := populated(t), newWorld(t)
	source.large(t, "another")
	// All reads fail the first time; what fails again when it is tried once
	// more is damage.
	from := source.source()
	plan := &fault.Plan{FailAt: 1, Err: errors.New("bad sector"), Only: []fault.Op{fault.OpRead}, Down: true}
	from.Objects = map[string]backup.Objects{"files": fault.Wrap(source.files, plan)}
	result, err := backup.Run(t.Context(), from, to.target(), nil)
	must(t, err)
	if result.Damaged != len(mustObjects(t, source)) || !strings.Contains(result.Damages[0].Problem, "bad sector") {
		t.Errorf("%+v", result)
	}
	if result := source.copyTo(t, to); result.Damaged != 0 || result.Events != 0 {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}

func TestWhatTheCopyLostIsCopiedAgain(t *testing.T) {
	source, to := populated(t), newWorld(t)
	source.copyTo(t, to)
	objects := mustObjects(t, to)
	must(t, os.Remove(to.path(objects[0])))
	must(t, os.Truncate(to.path(objects[1]), 1))
	if result := source.copyTo(t, to); result.Objects != 2 || result.Events != 0 {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}

func TestTheCopyFollowsWhatIsPushedAgainMeanwhile(t *testing.T) {
	source, to := populated(t), newWorld(t)
	victim := source.large(t, "victim")
	must(t, os.Remove(source.path(victim)))
	before := source.head(t).Sequence
	pushed := false
	result, err := backup.Run(t.Context(), source.source(), to.target(), func(p backup.Progress) {
		if p.Done == p.Total && !pushed {
			pushed = true
			source.moved(t, "victim", victim)
		}
	})
	must(t, err)
	if result.Damaged != 0 || result.Head.Sequence != before+1 {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}

func TestARunEndsWhereItBegan(t *testing.T) {
	source, to := populated(t), newWorld(t)
	before := source.head(t)
	n := 0
	result, err := backup.Run(t.Context(), source.source(), to.target(), func(backup.Progress) {
		n++
		source.small(t, fmt.Sprint("meanwhile ", n))
	})
	must(t, err)
	if result.Head != before {
		t.Errorf("it went on to %d, from %d", result.Head.Sequence, before.Sequence)
	}
}

func TestContentRowsThatAreWrongAreNotPassedOn(t *testing.T) {
	source, to := populated(t), newWorld(t)
	source.small(t, "victim")
	source.small(t, "gone")
	must(t, source.ledger.Close())
	db, err := sqlite.Open(t.Context(), filepath.Join(source.dir, "db"), sqlite.Options{})
	must(t, err)
	must(t, db.Writer().Script("UPDATE objects SET bytes = CAST('vICTIM' AS BLOB) WHERE bytes = CAST('victim' AS BLOB);"+
		"DELETE FROM objects WHERE bytes = CAST('gone' AS BLOB)"))
	must(t, db.Close())
	source.open(t)
	result := source.copyTo(t, to)
	if result.Damaged != 2 || result.Damages[0].Subject != identity.FromBytes(identity.SHA256, []byte("victim")).String() {
		t.Errorf("%+v", result)
	}
	// Pushed again, as a server does.
	for _, content := range []string{"victim", "gone"} {
		source.commit(t, registry.Entry{Content: []byte(content), Fact: &fact.BlobMoved{
			Blob: primary(content), From: fact.Receipt{Store: fact.Content}, To: fact.Receipt{Store: fact.Content}}})
	}
	if result := source.copyTo(t, to); result.Damaged != 0 {
		t.Errorf("%+v", result)
	}
}

func TestAStoreThatIsNotTheCopyIsRefused(t *testing.T) {
	t.Run("another log", func(t *testing.T) {
		source, to := populated(t), populated(t)
		refused(t, source, to, backup.ErrOtherLog)
	})
	t.Run("somebody pushed to the copy", func(t *testing.T) {
		source, to := populated(t), newWorld(t)
		source.copyTo(t, to)
		to.small(t, "into the copy")
		refused(t, source, to, backup.ErrDiverged)
	})
	t.Run("somebody pushed to both", func(t *testing.T) {
		source, to := populated(t), newWorld(t)
		source.copyTo(t, to)
		to.small(t, "into the copy")
		source.small(t, "into the source")
		source.small(t, "and more")
		refused(t, source, to, backup.ErrDiverged)
	})
}

// TestTheObjectsOfAnotherStoreAreRefused: what is staged among them is not swept.
func TestTheObjectsOfAnotherStoreAreRefused(t *testing.T) {
	for name, to := range map[string]*world{"an empty log": newWorld(t), "a copy": newWorld(t)} {
		t.Run(name, func(t *testing.T) {
			source := populated(t)
			if name == "a copy" {
				source.copyTo(t, to)
				must(t, os.Remove(filepath.Join(to.dir, "store", filesystem.OwnerName)))
			}
			_, err := to.files.Own(t.Context(), "another", "")
			must(t, err)
			s, err := to.files.Stage(t.Context(), "theirs")
			must(t, errors.Join(err, s.Close()))
			refused(t, source, to, backup.ErrOtherLog)
			if ids, err := to.files.Staged(t.Context()); len(ids) != 1 || err != nil {
				t.Errorf("staged are %q, %v", ids, err)
			}
		})
	}
}

func TestTheObjectsOfACopyAreThoseOfTheLog(t *testing.T) {
	for name, claimed := range map[string]bool{"nobody's": false, "of the empty log that becomes the copy": true} {
		t.Run(name, func(t *testing.T) {
			source, to := populated(t), newWorld(t)
			if claimed {
				_, err := to.files.Own(t.Context(), to.head(t).Log, "")
				must(t, err)
			}
			for range 2 {
				source.copyTo(t, to)
				if owner, err := to.files.Owner(t.Context()); owner != source.head(t).Log || err != nil {
					t.Errorf("the owner is %q, %v", owner, err)
				}
			}
		})
	}
}

func refused(t *testing.T, source, to *world, want error) {
	t.Helper()
	before := to.head(t)
	if _, err := backup.Run(t.Context(), source.source(), to.target(), nil); !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if to.head(t) != before {
		t.Error("the copy was changed")
	}
}

// TestACopyThatSomebodyElseWritesToHasDiverged: it is not the source that is damaged.
func TestACopyThatSomebodyElseWritesToHasDiverged(t *testing.T) {
	source, to := populated(t), newWorld(t)
	disturbed := false
	_, err := backup.Run(t.Context(), source.source(), to.target(), func(p backup.Progress) {
		if !disturbed && p.Objects > 0 { // before the first batch is received
			disturbed = true
			to.repository(t, "theirs")
		}
	})
	if !errors.Is(err, backup.ErrDiverged) {
		t.Errorf("gave %v", err)
	}
	if head := to.head(t); head.Sequence != 1 {
		t.Errorf("the copy has %d events", head.Sequence)
	}
}

func TestADamagedLogIsCopiedUpToTheDamage(t *testing.T) {
	for name, edit := range map[string]string{
		"another actor":   "UPDATE events SET actor = 'nobody' WHERE sequence = %d",
		"another payload": "UPDATE events SET payload = x'00' WHERE sequence = %d",
		"a gap":           "DELETE FROM events WHERE sequence = %d",
		"a malformed row": "UPDATE events SET chain = x'00' WHERE sequence = %d",
	} {
		t.Run(name, func(t *testing.T) { damagedLog(t, edit) })
	}
}

func damagedLog(t *testing.T, edit string) {
	source, to := populated(t), newWorld(t)
	source.copyTo(t, to)
	source.large(t, "before it")
	source.small(t, "victim")
	source.large(t, "after it")
	written, last := source.log(t), source.head(t).Sequence
	must(t, source.ledger.Close())
	db, err := sqlite.Open(t.Context(), filepath.Join(source.dir, "db"), sqlite.Options{})
	must(t, err)
	must(t, db.Writer().Script(fmt.Sprintf(edit, last-1)))
	must(t, db.Close())
	source.open(t)
	for range 2 {
		_, err = backup.Run(t.Context(), source.source(), to.target(), nil)
		if f := new(eventlog.Fault); !errors.As(err, &f) || f.Sequence != last-1 {
			t.Errorf("got %v", err)
		}
		if head := to.head(t).Sequence; head != last-2 {
			t.Errorf("the copy ends with %d, not before the fault at %d", head, last-1)
		}
	}
	if !reflect.DeepEqual(to.log(t), written[:last-2]) {
		t.Error("the copy is not what was written")
	}
}

func TestACancelledRunGoesOnLater(t *testing.T) {
	source, to := populated(t), newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := backup.Run(ctx, source.source(), to.target(), func(p backup.Progress) {
		if p.Objects == 3 {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if staged, err := to.files.Staged(t.Context()); err != nil || len(staged) != 0 {
		t.Errorf("staged objects %v were left (%v)", staged, err)
	}
	to.whole(t, source)
	if result := source.copyTo(t, to); result.Head != source.head(t) {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
}

// A store that was moved here from another driver has locators of that one.
func TestObjectsOfAnotherDriverKeepTheirLocators(t *testing.T) {
	source, to := newWorld(t), newWorld(t)
	source.repository(t, "demo")
	var receipts []fact.Receipt
	for i, content := range []string{"", "foreign", "damaged", "cut"} {
		receipt := fact.Receipt{Store: "files", Locator: fmt.Sprintf("objects/0%d/%d", i, i)}
		must(t, source.files.Place(t.Context(), receipt.Locator, int64(len(content)), strings.NewReader(content)))
		source.commit(t, registry.Entry{Fact: &fact.BlobStored{
			Digests: identity.Of([]byte(content)), Size: int64(len(content)), Receipt: receipt}})
		receipts = append(receipts, receipt)
	}
	must(t, os.WriteFile(source.path(receipts[2]), []byte("DAMAGED"), 0o600))
	must(t, os.WriteFile(source.path(receipts[3]), []byte("cut not"), 0o600))
	result := source.copyTo(t, to)
	if result.Damaged != 2 || result.Objects != 2 || result.Bytes != 7 {
		t.Errorf("%+v", result)
	}
	for i, want := range []int64{0, 7, -1, -1} {
		size, err := to.files.Size(t.Context(), receipts[i].Locator)
		if errors.Is(err, storagedriver.ErrNotExist) {
			size, err = -1, nil
		}
		if must(t, err); size != want {
			t.Errorf("object %d has %d bytes, want %d", i, size, want)
		}
	}
	must(t, os.WriteFile(source.path(receipts[2]), []byte("damaged"), 0o600))
	must(t, os.WriteFile(source.path(receipts[3]), []byte("cut"), 0o600))
	if result := source.copyTo(t, to); result.Damaged != 0 || result.Objects != 2 {
		t.Errorf("%+v", result)
	}
	to.whole(t, source)
	if staged, err := to.files.Staged(t.Context()); err != nil || len(staged) != 0 {
		t.Errorf("staged objects %v were left (%v)", staged, err)
	}
}

func TestWhatAKilledRunLeftStagedIsRemoved(t *testing.T) {
	source, to := populated(t), newWorld(t)
	stage, err := to.files.Stage(t.Context(), "left")
	must(t, err)
	_, err = stage.Write([]byte("half of an obj"))
	must(t, errors.Join(err, stage.Close()))
	source.copyTo(t, to)
	if staged, err := to.files.Staged(t.Context()); err != nil || len(staged) != 0 {
		t.Errorf("staged objects %v were left (%v)", staged, err)
	}
}

func TestAStoreThatIsNotConfiguredIsAnError(t *testing.T) {
	source, to := populated(t), newWorld(t)
	from := source.source()
	from.Objects = nil
	_, err := backup.Run(t.Context(), from, to.target(), nil)
	if err == nil || !strings.Contains(err.Error(), `store "files" is not configured`) {
		t.Errorf("got %v", err)
	}
}
