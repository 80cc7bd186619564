package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Standby makes a standby of the server, which every commit waits for from then
// on, and returns the same database on it. It ends with the test.
func (p *Postgres) Standby(t testing.TB) *Postgres {
	t.Helper()
	basebackup := filepath.Join(p.server.bin, "pg_basebackup")
	if _, err := os.Stat(basebackup); err != nil {
		Skip(t, "a standby needs pg_basebackup beside the server: "+err.Error())
	}
	const name = "standby"
	from := fmt.Sprintf("host=%s port=%d user=postgres application_name=%s", p.server.dir, p.server.port, name)
	s, err := newPostgresServer(p.server.bin, func(s *postgresServer) error {
		data := filepath.Join(s.dir, "data")
		cmd := s.command(basebackup, "-D", data, "-d", from, "-X", "stream", "--checkpoint=fast", "--no-sync")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("pg_basebackup: %w\n%s", err, out)
		}
		out, err := s.command("touch", filepath.Join(data, "standby.signal")).CombinedOutput()
		if err != nil {
			return fmt.Errorf("make a standby: %w\n%s", err, out)
		}
		return nil
	}, append(p.server.settings, "primary_conninfo="+from)...)
	Must(t, err)
	s.end(t)
	p.SQL(t, "ALTER SYSTEM SET synchronous_standby_names = '"+name+"'")
	p.SQL(t, "SELECT pg_reload_conf()")
	for deadline := time.Now().Add(readyTimeout); ; time.Sleep(10 * time.Millisecond) {
		if p.SQL(t, "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'") == "1" {
			return &Postgres{server: s, database: p.database}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the standby does not follow:\n%s", tail(s.log(0), 4000))
		}
	}
}

// Promote makes a standby the primary and waits until it takes writes.
func (p *Postgres) Promote(t testing.TB) {
	t.Helper()
	s := p.server
	cmd := s.command(filepath.Join(s.bin, "pg_ctl"), "promote", "-w", "-t", strconv.Itoa(int(readyTimeout.Seconds())),
		"-D", filepath.Join(s.dir, "data"))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("pg_ctl promote: %v\n%s\n%s", err, strings.TrimSpace(string(out)), tail(s.log(0), 4000))
	}
}
