package metastore

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"artifactstore/eventlog"
	"artifactstore/internal/metastore/database"
	"artifactstore/registry/identity"
)

// working is the state that one transaction works on: what it has read of the
// tables by key, and what it has changed and not written yet. Decisions and
// apply read it and apply changes it, so that a batch of them can be read and
// written together, which is what makes a database that is a journey away fast.
//
// Rows that are asked for by their key, or by a column that is unique, come
// from here; every other statement goes through all, which first writes what
// was changed. It must not outlive a transaction that is rolled back.
type working struct {
	conn database.Writer
	// known is the last sequence of which the database may have rows: those
	// with a later id are nowhere but here.
	known  int64
	tables map[*table]*rows
	size   int // rows in tables
	// failed is why what was changed could not be written: nothing of the
	// transaction may be committed then, whoever was told so.
	failed error
}

// maxWorking bounds the rows that are kept from one page of a replay to the next.
const maxWorking = 20_000

func newWorking(w database.Writer, known eventlog.Sequence) *working {
	return &working{conn: w, known: int64(known), tables: map[*table]*rows{}}
}

// rows is what is known of one table.
type rows struct {
	byKey map[string][]any // nil: there is no such row
	// unique has, for each unique column of the table, the keys by value; ""
	// if there is no row with it.
	unique  []map[string]string
	changed map[string]struct{}
	was     map[string][]any // of changed rows, what the database has, if that is known
	deleted map[string][]any // the keys, as values, of changed rows that are nil
	inserts [][]any          // rows that nothing reads again before they are written
}

func (s *working) of(t *table) *rows {
	r := s.tables[t]
	if r == nil {
		r = &rows{byKey: map[string][]any{}, changed: map[string]struct{}{}, was: map[string][]any{}, deleted: map[string][]any{}}
		for range t.unique {
			r.unique = append(r.unique, map[string]string{})
		}
		s.tables[t] = r
	}
	return r
}

// keyOf is the key of a row as a string.
func keyOf(values []any) string {
	var key []byte
	for _, v := range values {
		switch v := v.(type) {
		case int64:
			key = binary.BigEndian.AppendUint64(key, uint64(v))
		case string:
			key = append(key, v...)
			key = append(key, 0) // no key has one
		}
	}
	return string(key)
}

// fresh tells whether a key is of something that this transaction has made.
func (s *working) fresh(t *table, key []any) bool {
	for i := range t.ids {
		if id, ok := key[i].(int64); ok && id > s.known {
			return true
		}
	}
	return false
}

// row returns the row with a key, nil if there is none.
func (s *working) row(t *table, key ...any) ([]any, error) {
	r, k := s.of(t), keyOf(key)
	if row, ok := r.byKey[k]; ok {
		return row, nil
	}
	if s.fresh(t, key) {
		return nil, nil
	}
	row, err := s.read(t, t.rowSQL, key...)
	if err == nil {
		s.learn(t, k, row)
	}
	return row, err
}

// rowBy returns the row in which a unique column has a value.
func (s *working) rowBy(t *table, column, value string) ([]any, error) {
	i := t.uniqueIndex(column)
	r := s.of(t)
	if k, ok := r.unique[i][value]; ok {
		return r.byKey[k], nil // of "" there is none
	}
	row, err := s.read(t, t.uniqueSQL[i], value)
	if err != nil {
		return nil, err
	}
	if row == nil {
		r.unique[i][value] = ""
		return nil, nil
	}
	if row = s.meet(t, row); row == nil || row[t.unique[i]] != any(value) {
		r.unique[i][value] = "" // it was changed here
		return nil, nil
	}
	return row, nil
}

// read runs a statement that returns one row at most. What was changed and not
// written has other keys than the one that is asked for.
func (s *working) read(t *table, sql string, args ...any) (row []any, err error) {
	_, err = one(s.conn, func(r database.Rows) error { row = t.values(r); return nil }, sql, args...)
	return row, err
}

// meet takes in a row that was read, and returns the row of its key as it is now.
func (s *working) meet(t *table, row []any) []any {
	k := keyOf(row[:t.Key])
	if now, ok := s.of(t).byKey[k]; ok {
		return now
	}
	s.learn(t, k, row)
	return row
}

// learn remembers what the database has under a key.
func (s *working) learn(t *table, k string, row []any) {
	r := s.of(t)
	if _, ok := r.byKey[k]; !ok {
		s.size++
	}
	r.byKey[k] = row
	r.index(t, k, row)
}

// lacks remembers that there is no row with a key, unless there is one here.
func (s *working) lacks(t *table, key ...any) {
	k := keyOf(key)
	if _, ok := s.of(t).byKey[k]; !ok {
		s.learn(t, k, nil)
	}
}

// lacksBy remembers that there is no row with a value in a unique column,
// unless there is one here.
func (s *working) lacksBy(t *table, column, value string) {
	u := s.of(t).unique[t.uniqueIndex(column)]
	if _, ok := u[value]; !ok {
		u[value] = ""
	}
}

// index finds the row by its unique columns.
func (r *rows) index(t *table, k string, row []any) {
	if row == nil {
		return
	}
	for i, column := range t.unique {
		if value, ok := row[column].(string); ok {
			r.unique[i][value] = k
		}
	}
}

