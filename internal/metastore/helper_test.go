package metastore_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
	"artifactstore/internal/metastore/sqlite"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// onPostgres: stores are made in PostgreSQL, not in files.
var onPostgres bool

// ofFiles are the tests about a store that is a file of one process, or whose
// clock only turns when all wait, which they never do for a server.
const ofFiles = "^(TestEveryFailedOperationIsToldNotHidden|TestFailedFlushStopsTheStore|TestFullDiskRefusesAndRecovers|" +
	"TestEventsAreFlushedAndSessionsAreNot|TestFilesAreNotForOthers|TestUncleanStartIsNoticed|" +
	"TestReadOnlyStoreReadsWhatWasClosed|TestOpenReportsWhatIsNoStore|TestStoreOfTheFirstVersionIsMigratedWithItsContent|" +
	"TestListingsCostThePageNotTheCollection|TestPassesCostTheirPage|TestCloseCommitsWhatIsWaitingAndRefusesTheRest|" +
	"TestBatchIsOneCommitInWhichEachSeesTheEarlierOnes|TestOneThatFailsSpoilsNoOtherOfItsBatch|" +
	"TestCallerGivesUpOnlyBeforeTheDecision|TestObserverIs.*|TestReceiveIsAllOrNothing)$"

// ofServers are the tests about a database that several nodes have open.
const ofServers = "^TestShared"

// TestMain runs every test twice: on files of SQLite, and on PostgreSQL.
func TestMain(m *testing.M) {
	syscall.Umask(0o027) // as the command does
	flag.Parse()
	skip := flag.Lookup("test.skip").Value
	if skip.String() != "" {
		os.Exit(m.Run())
	}
	code := 0
	for i, others := range []string{ofServers, ofFiles} {
		onPostgres = i > 0
		if err := skip.Set(others); err != nil {
			panic(err)
		}
		// Under the race detector in short: what several goroutines do there.
		if run := flag.Lookup("test.run").Value; onPostgres && underRace && testing.Short() && run.String() == "" {
			if err := run.Set(concurrent); err != nil {
				panic(err)
			}
		}
		code = max(code, m.Run())
	}
	os.Exit(code)
}

// concurrent are the tests on PostgreSQL that goroutines of several callers or
// nodes take part in; the others are the same code as on SQLite.
const concurrent = "^(TestShared|TestLog$|TestManyWritersAtOnce|TestReadersRunBesideTheWriter)"

var caller = registry.Caller{Actor: "anonymous", Request: "r-1"}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// store is a store under test and how to open it again.
type store struct {
	*metastore.Store
	path    string            // of the file
	server  *harness.Postgres // nil: it is a file
	options metastore.Options
}

// create makes a new store in a folder of the test, which is closed at its end.
func create(t testing.TB, o metastore.Options) *store {
	t.Helper()
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &store{path: filepath.Join(t.TempDir(), "artifactstore.db"), options: o}
	if onPostgres {
		s.server = harness.StartPostgres(t)
	}
	s.open(t)
	t.Cleanup(func() { _ = s.Store.Close() })
	return s
}

// checked makes a new store that must be what its log says when the test ends.
func checked(t testing.TB) *store {
	t.Helper()
	s := create(t, metastore.Options{})
	t.Cleanup(func() { s.check(t) })
	return s
}

func (s *store) open(t testing.TB) {
	t.Helper()
	var err error
	s.Store, err = s.opened(s.options)
	must(t, err)
	must(t, s.Migrate(context.Background(), nil))
}

// opened opens what the store is in once more.
func (s *store) opened(o metastore.Options) (*metastore.Store, error) {
	if s.server == nil {
		return metastore.Open(context.Background(), s.path, o)
	}
	return metastore.OpenPostgres(context.Background(), postgres.Options{DSN: s.server.DSN(), Log: o.Log}, metastore.Node{Name: "test"}, o)
}

// db opens the database to read it behind the store's back.
func (s *store) db(t testing.TB) database.DB {
	t.Helper()
	if s.server == nil {
		db, err := sqlite.Open(context.Background(), s.path, sqlite.Options{ReadOnly: true})
		must(t, err)
		return db
	}
	db, err := postgres.Open(context.Background(), postgres.Options{DSN: s.server.DSN(), ReadOnly: true, Log: s.options.Log})
	must(t, err)
	return db
}

// toPostgres says in PostgreSQL's words what tests say in SQLite's.
var toPostgres = strings.NewReplacer("zeroblob(32)", "decode(repeat('00', 32), 'hex')", "x'a0'", `'\xa0'::bytea`, "x'00'", `'\x00'::bytea`)

// raw runs statements on a store that nobody has open.
func (s *store) raw(t testing.TB, statements ...string) {
	t.Helper()
	if s.server != nil {
		for _, statement := range statements {
			s.server.SQL(t, toPostgres.Replace(statement))
		}
		return
	}
	db, err := sqlite.Open(context.Background(), s.path, sqlite.Options{})
	must(t, err)
	for _, statement := range statements {
		must(t, db.Writer().Script(statement))
	}
	must(t, db.Close())
}

