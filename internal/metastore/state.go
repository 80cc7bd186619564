package metastore

import (
	"context"
	"errors"
	"fmt"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
)

// The flags of the table state.
const (
	flagClean   = "clean"   // 1 while no process has the store open
	flagRebuild = "rebuild" // last sequence that an unfinished rebuild has replayed
	flagRefill  = "refill"  // version of the migration that the views wait for to be refilled
)

func readFlags(c database.Conn) (map[string]int64, error) {
	flags := map[string]int64{}
	err := each(c, func(r database.Rows) error {
		flags[r.Text(0)] = r.Int(1)
		return nil
	}, "SELECT name, value FROM state")
	return flags, err
}

func setFlag(c database.Conn, name string, value int64) error {
	return c.Exec("INSERT INTO state (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
		name, value)
}

func clearFlag(c database.Conn, name string) error {
	return c.Exec("DELETE FROM state WHERE name = $1", name)
}

// rootSecret is the name of the row from which all secrets are derived.
const rootSecret = "root"

func readSecret(c database.Conn) ([]byte, error) {
	var secret []byte
	found, err := one(c, func(r database.Rows) error { secret = r.Bytes(0); return nil },
		"SELECT value FROM secrets WHERE name = $1", rootSecret)
	if err == nil && !found {
		err = errors.New("the root secret is missing")
	}
	return secret, err
}

// Object returns the bytes of the content row of an event. If there is none
// the error wraps fact.ErrGone.
func (s *Store) Object(ctx context.Context, sequence eventlog.Sequence) ([]byte, error) {
	var data []byte
	err := s.read(ctx, func(c database.Conn) error {
		found, err := one(c, func(r database.Rows) error { data = r.Bytes(0); return nil },
			"SELECT bytes FROM objects WHERE sequence = $1", int64(sequence))
		if err == nil && !found {
			err = fact.ErrGone
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("content row %d: %w", sequence, err)
	}
	if data == nil {
		data = []byte{}
	}
	return data, nil
}

// DeleteObject removes the content row of an event, if it is there. The
// deletion has reached the disk when it returns.
func (s *Store) DeleteObject(ctx context.Context, sequence eventlog.Sequence) error {
	return s.run(ctx, statement{"DELETE FROM objects WHERE sequence = $1", []any{int64(sequence)}}, true)
}

// Cursor implements eventlog.Cursors.
func (s *Store) Cursor(ctx context.Context, name string) (eventlog.Cursor, error) {
	var done eventlog.Cursor
	err := s.read(ctx, func(c database.Conn) error {
		_, err := one(c, func(r database.Rows) error {
			chain := r.Bytes(2)
			if len(chain) != len(done.Chain) {
				return fmt.Errorf("the running hash of cursor %s is malformed", name)
			}
			done = eventlog.Cursor{Log: r.Text(0), Sequence: eventlog.Sequence(r.Int(1)), Chain: eventlog.Hash(chain)}
			return nil
		}, "SELECT log, sequence, chain FROM cursors WHERE name = $1", name)
		return err
	})
	return done, err
}

// SetCursor implements eventlog.Cursors.
func (s *Store) SetCursor(ctx context.Context, name string, done eventlog.Cursor) error {
	return s.run(ctx, statement{
		"INSERT INTO cursors (name, log, sequence, chain) VALUES ($1, $2, $3, $4) ON CONFLICT (name) DO UPDATE SET " +
			"log = excluded.log, sequence = excluded.sequence, chain = excluded.chain",
		[]any{name, done.Log, int64(done.Sequence), done.Chain[:]},
	}, false)
}
