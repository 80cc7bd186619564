package metastore

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
)

//go:embed schema/*.sql
var schema embed.FS

// Migration is one step of the schema.
type Migration struct {
	Version int    // 1, 2, 3, ...
	Name    string // such as "initial"
	sql     string
}

// migrations returns all that this program knows, in order. Their files are
// named NNNN_name.sql and are never changed once released.
func migrations() ([]Migration, error) {
	entries, err := schema.ReadDir("schema") // sorted by name
	if err != nil {
		return nil, err
	}
	var all []Migration
	for _, entry := range entries {
		number, name, _ := strings.Cut(strings.TrimSuffix(entry.Name(), ".sql"), "_")
		version, err := strconv.Atoi(number)
		if err != nil || version != len(all)+1 {
			return nil, fmt.Errorf("migration %s: its number is not %d", entry.Name(), len(all)+1)
		}
		sql, err := schema.ReadFile("schema/" + entry.Name())
		if err != nil {
			return nil, err
		}
		all = append(all, Migration{Version: version, Name: name, sql: string(sql)})
	}
	return all, nil
}

// version returns the number of the last migration that ran, 0 in an empty database.
func version(c database.Conn) (int, error) {
	exists, err := c.HasTable("migrations")
	if err != nil || !exists {
		return 0, err
	}
	last := 0
	_, err = one(c, func(r database.Rows) error { last = int(r.Int(0)); return nil },
		"SELECT max(version) FROM migrations")
	return last, err
}

// pending returns the migrations that did not run yet.
func (s *Store) pending(ctx context.Context) ([]Migration, error) {
	all, err := migrations()
	if err != nil {
		return nil, err
	}
	at := 0
	err = s.db.Read(ctx, func(c database.Conn) (err error) { at, err = version(c); return err })
	if err != nil {
		return nil, fmt.Errorf("read the version of the store: %w", err)
	}
	if at > len(all) {
		// Migrations that this program could not live with have raised
		// the format in the head, which readHead refuses.
		return nil, nil
	}
	return all[at:], nil
}

// Migrate brings the store to this program's version, one transaction for
// each migration; progress, if it is not nil, is called before each. After a
// crash the next Migrate goes on. It does nothing if nothing is pending.
func (s *Store) Migrate(ctx context.Context, progress func(Migration)) error {
	pending, err := s.pending(ctx)
	if err != nil || len(pending) == 0 && !errors.Is(s.usable(), ErrOutdated) {
		return err
	}
	// Without any another process has done it since this one looked.
	for _, m := range pending {
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil {
			progress(m)
		}
		applied := s.clock().UnixMicro()
		err := s.write(true, func(w database.Writer) error {
			// Another process may have done it since.
			if at, err := version(w); err != nil || at >= m.Version {
				return err
			}
			return m.run(w, applied)
		})
		if err != nil {
			return fmt.Errorf("migration %d (%s): %w", m.Version, m.Name, err)
		}
	}
	return s.use(ctx)
}

func (m Migration) run(c database.Conn, applied int64) error {
	if m.Version == 1 {
		if err := c.Script("CREATE TABLE migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied INTEGER NOT NULL)"); err != nil {
			return err
		}
	}
	if err := c.Script(m.sql); err != nil {
		return err
	}
	if m.Version == 1 {
		if err := found(c); err != nil {
			return err
		}
	}
	return c.Exec("INSERT INTO migrations (version, name, applied) VALUES ($1, $2, $3)",
		int64(m.Version), m.Name, applied)
}

// found writes the rows that every store has from the start: the head of an
// empty log with a random id, and the root of all secrets.
func found(c database.Conn) error {
	random := make([]byte, 16+32)
	_, _ = rand.Read(random) // never fails
	head := eventlog.Origin(hex.EncodeToString(random[:16]))
	err := c.Exec("INSERT INTO head (one, log, sequence, time, chain, format) VALUES (1, $1, 0, 0, $2, $3)",
		head.Log, head.Chain[:], int64(oldFormat))
	if err != nil {
		return err
	}
	return c.Exec("INSERT INTO secrets (name, value) VALUES ($1, $2)", rootSecret, slices.Clone(random[16:]))
}
