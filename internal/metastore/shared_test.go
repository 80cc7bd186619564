package metastore_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/eventlog"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// This file and those that begin with shared_ are about several nodes on one
// PostgreSQL database. Every test of them has TestShared in its name.

// node is how one of them opens the database.
type node struct {
	metastore.Node
	metastore.Options
	proxy   *proxy        // nil: it connects directly
	connect time.Duration // how long it tries to connect
}

// join opens a server's database as a node, which is closed when the test ends.
func join(t testing.TB, server *harness.Postgres, n node) *store {
	t.Helper()
	s, err := tryJoin(server, n)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() })
	must(t, s.Migrate(context.Background(), nil))
	return s
}

func tryJoin(server *harness.Postgres, n node) (*store, error) {
	if n.Log == nil {
		n.Log = slog.New(slog.DiscardHandler)
	}
	dsn := server.DSN()
	if n.proxy != nil {
		dsn = server.DSNAt(n.proxy.address())
	}
	s := &store{server: server, options: n.Options}
	var err error
	s.Store, err = metastore.OpenPostgres(context.Background(),
		postgres.Options{DSN: dsn, Log: n.Log, ConnectTimeout: n.connect}, n.Node, n.Options)
	return s, err
}

// two are nodes on a new database, which must be what its log says when the
// test ends, by both.
func two(t testing.TB) (a, b *store) {
	t.Helper()
	server := harness.StartPostgres(t)
	a, b = join(t, server, node{Node: metastore.Node{Name: "a"}}), join(t, server, node{Node: metastore.Node{Name: "b"}})
	t.Cleanup(func() { sound(t, a); sound(t, b) })
	return a, b
}

// sound proves that the log is whole and the views are what it says.
func sound(t testing.TB, s *store) eventlog.Head {
	t.Helper()
	head, err := eventlog.Verify(context.Background(), s.Events())
	must(t, err)
	s.check(t)
	return head
}

// until waits for what others bring about.
func until(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it did not come about that %s", what)
		}
	}
}

// locked waits until as many connections as given wait for a lock.
func locked(t testing.TB, server *harness.Postgres, want int) {
	t.Helper()
	until(t, "a node waits for the head", func() bool {
		return server.SQL(t, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'") == fmt.Sprint(want)
	})
}

// waiting is a context that tells when somebody begins to wait for its end, as
// Update does once its change is queued.
type waiting struct {
	context.Context
	begins func()
}

func (w waiting) Done() <-chan struct{} {
	w.begins()
	return w.Context.Done()
}

// decision is a decide with the keys that its Update names.
type decision struct {
	keys   registry.Keys
	decide func(registry.View) (*registry.Change, error)
}

// together has changes decided in one batch, in this order.
func together(s *store, decisions ...decision) []error {
	hold, holding := make(chan struct{}), make(chan struct{})
	held := sync.OnceFunc(func() { close(holding) })
	release := sync.OnceFunc(func() { close(hold) })
	var all sync.WaitGroup
	defer all.Wait()
	defer release()
	all.Go(func() {
		_ = s.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
			held()
			<-hold
			return nil, errRefused
		})
	})
	<-holding
	errs := make([]error, len(decisions))
	for i, d := range decisions {
		queued := make(chan struct{})
		ctx := waiting{context.Background(), sync.OnceFunc(func() { close(queued) })}
		all.Go(func() { errs[i] = s.Update(ctx, caller, d.keys, d.decide) })
		<-queued
	}
	release()
	all.Wait()
	return errs
}

