package archtest_test

import (
	"strings"
	"testing"

	"artifactstore/internal/archtest"
)

func load(t *testing.T) []archtest.File {
	t.Helper()
	files, err := archtest.Load("../..")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) < 10 {
		t.Fatalf("found only %d Go files", len(files))
	}
	return files
}

func TestArchitecture(t *testing.T) {
	files := load(t)
	checks := []struct {
		name  string
		wrong []string
	}{
		{"every package has a room", archtest.CheckRooms(files, archtest.Rooms)},
		{"rooms import what they may", archtest.CheckImports(files, archtest.Rooms)},
		{"pure rooms do without the clock", archtest.CheckClock(files, archtest.Rooms)},
		{"chains of imports are short", archtest.CheckDepth(files, archtest.Rooms, archtest.LongestChain)},
		{"files have a good form", archtest.CheckForm(files)},
		{"packages say what they are for", archtest.CheckDocs(files)},
	}
	for _, check := range checks {
		t.Run(check.name, func(t *testing.T) {
			for _, w := range check.wrong {
				t.Error(w)
			}
		})
	}
}

// TestEachRuleCatches holds the rules to small files that break them: a rule
// that finds nothing may be a rule that does not look.
func TestEachRuleCatches(t *testing.T) {
	rooms := []archtest.Room{
		{Path: "pure", Pure: true},
		{Path: "store", Modules: []string{"example.org/db/v2"}},
		{Path: "door", Ours: []string{"pure"}},
		{Path: "box", BlackBox: true},
		{Path: "suitetest", Ours: []string{"pure"}},
	}
	imports := func(files []archtest.File) []string { return archtest.CheckImports(files, rooms) }
	longFunction := "package door\n\nfunc f() {\n" + strings.Repeat("\tg()\n", 79) + "}\n"
	tests := []struct {
		name  string
		file  string
		text  string
		check func([]archtest.File) []string
		want  string // part of the complaint; empty if there is none
	}{
		{"a room imports what it may", "door/a.go", "package door\nimport \"artifactstore/pure\"", imports, ""},
		{"a room imports what it may not", "door/a.go", "package door\nimport \"artifactstore/store\"", imports, "the table does not allow it"},
		{"a package below an allowed one is another room", "door/a.go", "package door\nimport \"artifactstore/pure/sub\"", imports, "the table does not allow it"},
		{"a test may import any of ours", "door/a_test.go", "package door_test\nimport \"artifactstore/store\"", imports, ""},
		{"a black box test may not", "box/a_test.go", "package box_test\nimport \"artifactstore/store\"", imports, "from outside only"},
		{"a module in its room", "store/a.go", "package store\nimport \"example.org/db/v2/driver\"", imports, ""},
		{"a module in another room", "door/a.go", "package door\nimport \"example.org/db/v2\"", imports, "does not live in this room"},
		{"a module of another major version", "store/a.go", "package store\nimport \"example.org/db/v23\"", imports, "does not live in this room"},
		{"a test uses the module of another room", "door/a_test.go", "package door_test\nimport \"example.org/db/v2\"", imports, ""},
		{"a test uses a module without a room", "door/a_test.go", "package door_test\nimport \"example.org/mock\"", imports, "does not live in this room"},
		{"a test module outside tests", "door/a.go", "package door\nimport \"pgregory.net/rapid\"", imports, "does not live in this room"},
		{"a test module in a suite", "suitetest/a.go", "package suitetest\nimport \"pgregory.net/rapid\"", imports, ""},
		{"HTTP behind the front door", "store/a.go", "package store\nimport \"net/http\"", imports, "it is kept to"},
		{"files in a pure room", "pure/a.go", "package pure\nimport \"os\"", imports, "the package is pure"},
		{"files in the tests of a pure room", "pure/a_test.go", "package pure_test\nimport \"os\"", imports, ""},
		{"unsafe anywhere", "store/a_test.go", "package store\nimport \"unsafe\"", imports, "nothing here is worth it"},
		{"registration by import", "store/a.go", "package store\nimport _ \"image/png\"", imports, "nothing registers itself"},
		{"embedding files", "store/a.go", "package store\nimport _ \"embed\"", imports, ""},
		{"names from nowhere", "store/a.go", "package store\nimport . \"strings\"", imports, "names say where they come from"},

		{"the clock in a pure room", "pure/a.go", "package pure\nimport \"time\"\nvar t = time.Now()", clock(rooms), "pure/a.go:3: time.Now"},
		{"the clock by another name", "pure/a.go", "package pure\nimport c \"time\"\nvar now = c.Since", clock(rooms), "time.Since"},
		{"time without the clock", "pure/a.go", "package pure\nimport \"time\"\nvar t = time.Unix(0, 0)", clock(rooms), ""},
		{"the clock elsewhere", "door/a.go", "package door\nimport \"time\"\nvar t = time.Now()", clock(rooms), ""},

		{"a file that gofmt would change", "door/a.go", "package  door\n", archtest.CheckForm, "is not formatted"},
		{"a long file", "door/a.go", "package door\n\n" + strings.Repeat("// line\n", 599), archtest.CheckForm, "has 601 lines"},
		{"a file at the limit", "door/a.go", "package door\n\n" + strings.Repeat("// line\n", 598), archtest.CheckForm, ""},
		{"a long function", "door/a.go", longFunction, archtest.CheckForm, "f has 81 lines"},
		{"a long table in a test", "door/a_test.go", longFunction, archtest.CheckForm, ""},
		{"an init function", "door/a.go", "package door\n\nfunc init() {}\n", archtest.CheckForm, "init function"},
		{"a method named init", "door/a.go", "package door\n\nfunc (T) init() {}\n", archtest.CheckForm, ""},
		{"unfinished work", "door/a.go", "package door\n\n// " + "TO" + "DO: later\n", archtest.CheckForm, "door/a.go:3: says"},
		{"a skip without words", "door/a_test.go", "package door\n\nfunc f(t T) { t.Skip() }\n", archtest.CheckForm, "without a reason"},
		{"a skip with empty words", "door/a_test.go", "package door\n\nfunc f(t T) { t.Skip(\" \") }\n", archtest.CheckForm, "without a reason"},
		{"a silent skip", "door/a_test.go", "package door\n\nfunc f(t T) { t.SkipNow() }\n", archtest.CheckForm, "without a reason"},
		{"a skip with a reason", "door/a_test.go", "package door\n\nfunc f(t T) { t.Skip(\"no disk\") }\n", archtest.CheckForm, ""},

		{"no package comment", "door/a.go", "package door", archtest.CheckDocs, "no file has a package comment"},
		{"a package comment about something else", "door/a.go", "// Package window is.\npackage door", archtest.CheckDocs, "no file has a package comment"},
		{"a package comment", "door/a.go", "// Package door opens.\npackage door", archtest.CheckDocs, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, err := archtest.Parse(tt.file, tt.text)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(tt.check([]archtest.File{file}), "\n")
			if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
				t.Errorf("complaint %q, want %q", got, tt.want)
			}
		})
	}
}

