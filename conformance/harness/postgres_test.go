package harness_test

import (
	"testing"

	"artifactstore/conformance/harness"
)

// TestPostgresOutlivesACrash: what was committed is there after SIGKILL, and
// each database is a new one.
func TestPostgresOutlivesACrash(t *testing.T) {
	p := harness.StartPrivatePostgres(t, "work_mem=5MB")
	p.SQL(t, "CREATE TABLE t (v int); INSERT INTO t VALUES (1), (2)")
	harness.Must(t, p.Kill())
	harness.Must(t, p.Start())
	harness.Must(t, p.Stop())
	harness.Must(t, p.Start())
	if got := p.SQL(t, "SELECT v, current_setting('work_mem') FROM t ORDER BY v"); got != "1|5MB\n2|5MB" {
		t.Errorf("got %q", got)
	}
}

func TestPostgresDatabasesAreApart(t *testing.T) {
	a, b := harness.StartPostgres(t), harness.StartPostgres(t)
	if a.Host() != b.Host() || a.DSN() == b.DSN() {
		t.Errorf("%s and %s are not two databases of one server", a.DSN(), b.DSN())
	}
	a.SQL(t, "CREATE TABLE t (v int)")
	if got := b.SQL(t, "SELECT count(*) FROM pg_tables WHERE tablename = 't'"); got != "0" {
		t.Errorf("the second database has %s tables of the first", got)
	}
}
