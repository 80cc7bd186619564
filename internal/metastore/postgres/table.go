package postgres

import (
	"fmt"
	"slices"
	"strings"

	"artifactstore/internal/metastore/database"
)

// tableSQL is how rows of a table are written: arrays with the values of each
// column, so that one statement has any number of rows.
type tableSQL struct {
	types            []uint32 // of the columns, in the order of database.Table
	key              int
	del, put, insert string
}

// names are the types that columns may have.
var names = map[uint32]string{typeInt8: "bigint", typeText: "text", typeBytea: "bytea"}

// table returns how to write to a table, which the catalog is asked for once
// for each connection.
func (w *writer) table(t *database.Table) (*tableSQL, error) {
	if known := w.tables[t.Name]; known != nil {
		return known, nil
	}
	columns := map[string]uint32{}
	rows := w.Query(`SELECT attname, atttypid FROM pg_catalog.pg_attribute
		WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped`, quote(t.Name))
	for rows.Next() {
		columns[rows.Text(0)] = uint32(rows.Int(1))
	}
	if err := rows.Close(); err != nil {
		return nil, err
	}
	result := &tableSQL{types: make([]uint32, len(t.Columns)), key: t.Key}
	for i, name := range t.Columns {
		result.types[i] = columns[name]
		if names[columns[name]] == "" {
			return nil, fmt.Errorf("table %s: column %s is not there, or not of a type of a store", t.Name, name)
		}
	}
	result.spell(t)
	w.tables[t.Name] = result
	return result, nil
}

// spell makes the statements.
func (s *tableSQL) spell(t *database.Table) {
	columns := make([]string, len(t.Columns))
	arrays := make([]string, len(t.Columns))
	var conditions, updates []string
	for i, name := range t.Columns {
		columns[i] = quote(name)
		arrays[i] = fmt.Sprintf("$%d::%s[]", i+1, names[s.types[i]])
		if i < t.Key {
			conditions = append(conditions, fmt.Sprintf("t.%s = gone.%s", columns[i], columns[i]))
		} else {
			updates = append(updates, columns[i]+" = excluded."+columns[i])
		}
	}
	table, all, key := quote(t.Name), strings.Join(columns, ", "), strings.Join(columns[:t.Key], ", ")
	s.del = fmt.Sprintf("DELETE FROM %s AS t USING unnest(%s) AS gone (%s) WHERE %s",
		table, strings.Join(arrays[:t.Key], ", "), key, strings.Join(conditions, " AND "))
	s.insert = fmt.Sprintf("INSERT INTO %s (%s) SELECT * FROM unnest(%s)", table, all, strings.Join(arrays, ", "))
	s.put = s.insert + fmt.Sprintf(" ON CONFLICT (%s) DO ", key)
	if len(updates) == 0 {
		s.put += "NOTHING"
	} else {
		s.put += "UPDATE SET " + strings.Join(updates, ", ")
	}
}

// calls are the statements for the edits of the table.
func (s *tableSQL) calls(e *database.Edits) ([]call, error) {
	var calls []call
	if len(e.Deletes) > 0 {
		args, err := s.columns(e.Deletes, s.key)
		if err != nil {
			return nil, err
		}
		calls = append(calls, call{s.del, args})
	}
	if len(e.Puts) > 0 {
		args, err := s.columns(e.Puts, len(s.types))
		if err != nil {
			return nil, err
		}
		sql := s.put
		if e.Insert {
			sql = s.insert
		}
		calls = append(calls, call{sql, args})
	}
	return calls, nil
}

// columns encodes rows as one array for each of the first n columns.
func (s *tableSQL) columns(all [][]any, n int) (arguments, error) {
	var args arguments
	for column := range n {
		a := newArray(s.types[column], len(all))
		a.raw = slices.Grow(a.raw, sizeOf(all, column))
		for i, row := range all {
			if len(row) != n {
				return arguments{}, fmt.Errorf("row %d has %d columns, not %d", i+1, len(row), n)
			}
			if err := a.value(row[column], s.types[column]); err != nil {
				return arguments{}, fmt.Errorf("row %d, column %d: %w", i+1, column+1, err)
			}
		}
		args.add(a.bytes(), asBinary)
	}
	return args, nil
}

// sizeOf is the size of a column's values, with their lengths.
func sizeOf(all [][]any, column int) int {
	size := 0
	for _, row := range all {
		if column >= len(row) {
			continue
		}
		switch v := row[column].(type) {
		case string:
			size += 4 + len(v)
		case []byte:
			size += 4 + len(v)
		default:
			size += 12
		}
	}
	return size
}

// value adds a value, which must be of the array's type.
func (a *array) value(value any, element uint32) error {
	switch v := value.(type) {
	case nil:
		a.nothing()
		return nil
	case int64:
		if element == typeInt8 {
			a.int(v)
			return nil
		}
	case string:
		if element == typeText {
			a.text(v)
			return checkText(v)
		}
	case []byte:
		if v == nil {
			a.nothing()
			return nil
		}
		if element == typeBytea {
			a.blob(v)
			return nil
		}
	}
	return fmt.Errorf("a value of the type %T for a column of the type %s", value, names[element])
}
