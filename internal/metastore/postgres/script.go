package postgres

import (
	"strings"
)

// types are the words of SQLite's types in ours. Text compares by bytes.
var types = map[string]string{
	"INTEGER": "bigint",
	"BLOB":    "bytea",
	"TEXT":    `text COLLATE "C"`,
}

// translate puts a script that is written for SQLite into PostgreSQL's words:
// the types in CREATE TABLE and ALTER TABLE, and no options after a table. It
// leaves comments, quoted text and all other statements as they are.
func translate(script string) string {
	var out strings.Builder
	s := statement{}
	for len(script) > 0 {
		n := tokenLength(script)
		out.WriteString(s.translate(script[:n]))
		script = script[n:]
	}
	return out.String()
}

// statement is where in a statement translate is.
type statement struct {
	words string // the first two, until they are known
	seen  int    // how many words there were
	depth int    // of parentheses
	after bool   // the columns of a table have ended
}

func (s *statement) translate(token string) string {
	switch token[0] {
	case ' ', '\t', '\r', '\n', '-', '/', '\'', '"':
		return token
	case ';':
		*s = statement{}
		return token
	case '(':
		s.depth++
		return token
	case ')':
		s.depth--
		s.after = s.after || s.depth == 0 && s.words == "CREATE TABLE"
		return token
	case ',':
		if s.after && s.depth == 0 {
			return "" // between the options of a table
		}
		return token
	}
	word := strings.ToUpper(token)
	if s.seen < 2 {
		s.words = strings.TrimSpace(s.words + " " + word)
	}
	s.seen++
	if s.words != "CREATE TABLE" && s.words != "ALTER TABLE" {
		return token
	}
	if s.after && s.depth == 0 && (word == "STRICT" || word == "WITHOUT" || word == "ROWID") {
		return ""
	}
	if ours, ok := types[word]; ok {
		return ours
	}
	return token
}

// tokenLength is the length of the token at the start of a text: space, a
// comment, something quoted, a word, or one character.
func tokenLength(text string) int {
	until := func(end string) int {
		if i := strings.Index(text[len(end):], end); i >= 0 {
			return i + 2*len(end)
		}
		return len(text)
	}
	switch {
	case strings.HasPrefix(text, "--"):
		if i := strings.IndexByte(text, '\n'); i >= 0 {
			return i
		}
		return len(text)
	case strings.HasPrefix(text, "/*"):
		if i := strings.Index(text[2:], "*/"); i >= 0 {
			return i + 4
		}
		return len(text)
	case text[0] == '\'', text[0] == '"':
		return until(text[:1]) // one that is doubled within begins another token
	}
	n := 0
	for n < len(text) && isWord(text[n]) {
		n++
	}
	return max(n, 1)
}

func isWord(c byte) bool {
	return c == '_' || c == '$' || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= 0x80
}