// TestSharedDecisionSeesWhatWasCommittedWhileItWaited: the statement that waits
// for the lock has an old snapshot once it has it.
func TestSharedDecisionSeesWhatWasCommittedWhileItWaited(t *testing.T) {
	t.Parallel()
	all := registry.Keys{
		Repositories: []string{"demo", "new"}, Tags: []string{"latest", "v2"}, Uploads: []string{"u", "u2"},
		Digests: []identity.Digest{primary("second"), digest(identity.SHA256, "second"), digest(identity.SHA512, "first")},
	}
	for name, keys := range map[string]registry.Keys{
		"named": all, "not named": {}, "half named": {Repositories: []string{"demo"}, Uploads: []string{"u"}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := two(t)
			a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
			a.update(t, image("demo", "first", "", "", nil, "latest"))
			a.update(t, &registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen, Generation: 1}}})

			hold, holding := make(chan struct{}), make(chan struct{})
			var both sync.WaitGroup
			both.Go(func() {
				err := a.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) {
					close(holding)
					<-hold
					c := image("demo", "second", "", "", nil, "latest", "v2")
					c.Add(&fact.RepositoryCreated{Repository: "new"})
					c.Add(&fact.BlobIdentified{Blob: primary("first"), Digest: digest(identity.SHA512, "first")})
					c.Puts = []registry.Upload{{ID: "u", State: registry.UploadOpen, Generation: 2}, {ID: "u2", State: registry.UploadOpen}}
					return c, nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			<-holding
			both.Go(func() {
				err := b.Update(context.Background(), caller, keys, func(v registry.View) (*registry.Change, error) {
					exists, err := v.RepositoryExists("new")
					if err != nil || !exists {
						t.Errorf("repository new: %v, %v", exists, err)
					}
					for _, name := range []string{"latest", "v2"} {
						tag, err := v.Tag("demo", name)
						if err != nil || tag == nil || tag.Manifest != primary("second") {
							t.Errorf("tag %s: %+v, %v", name, tag, err)
						}
					}
					if m, _, _, err := v.TaggedManifest("demo", "latest"); err != nil || m == nil {
						t.Errorf("tagged manifest: %v, %v", m, err)
					}
					for _, d := range []identity.Digest{primary("second"), digest(identity.SHA256, "second"), digest(identity.SHA512, "first")} {
						if m, _, err := v.Manifest("demo", d); err != nil || m == nil {
							t.Errorf("manifest %s: %v, %v", d, m, err)
						}
					}
					u, err := v.Upload("u")
					if err != nil || u == nil || u.Generation != 2 {
						t.Errorf("upload u: %+v, %v", u, err)
					}
					if u, err := v.Upload("u2"); err != nil || u == nil {
						t.Errorf("upload u2: %+v, %v", u, err)
					}
					return facts(tag("demo", "seen", "second")), nil
				})
				if err != nil {
					t.Error(err)
				}
			})
			locked(t, a.server, 1)
			close(hold)
			both.Wait()
		})
	}
}

