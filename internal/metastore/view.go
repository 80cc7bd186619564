package metastore

import (
	"crypto/hmac"
	"crypto/sha256"
	"time"

	"artifactstore/internal/metastore/database"
	"artifactstore/registry"
)

// view implements registry.View on a connection within a transaction. Its
// methods are in the files of the tables that they read.
type view struct {
	conn   database.Conn
	now    time.Time
	secret []byte
}

var _ registry.View = (*view)(nil)

// Now implements registry.View.
func (v *view) Now() time.Time { return v.now }

// Secret implements registry.View: every secret is derived from the store's
// root, so that asking for one never writes.
func (v *view) Secret(name string) ([]byte, error) {
	mac := hmac.New(sha256.New, v.secret)
	mac.Write([]byte(name))
	return mac.Sum(nil), nil
}
