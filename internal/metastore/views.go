package metastore

import (
	"errors"
	"fmt"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/canon"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// table is one materialised view: a table that the log alone determines.
type table struct {
	name    string   // as reports call it
	sql     string   // as SQL does
	columns []string // the first ones are the key
	key     int      // number of columns in the key

	putSQL, deleteSQL, clearSQL, scanSQL string
}

// handler says what an event changes in a view. It is the only thing that
// does: the committer, the rebuild and the check all run it. It takes time and
// ids from the event, reads the views as they were before the event, and
// neither content nor private parts. It must never change its meaning for a
// kind that was released; a new meaning is a new kind.
type handler func(s state, e *eventlog.Event, f fact.Fact) ([]edit, error)

// views are all views, in the order of reports.
var views = []struct {
	*table
	apply handler
}{
	{repositories, applyRepositories},
	{blobs, applyBlobs},
	{links, applyLinks},
	{manifests, applyManifests},
	{references, applyReferences},
	{referrers, applyReferrers},
	{tags, applyTags},
	{tagHistory, applyTagHistory},
}

// newTable spells out the statements of a view.
func newTable(t table) *table {
	marks := make([]string, len(t.columns))
	conditions := make([]string, 0, t.key)
	updates := make([]string, 0, len(t.columns))
	for i, column := range t.columns {
		marks[i] = fmt.Sprintf("$%d", i+1)
		if i < t.key {
			conditions = append(conditions, column+" = "+marks[i])
		} else {
			updates = append(updates, column+" = excluded."+column)
		}
	}
	conflict := "DO NOTHING"
	if len(updates) > 0 {
		conflict = "DO UPDATE SET " + strings.Join(updates, ", ")
	}
	columns, key := strings.Join(t.columns, ", "), strings.Join(t.columns[:t.key], ", ")
	t.putSQL = fmt.Sprintf("INSERT INTO %s (%s) VALUES (%s) ON CONFLICT (%s) %s",
		t.sql, columns, strings.Join(marks, ", "), key, conflict)
	t.deleteSQL = fmt.Sprintf("DELETE FROM %s WHERE %s", t.sql, strings.Join(conditions, " AND "))
	t.clearSQL = "DELETE FROM " + t.sql
	t.scanSQL = fmt.Sprintf("SELECT %s FROM %s ORDER BY %s", columns, t.sql, key)
	return &t
}

// edit is a change to one row of a view.
type edit struct {
	table *table
	// values are all columns of a row to put, or the key of one to delete.
	values []any
	remove bool
}

func (t *table) put(values ...any) edit { return edit{table: t, values: values} }
func (t *table) delete(key ...any) edit { return edit{table: t, values: key, remove: true} }

func (e edit) run(c database.Conn) error {
	sql := e.table.putSQL
	if e.remove {
		sql = e.table.deleteSQL
	}
	if err := c.Exec(sql, e.values...); err != nil {
		return fmt.Errorf("view %s: %w", e.table.name, err)
	}
	return nil
}

// apply runs an event through all views and returns the number of rows that
// it put or deleted.
func apply(s state, e *eventlog.Event, f fact.Fact) (int, error) {
	var edits []edit
	for _, view := range views {
		more, err := view.apply(s, e, f)
		if err != nil {
			return 0, fmt.Errorf("apply event %d (%s) to view %s: %w", e.Sequence, e.Kind, view.name, err)
		}
		edits = append(edits, more...)
	}
	for _, change := range edits {
		if err := change.run(s.conn); err != nil {
			return 0, fmt.Errorf("apply event %d (%s): %w", e.Sequence, e.Kind, err)
		}
	}
	return len(edits), nil
}

// decode returns the fact that an event carries. Live commits decode what they
// have just encoded, so that they apply what a replay will.
func decode(e *eventlog.Event) (fact.Fact, error) {
	f := fact.New(string(e.Kind))
	if f == nil {
		return nil, fmt.Errorf("event %d: kind %q is unknown to this version", e.Sequence, e.Kind)
	}
	if err := canon.Unmarshal(e.Payload, f); err != nil {
		return nil, fmt.Errorf("event %d: decode payload: %w", e.Sequence, err)
	}
	return f, nil
}

// state is what apply may read: the views before the event.
type state struct {
	conn database.Conn
	// ids remembers the ids of repositories by name and of blobs by digest:
	// no event changes or removes them. It must not outlive a transaction
	// that is rolled back.
	ids map[string]int64
}

// maxIDs bounds state.ids; at that size it starts anew.
const maxIDs = 20_000

func newState(c database.Conn) state { return state{conn: c, ids: map[string]int64{}} }

// errUnknownRow: an event names something that the events before it did not make.
var errUnknownRow = errors.New("names something that is not there")

// id returns the id of a row by a unique text.
func (s state) id(sql, text string) (int64, error) {
	if id, ok := s.ids[text]; ok {
		return id, nil
	}
	var id int64
	found, err := one(s.conn, func(r database.Rows) error { id = r.Int(0); return nil }, sql, text)
	if err != nil {
		return 0, err
	}
	if !found {
		return 0, fmt.Errorf("%s: %w", text, errUnknownRow)
	}
	if len(s.ids) >= maxIDs {
		clear(s.ids)
	}
	s.ids[text] = id
	return id, nil
}

// repository returns the id of a repository. Its name cannot be taken for a
// digest: there is no colon in it.
func (s state) repository(name string) (int64, error) {
	return s.id("SELECT id FROM repositories WHERE name = $1", name)
}

// blob returns the id of the blob with a digest.
func (s state) blob(d identity.Digest) (int64, error) {
	column, err := digestColumn(d)
	if err != nil {
		return 0, err
	}
	return s.id("SELECT id FROM blobs WHERE "+column+" = $1", d.String())
}

// both returns the ids of a repository and of a blob.
func (s state) both(repository string, d identity.Digest) (int64, int64, error) {
	r, err := s.repository(repository)
	if err != nil {
		return 0, 0, err
	}
	b, err := s.blob(d)
	return r, b, err
}

// one runs a query of which it wants the first row, and tells whether there was one.
func one(c database.Conn, scan func(database.Rows) error, sql string, args ...any) (bool, error) {
	rows := c.Query(sql, args...)
	found := rows.Next()
	var err error
	if found {
		err = scan(rows)
	}
	return found, errors.Join(err, rows.Close())
}

// each runs a query and scans all of its rows.
func each(c database.Conn, scan func(database.Rows) error, sql string, args ...any) error {
	rows := c.Query(sql, args...)
	var err error
	for err == nil && rows.Next() {
		err = scan(rows)
	}
	return errors.Join(err, rows.Close())
}

// texts runs a query of one text column.
func texts(c database.Conn, sql string, args ...any) ([]string, error) {
	var all []string
	err := each(c, func(r database.Rows) error { all = append(all, r.Text(0)); return nil }, sql, args...)
	return all, err
}

// digestOrNull is a digest as an argument; a zero one is NULL.
func digestOrNull(d identity.Digest) any {
	if d.IsZero() {
		return nil
	}
	return d.String()
}

// parseDigest reads a digest column; NULL is a zero digest.
func parseDigest(text string) (identity.Digest, error) {
	if text == "" {
		return identity.Digest{}, nil
	}
	return identity.Parse(text)
}

// digestColumn is the column of blobs that has digests of this algorithm. Only
// names of columns ever reach SQL this way.
func digestColumn(d identity.Digest) (string, error) {
	switch d.Algorithm() {
	case identity.BLAKE3:
		return "blake3", nil
	case identity.SHA256:
		return "sha256", nil
	case identity.SHA512:
		return "sha512", nil
	}
	return "", fmt.Errorf("digest %s: no blob has its algorithm", d)
}
