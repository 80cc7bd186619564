package archtest

import (
	"fmt"
	"go/ast"
	"go/token"
	"regexp"
	"strings"
)

// CheckForm returns what is wrong with the form of files: not formatted, too
// long, an init function, a mark of unfinished work, a test skipped without a
// reason, a function too long.
func CheckForm(files []File) []string {
	var wrong []string
	for _, f := range files {
		if !f.Tidy {
			wrong = append(wrong, fmt.Sprintf("%s: is not formatted: run gofmt -w %s", f.Name, f.Name))
		}
		if f.Lines > MaxLines {
			wrong = append(wrong, fmt.Sprintf("%s: has %d lines, more than %d", f.Name, f.Lines, MaxLines))
		}
		wrong = append(wrong, f.unfinished()...)
		wrong = append(wrong, f.functions()...)
		wrong = append(wrong, f.skips()...)
	}
	return wrong
}

// mark is what people leave behind where they mean to come back.
var mark = regexp.MustCompile(`\b(TODO|FIXME|XXX|HACK)\b`)

func (f File) unfinished() []string {
	var wrong []string
	for _, group := range f.Syntax.Comments {
		for _, comment := range group.List {
			if word := mark.FindString(comment.Text); word != "" {
				wrong = append(wrong, fmt.Sprintf("%s: says %s", f.at(comment.Pos()), word))
			}
		}
	}
	return wrong
}

func (f File) functions() []string {
	var wrong []string
	for _, decl := range f.Syntax.Decls {
		fn, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		if fn.Recv == nil && fn.Name.Name == "init" {
			wrong = append(wrong, fmt.Sprintf("%s: has an init function: nothing happens before main", f.at(fn.Pos())))
		}
		lines := f.set.Position(fn.End()).Line - f.set.Position(fn.Pos()).Line + 1
		if !f.Test && !suite(f.Package) && lines > MaxFunction {
			wrong = append(wrong, fmt.Sprintf("%s: %s has %d lines, more than %d", f.at(fn.Pos()), fn.Name.Name, lines, MaxFunction))
		}
	}
	return wrong
}

// skips finds calls of Skip and SkipNow that give no reason.
func (f File) skips() []string {
	var wrong []string
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		method, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		receiver, ok := method.X.(*ast.Ident)
		if !ok || receiver.Name != "t" && receiver.Name != "b" && receiver.Name != "f" {
			return true
		}
		switch method.Sel.Name {
		case "SkipNow":
		case "Skip", "Skipf":
			if len(call.Args) > 0 && !emptyText(call.Args[0]) {
				return true
			}
		default:
			return true
		}
		wrong = append(wrong, fmt.Sprintf("%s: skips a test without a reason", f.at(call.Pos())))
		return true
	})
	return wrong
}

func emptyText(arg ast.Expr) bool {
	literal, ok := arg.(*ast.BasicLit)
	return ok && literal.Kind == token.STRING && strings.Trim(literal.Value, "\"` ") == ""
}

// uses returns where the file calls or mentions a function of a package of the
// standard library.
func (f File) uses(pkg, function string) []token.Pos {
	name := ""
	for _, spec := range f.Syntax.Imports {
		if spec.Path.Value == `"`+pkg+`"` {
			name = pkg
			if spec.Name != nil {
				name = spec.Name.Name
			}
		}
	}
	if name == "" {
		return nil
	}
	var places []token.Pos
	ast.Inspect(f.Syntax, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && sel.Sel.Name == function {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == name {
				places = append(places, sel.Pos())
			}
		}
		return true
	})
	return places
}

// CheckDocs returns the packages whose files have no package comment that says
// what they are for.
func CheckDocs(files []File) []string {
	var wrong []string
	for _, name := range packages(files) {
		if !documented(files, name) {
			wrong = append(wrong, fmt.Sprintf("%s: no file has a package comment", name))
		}
	}
	return wrong
}

func documented(files []File, folder string) bool {
	for _, f := range files {
		if f.Package != folder || f.Syntax.Doc == nil {
			continue
		}
		text := f.Syntax.Doc.Text()
		switch {
		case f.Syntax.Name.Name == "main":
			return text != ""
		case strings.HasPrefix(text, "Package "+f.Syntax.Name.Name+" "):
			return true
		}
	}
	return false
}
