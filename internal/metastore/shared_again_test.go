package metastore_test

import (
	"errors"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// TestSharedLostBatchIsNotDoneAgainByOnes: it is there, and the small commit that
// confirms it fails for a reason that does not go away. Its changes are not tried
// by themselves then, as those of a batch that failed are.
func TestSharedLostBatchIsNotDoneAgainByOnes(t *testing.T) {
	s, other, p := lostCommit(t, node{})
	other.server.SQL(t, `CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
			RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
		CREATE TRIGGER full_disk BEFORE UPDATE ON commits FOR EACH ROW WHEN (OLD.mark = NEW.mark) EXECUTE FUNCTION full_disk()`)
	var decisions []decision
	for _, name := range []string{"one", "two"} {
		decisions = append(decisions, decision{decide: func(registry.View) (*registry.Change, error) {
			return facts(tag("demo", name, "image")), nil
		}})
	}
	p.next(unanswered)
	for i, err := range together(s, decisions...) {
		if !errors.Is(err, registry.ErrUnknown) {
			t.Errorf("change %d gave %v", i, err)
		}
	}
	other.server.SQL(t, "DROP FUNCTION full_disk CASCADE")
	if n := done(t, other); n != 2 {
		t.Errorf("two changes were done %d times", n)
	}
	must(t, s.try(facts(&fact.RepositoryCreated{Repository: "later"})))
	sound(t, s)
}

// TestSharedNodeWhoseFilesWereTakenOverWritesNothing: also before it has looked who
// else is there, as one does not that was paused until now.
func TestSharedNodeWhoseFilesWereTakenOverWritesNothing(t *testing.T) {
	server := harness.StartPostgres(t)
	a := join(t, server, node{Node: metastore.Node{Name: "a", Files: "folder-1"}})
	server.SQL(t, "UPDATE leases SET holder = 'folder-2', fence = fence + 1, expires = 9000000000000000")
	if err := a.try(facts(&fact.RepositoryCreated{Repository: "r"})); !errors.Is(err, metastore.ErrInUse) {
		t.Errorf("a change gave %v", err)
	}
}
