package postgres_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
)

// proxy passes connections on until it is told to cut them.
type proxy struct {
	listener net.Listener
	server   string

	mu    sync.Mutex
	conns []net.Conn
	// holdAnswers: what the server says is dropped, and so is the connection
	// once it has said something.
	holdAnswers bool
	// holdRequests: what is said to the server does not reach it, and the
	// connection is dropped.
	holdRequests bool
	passed       bytes.Buffer // what the client has said
}

func startProxy(t *testing.T, server string) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	p := &proxy{listener: listener, server: server}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			upstream, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, client, upstream)
			p.mu.Unlock()
			running.Go(func() { p.pump(upstream, client, &p.holdRequests, &p.passed) })
			running.Go(func() { p.pump(client, upstream, &p.holdAnswers, io.Discard) })
		}
	})
	t.Cleanup(func() {
		_ = listener.Close()
		p.cut()
		running.Wait()
	})
	return p
}

func (p *proxy) pump(to, from net.Conn, hold *bool, log io.Writer) {
	defer func() { _, _ = to.Close(), from.Close() }()
	buffer := make([]byte, 64<<10)
	for {
		n, err := from.Read(buffer)
		p.mu.Lock()
		stop := *hold
		_, _ = log.Write(buffer[:n])
		p.mu.Unlock()
		if err != nil || stop {
			return
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) set(hold *bool, to bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	*hold = to
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		_ = c.Close()
	}
	p.conns = nil
}

func throughProxy(t *testing.T) (*postgres.DB, *proxy, *harness.Postgres) {
	t.Helper()
	server := harness.StartPostgres(t)
	p := startProxy(t, server.Host())
	db := openAt(t, postgres.Options{DSN: server.DSNAt(p.listener.Addr().String()), ConnectTimeout: 3 * time.Second})
	makeTables(t, db)
	return db, p, server
}

func row(k int64) database.Edits {
	return database.Edits{Table: table, Puts: [][]any{{k, nil, nil, nil}}, Insert: true}
}

// TestAnswerToACommitIsLost: it was committed, and nobody can know.
func TestAnswerToACommitIsLost(t *testing.T) {
	db, p, server := throughProxy(t)
	w := db.Writer()
	for k, early := range map[int64]bool{1: false, 2: true} { // whether the transaction has begun before
		must(t, w.Begin(true))
		must(t, w.Write([]database.Edits{row(k)}))
		if early {
			must(t, w.Exec("SELECT 1"))
		}
		p.set(&p.holdAnswers, true)
		err := w.Commit()
		if !errors.Is(err, database.ErrUnknown) || errors.Is(err, database.ErrUnavailable) {
			t.Errorf("the commit: %v", err)
		}
		p.set(&p.holdAnswers, false)
		expect(t, read(t, db, 1, "SELECT k FROM t WHERE k = $1", k), []any{k})
	}
	must(t, write(t, w, row(3)))
	if got := server.SQL(t, "SELECT count(*) FROM t"); got != "3" {
		t.Errorf("%s rows are there", got)
	}
}

// TestCommitDoesNotReachTheServer: that cannot be known either.
func TestCommitDoesNotReachTheServer(t *testing.T) {
	db, p, _ := throughProxy(t)
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{row(1)}))
	must(t, w.Exec("SELECT 1"))
	p.set(&p.holdRequests, true)
	if err := w.Commit(); !errors.Is(err, database.ErrUnknown) || errors.Is(err, database.ErrUnavailable) {
		t.Errorf("the commit: %v", err)
	}
	p.set(&p.holdRequests, false)
	must(t, write(t, w, row(2)))
	expect(t, read(t, db, 1, "SELECT k FROM t"), []any{int64(2)})
}

// TestConnectionIsCutBeforeTheCommit: so nothing was committed.
func TestConnectionIsCutBeforeTheCommit(t *testing.T) {
	db, p, _ := throughProxy(t)
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{row(1)}))
	must(t, w.Exec("SELECT 1"))
	p.cut()
	if err := w.Commit(); !errors.Is(err, database.ErrUnavailable) || errors.Is(err, database.ErrUnknown) {
		t.Errorf("the commit: %v", err)
	}
	// In the middle of a transaction.
	must(t, w.Begin(true))
	must(t, w.Exec("SELECT 1"))
	p.cut()
	if err := w.Exec("SELECT 1"); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("a statement: %v", err)
	}
	if err := w.Write([]database.Edits{row(2)}); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("Write: %v", err)
	}
	if err := w.Commit(); !errors.Is(err, database.ErrUnavailable) || errors.Is(err, database.ErrUnknown) {
		t.Errorf("the commit after a lost statement: %v", err)
	}
	p.cut() // while nothing goes on: Begin notices
	must(t, write(t, w, row(3)))
	expect(t, read(t, db, 1, "SELECT k FROM t"), []any{int64(3)})
}

