package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// FromYAML returns the settings of a YAML file; name is used in messages. The
// error is Problems: bad syntax, unknown keys, keys given twice, values that
// are no scalars. Values are not parsed here (Resolve does).
func FromYAML(name string, data []byte) ([]Setting, error) {
	r := &reader{file: name, seen: make(map[string]int)}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil // nothing but comments
	} else if err != nil {
		return nil, Problems{syntax(name, err)}
	}
	if err := decoder.Decode(&more); err == nil {
		r.problem(&more, "", "only one YAML document is allowed")
	} else if !errors.Is(err, io.EOF) {
		return nil, Problems{syntax(name, err)}
	}
	for _, root := range doc.Content {
		r.section("", root)
	}
	return r.settings, r.problems.err()
}

// syntax turns the library's "yaml: line 3: text" into a problem of that line.
func syntax(name string, err error) Problem {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	if rest, ok := strings.CutPrefix(text, "line "); ok {
		if line, message, ok := strings.Cut(rest, ": "); ok {
			return Problem{Where: name + ":" + line, Text: message}
		}
	}
	return Problem{Where: name, Text: text}
}

// reader walks a document, whose nodes carry their lines: decoding into a
// struct would lose where each value was, and stop at the first problem.
type reader struct {
	file     string
	seen     map[string]int // line of each key and section
	settings []Setting
	problems Problems
}

func (r *reader) where(n *yaml.Node) string { return fmt.Sprintf("%s:%d", r.file, n.Line) }

func (r *reader) problem(n *yaml.Node, key, text string) {
	r.problems = append(r.problems, Problem{r.where(n), key, text})
}

// section reads the mapping under a path; nothing at all is an empty mapping,
// so that all keys of a section can be commented out.
func (r *reader) section(path string, n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" {
		return
	}
	if n.Kind != yaml.MappingNode {
		r.problem(n, path, "want keys with values here, one a line")
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		r.entry(path, n.Content[i], n.Content[i+1])
	}
}

func (r *reader) entry(path string, k, v *yaml.Node) {
	if k.Kind != yaml.ScalarNode {
		r.problem(k, path, "a key must be plain text")
		return
	}
	name := k.Value
	if path != "" {
		name = path + "." + name
	}
	// A key with a dot in it would have two spellings, and could be given twice.
	known := !strings.Contains(k.Value, ".")
	_, leaf := Lookup(name)
	switch {
	case !known || !leaf && !isSection(name):
		r.problem(k, name, "unknown key"+suggest(name, names()))
		return
	case r.seen[name] != 0:
		r.problem(k, name, fmt.Sprintf("given twice, first in line %d", r.seen[name]))
		return
	}
	r.seen[name] = k.Line
	if leaf {
		r.value(name, v)
	} else {
		r.section(name, v)
	}
}

func (r *reader) value(name string, v *yaml.Node) {
	key, _ := Lookup(name)
	if s, ok := key.structure(); ok && v.Kind != yaml.ScalarNode {
		r.structure(name, s, v)
		return
	}
	r.scalar(name, v)
}

func (r *reader) scalar(name string, v *yaml.Node) {
	if v.Kind != yaml.ScalarNode {
		r.problem(v, name, "want a single value")
		return
	}
	switch v.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool":
		r.settings = append(r.settings, Setting{name, v.Value, r.where(v)})
	case "!!null":
		r.problem(v, name, "has no value")
	default:
		r.problem(v, name, "want a single value; put it in quotes")
	}
}

func isSection(name string) bool {
	for _, k := range keys {
		if strings.HasPrefix(k.Name, name+".") {
			return true
		}
	}
	return false
}

// YAML writes the configuration as a file that FromYAML reads, with all keys
// but without secrets, and the comment that comment returns behind each value ("" for none).
func (c *Config) YAML(w io.Writer, comment func(Key) string) (err error) {
	root := &yaml.Node{Kind: yaml.MappingNode}
	sections := map[string]*yaml.Node{"": root}
	for _, k := range keys {
		path, leaf := split(k.Name)
		if sections[path] == nil {
			sections[path] = &yaml.Node{Kind: yaml.MappingNode}
			root.Content = append(root.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: path}, sections[path])
		}
		name := &yaml.Node{Kind: yaml.ScalarNode, Value: leaf}
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: k.Get(c), LineComment: comment(k)}
		if s, ok := k.structure(); ok {
			value = structured(value, name, value.Value == s.empty())
		}
		if quotable(k.field(c)) {
			value.Tag = "!!str" // quotes what would otherwise be read as something else
		}
		sections[path].Content = append(sections[path].Content, name, value)
	}
	encoder := yaml.NewEncoder(w)
	encoder.SetIndent(2)
	defer func() { err = errors.Join(err, encoder.Close()) }()
	return encoder.Encode(root)
}

// quotable tells whether a field's text can be empty, or look like another type.
func quotable(field any) bool {
	switch field.(type) {
	case *string, *DSN, *Encryption, *Term:
		return true
	}
	return false
}

// split cuts a key's name into its section and the rest.
func split(name string) (section, leaf string) {
	i := strings.LastIndexByte(name, '.')
	return name[:max(i, 0)], name[i+1:]
}
