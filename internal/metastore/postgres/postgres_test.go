package postgres_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openAt(t *testing.T, o postgres.Options) *postgres.DB {
	t.Helper()
	if o.Name == "" {
		o.Name = "test"
	}
	db, err := postgres.Open(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

// open opens a new database with a table of each kind.
func open(t *testing.T) (*postgres.DB, *harness.Postgres) {
	t.Helper()
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN(), StatementTimeout: 20 * time.Second})
	makeTables(t, db)
	return db, server
}

func makeTables(t *testing.T, db *postgres.DB) {
	t.Helper()
	must(t, db.Writer().Script(`CREATE TABLE t (k INTEGER NOT NULL PRIMARY KEY, n INTEGER, s TEXT UNIQUE, b BLOB) STRICT;
		CREATE TABLE keys (a INTEGER NOT NULL, b TEXT NOT NULL, PRIMARY KEY (a, b)) STRICT, WITHOUT ROWID`))
}

var (
	table = &database.Table{Name: "t", Columns: []string{"k", "n", "s", "b"}, Key: 1}
	keys  = &database.Table{Name: "keys", Columns: []string{"a", "b"}, Key: 2}
)

// collect returns the rows of a query as values.
func collect(c database.Conn, columns int, sql string, args ...any) (table [][]any, err error) {
	rows := c.Query(sql, args...)
	for rows.Next() {
		row := make([]any, columns)
		for i := range row {
			row[i] = rows.Value(i)
		}
		table = append(table, row)
	}
	return table, rows.Close()
}

func all(t *testing.T, c database.Conn, columns int, sql string, args ...any) [][]any {
	t.Helper()
	table, err := collect(c, columns, sql, args...)
	must(t, err)
	return table
}

func read(t *testing.T, db *postgres.DB, columns int, sql string, args ...any) (table [][]any) {
	t.Helper()
	must(t, db.Read(t.Context(), func(c database.Conn) (err error) {
		table, err = collect(c, columns, sql, args...)
		return err
	}))
	return table
}

func expect(t *testing.T, got [][]any, want ...[]any) {
	t.Helper()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %#v\nwant %#v", got, want)
	}
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	rows := [][]any{
		{int64(0), int64(-1 << 63), "", []byte{}},
		{int64(1), int64(1<<63 - 1), "é\u2028 'q' \"\\ z", []byte{0, 255}},
		{int64(2), nil, nil, nil},
	}
	must(t, w.Begin(true))
	for _, r := range rows {
		must(t, w.Exec("INSERT INTO t (k, n, s, b) VALUES ($1, $2, $3, $4)", r...))
	}
	must(t, w.Commit())
	expect(t, read(t, db, 4, "SELECT k, n, s, b FROM t ORDER BY k"), rows...)
	// The same, written by the array.
	must(t, w.Begin(false))
	must(t, w.Exec("DELETE FROM t"))
	must(t, w.Write([]database.Edits{{Table: table, Puts: rows, Insert: true}}))
	must(t, w.Commit())
	expect(t, read(t, db, 4, "SELECT k, n, s, b FROM t ORDER BY k"), rows...)
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		r := c.Query("SELECT n, s, b FROM t WHERE k = $1", int64(2))
		if !r.Next() || r.Int(0) != 0 || r.Text(1) != "" || r.Bytes(2) != nil {
			t.Error("NULL is not 0, \"\" and nil")
		}
		return r.Close()
	}))
}