func TestReaderConnectsAnew(t *testing.T) {
	db, p, _ := throughProxy(t)
	expect(t, read(t, db, 1, "SELECT 1"), []any{int64(1)})
	p.cut()
	expect(t, read(t, db, 1, "SELECT 1"), []any{int64(1)})
	// Before a row was handed out: once more, from the start.
	runs := 0
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		if runs++; runs == 1 {
			p.cut()
		}
		return c.Exec("SELECT 1")
	}))
	if runs != 2 {
		t.Errorf("it ran %d times", runs)
	}
	// After one: it is for the caller to start again.
	runs = 0
	err := db.Read(t.Context(), func(c database.Conn) error {
		runs++
		rows := c.Query("SELECT 1")
		rows.Next()
		if err := rows.Close(); err != nil {
			return err
		}
		p.cut()
		return c.Exec("SELECT 1")
	})
	if !errors.Is(err, database.ErrUnavailable) || runs != 1 {
		t.Errorf("it ran %d times: %v", runs, err)
	}
	// A query that looks at no error has failed all the same.
	err = db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)")
		rows.Next()
		p.cut()
		for rows.Next() {
			_ = rows.Text(0)
		}
		return nil
	})
	if !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("a query that broke off: %v", err)
	}
}

func TestServerIsKilledAndComesBack(t *testing.T) {
	server := harness.StartPrivatePostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN(), ConnectTimeout: 20 * time.Second})
	makeTables(t, db)
	w := db.Writer()
	must(t, write(t, w, row(1)))
	expect(t, read(t, db, 1, "SELECT k FROM t"), []any{int64(1)})
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{row(2)}))
	must(t, w.Exec("SELECT 1"))
	must(t, server.Kill())
	if err := w.Commit(); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("the commit: %v", err)
	}
	// Both wait until it is back.
	back := make(chan error)
	time.AfterFunc(200*time.Millisecond, func() { back <- server.Start() })
	got := read(t, db, 1, "SELECT k FROM t")
	must(t, <-back)
	expect(t, got, []any{int64(1)})
	must(t, write(t, w, row(3)))
	must(t, server.Stop())
	time.AfterFunc(200*time.Millisecond, func() { back <- server.Start() })
	err := write(t, w, row(4))
	must(t, <-back)
	must(t, err)
	expect(t, read(t, db, 1, "SELECT k FROM t ORDER BY k"), []any{int64(1)}, []any{int64(3)}, []any{int64(4)})
}

func TestServerStaysAway(t *testing.T) {
	server := harness.StartPrivatePostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN(), ConnectTimeout: 300 * time.Millisecond})
	must(t, server.Stop())
	if err := db.Writer().Begin(true); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("Begin: %v", err)
	}
	if err := db.Writer().Rollback(); err != nil {
		t.Errorf("Rollback of what did not begin: %v", err)
	}
	err := db.Read(t.Context(), func(c database.Conn) error { return c.Exec("SELECT 1") })
	if !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("Read: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := db.Read(ctx, func(c database.Conn) error { return c.Exec("SELECT 1") }); !errors.Is(err, context.Canceled) {
		t.Errorf("Read with a context that ended: %v", err)
	}
	if err := db.Listen(t.Context(), "c", nil, nil); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("Listen: %v", err)
	}
}

// withoutStandby opens a database on a server that waits for a standby that is
// not there.
func withoutStandby(t *testing.T, o postgres.Options) (*postgres.DB, *harness.Postgres) {
	t.Helper()
	server := harness.StartPrivatePostgres(t, "synchronous_commit=local")
	server.SQL(t, "ALTER SYSTEM SET synchronous_standby_names = 'nobody'")
	server.SQL(t, "SELECT pg_reload_conf()")
	o.DSN = server.DSN()
	db := openAt(t, o)
	must(t, db.Writer().Begin(false)) // which does not wait
	makeTables(t, db)
	must(t, db.Writer().Commit())
	return db, server
}

