package postgres_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
)

func write(t *testing.T, w database.Writer, edits ...database.Edits) error {
	t.Helper()
	must(t, w.Begin(true))
	if err := w.Write(edits); err != nil {
		return errors.Join(err, w.Rollback())
	}
	return w.Commit()
}

func TestWriteHasEveryShape(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, write(t, w,
		database.Edits{Table: table, Insert: true, Puts: [][]any{
			{int64(1), int64(10), "one", []byte("1")}, {int64(2), nil, nil, []byte(nil)}, {int64(3), int64(30), "three", nil}}},
		database.Edits{Table: keys, Puts: [][]any{{int64(1), "a"}, {int64(1), "b"}}}))
	// Replaced, new, deleted, deleted though absent, a key that is there already.
	must(t, write(t, w,
		database.Edits{Table: table, Deletes: [][]any{{int64(3)}, {int64(99)}}, Puts: [][]any{
			{int64(1), nil, nil, []byte{}}, {int64(4), int64(40), "four", []byte("4")}}},
		database.Edits{Table: keys, Deletes: [][]any{{int64(1), "b"}, {int64(1), "c"}}, Puts: [][]any{{int64(1), "a"}, {int64(2), "a"}}}))
	expect(t, read(t, db, 4, "SELECT * FROM t ORDER BY k"),
		[]any{int64(1), nil, nil, []byte{}}, []any{int64(2), nil, nil, nil}, []any{int64(4), int64(40), "four", []byte("4")})
	expect(t, read(t, db, 2, "SELECT * FROM keys ORDER BY a, b"), []any{int64(1), "a"}, []any{int64(2), "a"})
	// What one row gives up another may take, in one batch.
	must(t, write(t, w, database.Edits{Table: table, Deletes: [][]any{{int64(4)}}, Puts: [][]any{{int64(5), nil, "four", nil}}, Insert: true}))
	must(t, write(t, w, database.Edits{Table: table, Puts: [][]any{{int64(6), nil, "six", nil}}, Insert: true},
		database.Edits{Table: table, Deletes: [][]any{{int64(6)}}}))
	expect(t, read(t, db, 2, "SELECT k, s FROM t WHERE k > 3"), []any{int64(5), "four"})
	// Nothing to write is no transaction.
	must(t, write(t, w))
	must(t, write(t, w, database.Edits{Table: table}))
	if err := write(t, w, database.Edits{Table: table, Insert: true, Puts: [][]any{{int64(7), nil, nil, nil}, {int64(5), nil, nil, nil}}}); err == nil {
		t.Error("Insert replaced a row")
	}
	expect(t, read(t, db, 1, "SELECT count(*) FROM t"), []any{int64(3)})
	must(t, write(t, w, database.Edits{Table: table, Insert: true, Puts: [][]any{{int64(7), nil, nil, bytes.Repeat([]byte{0xff}, 8<<20)}}}))
	expect(t, read(t, db, 1, "SELECT length(b) FROM t WHERE k = 7"), []any{int64(8 << 20)})
}

func TestTransactionsEndAsTheyWereTold(t *testing.T) {
	db, server := open(t)
	w := db.Writer()
	put := func(k int64) []database.Edits {
		return []database.Edits{{Table: table, Puts: [][]any{{k, nil, nil, nil}}}}
	}
	must(t, w.Begin(true))
	must(t, w.Write(put(1)))
	must(t, w.Rollback())
	must(t, w.Begin(false))
	must(t, w.Write(put(2)))
	expect(t, all(t, w, 1, "SELECT k FROM t"), []any{int64(2)}) // sent with the query
	must(t, w.Rollback())
	must(t, w.Rollback())
	if err := errors.Join(w.Begin(true), w.Begin(true)); err == nil {
		t.Error("a transaction within a transaction")
	}
	if err := w.Exec("SELECT 1/0"); err == nil {
		t.Error("1/0 has a result")
	}
	if err := w.Commit(); err == nil || errors.Is(err, database.ErrUnknown) {
		t.Errorf("a failed transaction was committed: %v", err)
	}
	// The error of what was put off is that of the next statement.
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{{Table: table, Insert: true, Puts: [][]any{{int64(3), nil, "x", nil}, {int64(4), nil, "x", nil}}}}))
	if err := w.Exec("SELECT 1"); err == nil {
		t.Error("two rows have one unique text")
	}
	must(t, w.Rollback())
	if got := server.SQL(t, "SELECT count(*) FROM t"); got != "0" {
		t.Errorf("%s rows were committed", got)
	}
	must(t, write(t, w, put(5)...))
	if got := server.SQL(t, "SELECT count(*) FROM t"); got != "1" {
		t.Errorf("%s rows were committed, not 1", got)
	}
}