func TestExpressionsHaveTheTypesThatSQLiteGivesThem(t *testing.T) {
	db, _ := open(t)
	must(t, db.Writer().Script("INSERT INTO t (k, n) VALUES (1, 4611686018427387904), (2, 5), (3, -12345678)"))
	for sql, want := range map[string]any{
		"SELECT count(*) FROM t":                        int64(3),
		"SELECT sum(n) FROM t WHERE k > 1":              int64(-12345673),
		"SELECT coalesce(sum(n), 0) FROM t WHERE k > 9": int64(0),
		"SELECT sum(n) FROM t WHERE k > 9":              nil,
		"SELECT sum(n * 10000) FROM t WHERE k = 2":      int64(50000),
		"SELECT sum(n) + 0.50 FROM t WHERE k = 2":       "5.50",
		"SELECT -sum(n) / 100000 FROM t WHERE k = 2":    "-0.000050000000000000000000",
		"SELECT 1":                        int64(1),
		"SELECT 'a'":                      "a",
		"SELECT EXISTS (SELECT 1 FROM t)": int64(1),
		"SELECT length(b) FROM (SELECT '\\x0102'::bytea AS b) x": int64(2),
		"SELECT relname FROM pg_class WHERE relname = 'keys'":    "keys",
		"SELECT NULL": nil,
	} {
		if got := read(t, db, 1, sql); len(got) != 1 || !reflect.DeepEqual(got[0][0], want) {
			t.Errorf("%s: %#v, want %#v", sql, got, want)
		}
	}
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("SELECT sum(n), count(*) > 1, 7 FROM t WHERE k <> 1")
		if !rows.Next() || rows.Int(0) != -12345673 || rows.Int(1) != 1 || rows.Int(2) != 7 || rows.Text(2) != "7" {
			t.Error("integers of other types are not read")
		}
		return rows.Close()
	}))
	err := db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("SELECT sum(n) * 100 FROM t")
		rows.Next()
		_ = rows.Int(0)
		return rows.Close()
	})
	if err == nil {
		t.Error("a sum of more than 64 bits was read as an integer")
	}
}

func TestBadStatementsAreErrors(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, w.Begin(true))
	tooFew := w.Write([]database.Edits{{Table: table, Puts: [][]any{{int64(1)}}}})
	wrongType := w.Write([]database.Edits{{Table: table, Puts: [][]any{{int64(1), "x", "x", nil}}}})
	noColumn := w.Write([]database.Edits{{Table: &database.Table{Name: "t", Columns: []string{"none"}, Key: 1}, Puts: [][]any{{"x"}}}})
	nulInArray := w.Write([]database.Edits{{Table: table, Puts: [][]any{{int64(1), nil, "a\x00", nil}}}})
	must(t, w.Rollback())
	for name, err := range map[string]error{
		"syntax":               w.Exec("INSERT INTO"),
		"two statements":       w.Exec("SELECT 1; SELECT 2"),
		"no such table":        w.Query("SELECT * FROM none").Close(),
		"bad argument":         w.Exec("INSERT INTO t (k, n) VALUES (1, $1)", 1.5),
		"too few arguments":    w.Exec("INSERT INTO t (k, n) VALUES (1, $1)"),
		"constraint":           w.Exec("INSERT INTO t (k, s) VALUES (NULL, 'x')"),
		"NUL":                  w.Exec("INSERT INTO t (k, s) VALUES (1, $1)", "a\x00b"),
		"not UTF-8":            w.Exec("INSERT INTO t (k, s) VALUES (1, $1)", "a\xff"),
		"NUL in an array":      w.Exec("DELETE FROM t WHERE s = ANY($1)", []string{"a\x00b"}),
		"unknown type":         one(w, "SELECT now()"),
		"row too short":        tooFew,
		"row of a wrong type":  wrongType,
		"no such column":       noColumn,
		"NUL in a row":         nulInArray,
		"Write without Begin":  w.Write(nil),
		"Commit without Begin": w.Commit(),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
		if errors.Is(err, database.ErrUnavailable) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, w.Exec("INSERT INTO t (k, s) VALUES ($1, $2)", int64(1), "x"))
}

func one(c database.Conn, sql string) error {
	rows := c.Query(sql)
	rows.Next()
	_ = rows.Value(0)
	return rows.Close()
}

func TestOneStatementCanRunWithinItself(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, w.Script("INSERT INTO t (k, s) VALUES (1, 'a'), (2, 'b'), (3, 'c')"))
	const query = "SELECT s FROM t ORDER BY k"
	var got strings.Builder
	outer := w.Query(query)
	for outer.Next() {
		inner := w.Query(query)
		for inner.Next() {
			got.WriteString(outer.Text(0) + inner.Text(0) + " ")
		}
		must(t, inner.Close())
	}
	must(t, outer.Close())
	if want := "aa ab ac ba bb bc ca cb cc "; got.String() != want {
		t.Errorf("got %q, want %q", got.String(), want)
	}
	// More than memory should hold is refused, to both.
	outer = w.Query("SELECT repeat('x', 1 << 20) FROM generate_series(1, 70)")
	outer.Next()
	inner := w.Query(query)
	if inner.Next() || inner.Close() == nil || outer.Next() || outer.Close() == nil {
		t.Error("70 MiB of rows were put aside")
	}
	must(t, w.Exec("SELECT 1"))
}