// TestCommitThatNoStandbyHas: the server gave up waiting for its standby, and
// says that it has committed.
func TestCommitThatNoStandbyHas(t *testing.T) {
	db, server := withoutStandby(t, postgres.Options{})
	w := db.Writer()
	done := make(chan error)
	go func() {
		err := w.Begin(true)
		if err == nil {
			err = w.Write([]database.Edits{row(1)})
		}
		done <- errors.Join(err, w.Commit())
	}()
	until(t, func() bool {
		return server.SQL(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == "t"
	})
	if err := <-done; !errors.Is(err, database.ErrUnknown) || !strings.Contains(err.Error(), "standby") {
		t.Errorf("the commit: %v", err)
	}
	expect(t, read(t, db, 1, "SELECT k FROM t"), []any{int64(1)})
}

// TestCommitWaitsForItsStandby: even when we do not any more, so that nobody
// sees what a failover would lose.
func TestCommitWaitsForItsStandby(t *testing.T) {
	db, server := withoutStandby(t, postgres.Options{StatementTimeout: 300 * time.Millisecond, ConnectTimeout: 700 * time.Millisecond})
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{row(1)}))
	if err := w.Commit(); !errors.Is(err, database.ErrUnknown) {
		t.Errorf("the commit: %v", err)
	}
	must(t, db.Close()) // nothing is asked of the server any more
	const state = "SELECT (SELECT count(*) FROM t), count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'"
	if got := server.SQL(t, state); got != "0|1" {
		t.Errorf("rows to be seen | commits that wait: %s", got)
	}
	server.SQL(t, "ALTER SYSTEM RESET synchronous_standby_names")
	server.SQL(t, "SELECT pg_reload_conf()")
	until(t, func() bool { return server.SQL(t, state) == "1|0" })
}

func TestReadOnlyServer(t *testing.T) {
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN()})
	makeTables(t, db)
	server.SQL(t, "ALTER DATABASE "+server.Name()+" SET default_transaction_read_only = on")
	_, err := postgres.Open(t.Context(), postgres.Options{DSN: server.DSN()})
	if !errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), "takes writes") {
		t.Errorf("a read-only database was opened to write: %v", err)
	}
	reader := openAt(t, postgres.Options{DSN: server.DSN(), ReadOnly: true})
	if reader.Writer() != nil {
		t.Error("a database that was opened for reading has a writer")
	}
	expect(t, read(t, reader, 1, "SELECT count(*) FROM t"), []any{int64(0)})
}

func TestListen(t *testing.T) {
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN()})
	ctx, cancel := context.WithCancel(t.Context())
	started, payloads, ended := make(chan bool), make(chan string), make(chan error)
	listen := func(ctx context.Context) {
		ended <- db.Listen(ctx, `a "channel"`, func() { started <- true }, func(payload string) { payloads <- payload })
	}
	go listen(ctx)
	<-started
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Exec(`SELECT pg_notify('a "channel"', $1)`, "first"))
	must(t, w.Commit())
	server.SQL(t, `NOTIFY "a ""channel""", 'second'; NOTIFY other, 'not this'; NOTIFY "a ""channel""", 'third'`)
	if got := <-payloads + <-payloads + <-payloads; got != "firstsecondthird" {
		t.Errorf("heard %q", got)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("Listen ended with %v", err)
	}
	go listen(t.Context())
	<-started
	server.SQL(t, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'LISTEN%' AND datname = current_database()")
	if err := <-ended; !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("Listen ended with %v", err)
	}
}

// TestRoundTrips: a transaction that locks and reads, then writes, takes two.
func TestRoundTrips(t *testing.T) {
	db, p, _ := throughProxy(t)
	w := db.Writer()
	transaction := func(k int64) {
		must(t, w.Begin(false))
		must(t, w.(database.Batcher).Batch([]database.Query{
			{SQL: "SELECT n FROM t WHERE k = 0 FOR UPDATE", Scan: func(database.Rows) error { return nil }},
			{SQL: "SELECT k FROM t WHERE k = ANY($1)", Args: []any{[]int64{k}}, Scan: func(database.Rows) error { return nil }},
		}))
		must(t, w.Write([]database.Edits{row(k), {Table: keys, Deletes: [][]any{{k, "x"}}, Puts: [][]any{{k, "y"}}}}))
		must(t, w.Commit())
	}
	transaction(1) // learns of the tables
	syncs := func(run func()) int {
		p.mu.Lock()
		p.passed.Reset()
		p.mu.Unlock()
		run()
		p.mu.Lock()
		defer p.mu.Unlock()
		return bytes.Count(p.passed.Bytes(), []byte{'S', 0, 0, 0, 4})
	}
	if n := syncs(func() { transaction(2) }); n != 2 {
		t.Errorf("the transaction took %d round trips", n)
	}
	if n := syncs(func() { must(t, write(t, w, row(3))) }); n != 1 {
		t.Errorf("a transaction that only writes took %d round trips", n)
	}
}
