package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Place is where a store is kept: in a data folder, but for what it says to be
// elsewhere.
type Place struct {
	// Data is the data folder.
	Data string
	// Postgres is the database; nil is SQLite in the data folder.
	Postgres *Postgres
	// S3 has the objects, in a bucket of its own unless Bucket names another,
	// below Prefix; nil is the data folder.
	S3             *S3
	Bucket, Prefix string
	// Memory keeps the objects in the memory of the server, which loses them
	// when it ends.
	Memory bool
	// More are further lines of the configuration.
	More string
}

// Config writes the configuration file of the place and returns its path.
func (p Place) Config(t testing.TB) string {
	t.Helper()
	var b strings.Builder
	if p.Data != "" {
		fmt.Fprintf(&b, "data: %s\n", p.Data)
	}
	if p.Postgres != nil {
		fmt.Fprintf(&b, "database:\n  driver: postgres\n  dsn: %q\n", p.Postgres.DSN())
	}
	switch {
	case p.Memory:
		b.WriteString("storage:\n  driver: memory\n")
	case p.S3 != nil:
		access, secret := p.S3.CredentialFiles(t)
		bucket := p.Bucket
		if bucket == "" {
			bucket = p.S3.Bucket
		}
		fmt.Fprintf(&b, `storage:
  driver: s3
s3:
  bucket: %s
  prefix: %q
  endpoint: %s
  path_style: true
  part_size: 5MiB
  access_key_id_file: %s
  secret_access_key_file: %s
`, bucket, p.Prefix, p.S3.Endpoint, access, secret)
	}
	b.WriteString(p.More)
	file := filepath.Join(t.TempDir(), "artifactstore.yaml")
	Must(t, os.WriteFile(file, []byte(b.String()), 0o600))
	return file
}

// Make returns the configuration file of the place after the tables of its
// database were made, if they are in PostgreSQL.
func (p Place) Make(t testing.TB) string {
	t.Helper()
	file := p.Config(t)
	if p.Postgres != nil {
		binary, err := Binary()
		Must(t, err)
		Tool{Path: binary}.Run(t, "migrate", "--config", file)
	}
	return file
}
