package postgres

import (
	"strings"
	"testing"
)

func TestTranslate(t *testing.T) {
	for _, tt := range []struct{ name, script, want string }{
		{"types and options", "CREATE TABLE t (a INTEGER NOT NULL, b TEXT, c blob) STRICT, WITHOUT ROWID;",
			`CREATE TABLE t (a bigint NOT NULL, b text COLLATE "C", c bytea)   ;`},
		{"comments stay", "-- an INTEGER; STRICT\nCREATE TABLE t (a INTEGER, -- TEXT, it's\n/* BLOB ; */ b TEXT)",
			"-- an INTEGER; STRICT\nCREATE TABLE t (a bigint, -- TEXT, it's\n/* BLOB ; */ b text COLLATE \"C\")"},
		{"quoted text stays", `CREATE TABLE "TEXT" ("BLOB" TEXT DEFAULT 'it''s TEXT; (')`,
			`CREATE TABLE "TEXT" ("BLOB" text COLLATE "C" DEFAULT 'it''s TEXT; (')`},
		{"parts of words stay", "CREATE TABLE INTEGERS (TEXT_1 TEXT, blob2 BLOB)",
			`CREATE TABLE INTEGERS (TEXT_1 text COLLATE "C", blob2 bytea)`},
		{"parentheses within", "CREATE TABLE t (a INTEGER CHECK (a IN (1, 2)), PRIMARY KEY (a, b)) STRICT",
			"CREATE TABLE t (a bigint CHECK (a IN (1, 2)), PRIMARY KEY (a, b)) "},
		{"a column that is called strict", "CREATE TABLE t (strict INTEGER)", "CREATE TABLE t (strict bigint)"},
		{"a column more", "alter table t add column b TEXT; CREATE INDEX i ON t (b)",
			`alter table t add column b text COLLATE "C"; CREATE INDEX i ON t (b)`},
		{"other statements stay", "UPDATE t SET a = CAST(b AS INTEGER); CREATE INDEX TEXT ON BLOB (a) WHERE s = 'open';",
			"UPDATE t SET a = CAST(b AS INTEGER); CREATE INDEX TEXT ON BLOB (a) WHERE s = 'open';"},
		{"after a table", "CREATE TABLE t (a TEXT) STRICT; SELECT STRICT, BLOB", `CREATE TABLE t (a text COLLATE "C") ; SELECT STRICT, BLOB`},
		{"an end that is missing", "CREATE TABLE t (a TEXT DEFAULT 'x", `CREATE TABLE t (a text COLLATE "C" DEFAULT 'x`},
		{"a comment without an end", "SELECT 1 /* TEXT", "SELECT 1 /* TEXT"},
		{"other alphabets", "CREATE TABLE größe (a TEXT)", `CREATE TABLE größe (a text COLLATE "C")`},
		{"nothing", "", ""},
	} {
		if got := translate(tt.script); got != tt.want {
			t.Errorf("%s:\ngot  %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

// FuzzTranslate: whatever is no CREATE or ALTER TABLE stays as it is.
func FuzzTranslate(f *testing.F) {
	f.Add("CREATE TABLE t (a TEXT) STRICT, -- x")
	f.Add("/* '")
	f.Fuzz(func(t *testing.T, script string) {
		_ = translate(script)
		script = "SELECT " + strings.ReplaceAll(script, ";", ",")
		if got := translate(script); got != script {
			t.Errorf("%q became %q", script, got)
		}
	})
}
