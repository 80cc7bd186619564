// Package archtest turns the architecture into tests: who may import whom, where
// third-party modules live, which packages do without a clock and without I/O,
// and the rules of form that a compiler does not know. Its rules are data, in
// rooms.go; docs/design.md says why they are as they are.
//
// It reads source files and nothing else, of every operating system and with
// every build tag, so a rule cannot be dodged by a build constraint.
package archtest

import (
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Module is the path of this module; what begins with it is ours.
const Module = "artifactstore"

// File is one parsed Go file.
type File struct {
	Name    string // relative to the root of the module, with slashes
	Package string // folder, relative to the root
	Test    bool   // named _test.go
	Lines   int
	Tidy    bool // formatted as gofmt does
	Syntax  *ast.File
	set     *token.FileSet
}

// Parse parses a source text as the file of that name.
func Parse(name, source string) (File, error) {
	set := token.NewFileSet()
	syntax, err := parser.ParseFile(set, name, source, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return File{}, err
	}
	formatted, err := format.Source([]byte(source))
	if err != nil {
		return File{}, err
	}
	return File{
		Name:    name,
		Package: path.Dir(name),
		Test:    strings.HasSuffix(name, "_test.go"),
		Lines:   strings.Count(source, "\n"),
		Tidy:    string(formatted) == source,
		Syntax:  syntax,
		set:     set,
	}, nil
}

// Load parses every Go file below root, in order of their names. Folders that
// the go tool leaves out are left out: testdata, and names that begin with a
// dot or an underscore.
func Load(root string) ([]File, error) {
	var files []File
	err := filepath.WalkDir(root, func(at string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if at != root && (entry.Name() == "testdata" || strings.ContainsAny(entry.Name()[:1], "._")) {
				return fs.SkipDir
			}
			return nil
		}
		if filepath.Ext(at) != ".go" {
			return nil
		}
		source, err := os.ReadFile(at)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(root, at)
		if err != nil {
			return err
		}
		file, err := Parse(filepath.ToSlash(name), string(source))
		files = append(files, file)
		return err
	})
	return files, err
}

// imports returns the paths that the file imports, in order.
func (f File) imports() []string {
	var paths []string
	for _, spec := range f.Syntax.Imports {
		if p, err := strconv.Unquote(spec.Path.Value); err == nil {
			paths = append(paths, p)
		}
	}
	return paths
}

// at names a place in the file.
func (f File) at(pos token.Pos) string {
	return fmt.Sprintf("%s:%d", f.Name, f.set.Position(pos).Line)
}

// ours returns the folder of an imported package of this module, and whether it
// is one.
func ours(imported string) (string, bool) {
	if imported == Module {
		return ".", true
	}
	return strings.CutPrefix(imported, Module+"/")
}

// standard tells whether an import path belongs to the standard library.
func standard(imported string) bool {
	first, _, _ := strings.Cut(imported, "/")
	return !strings.Contains(first, ".")
}

// within tells whether an import path is a path or lies below it.
func within(imported, base string) bool {
	return imported == base || strings.HasPrefix(imported, base+"/")
}

// packages returns the folders of the files, sorted, each once.
func packages(files []File) []string {
	var names []string
	for _, f := range files {
		names = append(names, f.Package)
	}
	slices.Sort(names)
	return slices.Compact(names)
}
