package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// anHourFast is a clock that is wrong.
func anHourFast() time.Time { return time.Now().Add(time.Hour) }

// brief is a context that has ended once somebody has looked whether it has.
type brief struct {
	context.Context
	looked atomic.Bool
}

func (b *brief) Err() error {
	if b.looked.Swap(true) {
		return context.Canceled
	}
	return nil
}

// look makes a node say that it is there and look who else is.
func look(t testing.TB, s *store) {
	t.Helper()
	// Alone would look until it knows that the others are alive.
	if err := s.Alone(&brief{Context: context.Background()}); err != nil && !errors.Is(err, metastore.ErrInUse) {
		t.Fatal(err)
	}
}

func names(s *store) string {
	var all []string
	for _, n := range s.Nodes() {
		all = append(all, n.Name)
	}
	return strings.Join(all, " ")
}

// holds takes a lease for a node, if it can be had.
func holds(t testing.TB, s *store, name string, ttl time.Duration) (held bool, fence int64) {
	t.Helper()
	held, fence, err := s.Acquire(t.Context(), name, ttl)
	must(t, err)
	return held, fence
}

// TestSharedLeaseIsOfOneNode: the fence grows whenever it goes to another.
func TestSharedLeaseIsOfOneNode(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	a := join(t, server, node{Node: metastore.Node{Name: "a"}})
	b := join(t, server, node{Node: metastore.Node{Name: "b"}, Options: metastore.Options{Now: anHourFast}})
	expect := func(what string, s *store, ttl time.Duration, wantHeld bool, wantFence int64) {
		t.Helper()
		if held, fence := holds(t, s, "sweep", ttl); held != wantHeld || fence != wantFence {
			t.Errorf("%s: held %v with fence %d, want %v with %d", what, held, fence, wantHeld, wantFence)
		}
	}
	expect("the first", a, 30*time.Minute, true, 1)
	expect("another one, whose clock is fast", b, time.Hour, false, 1)
	expect("again", a, 30*time.Minute, true, 1)
	must(t, b.Release(t.Context(), "sweep")) // which is not its own
	expect("one that cannot give it back", b, time.Hour, false, 1)
	must(t, a.Release(t.Context(), "sweep"))
	expect("given back", b, time.Hour, true, 2)
	expect("then it is not the first one's", a, time.Hour, false, 2)
	expect("shorter", b, time.Millisecond, true, 2)
	until(t, "it expires", func() bool { held, _ := holds(t, a, "sweep", time.Hour); return held })
	expect("taken over", a, time.Hour, true, 3)
	must(t, a.Release(t.Context(), "sweep"))
	expect("nobody else had it", a, time.Hour, true, 3)
	if held, fence := holds(t, b, "scrub", time.Hour); !held || fence != 1 {
		t.Errorf("of another name: %v, %d", held, fence)
	}
	must(t, a.Close())
	expect("its holder has left", b, time.Hour, true, 4)
}

// TestSharedLeaseThatExpiresIsTakenByOne of all who ask at once.
func TestSharedLeaseThatExpiresIsTakenByOne(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	for round := range 20 {
		var won atomic.Int64
		var all sync.WaitGroup
		for _, s := range []*store{a, b} {
			all.Go(func() {
				held, fence, err := s.Acquire(context.Background(), "sweep", time.Hour)
				if err != nil {
					t.Error(err)
				}
				if held {
					won.Add(fence << 32)
					won.Add(1)
				}
			})
		}
		all.Wait()
		if winners := won.Load() & 0xffffffff; winners != 1 {
			t.Fatalf("round %d has %d holders", round, winners)
		}
		a.server.SQL(t, "UPDATE leases SET expires = 0")
	}
}