func TestCommitsFlushAsTheyWereTold(t *testing.T) {
	for server, want := range map[string][2]string{
		"on": {"on", "off"}, "off": {"on", "off"}, "local": {"on", "off"}, "remote_write": {"on", "off"}, "remote_apply": {"remote_apply", "off"},
	} {
		p := harness.StartPostgres(t)
		p.SQL(t, "ALTER ROLE postgres IN DATABASE "+p.Name()+" SET synchronous_commit = "+server)
		w := openAt(t, postgres.Options{DSN: p.DSN()}).Writer()
		for i, flush := range []bool{true, false} {
			must(t, w.Begin(flush))
			expect(t, all(t, w, 3, "SELECT current_setting('synchronous_commit'), current_setting('transaction_isolation'), current_setting('application_name')"),
				[]any{want[i], "read committed", "test"})
			must(t, w.Commit())
		}
	}
}

// TestBatchSeesEachStatementsOwnMoment shows the trap, and how to stay out of
// it: a statement that waits for a lock has chosen what it sees before it waits.
func TestBatchSeesEachStatementsOwnMoment(t *testing.T) {
	db, server := open(t)
	w := db.Writer()
	must(t, w.Script("INSERT INTO t (k, n) VALUES (1, 0), (2, 0)"))
	other := openAt(t, postgres.Options{DSN: server.DSN(), Name: "other"}).Writer()
	must(t, other.Begin(true))
	must(t, other.Exec("UPDATE t SET n = 1"))
	var together, after int64
	done := make(chan error)
	go func() {
		if err := w.Begin(true); err != nil {
			done <- err
			return
		}
		scan := func(into *int64) func(database.Rows) error {
			return func(r database.Rows) error {
				if r.Next() {
					*into = r.Int(0)
				}
				return nil
			}
		}
		var locked int64
		err := w.(database.Batcher).Batch([]database.Query{
			{SQL: "SELECT n, (SELECT n FROM t WHERE k = 2) FROM t WHERE k = $1 FOR UPDATE", Args: []any{int64(1)}, Scan: func(r database.Rows) error {
				if r.Next() {
					locked, together = r.Int(0), r.Int(1)
				}
				return nil
			}},
			{SQL: "SELECT n FROM t WHERE k = ANY($1)", Args: []any{[]int64{2, 99}}, Scan: scan(&after)},
		})
		if err == nil && locked != 1 {
			err = errors.New("the locked row is not the newest")
		}
		done <- errors.Join(err, w.Rollback())
	}()
	until(t, func() bool {
		return server.SQL(t, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'test' AND datname = current_database()") == "1"
	})
	must(t, other.Commit())
	must(t, <-done)
	if together != 0 {
		t.Error("the locking statement saw the other row anew: the trap is none, and the design may be simpler")
	}
	if after != 1 {
		t.Error("the statement after the locking one saw an old row")
	}
}

func TestBatch(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	batch := w.(database.Batcher).Batch
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{{Table: keys, Puts: [][]any{{int64(1), "a"}, {int64(2), "b"}, {int64(3), "c"}}}}))
	var got []string
	scan := func(r database.Rows) error {
		for r.Next() {
			got = append(got, r.Text(0))
		}
		return nil
	}
	nothing := func(database.Rows) error { return nil } // leaves the rows
	must(t, batch(nil))
	must(t, batch([]database.Query{
		{SQL: "SELECT b FROM keys WHERE b = ANY($1) ORDER BY b", Args: []any{[]string{"a", "c", ""}}, Scan: scan},
		{SQL: "SELECT * FROM generate_series(1, 10000)", Scan: nothing},
		{SQL: "SELECT x.b FROM unnest($1::bigint[], $2::text[]) AS x (a, b) JOIN keys USING (a)", Args: []any{[]int64{2, 9}, []string{"two", "nine"}}, Scan: scan},
		{SQL: "SELECT b FROM keys WHERE a = ANY($1)", Args: []any{[]int64{}}, Scan: scan},
	}))
	if strings.Join(got, " ") != "a c two" {
		t.Errorf("got %q", got)
	}
	mine, within := errors.New("mine"), error(nil)
	if err := batch([]database.Query{
		{SQL: "SELECT 1", Scan: func(database.Rows) error { within = w.Exec("SELECT 2"); return mine }},
		{SQL: "SELECT 2", Scan: func(database.Rows) error { t.Error("it went on"); return nil }},
	}); !errors.Is(err, mine) {
		t.Errorf("the error of Scan became %v", err)
	}
	if within == nil {
		t.Error("a statement ran in the middle of a batch")
	}
	must(t, w.Commit())
	must(t, w.Begin(true))
	if err := batch([]database.Query{{SQL: "SELECT 1/0", Scan: scan}, {SQL: "SELECT 1", Scan: scan}}); err == nil {
		t.Error("1/0 has a result")
	}
	must(t, w.Rollback())
	expect(t, read(t, db, 1, "SELECT count(*) FROM keys"), []any{int64(3)})
}

