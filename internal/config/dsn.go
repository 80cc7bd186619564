package config

import (
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// DSN says how to reach PostgreSQL, in one of the two forms of libpq: a URL, or
// keywords with values. It may hold a password, so everything that prints it
// (String, MarshalText, and through them fmt, slog and encoding/json) prints it
// with Redacted in place of secrets; string(d) is the whole of it.
type DSN string

// Redacted stands for a secret in what is printed.
const Redacted = "REDACTED"

// String returns the DSN without its secrets. Of a text that is in neither form
// nothing is shown, since a secret could be anywhere in it.
func (d DSN) String() string {
	shown, problem := redact(string(d))
	if problem != "" {
		return Redacted
	}
	return shown
}

// GoString is String, for %#v.
func (d DSN) GoString() string { return d.String() }

// MarshalText is String.
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText takes any text; Validate judges it.
func (d *DSN) UnmarshalText(text []byte) error {
	*d = DSN(text)
	return nil
}

// problem returns what is wrong with the form of the DSN, without showing any
// of it, or "".
func (d DSN) problem() string {
	_, problem := redact(string(d))
	return problem
}

// redact returns a DSN without its secrets, or what is wrong with it.
func redact(dsn string) (shown, problem string) {
	scheme, rest, isURL := strings.Cut(dsn, "://")
	switch {
	case dsn == "":
		return "", ""
	case isURL && (scheme == "postgres" || scheme == "postgresql"):
		return redactURL(scheme, rest)
	default:
		return redactKeywords(dsn)
	}
}

const notURL = "is no URL such as postgres://USER:PASSWORD@HOST:5432/DATABASE; in a user or a password " +
	"write characters that mean something in a URL by their code, @ as %40, : as %3A, / as %2F, ? as %3F, # as %23, % as %25"

// redactURL takes the text behind "://". It goes by the bytes, not by net/url,
// which would find a part of a password that is not encoded in another place.
func redactURL(scheme, rest string) (shown, problem string) {
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	path, query, _ := strings.Cut(rest, "?")
	if strings.ContainsAny(rest, "@#") || !plain(authority) || !plain(rest) {
		return "", notURL
	}
	user, host, found := "", authority, false
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, host, found = authority[:i], authority[i+1:], true
	}
	name, password, secret := strings.Cut(user, ":")
	for _, part := range []string{name, password, path} {
		if _, err := url.PathUnescape(part); err != nil {
			return "", notURL
		}
	}
	if !addresses(host) {
		return "", notURL
	}
	var b strings.Builder
	b.WriteString(scheme + "://" + name)
	if secret {
		b.WriteString(":" + Redacted)
	}
	if found {
		b.WriteString("@")
	}
	b.WriteString(host + path)
	if query == "" {
		return b.String(), ""
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, value, ok := strings.Cut(pair, "=")
		plainKey, err := url.QueryUnescape(key)
		if _, bad := url.QueryUnescape(value); err != nil || bad != nil || !ok || !keyword(plainKey) {
			return "", notURL
		}
		if secretKeyword(plainKey) {
			pairs[i] = key + "=" + Redacted
		}
	}
	return b.String() + "?" + strings.Join(pairs, "&"), ""
}

// addresses tells whether text is what stands between a user and a path: hosts,
// separated by commas, each with a port or without. What is left of a password
// is mostly not.
func addresses(text string) bool {
	for host := range strings.SplitSeq(text, ",") {
		if inner, ok := strings.CutPrefix(host, "["); ok { // IPv6
			address, port, closed := strings.Cut(inner, "]")
			if _, err := netip.ParseAddr(address); err != nil || !closed || !port16(strings.TrimPrefix(port, ":")) {
				return false
			}
			continue
		}
		name, port, _ := strings.Cut(host, ":")
		if !port16(port) || strings.ContainsAny(name, "[]") {
			return false
		}
	}
	return true
}

// port16 tells whether text is a port, or nothing.
func port16(text string) bool {
	_, err := strconv.ParseUint(text, 10, 16)
	return err == nil || text == ""
}

const notKeywords = "is neither a URL that begins with postgres:// nor keywords with values such as host=HOST dbname=DATABASE; " +
	"put a value with spaces or quotes in it into single quotes, with a backslash before each quote and backslash"

// redactKeywords takes libpq's other form: keyword=value or keyword='value',
// separated by spaces, with backslashes before what is meant as it is.
func redactKeywords(dsn string) (shown, problem string) {
	var pairs []string
	where := false
	for rest := strings.TrimLeft(dsn, spaces); rest != ""; rest = strings.TrimLeft(rest, spaces) {
		key, after, ok := strings.Cut(rest, "=")
		key, after = strings.TrimRight(key, spaces), strings.TrimLeft(after, spaces)
		n := valueLength(after)
		if !ok || !keyword(key) || n < 0 {
			return "", notKeywords
		}
		value := after[:n]
		if secretKeyword(key) {
			value = Redacted
		}
		pairs = append(pairs, key+"="+value)
		where = where || slices.Contains(places, key)
		rest = after[n:]
	}
	if !where { // such as a password alone, in base64 with = at its end
		return "", notKeywords
	}
	return strings.Join(pairs, " "), ""
}

// places are the keywords that say where the database is, one of which is needed.
var places = []string{"host", "hostaddr", "dbname", "service"}

// spaces separate keywords.
const spaces = " \t\n\r\v\f"

// valueLength returns how many bytes the value at the start of text takes, or
// -1 if it does not end.
func valueLength(text string) int {
	quoted := strings.HasPrefix(text, "'")
	i := 0
	if quoted {
		i = 1
	}
	for ; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			i++
		case c == 0:
			return -1
		case quoted && c == '\'':
			if i+1 < len(text) && !strings.ContainsRune(spaces, rune(text[i+1])) {
				return -1 // something sticks to the end of the value
			}
			return i + 1
		case !quoted && c == '\'':
			return -1
		case !quoted && strings.ContainsRune(spaces, rune(c)):
			return i
		}
	}
	if quoted || i > len(text) {
		return -1
	}
	return i
}

// keyword tells whether text can be a name of libpq or a parameter of the server.
func keyword(text string) bool {
	for _, c := range text {
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '.' {
			return false
		}
	}
	return text != ""
}

// secretKeyword tells whether a keyword has a secret for its value: password,
// sslpassword, oauth_client_secret, and what may come.
func secretKeyword(key string) bool {
	key = strings.ToLower(key)
	return strings.Contains(key, "password") || strings.Contains(key, "secret")
}

// plain tells whether text has no spaces and no control characters.
func plain(text string) bool {
	return !strings.ContainsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