// TestSharedNodeWithOtherRulesIsNotFit until those with which it differs have left.
func TestSharedNodeWithOtherRulesIsNotFit(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	rules := func(name string, rules map[string]string) node {
		return node{Node: metastore.Node{Name: name, Rules: rules}}
	}
	p := startProxy(t, server.Host())
	oldest := rules("a", map[string]string{"manifest.limit": "4MiB", "sha512": "on"})
	oldest.proxy, oldest.connect = p, 200*time.Millisecond
	a := join(t, server, oldest)
	b := join(t, server, rules("b", map[string]string{"manifest.limit": "8MiB", "undo": "off"}))
	c := join(t, server, rules("c", map[string]string{"undo": "off", "manifest.limit": "8MiB"}))
	for _, s := range []*store{a, b, c} {
		look(t, s)
		if got := names(s); got != "a b c" {
			t.Errorf("a node sees %s", got)
		}
	}
	must(t, a.Fit())
	for _, s := range []*store{b, c} {
		err := s.Fit()
		if err == nil || !strings.Contains(err.Error(), "node a") || !strings.Contains(err.Error(), "manifest.limit, sha512, undo") {
			t.Errorf("a node with other rules: %v", err)
		}
		must(t, s.Healthy())
	}
	// It is cut off, and has not been seen for as long as that takes.
	p.set(true)
	until(t, "it has nothing under way", func() bool { return a.Healthy() != nil })
	server.SQL(t, "UPDATE nodes SET seen = seen - 16000000 WHERE name = 'a'")
	look(t, b)
	look(t, c)
	must(t, b.Fit())
	must(t, c.Fit())
	p.set(false)
	look(t, a) // it is back, and has run for longest still
	look(t, c)
	must(t, a.Fit())
	if err := c.Fit(); err == nil {
		t.Error("it is fit beside one that has come back")
	}
	must(t, a.Close())
	look(t, b)
	must(t, b.Fit())
	if got := names(b); got != "b c" {
		t.Errorf("after one has left: %s", got)
	}
}

// TestSharedNodeWithAnotherClockIsNotFit, however the clock of the log stands.
func TestSharedNodeWithAnotherClockIsNotFit(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	a := join(t, server, node{Node: metastore.Node{Name: "a"}})
	b := join(t, server, node{Node: metastore.Node{Name: "b"}, Options: metastore.Options{Now: anHourFast}})
	must(t, a.Fit())
	if err := b.Fit(); err == nil || !strings.Contains(err.Error(), "clock") {
		t.Errorf("a node whose clock is an hour fast: %v", err)
	}
	b.update(t, facts(&fact.RepositoryCreated{Repository: "from the future"}))
	a.update(t, facts(&fact.RepositoryCreated{Repository: "now"}))
	look(t, a)
	must(t, a.Fit())
	if n := a.count(t, "SELECT count(*) FROM nodes WHERE seen > 1000000 * extract(epoch FROM clock_timestamp())"); n != 0 {
		t.Errorf("%d nodes were seen in the future", n)
	}
}

func TestSharedTracesOfDeadNodesAreForgotten(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	const day = 25 * 3600 * 1_000_000
	a.server.SQL(t, fmt.Sprintf("INSERT INTO nodes VALUES ('x', 'dead', '', '{}', '', 1, 1); INSERT INTO commits VALUES ('x', 'mark', 1);"+
		"UPDATE nodes SET seen = seen - %d WHERE name = 'b'", day))
	look(t, a)
	if n := a.count(t, "SELECT (SELECT count(*) FROM nodes WHERE id = 'x') + (SELECT count(*) FROM commits WHERE node = 'x')"); n != 0 {
		t.Errorf("%d traces are left", n)
	}
	b.update(t, facts(&fact.RepositoryCreated{Repository: "back"})) // it was paused for a day
	look(t, b)
	look(t, a)
	if got := names(a); got != "a b" {
		t.Errorf("the nodes are %s", got)
	}
}