func TestLaterIsPutOff(t *testing.T) {
	db, p, _ := throughProxy(t)
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Later("INSERT INTO t (k) VALUES (1)")) // alone, and without an argument
	must(t, w.Commit())
	p.cut()
	must(t, w.Begin(true))
	must(t, w.Write([]database.Edits{row(2)}))
	must(t, w.Later("UPDATE t SET n = $1 WHERE k = $2", int64(5), int64(2)))
	must(t, w.Later("UPDATE t SET n = n * 2"))
	must(t, w.Commit())
	expect(t, read(t, db, 2, "SELECT k, n FROM t ORDER BY k"), []any{int64(1), nil}, []any{int64(2), int64(10)})
	if err := w.Later("DELETE FROM t"); err == nil {
		t.Error("a statement is put off outside of a transaction")
	}
	must(t, w.Begin(true))
	if err := w.Later("SELECT $1", 1.5); err == nil {
		t.Error("a number that is not whole is an argument")
	}
	must(t, w.Later("SELECT 1/0"))
	if err := w.Exec("SELECT 1"); err == nil {
		t.Error("1/0 has a result")
	}
	must(t, w.Rollback())
}

// TestSchemaChangesUnderPreparedStatements: the next try succeeds.
func TestSchemaChangesUnderPreparedStatements(t *testing.T) {
	db, server := open(t)
	w := db.Writer()
	query := "SELECT * FROM keys"
	must(t, w.Begin(true))
	expect(t, all(t, w, 2, query))
	must(t, w.Commit())
	expect(t, read(t, db, 2, query))
	server.SQL(t, "ALTER TABLE keys ADD c bigint DEFAULT 7; INSERT INTO keys VALUES (1, 'a')")
	runs := 0
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		runs++
		rows := c.Query(query)
		if rows.Next() && rows.Int(2) != 7 {
			t.Error("the new column has not its value")
		}
		return rows.Close()
	}))
	if runs != 2 {
		t.Errorf("the reader ran %d times", runs)
	}
	must(t, w.Begin(true))
	if err := w.Query(query).Close(); !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("the changed statement gave %v", err)
	}
	must(t, w.Rollback())
	must(t, w.Begin(true))
	expect(t, all(t, w, 3, query), []any{int64(1), "a", int64(7)})
	must(t, w.Commit())
}

// TestManyStatements: more than are kept are no harm.
func TestManyStatements(t *testing.T) {
	db, server := open(t)
	w := db.Writer()
	must(t, w.Begin(true))
	for range 2 {
		for i := range 300 {
			must(t, w.Exec("SELECT 1 WHERE $1 = "+strings.Repeat("0", i)+"1", int64(1)))
		}
	}
	rows := all(t, w, 1, "SELECT count(*) FROM pg_prepared_statements")
	must(t, w.Commit())
	if n := rows[0][0].(int64); n < 200 || n > 256 {
		t.Errorf("%d statements are kept", n)
	}
	_ = server
}

func TestErrorsOfTheServerHaveTheirMeaning(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	raise := func(code string) error {
		return w.Script("DO $$ BEGIN RAISE EXCEPTION 'x' USING ERRCODE = '" + code + "'; END $$")
	}
	for code, want := range map[string]error{
		"53100": database.ErrFull, "XX001": database.ErrCorrupt, "XX002": database.ErrCorrupt, "53300": database.ErrUnavailable,
		"57014": database.ErrUnavailable, "25006": database.ErrUnavailable, "08006": database.ErrUnavailable,
		"40001": database.ErrUnavailable, "40P01": database.ErrUnavailable, "55P03": database.ErrUnavailable,
		"25P02": database.ErrAborted,
	} {
		if err := raise(code); !errors.Is(err, want) {
			t.Errorf("%s is %v", code, err)
		}
	}
	for _, code := range []string{"23505", "08P01", "42P01"} {
		err := raise(code)
		for _, other := range []error{database.ErrFull, database.ErrBroken, database.ErrCorrupt, database.ErrUnavailable, database.ErrUnknown} {
			if err == nil || errors.Is(err, other) {
				t.Errorf("%s is %v", code, err)
			}
		}
	}
}

