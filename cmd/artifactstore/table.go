package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// table prints rows under a header, as they come. Its columns are as wide as
// the rows that come first need; a longer cell later pushes its row aside.
type table struct {
	columns []string // titles; that of numbers begin with '>'
	widths  []int    // nil before the header
}

// print prints rows, and before the first ones the header.
func (t *table) print(w io.Writer, rows [][]string) error {
	if t.widths == nil {
		header := make([]string, len(t.columns))
		for i, c := range t.columns {
			header[i] = strings.TrimPrefix(c, ">")
		}
		t.widths = make([]int, len(t.columns))
		for _, row := range append([][]string{header}, rows...) {
			for i, cell := range row {
				t.widths[i] = max(t.widths[i], utf8.RuneCountInString(cell))
			}
		}
		if err := t.line(w, header); err != nil {
			return err
		}
	}
	for _, row := range rows {
		if err := t.line(w, row); err != nil {
			return err
		}
	}
	return nil
}

func (t *table) line(w io.Writer, row []string) error {
	var b strings.Builder
	for i, cell := range row {
		padding := strings.Repeat(" ", max(0, t.widths[i]-utf8.RuneCountInString(cell)))
		if strings.HasPrefix(t.columns[i], ">") {
			b.WriteString(padding + plain(cell))
		} else {
			b.WriteString(plain(cell) + padding)
		}
		b.WriteString("  ")
	}
	_, err := fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	return err
}

// field is a line of a page: what it is called, and what it is.
type field struct{ name, value string }

// printFields prints a page. Fields without a value are left out; one without a
// name goes on with the field before it.
func printFields(w io.Writer, fields []field) error {
	width := 0
	for _, f := range fields {
		if f.value != "" {
			width = max(width, len(f.name))
		}
	}
	for _, f := range fields {
		if f.value == "" {
			continue
		}
		if _, err := fmt.Fprintf(w, "%-*s  %s\n", width, f.name, plain(f.value)); err != nil {
			return err
		}
	}
	return nil
}

// plain makes text of clients harmless for a terminal.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return utf8.RuneError
	}, text)
}

// size is a number of bytes for people.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d B", n)
	}
	value, unit := float64(n), -1
	for value >= 1023.95 { // what would be printed as 1024.0
		value /= 1 << 10
		unit++
	}
	return fmt.Sprintf("%.1f %ciB", value, "KMGTPE"[unit])
}

// exactSize is size with the number beside it.
func exactSize(n int64) string {
	if n < 1<<10 {
		return size(n)
	}
	return fmt.Sprintf("%s (%d bytes)", size(n), n)
}

// moment is a time for people.
func moment(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// short is as much of a digest as people compare.
func short(digest string) string {
	const digits = 12
	if colon := strings.IndexByte(digest, ':'); colon >= 0 && len(digest) > colon+1+digits {
		return digest[:colon+1+digits]
	}
	return digest
}

// shorter returns short, or what leaves digests as they are.
func shorter(wide bool) func(string) string {
	if wide {
		return func(digest string) string { return digest }
	}
	return short
}

// orDash stands for what is not there in a column.
func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}

// listing is a list of the API as a table.
type listing[T any] struct {
	columns []string
	row     func(T) []string
}

// print prints limit entries of a list, 0 for all, while its pages come.
func (l listing[T]) print(ctx context.Context, in *inside, path string, limit uint64) error {
	t := table{columns: l.columns}
	for page, err := range in.List(ctx, path, limit) {
		if err != nil {
			return err
		}
		if err := l.page(in, &t, page); err != nil {
			return err
		}
	}
	return nil
}

// page prints one page.
func (l listing[T]) page(in *inside, t *table, page []json.RawMessage) error {
	if in.json {
		for _, item := range page {
			if _, err := in.out.Write(append(item, '\n')); err != nil {
				return err
			}
		}
		return nil
	}
	rows := make([][]string, len(page))
	for i, item := range page {
		value, err := decode[T](item)
		if err != nil {
			return err
		}
		rows[i] = l.row(value)
	}
	return t.print(in.out, rows)
}

// shown is how many entries of a list a page shows.
const shown = 20

// some prints the first entries of a list below a title, and the command that
// prints all of them.
func (l listing[T]) some(ctx context.Context, in *inside, title, path, command string) error {
	t := table{columns: l.columns}
	for page, err := range in.List(ctx, path, shown+1) {
		if err != nil {
			return err
		}
		if len(page) == 0 {
			_, err := fmt.Fprintf(in.out, "\n%s: none\n", title)
			return err
		}
		fmt.Fprintf(in.out, "\n%s:\n", title)
		if err := l.page(in, &t, page[:min(shown, len(page))]); err != nil {
			return err
		}
		if len(page) > shown {
			_, err = fmt.Fprintf(in.out, "... and more: artifactstore %s%s\n", command, in.again)
		}
		return err
	}
	return nil
}

// decode reads a value of the API.
func decode[T any](text json.RawMessage) (value T, err error) {
	if err := json.Unmarshal(text, &value); err != nil {
		return value, fmt.Errorf("read the answer of the server: %w; it is of another version than this program", err)
	}
	return value, nil
}

// object prints a JSON document as it is, or hands it to page.
func object[T any](ctx context.Context, in *inside, path string, page func(T) error) error {
	text, err := in.Object(ctx, path)
	if err != nil {
		return err
	}
	return printed(in, text, page)
}

// printed prints a JSON document as it is, or hands it to page.
func printed[T any](in *inside, text json.RawMessage, page func(T) error) error {
	if in.json {
		_, err := in.out.Write(append(text, '\n'))
		return err
	}
	value, err := decode[T](text)
	if err != nil {
		return err
	}
	return page(value)
}
