package metastore

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"artifactstore/eventlog"
	"artifactstore/internal/canon"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/fact"
	"artifactstore/registry/identity"
)

// table is a table of which rows are read and written by their key. Those that
// are materialised views are determined by the log alone.
type table struct {
	database.Table
	name string // as reports call it
	// ids is the number of leading columns of the key that are ids, which
	// are sequences of events.
	ids int
	// once: no key is put twice, and none is asked for; what is deleted was
	// listed before, and so written.
	once bool
	// partly: rows are changed long after they were made, and have indexes that
	// the change does not concern.
	partly bool
	// unique are columns outside of the key of which no two rows have the
	// same text.
	unique []int
	// early are rows that are written before others: these take the unique
	// values that those had. nil: it never happens.
	early func(row []any) bool

	rowSQL, clearSQL, scanSQL string
	uniqueSQL                 []string
}

// handler says what an event changes in a view. It is the only thing that
// does: the committer, the rebuild and the check all run it. It takes time and
// ids from the event, reads the views as they were before the event, and
// neither content nor private parts. It must never change its meaning for a
// kind that was released; a new meaning is a new kind.
type handler func(s *working, e *eventlog.Event, f fact.Fact) ([]edit, error)

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
	{graves, applyGraves},
	{holds, applyHolds},
	{policies, applyPolicies},
	{erasures, applyErasures},
	{clock, applyClock},
}

// tables are all tables whose rows a working set holds, in the order in which
// they are written.
var tables = []*table{
	eventsTable, objectsTable,
	repositories, blobs, links, manifests, references, referrers, tags, tagHistory,
	graves, holds, policies, erasures, clock,
	uploads, nodes, leases, commits,
}

// newTable spells out the statements of a table. The first key columns are the
// key, of which the first ids are ids.
func newTable(name, sql string, key, ids int, unique []string, columns ...string) *table {
	t := &table{name: name, ids: ids, Table: database.Table{Name: sql, Columns: columns, Key: key}}
	conditions := make([]string, key)
	for i := range conditions {
		conditions[i] = fmt.Sprintf("%s = $%d", columns[i], i+1)
	}
	list := strings.Join(columns, ", ")
	t.rowSQL = fmt.Sprintf("SELECT %s FROM %s WHERE %s", list, sql, strings.Join(conditions, " AND "))
	t.clearSQL = "DELETE FROM " + sql
	t.scanSQL = fmt.Sprintf("SELECT %s FROM %s ORDER BY %s", list, sql, strings.Join(columns[:key], ", "))
	for _, column := range unique {
		t.unique = append(t.unique, slices.Index(columns, column))
		t.uniqueSQL = append(t.uniqueSQL, fmt.Sprintf("SELECT %s FROM %s WHERE %s = $1", list, sql, column))
	}
	return t
}

// putOnce says that of a table.
func (t *table) putOnce() *table {
	t.once = true
	return t
}

// writtenPartly says that of a table.
func (t *table) writtenPartly() *table {
	t.partly = true
	return t
}

// uniqueIndex is the place of a unique column in t.unique.
func (t *table) uniqueIndex(column string) int {
	return slices.Index(t.unique, slices.Index(t.Columns, column))
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

// apply runs an event through all views and returns the number of rows that
// it put or deleted.
func apply(s *working, e *eventlog.Event, f fact.Fact) (int, error) {
	var edits []edit
	for _, view := range views {
		more, err := view.apply(s, e, f)
		if err != nil {
			return 0, fmt.Errorf("apply event %d (%s) to view %s: %w", e.Sequence, e.Kind, view.name, err)
		}
		edits = append(edits, more...)
	}
	for _, change := range edits {
		if change.remove {
			s.remove(change.table, change.values)
		} else {
			s.put(change.table, change.values)
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

// listed is how many values one statement is given to look up: on some databases
// each is a journey.
const listed = 16

// marks are the parameters for so many values, from a number on.
func marks(from int) string {
	all := make([]string, listed)
	for i := range all {
		all[i] = fmt.Sprintf("$%d", from+i)
	}
	return strings.Join(all, ", ")
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