// TestRowsStream: of a result of any size little is in memory.
func TestRowsStream(t *testing.T) {
	db, _ := open(t)
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		rows, n := c.Query("SELECT repeat('x', 1000) FROM generate_series(1, 200000)"), 0
		for rows.Next() {
			n += len(rows.Text(0))
		}
		if n != 200_000_000 {
			t.Errorf("%d bytes came", n)
		}
		return rows.Close()
	}))
	// One that is left early does no harm.
	for range 3 {
		must(t, db.Read(t.Context(), func(c database.Conn) error {
			rows := c.Query("SELECT * FROM generate_series(1, 100000)")
			rows.Next()
			return rows.Close()
		}))
	}
}

func TestReaderKeepsItsSnapshot(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		expect(t, all(t, c, 1, "SELECT count(*) FROM t"), []any{int64(0)})
		must(t, w.Exec("INSERT INTO t (k) VALUES (1)"))
		expect(t, all(t, c, 1, "SELECT count(*) FROM t"), []any{int64(0)})
		if err := c.Exec("INSERT INTO t (k) VALUES (2)"); err == nil {
			t.Error("a reader wrote")
		}
		return nil
	}))
	expect(t, read(t, db, 1, "SELECT count(*) FROM t"), []any{int64(1)})
}

func TestReadersAreAsManyAsAllowed(t *testing.T) {
	server := harness.StartPostgres(t)
	db := openAt(t, postgres.Options{DSN: server.DSN(), MaxConnections: 4, ConnectTimeout: 2 * time.Second})
	inside, release, done := make(chan bool), make(chan bool), make(chan error)
	for range 2 {
		go func() {
			done <- db.Read(context.Background(), func(c database.Conn) error {
				inside <- true
				<-release
				return c.Exec("SELECT 1")
			})
		}()
		<-inside
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := db.Read(ctx, func(database.Conn) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a third reader beside two: %v", err)
	}
	if err := db.Read(t.Context(), func(database.Conn) error { return nil }); !errors.Is(err, database.ErrUnavailable) || !strings.Contains(err.Error(), "database.max_connections") {
		t.Errorf("a third reader that waits: %v", err)
	}
	close(release)
	must(t, errors.Join(<-done, <-done))
	must(t, db.Read(t.Context(), func(database.Conn) error { return nil }))
	if _, err := postgres.Open(t.Context(), postgres.Options{DSN: server.DSN(), MaxConnections: 2}); err == nil {
		t.Error("two connections were enough")
	}
}

func TestContextInterruptsAReader(t *testing.T) {
	db, server := open(t)
	ctx, cancel := context.WithCancel(t.Context())
	err := db.Read(ctx, func(c database.Conn) error {
		time.AfterFunc(50*time.Millisecond, cancel)
		return c.Exec("SELECT pg_sleep(3600)")
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("Read returned %v", err)
	}
	// The server has given up, too.
	until(t, func() bool {
		return server.SQL(t, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'") == "0"
	})
	must(t, db.Read(t.Context(), func(c database.Conn) error { return c.Exec("SELECT 1") }))
}

// until waits for what must become true.
func until(t *testing.T, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it never came true")
		}
	}
}

func TestReaderThatPanicsLeavesNothing(t *testing.T) {
	db, server := open(t)
	for range 20 { // more than there are connections
		func() {
			defer func() { _ = recover() }()
			_ = db.Read(t.Context(), func(c database.Conn) error {
				rows := c.Query("SELECT * FROM generate_series(1, 1000)")
				rows.Next()
				panic("on purpose")
			})
		}()
	}
	expect(t, read(t, db, 1, "SELECT 1"), []any{int64(1)})
	until(t, func() bool {
		return server.SQL(t, "SELECT count(*) < 4 FROM pg_stat_activity WHERE application_name = 'test' AND datname = current_database()") == "t"
	})
}

func TestOpenRowsAreNoEndOfAReader(t *testing.T) {
	db, _ := open(t)
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		c.Query("SELECT * FROM generate_series(1, 1000)").Next()
		return nil
	}))
	expect(t, read(t, db, 1, "SELECT 1"), []any{int64(1)})
}

