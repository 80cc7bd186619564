package archtest

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// CheckRooms returns what is wrong between the files and the table of rooms:
// packages outside the table, rows without a package, and modules that a room
// is given but no file of it imports.
func CheckRooms(files []File, rooms []Room) []string {
	var wrong []string
	found := packages(files)
	for _, name := range found {
		if _, ok := roomOf(rooms, name); !ok {
			wrong = append(wrong, fmt.Sprintf("%s: the package is not in the table of rooms", name))
		}
	}
	for _, room := range rooms {
		if !slices.Contains(found, room.Path) {
			wrong = append(wrong, fmt.Sprintf("%s: the table has a room without a package", room.Path))
			continue
		}
		for _, module := range room.Modules {
			used := slices.ContainsFunc(files, func(f File) bool {
				return f.Package == room.Path && slices.ContainsFunc(f.imports(), func(p string) bool { return within(p, module) })
			})
			if !used {
				wrong = append(wrong, fmt.Sprintf("%s: the room is given %s and does not import it", room.Path, module))
			}
		}
	}
	return wrong
}

// CheckImports returns every import that the table does not allow.
func CheckImports(files []File, rooms []Room) []string {
	var wrong []string
	for _, f := range files {
		room, ok := roomOf(rooms, f.Package)
		if !ok {
			continue // CheckRooms says so
		}
		for _, imported := range f.imports() {
			if why := refuse(f, room, rooms, imported); why != "" {
				wrong = append(wrong, fmt.Sprintf("%s: imports %s: %s", f.Name, imported, why))
			}
		}
		for _, spec := range f.Syntax.Imports {
			if spec.Name != nil && (spec.Name.Name == "_" && spec.Path.Value != `"embed"` || spec.Name.Name == ".") {
				wrong = append(wrong, fmt.Sprintf("%s: imports %s by %q: nothing registers itself, and names say where they come from",
					f.Name, spec.Path.Value, spec.Name.Name))
			}
		}
	}
	return wrong
}

// refuse returns why a file may not import a path, or "".
func refuse(f File, room Room, rooms []Room, imported string) string {
	for base, why := range Forbidden {
		if imported == base {
			return why
		}
	}
	if folder, ok := ours(imported); ok {
		return refuseOurs(f, room, folder)
	}
	if standard(imported) {
		return refuseStandard(f, room, imported)
	}
	allowed := room.Modules
	if f.Test || suite(room.Path) {
		allowed = append(slices.Clone(TestModules), allowed...)
		for _, other := range rooms {
			allowed = append(allowed, other.Modules...)
		}
	}
	if slices.ContainsFunc(allowed, func(module string) bool { return within(imported, module) }) {
		return ""
	}
	return "the module does not live in this room"
}

func refuseOurs(f File, room Room, folder string) string {
	switch {
	case folder == room.Path, slices.Contains(room.Ours, folder), slices.Contains(room.Ours, "*"):
		return ""
	case f.Test && !room.BlackBox:
		return ""
	case room.BlackBox:
		return "a black box test knows the server from outside only"
	}
	return "the table does not allow it"
}

func refuseStandard(f File, room Room, imported string) string {
	if f.Test {
		return ""
	}
	if room.Pure && slices.ContainsFunc(impure, func(base string) bool { return within(imported, base) }) {
		return "the package is pure"
	}
	for base, allowed := range Narrow {
		if within(imported, base) && !slices.ContainsFunc(allowed, func(r string) bool { return within(room.Path, r) }) {
			return "it is kept to " + strings.Join(allowed, ", ")
		}
	}
	return ""
}

// suite tells whether a package consists of tests: named so, for others to run,
// or a black box.
func suite(folder string) bool {
	return strings.HasSuffix(folder, "test") || within(folder, "conformance")
}

// CheckClock returns every use of the clock in a pure room.
func CheckClock(files []File, rooms []Room) []string {
	var wrong []string
	for _, f := range files {
		room, ok := roomOf(rooms, f.Package)
		if !ok || !room.Pure || f.Test {
			continue
		}
		for _, name := range clock {
			for _, pos := range f.uses("time", name) {
				wrong = append(wrong, fmt.Sprintf("%s: time.%s: the package is pure, the time comes in", f.at(pos), name))
			}
		}
	}
	return wrong
}

// CheckDepth returns the longest chain of imports if it is longer than limit.
// Suites and tests do not count.
func CheckDepth(files []File, rooms []Room, limit int) []string {
	next := make(map[string][]string)
	for _, f := range files {
		if room, ok := roomOf(rooms, f.Package); !ok || f.Test || suite(room.Path) {
			continue
		}
		for _, imported := range f.imports() {
			if folder, ok := ours(imported); ok {
				next[f.Package] = append(next[f.Package], folder)
			}
		}
	}
	longest := make(map[string][]string)
	var chain func(string) []string
	chain = func(from string) []string { // imports have no cycles: it ends
		if known, ok := longest[from]; ok {
			return known
		}
		var best []string
		for _, to := range next[from] {
			if c := chain(to); len(c) > len(best) {
				best = c
			}
		}
		longest[from] = append([]string{from}, best...)
		return longest[from]
	}
	for _, from := range slices.Sorted(maps.Keys(next)) {
		if c := chain(from); len(c) > limit {
			return []string{fmt.Sprintf("%d packages import one another in a row, more than %d: %s", len(c), limit, strings.Join(c, " -> "))}
		}
	}
	return nil
}

func roomOf(rooms []Room, folder string) (Room, bool) {
	i := slices.IndexFunc(rooms, func(r Room) bool { return r.Path == folder })
	if i < 0 {
		return Room{}, false
	}
	return rooms[i], true
}
