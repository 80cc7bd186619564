package retention

// Match tells whether a pattern matches the whole of a name, a repository's or a
// tag's. In a pattern `*` stands for any characters within a component, `**` for
// any characters, `?` for one character other than a slash; all else stands for
// itself. Components are what slashes separate.
//
// So "team/*" matches team/app and not team/app/x; "team/**" matches both, and
// neither matches team. A pattern without a slash and stars matches one name.
func Match(pattern, name string) bool {
	// Where to go on when the text after a star turns out not to match: with
	// one more character for the star, if it may have it. A later star makes
	// the earlier ones of its kind irrelevant: it can take all that they could.
	// One that has come to a slash stays there.
	type retry struct{ pattern, name int }
	none := retry{-1, -1}
	one, many := none, none
	p, n := 0, 0
	for n < len(name) {
		switch {
		case p+1 < len(pattern) && pattern[p:p+2] == "**":
			p += 2
			one, many = none, retry{p, n}
		case p < len(pattern) && pattern[p] == '*':
			p++
			one = retry{p, n}
		case p < len(pattern) && (pattern[p] == name[n] || pattern[p] == '?' && name[n] != '/'):
			p++
			n++
		case one != none && name[one.name] != '/':
			one.name++
			p, n = one.pattern, one.name
		case many != none:
			many.name++
			p, n = many.pattern, many.name
		default:
			return false
		}
	}
	for p < len(pattern) && pattern[p] == '*' {
		p++
	}
	return p == len(pattern)
}

// matchAny tells whether one of the patterns matches.
func matchAny(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if Match(pattern, name) {
			return true
		}
	}
	return false
}