func TestSchemaIsTranslated(t *testing.T) {
	db, server := open(t)
	must(t, db.Writer().Script("DROP TABLE t; DROP TABLE keys"))
	names, err := filepath.Glob("../schema/*.sql")
	must(t, err)
	if len(names) < 2 {
		t.Fatal("the schema is not found")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		must(t, db.Writer().Begin(true))
		must(t, db.Writer().Script(string(text)))
		must(t, db.Writer().Commit())
	}
	got := server.SQL(t, `SELECT string_agg(DISTINCT data_type || coalesce(' ' || collation_name, ''), ', ') FROM information_schema.columns
		WHERE table_schema = 'public'`)
	if want := "bigint, bytea, text C"; got != want {
		t.Errorf("the schema has columns of %s, want %s", got, want)
	}
	for name, want := range map[string]bool{"events": true, "none": false, "EVENTS": false, "pg_class": false} {
		must(t, db.Read(t.Context(), func(c database.Conn) error {
			has, err := c.HasTable(name)
			if has != want {
				t.Errorf("HasTable(%q) = %v", name, has)
			}
			return err
		}))
	}
}

func TestTextIsOrderedByBytes(t *testing.T) {
	db, server := open(t)
	if got := server.SQL(t, "SELECT 'a' < 'B'"); got != "t" {
		t.Fatal("the database orders text by bytes by itself: the test shows nothing")
	}
	w := db.Writer()
	must(t, w.Begin(false))
	must(t, w.Write([]database.Edits{{Table: keys, Puts: [][]any{{int64(1), "a"}, {int64(1), "B"}, {int64(1), "_"}, {int64(1), "é"}}}}))
	must(t, w.Commit())
	expect(t, read(t, db, 1, "SELECT b FROM keys WHERE b > $1 ORDER BY b", "A"), []any{"B"}, []any{"_"}, []any{"a"}, []any{"é"})
	expect(t, read(t, db, 1, "SELECT max(b) FROM keys WHERE b = ANY($1)", []string{"a", "B"}), []any{"a"})
}

// TestPasswordIsInNoError: whatever is wrong with a DSN, and whatever goes wrong.
func TestPasswordIsInNoError(t *testing.T) {
	server := harness.StartPostgres(t)
	dsns := []string{
		"postgres://u:geheim@127.0.0.1:1/db?sslmode=disable",
		"postgres://u:geheim@127.0.0.1:port/db",
		"postgres://u:geheim@127.0.0.1:99999/db",
		"postgres://u:geheim/@:%@127.0.0.1/db",
		"postgres://u:geheim%zz@127.0.0.1/db",
		"postgres://u:geheim@[::1/db",
		"postgres://u:geheim@h/db?sslmode=geheim",
		"postgres://u:geheim@h/db?sslmode=verify-full&sslrootcert=/none",
		"postgres://u:geheim@h/db?target_session_attrs=none",
		"postgres://h/db?password=geheim&sslmode=none",
		"host=h password=geheim sslmode=none",
		"host=h password='geheim' x' sslmode=none",
		"host=h password='geheim",
		"host=h password = geheim port=x",
		"host=127.0.0.1 port=1 password=geheim user=u sslmode=disable",
		"mysql://u:geheim@h/db",
		"u:geheim@h/db",
		"",
		strings.Replace(server.DSN(), harness.PostgresPassword, "geheim", 1),
		strings.Replace(server.DSN(), "test_", "none_", 1),
	}
	for _, dsn := range dsns {
		_, err := postgres.Open(t.Context(), postgres.Options{DSN: dsn, ConnectTimeout: 2 * time.Second})
		if err == nil {
			t.Errorf("%s: no error", dsn)
			continue
		}
		for _, text := range []string{err.Error(), fmt.Sprintf("%+v %#v", err, err)} {
			if strings.Contains(text, "geheim") || strings.Contains(text, harness.PostgresPassword) {
				t.Errorf("%s: the error is %s", dsn, text)
			}
		}
	}
}