// TestSharedFilesBelongToOneNode: a second one is refused, and one that was
// replaced takes no more changes.
func TestSharedFilesBelongToOneNode(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	files := func(name, folder string) node { return node{Node: metastore.Node{Name: name, Files: folder}} }
	p := startProxy(t, server.Host())
	first := files("a", "folder-1")
	first.proxy, first.connect = p, 200*time.Millisecond
	a := join(t, server, first)
	if s, err := tryJoin(server, files("b", "folder-2")); !errors.Is(err, metastore.ErrInUse) || !strings.Contains(err.Error(), "(a)") {
		t.Errorf("a second node: %v, %v", s, err)
	}
	same := join(t, server, files("a again", "folder-1")) // the folder's own lock keeps processes apart
	must(t, same.Close())
	look(t, a)
	must(t, a.Fit())
	p.set(true) // it is cut off until its lease has ended
	until(t, "it has nothing under way", func() bool { return a.Healthy() != nil })
	server.SQL(t, "UPDATE leases SET expires = 1")
	b := join(t, server, files("b", "folder-2"))
	p.set(false)
	look(t, a)
	if err := a.Fit(); !errors.Is(err, metastore.ErrInUse) || !strings.Contains(err.Error(), "(b)") {
		t.Errorf("the one that was cut off: %v", err)
	}
	if err := a.try(facts(&fact.RepositoryCreated{Repository: "r"})); !errors.Is(err, metastore.ErrInUse) {
		t.Errorf("a change of the one that was cut off: %v", err)
	}
	must(t, b.try(facts(&fact.RepositoryCreated{Repository: "r"})))
	must(t, b.Close())
	look(t, a)
	must(t, a.Fit())
	must(t, a.try(facts(&fact.RepositoryCreated{Repository: "later"})))
}

// TestSharedCommitsWakeThoseWhoWaitOnOtherNodes.
func TestSharedCommitsWakeThoseWhoWaitOnOtherNodes(t *testing.T) {
	t.Parallel()
	server := harness.StartPostgres(t)
	p := startProxy(t, server.Host())
	a := join(t, server, node{Node: metastore.Node{Name: "a"}})
	b := join(t, server, node{Node: metastore.Node{Name: "b"}, proxy: p})
	const listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'"
	wakes := func(round int) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		before := b.Sequence()
		waited := make(chan error, 1)
		go func() { waited <- b.Events().Wait(ctx, before) }()
		a.update(t, facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", round)}))
		if err := <-waited; err != nil || b.Sequence() <= before {
			t.Fatalf("round %d: %v, from %d to %d", round, err, before, b.Sequence())
		}
	}
	for round := range 40 {
		if round%10 == 5 {
			p.cut()
		}
		wakes(round)
	}
	until(t, "both listen again", func() bool { return server.SQL(t, listening) == "2" })
	sound(t, b)
}

// TestSharedNodeThatHoldsTheLockIsPaused: the others go on, and what it was
// deciding is decided anew.
func TestSharedNodeThatHoldsTheLockIsPaused(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	hold, holding := make(chan struct{}), make(chan struct{})
	begun := sync.OnceFunc(func() { close(holding) })
	first := make(chan error, 1)
	var seen []bool
	go func() {
		first <- a.Update(context.Background(), caller, registry.Keys{Repositories: []string{"r"}}, func(v registry.View) (*registry.Change, error) {
			exists, err := v.RepositoryExists("r")
			seen = append(seen, exists)
			begun()
			<-hold
			if exists || err != nil {
				return nil, errors.Join(err, errRefused)
			}
			return facts(&fact.RepositoryCreated{Repository: "r"}), nil
		})
	}()
	<-holding
	must(t, b.try(facts(&fact.RepositoryCreated{Repository: "r"})))
	close(hold)
	if err := <-first; !errors.Is(err, errRefused) || fmt.Sprint(seen) != "[false true]" {
		t.Errorf("it gave %v, and saw %v", err, seen)
	}
}

