package sqlite_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/sqlite"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(t *testing.T) (*sqlite.DB, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "a.db")
	db, err := sqlite.Open(t.Context(), path, sqlite.Options{})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	must(t, db.Writer().Script("CREATE TABLE t (k INTEGER NOT NULL PRIMARY KEY, v ANY) STRICT"))
	return db, path
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	values := []any{int64(0), int64(-1 << 63), int64(1<<63 - 1), "", "é\x00z", []byte{}, []byte{0, 255}, nil}
	must(t, w.Begin(true))
	for i, v := range values {
		must(t, w.Exec("INSERT INTO t (k, v) VALUES ($1, $2)", int64(i), v))
	}
	must(t, w.Commit())
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		rows := c.Query("SELECT v FROM t ORDER BY k")
		for _, want := range values {
			if !rows.Next() {
				t.Fatal("a row is missing")
			}
			if got := rows.Value(0); !reflect.DeepEqual(got, want) {
				t.Errorf("%#v came back as %#v", want, got)
			}
			if want == nil && rows.Bytes(0) != nil {
				t.Error("NULL has bytes")
			}
		}
		return rows.Close()
	}))
}

func TestBadStatementsAreErrors(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	for name, err := range map[string]error{
		"syntax":         w.Exec("INSERT INTO"),
		"two statements": w.Exec("SELECT 1; SELECT 2"),
		"no statement":   w.Exec(""),
		"no such table":  w.Query("SELECT * FROM none").Close(),
		"bad argument":   w.Exec("INSERT INTO t (k, v) VALUES (1, $1)", 1.5),
		"constraint":     w.Exec("INSERT INTO t (k, v) VALUES (NULL, 'x'), ('x', 1)"),
	} {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	must(t, w.Exec("INSERT INTO t (k, v) VALUES ($1, $2)", int64(1), "x"))
}

func TestOneStatementCanRunWithinItself(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, w.Script("INSERT INTO t VALUES (1, 'a'), (2, 'b'), (3, 'c')"))
	const query = "SELECT v FROM t ORDER BY k"
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
}

func TestReaderKeepsItsSnapshot(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	count := func(c database.Conn) int64 {
		rows := c.Query("SELECT count(*) FROM t")
		rows.Next()
		n := rows.Int(0)
		must(t, rows.Close())
		return n
	}
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		before := count(c)
		must(t, w.Exec("INSERT INTO t VALUES (1, 'a')"))
		if after := count(c); before != 0 || after != 0 {
			t.Errorf("saw %d, then %d", before, after)
		}
		if err := c.Exec("INSERT INTO t VALUES (2, 'a')"); err == nil {
			t.Error("a reader wrote")
		}
		return nil
	}))
	must(t, db.Read(t.Context(), func(c database.Conn) error {
		if n := count(c); n != 1 {
			t.Errorf("saw %d", n)
		}
		return nil
	}))
}

func TestRollbackAndHasTable(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, w.Rollback()) // there is none
	must(t, w.Begin(false))
	must(t, w.Script("CREATE TABLE u (k INTEGER) STRICT"))
	must(t, w.Rollback())
	for name, want := range map[string]bool{"t": true, "u": false} {
		if has, err := w.HasTable(name); err != nil || has != want {
			t.Errorf("HasTable(%s) = %v, %v", name, has, err)
		}
	}
}

