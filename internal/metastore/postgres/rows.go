package postgres

import (
	"bytes"
	stdbinary "encoding/binary"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// maxDetached bounds the rows that are held in memory when a statement begins
// while the rows of another are read.
const maxDetached = 64 << 20

// Types of columns, by their numbers in pg_type.
const (
	typeBool    = 16
	typeBytea   = 17
	typeName    = 19
	typeInt8    = 20
	typeInt2    = 21
	typeInt4    = 23
	typeText    = 25
	typeOID     = 26
	typeFloat8  = 701
	typeUnknown = 705
	typeVarchar = 1043
	typeNumeric = 1700
	typeVoid    = 2278
)

// rows implements database.Rows.
type rows struct {
	c        *conn // nil once the statement has ended
	reader   *pgconn.ResultReader
	pipeline *pipeline // nil for those of a batch
	types    []uint32
	row      [][]byte
	err      error

	// detached: the statement has ended, and rest are the rows to come.
	detached bool
	rest     [][][]byte
}

// describe notes the types of the columns, which the reader forgets.
func (r *rows) describe() {
	fields := r.reader.FieldDescriptions()
	r.types = make([]uint32, len(fields))
	for i := range fields {
		r.types[i] = fields[i].DataTypeOID
	}
}

// Next implements database.Rows.
func (r *rows) Next() bool {
	r.row = nil
	switch {
	case r.err != nil:
		return false
	case r.detached && len(r.rest) > 0:
		r.row, r.rest = r.rest[0], r.rest[1:]
	case r.c == nil:
		return false
	case r.reader.NextRow():
		r.row = r.reader.Values()
		r.c.seen = true
	default:
		r.err = r.finish()
		return false
	}
	return true
}

// finish ends the statement; what is left of its rows is read and dropped.
func (r *rows) finish() error {
	if r.c == nil {
		return nil
	}
	c := r.c
	r.c = nil
	_, err := r.reader.Close()
	if r.pipeline == nil { // the batch goes on
		return err
	}
	if c.open == r {
		c.open = nil
	}
	return r.pipeline.end(err)
}

// detach reads the rest of the rows into memory, so that the connection is free.
func (r *rows) detach() error {
	if r.row != nil {
		r.row = clone(r.row)
	}
	size := 0
	for r.reader.NextRow() {
		row := clone(r.reader.Values())
		for _, column := range row {
			size += len(column)
		}
		if size > maxDetached {
			r.err = fmt.Errorf("a statement was begun while another one has more than %d MiB of rows to read", maxDetached>>20)
			_ = r.finish() // nothing is worse than that
			return r.err
		}
		r.rest = append(r.rest, row)
	}
	r.detached = true
	r.err = r.finish()
	return r.err
}

func clone(row [][]byte) [][]byte {
	all := make([][]byte, len(row))
	for i := range row {
		all[i] = bytes.Clone(row[i])
	}
	return all
}

// Close implements database.Rows.
func (r *rows) Close() error {
	r.row, r.rest = nil, nil
	if err := r.finish(); r.err == nil {
		r.err = err
	}
	return r.err
}

// fail notes that a column is not what it is taken for.
func (r *rows) fail(column int, problem string) {
	if r.err == nil {
		r.err = fmt.Errorf("column %d %s", column, problem)
	}
}

// Int implements database.Rows.
func (r *rows) Int(column int) int64 {
	switch v := r.Value(column).(type) {
	case int64:
		return v
	case nil:
		return 0
	case string:
		if n, err := strconv.ParseInt(v, 10, 64); err == nil {
			return n
		}
	}
	r.fail(column, "is no integer of 64 bits")
	return 0
}

// Text implements database.Rows.
func (r *rows) Text(column int) string {
	switch r.types[column] {
	case typeText, typeVarchar, typeName, typeUnknown, typeBytea:
		return string(r.row[column])
	}
	if v := r.Value(column); v != nil {
		return fmt.Sprint(v)
	}
	return ""
}

// Bytes implements database.Rows.
func (r *rows) Bytes(column int) []byte {
	switch r.types[column] {
	case typeText, typeVarchar, typeName, typeUnknown, typeBytea:
		return bytes.Clone(r.row[column])
	}
	if r.row[column] == nil {
		return nil
	}
	return []byte(r.Text(column))
}

// Value implements database.Rows.
func (r *rows) Value(column int) any {
	raw := r.row[column]
	if raw == nil {
		return nil
	}
	switch r.types[column] {
	case typeInt8:
		return int64(stdbinary.BigEndian.Uint64(raw))
	case typeInt4:
		return int64(int32(stdbinary.BigEndian.Uint32(raw)))
	case typeInt2:
		return int64(int16(stdbinary.BigEndian.Uint16(raw)))
	case typeOID:
		return int64(stdbinary.BigEndian.Uint32(raw))
	case typeBool:
		return int64(raw[0])
	case typeText, typeVarchar, typeName, typeUnknown:
		return string(raw)
	case typeBytea:
		return bytes.Clone(raw)
	case typeFloat8:
		return fmt.Sprint(math.Float64frombits(stdbinary.BigEndian.Uint64(raw)))
	case typeNumeric:
		text := numeric(raw)
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		return text
	case typeVoid:
		return nil
	}
	r.fail(column, fmt.Sprintf("has the type %d, which is not one of a store", r.types[column]))
	return nil
}

// numeric writes out a number of the type numeric: groups of four decimal
// digits, of which weight+1 stand before the point.
func numeric(raw []byte) string {
	field := func(i int) int { return int(int16(stdbinary.BigEndian.Uint16(raw[2*i:]))) }
	groups, weight, sign, scale := field(0), field(1), uint16(field(2)), field(3)
	if sign != 0 && sign != 0x4000 {
		return "NaN" // or infinite, which no sum of integers is
	}
	var text strings.Builder
	if sign == 0x4000 {
		text.WriteByte('-')
	}
	digits := func(group int) int {
		if group < 0 || group >= groups {
			return 0
		}
		return field(4 + group)
	}
	if weight < 0 {
		text.WriteByte('0')
	}
	for i := range weight + 1 {
		if i == 0 {
			text.WriteString(strconv.Itoa(digits(i)))
		} else {
			fmt.Fprintf(&text, "%04d", digits(i))
		}
	}
	if scale == 0 {
		return text.String()
	}
	var fraction strings.Builder
	for i := 0; 4*i < scale; i++ {
		fmt.Fprintf(&fraction, "%04d", digits(weight+1+i))
	}
	return text.String() + "." + fraction.String()[:scale]
}
