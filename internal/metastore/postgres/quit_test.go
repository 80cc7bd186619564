package postgres_test

import (
	"errors"
	"net"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore/database"
	"artifactstore/internal/metastore/postgres"
)

// TestQuitEndsAttemptsToConnect: those that go on, and those to come; what is
// connected is not touched.
func TestQuitEndsAttemptsToConnect(t *testing.T) {
	server := harness.StartPostgres(t)
	p := startProxy(t, server.Host())
	db := openAt(t, postgres.Options{DSN: server.DSNAt(p.listener.Addr().String()), ConnectTimeout: 10 * time.Minute})
	makeTables(t, db)
	w := db.Writer()
	must(t, w.Begin(true))
	must(t, w.Exec("SELECT 1"))
	db.Quit()
	db.Quit()
	must(t, w.Rollback())
	must(t, write(t, w, row(1)))

	_ = p.listener.Close()
	p.cut()
	until(t, func() bool { _, err := net.Dial("tcp", p.listener.Addr().String()); return err != nil })
	for range 2 {
		if err := w.Begin(true); !errors.Is(err, database.ErrUnavailable) {
			t.Fatalf("without a connection: %v", err)
		}
	}
}

func TestQuitEndsTheAttemptThatGoesOn(t *testing.T) {
	server := harness.StartPostgres(t)
	p := startProxy(t, server.Host())
	db := openAt(t, postgres.Options{DSN: server.DSNAt(p.listener.Addr().String()), ConnectTimeout: 10 * time.Minute})
	_ = p.listener.Close()
	p.cut()
	ended := make(chan error, 1)
	go func() { ended <- db.Writer().Begin(true) }()
	db.Quit()
	if err := <-ended; !errors.Is(err, database.ErrUnavailable) {
		t.Errorf("it ended with %v", err)
	}
}