func clock(rooms []archtest.Room) func([]archtest.File) []string {
	return func(files []archtest.File) []string { return archtest.CheckClock(files, rooms) }
}

// TestTableAndTreeAgree: neither may have what the other has not.
func TestTableAndTreeAgree(t *testing.T) {
	file, err := archtest.Parse("cellar/a.go", "package cellar")
	if err != nil {
		t.Fatal(err)
	}
	got := archtest.CheckRooms([]archtest.File{file}, []archtest.Room{{Path: "attic"}})
	want := []string{"cellar: the package is not in the table", "attic: the table has a room without"}
	if len(got) != 2 || !strings.HasPrefix(got[0], want[0]) || !strings.HasPrefix(got[1], want[1]) {
		t.Errorf("complaints %q, want %q", got, want)
	}
	unused := archtest.CheckRooms([]archtest.File{file}, []archtest.Room{{Path: "cellar", Modules: []string{"example.org/db"}}})
	if len(unused) != 1 || !strings.Contains(unused[0], "does not import it") {
		t.Errorf("complaints about an unused module: %q", unused)
	}
}

// TestLongChains: a -> b -> c is a chain of three.
func TestLongChains(t *testing.T) {
	var files []archtest.File
	for name, text := range map[string]string{
		"a/a.go": "package a\nimport \"artifactstore/b\"",
		"b/b.go": "package b\nimport \"artifactstore/c\"",
		"c/c.go": "package c",
	} {
		file, err := archtest.Parse(name, text)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	rooms := []archtest.Room{{Path: "a"}, {Path: "b"}, {Path: "c"}}
	if got := archtest.CheckDepth(files, rooms, 3); got != nil {
		t.Errorf("with limit 3: %q", got)
	}
	if got := archtest.CheckDepth(files, rooms, 2); len(got) != 1 || !strings.Contains(got[0], "a -> b -> c") {
		t.Errorf("with limit 2: %q", got)
	}
}