// openFiles counts the descriptors of the database file.
func openFiles(t *testing.T, path string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/fd/*")
	must(t, err)
	n := 0
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && target == path {
			n++
		}
	}
	return n
}

func TestReadersAreFewAndClosedWhenIdle(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("needs /proc to count open files")
	}
	synctest.Test(t, func(t *testing.T) {
		db, path := open(t)
		hold := make(chan struct{})
		errs := make(chan error, 10)
		for range cap(errs) {
			go func() {
				errs <- db.Read(t.Context(), func(database.Conn) error { <-hold; return nil })
			}()
		}
		synctest.Wait()
		if n := openFiles(t, path); n != 1+4 {
			t.Errorf("%d connections while ten want to read, want the writer and 4", n)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := db.Read(ctx, func(database.Conn) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("the one that waited gave %v", err)
		}
		close(hold)
		for range cap(errs) {
			must(t, <-errs)
		}
		time.Sleep(30 * time.Second)
		must(t, db.Read(t.Context(), func(database.Conn) error { return nil }))
		time.Sleep(45 * time.Second)
		if n := openFiles(t, path); n != 1+1 {
			t.Errorf("%d connections, want the writer and the reader that was used", n)
		}
		time.Sleep(2 * time.Minute)
		if n := openFiles(t, path); n != 1 {
			t.Errorf("%d connections, want the writer alone", n)
		}
		must(t, db.Close())
	})
}

func TestReadAfterClose(t *testing.T) {
	db, _ := open(t)
	must(t, db.Close())
	must(t, db.Close())
	if err := db.Read(t.Context(), func(database.Conn) error { return nil }); !errors.Is(err, os.ErrClosed) {
		t.Errorf("got %v", err)
	}
}

func TestQueryThatPanicsDoesNotKeepItsConnection(t *testing.T) {
	db, _ := open(t)
	func() {
		defer func() { _ = recover() }()
		_ = db.Read(t.Context(), func(c database.Conn) error {
			c.Query("SELECT 1").Next()
			panic("in the middle of rows")
		})
	}()
	for range 8 {
		must(t, db.Read(t.Context(), func(c database.Conn) error {
			rows := c.Query("SELECT 1")
			rows.Next()
			return rows.Close()
		}))
	}
}

// TestRootLeavesTheFilesToTheOwner: an operator who looks into a stopped store
// as root must not keep the server's user from it.
func TestRootLeavesTheFilesToTheOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root makes files in the folders of others")
	}
	const user = 12345
	db, path := open(t)
	must(t, db.Close())
	must(t, os.Chown(path, user, user))
	for _, o := range []sqlite.Options{{ReadOnly: true}, {}} {
		db, err := sqlite.Open(t.Context(), path, o)
		must(t, err)
		for _, name := range []string{path, path + "-wal", path + "-shm"} {
			info, err := os.Stat(name)
			must(t, err)
			if owner := info.Sys().(*syscall.Stat_t); owner.Uid != user || owner.Gid != user {
				t.Errorf("with %+v %s belongs to %d:%d", o, filepath.Base(name), owner.Uid, owner.Gid)
			}
		}
		must(t, db.Close())
	}
}

// TestOnlyWhatChangesIsWritten: of a row that is known, with all indexes of the
// other columns left alone.
func TestOnlyWhatChangesIsWritten(t *testing.T) {
	db, _ := open(t)
	w := db.Writer()
	must(t, w.Script("CREATE TABLE p (k INTEGER NOT NULL, l TEXT NOT NULL, a ANY UNIQUE, b ANY, c ANY, PRIMARY KEY (k, l)) STRICT"))
	table := &database.Table{Name: "p", Columns: []string{"k", "l", "a", "b", "c"}, Key: 2}
	before := [][]any{{int64(1), "x", "one", []byte{1}, nil}, {int64(2), "x", "two", nil, int64(5)}, {int64(3), "x", "three", []byte{}, nil}}
	must(t, w.Write([]database.Edits{{Table: table, Puts: before}}))
	after := [][]any{{int64(1), "x", "one", []byte{1, 2}, int64(7)}, {int64(2), "x", nil, nil, int64(6)}, {int64(3), "x", "three", []byte{}, nil}, {int64(4), "x", "two", nil, nil}}
	must(t, w.Write([]database.Edits{{Table: table, Puts: after, Was: append(before, nil)}}))
	read := func() (got [][]any) {
		rows := w.Query("SELECT k, l, a, b, c FROM p ORDER BY k")
		for rows.Next() {
			got = append(got, []any{rows.Value(0), rows.Value(1), rows.Value(2), rows.Value(3), rows.Value(4)})
		}
		must(t, rows.Close())
		return got
	}
	if got := read(); !reflect.DeepEqual(got, after) {
		t.Errorf("the rows are %v, want %v", got, after)
	}
	// A column that is said to be the same is left as it is.
	wrong := []any{int64(1), "x", "one", "said to be", int64(7)}
	must(t, w.Write([]database.Edits{{Table: table, Puts: [][]any{{int64(1), "x", "one", "said to be", int64(8)}}, Was: [][]any{wrong}}}))
	if got := read()[0]; !reflect.DeepEqual(got, []any{int64(1), "x", "one", []byte{1, 2}, int64(8)}) {
		t.Errorf("the row is %v", got)
	}
}

// TestTheWALIsBoundedWhereReadersFollowEachOther without a gap: each of two reads
// until the other has begun to read what is newer, if it can.
func TestTheWALIsBoundedWhereReadersFollowEachOther(t *testing.T) {
	db, path := open(t)
	ctx, stop := context.WithCancel(t.Context())
	var begun atomic.Int64
	var readers sync.WaitGroup
	for range 2 {
		readers.Go(func() {
			for ctx.Err() == nil {
				err := db.Read(t.Context(), func(c database.Conn) error {
					rows := c.Query("SELECT 1 FROM t LIMIT 1")
					rows.Next()
					n, since := begun.Add(1), time.Now()
					for begun.Load() == n && time.Since(since) < 5*time.Millisecond && ctx.Err() == nil {
						time.Sleep(100 * time.Microsecond)
					}
					return rows.Close()
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	w := db.Writer()
	const commits, pages, most = 500, 20, 6000 * 4096
	page := make([]byte, 4000)
	for i := range commits {
		must(t, w.Begin(false))
		for k := range pages {
			must(t, w.Exec("INSERT INTO t (k, v) VALUES ($1, $2)", int64(i*pages+k), page))
		}
		must(t, w.Commit())
		must(t, w.Tidy())
	}
	stop()
	readers.Wait()
	info, err := os.Stat(path + "-wal")
	must(t, err)
	if info.Size() > most {
		t.Errorf("after %d pages the WAL has %d bytes", commits*pages, info.Size())
	}
}