// TestSharedNodesContendForTheSameRows: each change builds on the one before
// it, on whichever node that was.
func TestSharedNodesContendForTheSameRows(t *testing.T) {
	t.Parallel()
	a, b := two(t)
	const images, callers, rounds = 7, 4, 60
	a.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	var put []*registry.Change
	for i := range images {
		put = append(put, image("demo", fmt.Sprint("image", i), "", "", nil))
	}
	for _, c := range put {
		a.update(t, c)
	}
	a.update(t, &registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen}}})
	named := registry.Keys{Repositories: []string{"demo"}, Tags: []string{"latest"}, Uploads: []string{"u"}}
	var all sync.WaitGroup
	for i, s := range []*store{a, b} {
		for c := range callers {
			all.Go(func() {
				for round := range rounds {
					keys := named
					if round%4 == 0 {
						keys = registry.Keys{}
					}
					err := s.Update(context.Background(), caller, keys, func(v registry.View) (*registry.Change, error) {
						u, err := v.Upload("u")
						if err != nil {
							return nil, err
						}
						now, err := v.Tag("demo", "latest")
						if err != nil {
							return nil, err
						}
						next := *u
						next.Generation++
						moved := tag("demo", "latest", fmt.Sprint("image", (i+c+round)%images))
						if now != nil {
							moved.From = now.Manifest
						}
						change := facts(moved)
						change.Puts = []registry.Upload{next}
						return change, nil
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	all.Wait()
	if n := a.count(t, "SELECT generation FROM uploads WHERE id = 'u'"); n != 2*callers*rounds {
		t.Errorf("the upload has the generation %d, want %d", n, 2*callers*rounds)
	}
	wrong := a.count(t, `SELECT count(*) FROM (SELECT from_digest, lag(to_digest) OVER (ORDER BY sequence) AS before FROM tag_history) AS h
		WHERE from_digest IS DISTINCT FROM before`)
	if wrong != 0 {
		t.Errorf("%d moves of the tag did not see the one before", wrong)
	}
}

// lostCommit is a node behind a proxy, and one that is not.
func lostCommit(t testing.TB, n node) (s, other *store, p *proxy) {
	t.Helper()
	server := harness.StartPostgres(t)
	p = startProxy(t, server.Host())
	other = join(t, server, node{Node: metastore.Node{Name: "other"}})
	other.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	other.update(t, image("demo", "image", "", "", nil))
	n.proxy, n.Name = p, "test"
	return join(t, server, n), other, p
}

// changes are one that is an event, and one of a session alone: each must be
// seen to have been done once.
var changes = map[string]func(registry.View) (*registry.Change, error){
	"events": func(v registry.View) (*registry.Change, error) {
		now, err := v.Tag("demo", "latest")
		if err != nil || now != nil {
			return nil, fmt.Errorf("the tag is there: %v, %w", now, errors.Join(err, errRefused))
		}
		return facts(tag("demo", "latest", "image")), nil
	},
	"a session": func(v registry.View) (*registry.Change, error) {
		u, err := v.Upload("u")
		if err != nil || u != nil {
			return nil, fmt.Errorf("the upload is there: %v, %w", u, errors.Join(err, errRefused))
		}
		return &registry.Change{Puts: []registry.Upload{{ID: "u", State: registry.UploadOpen}}}, nil
	},
}

// done is how often one of changes was done.
func done(t testing.TB, s *store) int {
	t.Helper()
	return s.count(t, "SELECT (SELECT count(*) FROM events WHERE kind = 'v1.tag.moved') + (SELECT count(*) FROM uploads)")
}

// TestSharedCommitThatIsLostIsSettled: whatever becomes of it, the change is
// done once and its caller is told so.
func TestSharedCommitThatIsLostIsSettled(t *testing.T) {
	t.Parallel()
	for what, decide := range changes {
		for _, fates := range [][]fate{
			{unheard}, {unanswered}, {late}, {stuck},
			{unanswered, unanswered, unheard}, {unheard, unanswered}, {late, unheard, unanswered}, {unheard, late},
		} {
			t.Run(fmt.Sprintf("%s of which the commit %s", what, fates), func(t *testing.T) {
				t.Parallel()
				s, other, p := lostCommit(t, node{})
				var told metastore.Batch
				p.next(fates...)
				err := s.Update(metastore.WithBatch(t.Context(), &told), caller, registry.Keys{Repositories: []string{"demo"}, Tags: []string{"latest"}}, decide)
				// An announcement of the node may have met the fate instead.
				must(t, err)
				other.update(t, facts(tag("demo", "other", "image")))
				if n := done(t, other); n != 2 {
					t.Errorf("it was done %d times", n-1)
				}
				sound(t, s)
				if p.met == 0 {
					t.Error("no commit was lost")
				}
				if what == "events" && told.Events != 1 {
					t.Errorf("the caller was told of %d events", told.Events)
				}
			})
		}
	}
}

// TestSharedCallersOfABatchAreToldOfTheirOwn: the outcome of a batch that was
// lost is that of each of its changes.
func TestSharedCallersOfABatchAreToldOfTheirOwn(t *testing.T) {
	t.Parallel()
	for _, f := range []fate{unheard, unanswered, late} {
		t.Run(string(f), func(t *testing.T) {
			s, _, p := lostCommit(t, node{})
			var decisions []decision
			for i := range 10 {
				decisions = append(decisions, decision{decide: func(registry.View) (*registry.Change, error) {
					if i%3 == 2 {
						return nil, errRefused
					}
					return facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)}), nil
				}})
			}
			p.next(f)
			for i, err := range together(s, decisions...) {
				if refused := i%3 == 2; refused != (err == errRefused) || !refused && err != nil {
					t.Errorf("change %d gave %v", i, err)
				}
			}
			sound(t, s)
		})
	}
}

// TestSharedOutcomeIsUnknownOnlyIfTheDatabaseStaysAway and then nobody waits
// for it any more, until it is there again.
func TestSharedOutcomeIsUnknownOnlyIfTheDatabaseStaysAway(t *testing.T) {
	t.Parallel()
	for what, decide := range changes {
		for _, f := range []fate{unheard, unanswered} {
			t.Run(fmt.Sprintf("%s, the commit %s", what, f), func(t *testing.T) {
				t.Parallel()
				s, other, p := lostCommit(t, node{Options: metastore.Options{Patience: 200 * time.Millisecond}, connect: 100 * time.Millisecond})
				err := s.Update(t.Context(), caller, registry.Keys{}, func(v registry.View) (*registry.Change, error) {
					p.mu.Lock()
					p.fates, p.away = []fate{f}, true // what is connected goes on
					p.mu.Unlock()
					return decide(v)
				})
				if !errors.Is(err, registry.ErrUnknown) {
					t.Errorf("the caller was told %v", err)
				}
				if err := s.Healthy(); !errors.Is(err, fact.ErrUnavailable) {
					t.Errorf("healthy: %v", err)
				}
				ran := false
				err = s.Update(t.Context(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { ran = true; return nil, nil })
				if !errors.Is(err, fact.ErrUnavailable) || errors.Is(err, registry.ErrUnknown) || ran {
					t.Errorf("the next one was told %v, decided %v", err, ran)
				}
				p.set(false)
				until(t, "the node is healthy again", func() bool { return s.Healthy() == nil })
				must(t, s.try(facts(&fact.RepositoryCreated{Repository: "later"})))
				want := 0
				if f == unanswered {
					want = 1
				}
				if n := done(t, other); n != want {
					t.Errorf("it was done %d times, want %d", n, want)
				}
				sound(t, s)
			})
		}
	}
}

// TestSharedNodeThatStaysAwayIsNotHealthy whatever else its committer tries.
func TestSharedNodeThatStaysAwayIsNotHealthy(t *testing.T) {
	t.Parallel()
	s, _, p := lostCommit(t, node{Options: metastore.Options{Patience: 100 * time.Millisecond}, connect: 50 * time.Millisecond})
	p.set(true)
	err := s.try(facts(&fact.RepositoryCreated{Repository: "r"}))
	if !errors.Is(err, fact.ErrUnavailable) || errors.Is(err, registry.ErrUnknown) {
		t.Errorf("a change gave %v", err)
	}
	for range 100 {
		if err := s.Healthy(); !errors.Is(err, fact.ErrUnavailable) {
			t.Fatalf("healthy while the database is away: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
	p.set(false)
	until(t, "changes are taken again", func() bool { return s.try(facts(tag("demo", "back", "image"))) == nil })
}

// TestSharedChangesWaitForADatabaseThatComesBack.
func TestSharedChangesWaitForADatabaseThatComesBack(t *testing.T) {
	t.Parallel()
	s, _, p := lostCommit(t, node{})
	p.set(true)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			if err := s.try(facts(&fact.RepositoryCreated{Repository: fmt.Sprint("r", i)})); err != nil {
				t.Error(err)
			}
		})
	}
	until(t, "the node notices", func() bool { return s.Healthy() != nil })
	p.set(false)
	all.Wait()
	must(t, s.Healthy())
	sound(t, s)
}

// TestSharedOneThatFailsSpoilsNoOtherOfItsBatch: in PostgreSQL an error of a
// statement ends the transaction of all.
func TestSharedOneThatFailsSpoilsNoOtherOfItsBatch(t *testing.T) {
	t.Parallel()
	repo := func(name string) func(registry.View) (*registry.Change, error) {
		return decided(facts(&fact.RepositoryCreated{Repository: name}))
	}
	reads := func(v registry.View) (*registry.Change, error) {
		if names, err := v.TagPage("demo", "", 10); err != nil || len(names) != 1 {
			return nil, fmt.Errorf("tags %v, %w", names, errors.Join(err, errRefused))
		}
		return nil, nil
	}
	for name, c := range map[string]struct {
		bad   decision
		says  string
		event bool // the others change something
	}{
		"a digest under another id":            {decision{decide: decided(&registry.Change{Entries: []registry.Entry{stored("image")}})}, "unique", true},
		"a digest of another blob":             {decision{decide: decided(facts(&fact.BlobIdentified{Blob: primary("native of image"), Digest: digest(identity.SHA512, "image")}))}, "unique", true},
		"a statement that fails":               {decision{decide: badPage}, "LIMIT", true},
		"a statement that fails among readers": {decision{decide: badPage}, "LIMIT", false},
		"an error that is swallowed": {decision{decide: func(v registry.View) (*registry.Change, error) {
			_, _ = v.TagPage("demo", "", -1)
			return facts(&fact.RepositoryCreated{Repository: "bad"}), nil
		}}, "transaction", true},
		"an error that is swallowed among readers": {decision{decide: func(v registry.View) (*registry.Change, error) {
			_, _ = v.TagPage("demo", "", -1)
			return nil, nil
		}}, "", false},
		"a panic":                   {decision{decide: func(registry.View) (*registry.Change, error) { panic("at the disco") }}, "disco", true},
		"NUL in a row":              {decision{decide: repo("a\x00b")}, "NUL", true},
		"no UTF-8 in a row":         {decision{decide: decided(&registry.Change{Puts: []registry.Upload{{ID: "\xff", State: "open"}}})}, "UTF-8", true},
		"NUL in what is asked":      {decision{decide: func(v registry.View) (*registry.Change, error) { _, err := v.Tag("demo", "a\x00"); return nil, err }}, "NUL", true},
		"no UTF-8 in what is asked": {decision{decide: func(v registry.View) (*registry.Change, error) { _, err := v.Upload("\xff"); return nil, err }}, "UTF-8", true},
		"NUL in a key": {decision{registry.Keys{Repositories: []string{"demo", "x\x00"}, Tags: []string{"a\x00"}, Uploads: []string{"\x00"}},
			func(v registry.View) (*registry.Change, error) { _, err := v.Tag("demo", "a\x00"); return nil, err }}, "NUL", true},
		"no UTF-8 in a key": {decision{registry.Keys{Repositories: []string{"\xff"}, Tags: []string{"\xfe"}, Uploads: []string{"\xfd"}},
			func(v registry.View) (*registry.Change, error) { _, err := v.RepositoryExists("\xff"); return nil, err }}, "UTF-8", true},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := two(t)
			s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
			s.update(t, image("demo", "image", "", "", nil, "latest"))
			s.update(t, facts(&fact.BlobIdentified{Blob: primary("image"), Digest: digest(identity.SHA512, "image")}))
			good := func(name string) decision { return decision{decide: repo(name)} }
			if !c.event {
				good = func(string) decision { return decision{decide: reads} }
			}
			for i, err := range together(s, good("a"), good("b"), c.bad, decision{decide: reads}, good("c"), decision{decide: reads}) {
				switch {
				case i != 2 && err != nil:
					t.Errorf("change %d gave %v", i, err)
				case i == 2 && c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)):
					t.Errorf("it gave %v", err)
				}
			}
			must(t, s.Healthy())
		})
	}
}

func badPage(v registry.View) (*registry.Change, error) {
	_, err := v.TagPage("demo", "", -1)
	return nil, err
}