// TestSharedNodeIsCutOffUnderLoad again and again, beside one that is not.
func TestSharedNodeIsCutOffUnderLoad(t *testing.T) {
	t.Parallel()
	callers, rounds := 32, 12
	if full() {
		rounds = 200
	}
	s, other, p := lostCommit(t, node{})
	var acknowledged sync.Map
	var all sync.WaitGroup
	for i, node := range []*store{s, other} {
		for c := range callers {
			all.Go(func() {
				for round := range rounds {
					name := fmt.Sprintf("n%d/c%d/r%d", i, c, round)
					keys := registry.Keys{Repositories: []string{name}}
					err := node.Update(context.Background(), caller, keys, func(v registry.View) (*registry.Change, error) {
						if exists, err := v.RepositoryExists(name); exists || err != nil {
							return nil, errors.Join(err, errRefused)
						}
						c := facts(&fact.RepositoryCreated{Repository: name})
						c.Puts = []registry.Upload{{ID: strings.ReplaceAll(name, "/", ""), State: registry.UploadOpen}}
						return c, nil
					})
					if err != nil {
						t.Errorf("%s: %v", name, err)
						continue
					}
					acknowledged.Store(name, true)
				}
			})
		}
	}
	stop := make(chan struct{})
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
			if p.left() > 0 {
				continue // one after the other
			}
			switch i % 4 {
			case 0:
				p.cut()
			case 1:
				p.next(unanswered)
			case 2:
				p.next(late)
			case 3:
				p.next(unheard)
			}
		}
	})
	all.Wait()
	close(stop)
	cutter.Wait()
	want := 2*callers*rounds + 1
	for _, of := range []string{"repositories", "events WHERE kind = 'v1.repository.created'"} {
		if n := other.count(t, "SELECT count(*) FROM "+of); n != want {
			t.Errorf("%d rows in %s, want %d", n, of, want)
		}
	}
	sound(t, s)
	sound(t, other)
}

// TestSharedCloseDoesNotWaitForADatabaseThatIsAway: those who wait are told.
func TestSharedCloseDoesNotWaitForADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	for _, noticed := range []bool{true, false} {
		t.Run(fmt.Sprint("noticed before ", noticed), func(t *testing.T) {
			s, _, p := lostCommit(t, node{Options: metastore.Options{Patience: time.Hour}, connect: 10 * time.Minute})
			p.set(true)
			var all sync.WaitGroup
			for i := range 5 {
				all.Go(func() {
					err := s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)}))
					if !errors.Is(err, fact.ErrUnavailable) && !errors.Is(err, metastore.ErrClosed) {
						t.Errorf("one who waits was told %v", err)
					}
				})
			}
			if noticed {
				until(t, "the changes wait", func() bool { return s.Queued() == 4 })
			}
			closed := make(chan error, 1)
			go func() { closed <- s.Close() }()
			select {
			case err := <-closed:
				must(t, err)
			case <-time.After(time.Minute):
				t.Fatal("Close waits for the database")
			}
			all.Wait()
			must(t, s.Close())
		})
	}
}

// TestSharedChangesThatWerePutBackAreAnswered, also when the store is closed meanwhile.
func TestSharedChangesThatWerePutBackAreAnswered(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	big := decision{decide: decided(&registry.Change{Entries: []registry.Entry{stored(repeat("x", 9<<20))}})}
	var order []int
	decisions := []decision{big}
	for i := range 5 {
		decisions = append(decisions, decision{decide: func(registry.View) (*registry.Change, error) {
			order = append(order, i)
			return facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)}), nil
		}})
	}
	// A second one that is big is put back, and puts the rest back again.
	decisions = append(decisions[:3], append([]decision{{decide: decided(&registry.Change{Entries: []registry.Entry{stored(repeat("y", 9<<20))}})}}, decisions[3:]...)...)
	closed := make(chan error, 1)
	decisions[0].decide = func(registry.View) (*registry.Change, error) {
		go func() { closed <- a.Close() }()
		return big.decide(nil)
	}
	for i, err := range together(a, decisions...) {
		if err != nil {
			t.Errorf("change %d gave %v", i, err)
		}
	}
	must(t, <-closed)
	if fmt.Sprint(order) != "[0 1 2 3 4]" {
		t.Errorf("decided in the order %v", order)
	}
	if n := b.count(t, "SELECT count(*) FROM repositories"); n != 5 {
		t.Errorf("%d repositories", n)
	}
	a.Store, _ = a.opened(a.options) // for what looks at it when the test ends
}
