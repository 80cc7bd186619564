package main_test

import (
	"path/filepath"
	"strings"
	"testing"
)

// TestNoVerbPrintsAPassword: whatever is wrong or asked for, a password in a DSN
// is not in the answer, and what is no secret in it is.
func TestNoVerbPrintsAPassword(t *testing.T) {
	dir := t.TempDir()
	const password = "hunter2"
	writeFile(t, filepath.Join(dir, "good.yaml"), "database:\n  driver: postgres\n  dsn: postgres://app:"+password+"@db.example.com/registry\n")
	writeFile(t, filepath.Join(dir, "bad.yaml"), "database:\n  driver: postgres\n  dsn: postgres://app:"+password+"/more@db.example.com/registry\n")
	writeFile(t, filepath.Join(dir, "sqlite.yaml"), "database:\n  dsn: host=db password="+password+"\n")
	writeFile(t, filepath.Join(dir, "files.yaml"), "database:\n  driver: postgres\n  dsn_file: dsn\ns3:\n  access_key_id_file: id\n  secret_access_key_file: none\n")
	writeFile(t, filepath.Join(dir, "dsn"), "postgres://app:"+password+"/more@db.example.com/registry\n")
	writeFile(t, filepath.Join(dir, "id"), password+"\n")
	variable := []string{"ARTIFACTSTORE_DATABASE_DRIVER=postgres", "ARTIFACTSTORE_DATABASE_DSN=host=db.example.com password='" + password + "' dbname=registry"}
	for _, c := range []struct {
		line string
		env  []string
		code int
		want string
	}{
		{"config show --config good.yaml", nil, 0, "dsn: postgres://app:REDACTED@db.example.com/registry # good.yaml:3"},
		{"config show --config good.yaml --json", nil, 0, `"postgres://app:REDACTED@db.example.com/registry"`},
		{"config show", variable, 0, "host=db.example.com password=REDACTED dbname=registry"},
		{"config check good.yaml", nil, 0, "The configuration is valid."},
		{"config check bad.yaml", nil, 1, "bad.yaml:3: database.dsn: is no URL such as"},
		{"config check files.yaml", nil, 1, "database.dsn_file: dsn: is no URL such as"},
		{"config check --json files.yaml", nil, 1, "s3.secret_access_key_file: open none: no such file"},
		{"config show --config bad.yaml", nil, 1, "bad.yaml:3: database.dsn: is no URL such as"},
		{"serve --config bad.yaml", nil, 1, "bad.yaml:3: database.dsn: is no URL such as"},
		{"serve --config sqlite.yaml", nil, 1, "sqlite.yaml:2: database.dsn: is set, but database.driver is sqlite"},
		{"config schema", variable, 0, "database"},
	} {
		t.Run(c.line, func(t *testing.T) {
			r := run(t, dir, c.env, strings.Fields(c.line)...)
			if strings.Contains(r.stdout+r.stderr, password) {
				t.Errorf("the password is in\n%s%s", r.stdout, r.stderr)
			}
			r.expect(t, c.code, c.want)
		})
	}
}