func (s *store) reopen(t testing.TB) {
	t.Helper()
	must(t, s.Close())
	s.open(t)
}

// check proves that the views are what the log says, none of it empty that
// ought not to be.
func (s *store) check(t testing.TB, full ...string) metastore.Report {
	t.Helper()
	report, err := s.Check(context.Background(), nil)
	must(t, err)
	if report.Missing != 0 {
		t.Errorf("%d content rows are missing, the first is %d", report.Missing, report.FirstMissing)
	}
	for _, view := range report.Views {
		for _, name := range full {
			if view.Name == name && view.Rows == 0 {
				t.Errorf("view %s is empty", name)
			}
		}
	}
	return report
}

// sql runs statements behind the store's back, while it is closed.
func (s *store) sql(t testing.TB, statements ...string) {
	t.Helper()
	must(t, s.Close())
	s.raw(t, statements...)
	s.open(t)
}

// count returns what a query of one number gives.
func (s *store) count(t testing.TB, query string) int {
	t.Helper()
	db := s.db(t)
	var n int
	must(t, db.Read(context.Background(), func(c database.Conn) error {
		rows := c.Query(query)
		rows.Next()
		n = int(rows.Int(0))
		return rows.Close()
	}))
	must(t, db.Close())
	return n
}

// update commits a change that does not depend on the state.
func (s *store) update(t testing.TB, c *registry.Change) {
	t.Helper()
	must(t, s.try(c))
}

func (s *store) try(c *registry.Change) error {
	return s.Update(context.Background(), caller, registry.Keys{}, func(registry.View) (*registry.Change, error) { return c, nil })
}

// read runs a query that must not fail.
func (s *store) read(t testing.TB, query func(v registry.View) error) {
	t.Helper()
	must(t, s.Read(context.Background(), query))
}

// facts makes a change of facts without content.
func facts(all ...fact.Fact) *registry.Change {
	c := new(registry.Change)
	for _, f := range all {
		c.Add(f)
	}
	return c
}

func digests(content string) identity.DigestSet { return identity.Of([]byte(content), identity.SHA512) }
func primary(content string) identity.Digest    { return digests(content).Primary() }

func digest(a identity.Algorithm, content string) identity.Digest {
	return identity.FromBytes(a, []byte(content))
}

// stored is the event and the content row of a small blob with SHA-256 and BLAKE3.
func stored(content string) registry.Entry {
	return registry.Entry{
		Fact: &fact.BlobStored{
			Digests: identity.Of([]byte(content)), Size: int64(len(content)),
			Receipt: fact.Receipt{Store: fact.Content},
		},
		Content: []byte(content),
	}
}

// layer is a change that brings a blob into a repository that exists.
func layer(repository, content string) *registry.Change {
	c := &registry.Change{Entries: []registry.Entry{stored(content)}}
	c.Add(&fact.BlobLinked{Repository: repository, Blob: primary(content)})
	return c
}

// image is a change that puts a manifest with the given text, which
// references layers, under tags.
func image(repository, content, subject, artifactType string, layers []string, tags ...string) *registry.Change {
	c := &registry.Change{Entries: []registry.Entry{stored(content), stored("native of " + content)}}
	put := &fact.ManifestPut{
		Repository: repository, Manifest: primary(content), Native: primary("native of " + content),
		Digest: digest(identity.SHA256, content), MediaType: "application/vnd.oci.image.manifest.v1+json",
		ArtifactType: artifactType, Size: int64(len(content)), Class: "transient", Expires: 1_900_000_000_000_000,
	}
	for _, l := range layers {
		put.References = append(put.References, fact.Reference{
			Role: "layer", MediaType: "application/octet-stream",
			Digest: digest(identity.SHA256, l), Target: primary(l), Size: int64(len(l)),
		})
	}
	var descriptor []byte
	if subject != "" {
		put.SubjectDigest = digest(identity.SHA256, subject)
		descriptor = fmt.Appendf(nil, `{"digest":%q}`, put.Digest)
	}
	c.AddContent(put, descriptor)
	for _, name := range tags {
		c.Add(tag(repository, name, content))
	}
	return c
}

func tag(repository, name, content string) *fact.TagMoved {
	return &fact.TagMoved{
		Repository: repository, Tag: name, To: primary(content), Digest: digest(identity.SHA256, content),
	}
}

// populated has at least one row in every view of what was pushed.
func populated(t testing.TB, s *store) {
	t.Helper()
	s.update(t, facts(&fact.RepositoryCreated{Repository: "demo"}))
	s.update(t, layer("demo", "layer"))
	s.update(t, image("demo", "image", "", "", []string{"layer"}, "latest", "v1"))
	s.update(t, image("demo", "signature", "image", "application/x.signature", []string{"layer"}))
	s.update(t, facts(tag("demo", "latest", "signature"), &fact.TagDeleted{Repository: "demo", Tag: "v1", Manifest: primary("image")}))
}

var errRefused = errors.New("refused")

func sorted(lines []string) []string {
	slices.Sort(lines)
	return lines
}

func repeat(s string, n int) string { return strings.Repeat(s, n) }
