package metastore

import (
	"context"
	"crypto/rand"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
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
	// format is what the head's is raised to if the migration has the views
	// refilled; 0 if it leaves them as they are.
	format int
}

// migrations returns all that this program knows, in order. Their files are
// named NNNN_name.sql and are never changed once released.
//
// A file that begins with the line
//
//	-- refill format N
//
// changes what views are, so that all of them have to be refilled from the log.
// Until they are nobody uses them. Programs that know no format as new as N
// would go on writing the views as they were, so the format comes first.
func (s *Store) migrations() ([]Migration, error) {
	entries, err := fs.ReadDir(s.schema, "schema") // sorted by name
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
		sql, err := fs.ReadFile(s.schema, "schema/"+entry.Name())
		if err != nil {
			return nil, err
		}
		m := Migration{Version: version, Name: name, sql: string(sql)}
		if m.format, err = refillFormat(m.sql); err != nil {
			return nil, fmt.Errorf("migration %s: %w", entry.Name(), err)
		}
		all = append(all, m)
	}
	return all, nil
}

// refillFormat reads the line by which a migration has the views refilled.
func refillFormat(sql string) (int, error) {
	line, _, _ := strings.Cut(sql, "\n")
	words := strings.Fields(line)
	if len(words) < 2 || words[0] != "--" || words[1] != "refill" {
		return 0, nil
	}
	n, err := strconv.Atoi(words[len(words)-1])
	if err != nil || len(words) != 4 || words[2] != "format" || n <= oldFormat || n > format {
		return 0, fmt.Errorf("%q does not name a format from %d to %d", line, oldFormat+1, format)
	}
	return n, nil
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
	all, err := s.migrations()
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
// each migration; progress, if it is not nil, is called before each. If one of
// them asks for it the views are refilled at the end, of which Options.Refill is
// told. After a crash the next Migrate goes on. It does nothing if nothing is
// pending.
//
// A log that cannot be replayed is found before anything is changed: the error is
// an *eventlog.Fault then.
func (s *Store) Migrate(ctx context.Context, progress func(Migration)) error {
	pending, err := s.pending(ctx)
	if err != nil {
		return err
	}
	if err := s.provable(ctx, pending); err != nil {
		return err
	}
	for _, m := range pending {
		if err := ctx.Err(); err != nil {
			return err
		}
		if progress != nil {
			progress(m)
		}
		if err := s.migrate(ctx, m); err != nil {
			return fmt.Errorf("migration %d (%s): %w", m.Version, m.Name, err)
		}
	}
	// Without any pending another process has done it since this one looked.
	if len(pending) > 0 || errors.Is(s.usable(), ErrOutdated) {
		if err := s.use(ctx); err != nil {
			return err
		}
	}
	return s.refillViews(ctx)
}

// migrate runs one migration, unless another process has done it since.
func (s *Store) migrate(ctx context.Context, m Migration) error {
	if m.format > 0 {
		if err := s.exclude(ctx, m); err != nil {
			return err
		}
	}
	applied := s.clock().UnixMicro()
	return s.write(true, func(w database.Writer) error {
		if at, err := version(w); err != nil || at >= m.Version {
			return err
		}
		return m.run(w, applied)
	})
}

func (m Migration) run(c database.Conn, applied int64) error {
	if m.Version == 1 {
		if err := c.Script("CREATE TABLE migrations (version INTEGER NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied INTEGER NOT NULL)"); err != nil {
			return err
		}
	}
	if m.format > 0 {
		if err := raise(c, m.format); err != nil {
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
	if m.format > 0 {
		if err := wantRefill(c, m.Version); err != nil {
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
