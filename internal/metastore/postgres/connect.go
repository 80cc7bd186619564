package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"artifactstore/internal/metastore/database"
)

const (
	oldestVersion = 15
	firstPause    = 20 * time.Millisecond
	longestPause  = time.Second
	// lockTimeout is how long a node that was paused or cut off keeps what its
	// transaction has locked, and so how long the others stand still: less than
	// the 5 s in which they have to go on. (When a node dies the server sees the
	// end of its connection at once.) One that merely was slow has its batch
	// run again, so it is no matter of correctness.
	lockTimeout = 3 * time.Second
)

// plans are settings that have every statement walk an index in the order that it
// asks for, as all that requests ask has one. Plans are kept, and statistics are
// behind: those that were made while a table was small scan it whole, or all that a
// repository has, or sort that for each page. Tables are joined in the order in
// which they are written: from what is asked for to what that leads to.
const plans = "SET join_collapse_limit = 1; SET enable_seqscan = off; SET enable_sort = off; " +
	"SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off"

// parse reads the DSN.
func parse(o Options) (*pgconn.Config, error) {
	if strings.TrimSpace(o.DSN) == "" {
		return nil, errors.New("the DSN of the database is empty: it is a URL such as postgres://user@host/database?sslmode=verify-full")
	}
	config, err := pgconn.ParseConfig(o.DSN)
	if err != nil {
		return nil, fmt.Errorf("the DSN of the database cannot be used: %s", reason(o.DSN, err))
	}
	if !o.ReadOnly {
		// Whatever target_session_attrs says: with prefer-standby readers would
		// not see what the writer has just written.
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.RuntimeParams["client_encoding"] = "UTF8"
	config.AfterConnect = func(ctx context.Context, pg *pgconn.PgConn) error {
		// No parameters of the connection: PgBouncer refuses those.
		_, err := pg.Exec(ctx, plans).ReadAll()
		return err
	}
	if o.Name != "" {
		config.RuntimeParams["application_name"] = o.Name
	}
	dialer := &net.Dialer{
		// A server that is gone without a word is noticed after 25 s.
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 3},
		Control:         bindTimeout,
	}
	config.DialFunc = dialer.DialContext
	if config.ConnectTimeout == 0 {
		// A host that does not answer leaves time for the others.
		hosts := map[string]bool{config.Host: true}
		for _, other := range config.Fallbacks {
			hosts[other.Host] = true
		}
		config.ConnectTimeout = o.ConnectTimeout / time.Duration(len(hosts))
	}
	return config, nil
}

// passwords finds what may be a password in a DSN, however malformed it is.
var passwords = regexp.MustCompile(`(?i)password\s*=\s*(?:'((?:[^'\\]|\\.)*)'?|([^\s&]+))|://[^:@/]*:(.+)@`)

// reason returns what is wrong with a DSN without citing it.
func reason(dsn string, err error) string {
	const form = "it is neither a URL (postgres://user@host:5432/database?sslmode=verify-full) nor a list of keywords " +
		"(host=... dbname=... user=... sslmode=verify-full); special characters of a password have to be escaped"
	// The text begins with the DSN, between backquotes, as far as pgx has not
	// recognised a password in it.
	text := err.Error()
	text = text[strings.LastIndex(text, "`")+1:]
	text = strings.TrimPrefix(text, ": ")
	if text == "" || strings.HasPrefix(text, "failed to parse as") {
		return form // what cannot be parsed may be cited in any way
	}
	for _, match := range passwords.FindAllStringSubmatch(dsn, -1) {
		for _, secret := range match[1:] {
			text = conceal(text, secret)
			if plain, err := url.PathUnescape(secret); err == nil {
				text = conceal(text, plain)
			}
		}
	}
	return text
}

func conceal(text, secret string) string {
	if secret == "" {
		return text
	}
	return strings.ReplaceAll(text, secret, "***")
}

// connect makes a connection, and tries again until the deadline when the
// server may be on its way back.
func (db *DB) connect(ctx context.Context, deadline time.Time) (*conn, error) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	go func() {
		select {
		case <-db.quit:
			cancel()
		case <-ctx.Done():
		}
	}()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		c, err := db.connectOnce(ctx)
		if err == nil || !errors.Is(err, errAway) || time.Now().Add(pause).After(deadline) {
			return c, err
		}
		if sleep(ctx, pause) != nil {
			return nil, err
		}
	}
}

// connectOnce makes a connection. Its context ends with the call.
func (db *DB) connectOnce(ctx context.Context) (*conn, error) {
	c := &conn{stmts: map[string]*pgconn.StatementDescription{}}
	config := db.config.Copy()
	config.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) { c.notice((*pgconn.PgError)(n)) }
	dial := config.DialFunc
	config.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.committing.Load() {
			return nil, errors.New("a commit is not to be cancelled")
		}
		return dial(ctx, network, address)
	}
	pg, err := pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, db.connectError(err)
	}
	c.pg = pg
	return c, nil
}

// errAway: there is no server, or one that does not take connections now.
var errAway = fmt.Errorf("%w", database.ErrUnavailable)