func TestStatementTimeoutIsTheWriters(t *testing.T) {
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN(), StatementTimeout: 100 * time.Millisecond})
	w := db.Writer()
	must(t, w.Begin(true))
	if err := w.Exec("SELECT pg_sleep(60)"); !errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), "database.statement_timeout") {
		t.Errorf("a long statement: %v", err)
	}
	must(t, w.Rollback())
	must(t, w.Begin(true))
	must(t, w.Script("SELECT pg_sleep(0.3)")) // a migration takes as long as it takes
	must(t, w.Commit())
	must(t, db.Read(t.Context(), func(c database.Conn) error { return c.Exec("SELECT pg_sleep(0.3)") }))
}

// TestPausedTransactionLosesItsLock: of a node that stands still.
func TestPausedTransactionLosesItsLock(t *testing.T) {
	db, server := open(t)
	var log bytes.Buffer
	paused := openAt(t, postgres.Options{DSN: server.DSN(), Name: "paused", Log: slog.New(slog.NewTextHandler(&log, nil))}).Writer()
	must(t, db.Writer().Script("INSERT INTO t (k, n) VALUES (1, 0)"))
	must(t, paused.Begin(true))
	must(t, paused.Exec("UPDATE t SET n = 1"))
	must(t, db.Writer().Begin(true))
	must(t, db.Writer().Exec("UPDATE t SET n = n + 10")) // waits for it
	must(t, db.Writer().Commit())
	if err := paused.Commit(); !errors.Is(err, database.ErrUnavailable) || errors.Is(err, database.ErrUnknown) {
		t.Errorf("the paused commit: %v", err)
	}
	expect(t, read(t, db, 1, "SELECT n FROM t"), []any{int64(10)})
	must(t, write(t, paused, database.Edits{Table: table, Puts: [][]any{{int64(2), nil, nil, nil}}}))
	if !strings.Contains(log.String(), "lost") || !strings.Contains(log.String(), "again") {
		t.Errorf("the log says %q", log.String())
	}
}

// TestPlansStayGoodWhileTablesGrow: those that were made when a table was empty
// do not scan it when it is not.
func TestPlansStayGoodWhileTablesGrow(t *testing.T) {
	db, server := open(t)
	server.SQL(t, "ALTER TABLE t SET (autovacuum_enabled = off); ALTER TABLE keys SET (autovacuum_enabled = off)")
	w := db.Writer()
	k := int64(0)
	add := func(rows int) {
		var puts, others, gone [][]any
		for range rows {
			k++
			puts = append(puts, []any{k, nil, strconv.FormatInt(k, 10), nil})
			others = append(others, []any{k, "x"})
			gone = append(gone, []any{k, "y"})
		}
		must(t, w.Begin(false))
		must(t, w.(database.Batcher).Batch([]database.Query{
			{SQL: "SELECT k FROM t WHERE s = ANY($1)", Args: []any{[]string{"1", "2", "none"}}, Scan: func(database.Rows) error { return nil }},
			{SQL: "SELECT t.k FROM unnest($1::bigint[], $2::text[]) AS x (a, b) JOIN keys USING (a, b) JOIN t ON t.k = a",
				Args: []any{[]int64{1, k + 1}, []string{"x", "x"}}, Scan: func(database.Rows) error { return nil }},
		}))
		must(t, w.Write([]database.Edits{{Table: table, Deletes: firsts(gone), Puts: puts}, {Table: keys, Deletes: gone, Puts: others}}))
		must(t, w.Commit())
	}
	for range 10 { // the server settles on a plan after five
		add(1)
	}
	add(20_000)
	for range 50 {
		add(2)
	}
	must(t, db.Close()) // what a connection has counted is there once it has ended
	until(t, func() bool {
		return server.SQL(t, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'test' AND datname = current_database()") == "0"
	})
	n, err := strconv.Atoi(server.SQL(t, `SELECT sum(seq_tup_read + idx_tup_fetch) + (SELECT sum(idx_tup_read) FROM pg_stat_user_indexes)
		FROM pg_stat_user_tables`))
	must(t, err)
	if n > 200_000 {
		t.Errorf("%d rows were looked at", n)
	}
}

// firsts are the first columns of keys.
func firsts(keys [][]any) [][]any {
	all := make([][]any, len(keys))
	for i := range keys {
		all[i] = keys[i][:1]
	}
	return all
}