// put changes or makes a row.
func (s *working) put(t *table, row []any) {
	if t.once {
		s.insert(t, row...)
		return
	}
	r, k := s.of(t), keyOf(row[:t.Key])
	r.vacate(t, k)
	r.remember(t, k)
	s.learn(t, k, row)
	r.changed[k] = struct{}{}
	delete(r.deleted, k)
}

// remember keeps what the database has under a key that is about to be changed.
func (r *rows) remember(t *table, k string) {
	if _, changed := r.changed[k]; !changed && t.partly {
		r.was[k] = r.byKey[k]
	}
}

// vacate frees the unique values of the row with a key.
func (r *rows) vacate(t *table, k string) {
	old := r.byKey[k]
	if old == nil {
		return
	}
	for i, column := range t.unique {
		if value, ok := old[column].(string); ok && r.unique[i][value] == k {
			r.unique[i][value] = ""
		}
	}
}

// remove deletes a row, if it is there.
func (s *working) remove(t *table, key []any) {
	r, k := s.of(t), keyOf(key)
	r.vacate(t, k)
	r.remember(t, k)
	s.learn(t, k, nil)
	r.changed[k] = struct{}{}
	r.deleted[k] = key
}

// insert makes a row that is new, and that nothing asks for by its key.
func (s *working) insert(t *table, row ...any) {
	r := s.of(t)
	r.inserts = append(r.inserts, row)
}

// write writes what was changed to the database. Once it has failed it always does.
func (s *working) write() error {
	if s.failed != nil {
		return s.failed
	}
	var all []database.Edits
	for _, t := range tables {
		r := s.tables[t]
		if r == nil {
			continue
		}
		if len(r.inserts) > 0 {
			all = append(all, database.Edits{Table: &t.Table, Puts: r.inserts, Insert: true})
			r.inserts = nil
		}
		if len(r.changed) == 0 {
			continue
		}
		e := database.Edits{Table: &t.Table}
		for k := range r.changed {
			if row := r.byKey[k]; row != nil {
				e.Puts = append(e.Puts, row)
				if t.partly { // which has no rows that are early
					e.Was = append(e.Was, r.was[k])
				}
			} else {
				e.Deletes = append(e.Deletes, r.deleted[k])
			}
		}
		if t.early != nil {
			slices.SortStableFunc(e.Puts, func(a, b []any) int { return cmp.Compare(number(t.early(b)), number(t.early(a))) })
		}
		clear(r.changed)
		clear(r.deleted)
		clear(r.was)
		all = append(all, e)
	}
	if len(all) == 0 {
		return nil
	}
	s.failed = s.conn.Write(all)
	return s.failed
}

// all returns the connection for statements that ask for more than a key. They
// see what was changed.
func (s *working) all() database.Conn { return written{s.conn, s} }

// written is a connection that first writes what was changed.
type written struct {
	database.Writer
	state *working
}

func (w written) Query(sql string, args ...any) database.Rows {
	if err := w.state.write(); err != nil {
		return failedRows{err}
	}
	return w.Writer.Query(sql, args...)
}

func (w written) Exec(sql string, args ...any) error {
	if err := w.state.write(); err != nil {
		return err
	}
	return w.Writer.Exec(sql, args...)
}

// failedRows are those of a statement that did not run.
type failedRows struct{ err error }

func (r failedRows) Next() bool       { return false }
func (r failedRows) Int(int) int64    { return 0 }
func (r failedRows) Text(int) string  { return "" }
func (r failedRows) Bytes(int) []byte { return nil }
func (r failedRows) Value(int) any    { return nil }
func (r failedRows) Close() error     { return r.err }

// turn ends a page of a replay, of which everything was written: what was read
// and changed stays known, unless it has become too much.
func (s *working) turn(last eventlog.Sequence) error {
	if err := s.write(); err != nil {
		return err
	}
	if s.size > maxWorking {
		clear(s.tables)
		s.size = 0
		s.known = int64(last)
	}
	return nil
}

// errUnknownRow: an event names something that the events before it did not make.
var errUnknownRow = errors.New("names something that is not there")

// repository returns the id of a repository.
func (s *working) repository(name string) (int64, error) {
	row, err := s.rowBy(repositories, "name", name)
	if err == nil && row == nil {
		err = fmt.Errorf("%s: %w", name, errUnknownRow)
	}
	if err != nil {
		return 0, err
	}
	return row[0].(int64), nil
}

// blob returns the row of the blob with a digest, nil if there is none.
func (s *working) blob(d identity.Digest) ([]any, error) {
	column, err := digestColumn(d)
	if err != nil {
		return nil, nil // no blob has it
	}
	return s.rowBy(blobs, column, d.String())
}

// blobID returns the id of the blob with a digest.
func (s *working) blobID(d identity.Digest) (int64, error) {
	row, err := s.blob(d)
	if err == nil && row == nil {
		err = fmt.Errorf("blob %s: %w", d, errUnknownRow)
	}
	if err != nil {
		return 0, err
	}
	return row[0].(int64), nil
}

// both returns the ids of a repository and of a blob.
func (s *working) both(repository string, d identity.Digest) (int64, int64, error) {
	r, err := s.repository(repository)
	if err != nil {
		return 0, 0, err
	}
	b, err := s.blobID(d)
	return r, b, err
}