// connectError says why there is no connection. Errors of pgx carry the whole
// configuration, so only their text is kept.
func (db *DB) connectError(err error) error {
	text := conceal(strings.Join(strings.Fields(err.Error()), " "), db.config.Password)
	var answer *pgconn.PgError
	switch {
	case errors.Is(err, pgconn.ErrReadOnlyConnection):
		return fmt.Errorf("%w: no server of the DSN takes writes (a standby, or default_transaction_read_only): %s", errAway, text)
	case !errors.As(err, &answer):
		return fmt.Errorf("%w: %s", errAway, text)
	case answer.Code[:2] == "28":
		return fmt.Errorf("%w: it refuses user %s: look at the user, the password and pg_hba.conf: %s", database.ErrUnavailable, db.config.User, text)
	case answer.Code == "3D000":
		return fmt.Errorf("%w: there is no database %s: create it (CREATE DATABASE ... ENCODING 'UTF8'): %s", database.ErrUnavailable, db.config.Database, text)
	case answer.Code == "53300":
		return fmt.Errorf("%w: it has no connection left: raise max_connections of PostgreSQL or lower database.max_connections: %s", errAway, text)
	case answer.Code[:2] == "57":
		return fmt.Errorf("%w: %s", errAway, text)
	}
	return fmt.Errorf("%w: %s", database.ErrUnavailable, text)
}

// inspect refuses a server that will not do.
func (db *DB) inspect(c *conn) error {
	var version int64
	var encoding, schema string
	var recovering bool
	rows := c.Query(`SELECT current_setting('server_version_num')::int, current_setting('server_encoding'),
		pg_is_in_recovery(), current_schema()::text`)
	if rows.Next() {
		version, encoding, recovering, schema = rows.Int(0), rows.Text(1), rows.Int(2) != 0, rows.Text(3)
	}
	if err := rows.Close(); err != nil {
		return err
	}
	switch {
	case version < oldestVersion*10000:
		return fmt.Errorf("PostgreSQL %d is too old: it has to be %d or newer", version/10000, oldestVersion)
	case encoding != "UTF8":
		return fmt.Errorf("database %s has the encoding %s: create it with ENCODING 'UTF8'", db.config.Database, encoding)
	case recovering && !db.options.ReadOnly:
		return fmt.Errorf("database %s is a standby and takes no writes: name the primary in the DSN, or all servers", db.config.Database)
	case schema == "":
		return fmt.Errorf("no schema of search_path is there for user %s in database %s", db.config.User, db.config.Database)
	}
	return nil
}

// setUp makes a connection the writer's. Settings that a platform lacks are
// left out: they only make the end of a lost connection come sooner.
func (db *DB) setUp(c *conn, deadline time.Time) error {
	// What the server does beyond "on" is kept: remote_apply.
	must := []string{
		"SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') NOT IN ('on', 'remote_apply')",
		fmt.Sprintf("SET idle_in_transaction_session_timeout = %d", lockTimeout.Milliseconds()),
		fmt.Sprintf("SET statement_timeout = %d", db.options.StatementTimeout.Milliseconds()),
	}
	if err := c.simple(strings.Join(must, "; "), deadline); err != nil {
		return err
	}
	for _, setting := range []string{"tcp_keepalives_idle = 5", "tcp_keepalives_interval = 2", "tcp_keepalives_count = 3",
		"tcp_user_timeout = 10000", "client_connection_check_interval = 5000"} {
		if err := c.simple("SET "+setting, deadline); err != nil {
			if c.lost != nil {
				return err
			}
			db.log.Debug("a setting of the connection is not supported", "setting", setting, "error", err)
		}
	}
	return nil
}

// sleep waits, or returns why ctx ended.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errLost: the connection was lost.
var errLost = fmt.Errorf("%w: the connection was lost", database.ErrUnavailable)

// classify wraps an error in the one of package database that it means, if any.
func classify(err error) error {
	var answer *pgconn.PgError
	if err == nil || errors.Is(err, database.ErrUnavailable) || !errors.As(err, &answer) {
		return err
	}
	code := answer.Code
	switch {
	case code == "53100":
		return fmt.Errorf("%w: %w", database.ErrFull, err)
	case code == "XX001", code == "XX002":
		return fmt.Errorf("%w: %w", database.ErrCorrupt, err)
	case code == "25P02":
		return fmt.Errorf("%w: %w", database.ErrAborted, err)
	case code == "57014":
		return fmt.Errorf("%w in time (database.statement_timeout): %w", database.ErrUnavailable, err)
	case final(answer), code == "53300", strings.HasPrefix(code, "08") && code != "08P01", stale(answer),
		// Rolled back to resolve a deadlock, as with a migration; a lock_timeout.
		strings.HasPrefix(code, "40"), code == "55P03":
		return fmt.Errorf("%w: %w", database.ErrUnavailable, err)
	}
	return err
}

// final tells whether the server ends the connection with this answer.
func final(e *pgconn.PgError) bool {
	severity := cmp.Or(e.SeverityUnlocalized, e.Severity)
	return severity == "FATAL" || severity == "PANIC" || strings.HasPrefix(e.Code, "57P")
}

// stale tells whether a prepared statement has to be prepared again, for which
// a new connection is made: the schema has changed under it, or somebody
// between the server and us has mixed up connections.
func stale(e *pgconn.PgError) bool {
	return e.Code == "0A000" && e.Routine == "RevalidateCachedQuery" || e.Code == "26000"
}

// quote makes an identifier of a name.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// timedOut tells whether a connection was given up for want of an answer.
func timedOut(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || pgconn.Timeout(err)
}
