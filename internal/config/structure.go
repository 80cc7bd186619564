package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// structure reads a setting that is a mapping or a list, and turns it into the
// JSON that its variable would have. Each entry is judged by itself, so that a
// problem has the line of its entry.
func (r *reader) structure(name string, s structure, v *yaml.Node) {
	want, says := yaml.SequenceNode, "want a list"
	if s.empty() == "{}" {
		want, says = yaml.MappingNode, "want a mapping: names with values, one a line"
	}
	if v.Kind != want {
		r.problem(v, name, says)
		return
	}
	before := len(r.problems)
	step := 1
	if want == yaml.MappingNode {
		step = 2
	}
	var entries []string
	for i := 0; i+step <= len(v.Content); i += step {
		at, so := v.Content[i], len(r.problems)
		entry := r.entryText(name, v.Content[i:i+step])
		if len(r.problems) > so {
			continue
		}
		if err := s.parts(entry); err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				r.problem(at, name, line)
			}
			continue
		}
		entries = append(entries, entry)
	}
	if len(r.problems) > before {
		return
	}
	open, end := s.empty()[:1], s.empty()[1:]
	r.settings = append(r.settings, Setting{name, open + strings.Join(entries, ",") + end, fmt.Sprintf("%s:%d", r.file, r.seen[name])})
}

// entryText is the JSON of an entry: of a value, or of a name and a value.
func (r *reader) entryText(name string, nodes []*yaml.Node) string {
	if len(nodes) == 1 {
		return r.json(name, nodes[0])
	}
	if nodes[0].Kind != yaml.ScalarNode {
		r.problem(nodes[0], name, "a name must be plain text")
		return ""
	}
	return quote(nodes[0].Value) + ":" + r.json(name, nodes[1])
}

// json is the JSON of a node. A member that is there twice is there twice, for
// whoever reads the text to refuse.
func (r *reader) json(name string, n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		var members []string
		for i := 0; i+1 < len(n.Content); i += 2 {
			members = append(members, r.entryText(name, n.Content[i:i+2]))
		}
		return "{" + strings.Join(members, ",") + "}"
	case yaml.SequenceNode:
		var entries []string
		for _, entry := range n.Content {
			entries = append(entries, r.json(name, entry))
		}
		return "[" + strings.Join(entries, ",") + "]"
	case yaml.ScalarNode:
		return r.scalarJSON(name, n)
	}
	r.problem(n, name, "want a value: there are no aliases here")
	return ""
}

func (r *reader) scalarJSON(name string, n *yaml.Node) string {
	switch n.ShortTag() {
	case "!!str", "!!timestamp": // a date is text to us
		return quote(n.Value)
	case "!!bool":
		var b bool
		if n.Decode(&b) == nil {
			return strconv.FormatBool(b)
		}
	case "!!int":
		var i int64
		if n.Decode(&i) == nil {
			return strconv.FormatInt(i, 10)
		}
	case "!!null":
		r.problem(n, name, "a member has no value")
		return ""
	}
	r.problem(n, name, fmt.Sprintf("%q is neither text, true or false, nor a whole number; put it in quotes", n.Value))
	return ""
}

func quote(text string) string {
	quoted, err := json.Marshal(text)
	if err != nil {
		panic(err) // texts always encode
	}
	return string(quoted)
}

// structured is the YAML of a value that is a JSON text. If it has many lines its
// comment goes behind its name.
func structured(text, name *yaml.Node, empty bool) *yaml.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(text.Value), &doc); err != nil {
		panic(err) // JSON is YAML
	}
	value := doc.Content[0]
	if empty {
		value.LineComment = text.LineComment
		return value
	}
	name.LineComment = text.LineComment
	unstyle(value)
	return value
}

// unstyle takes the style of JSON from a node: texts keep quotes where they need them.
func unstyle(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode && n.Style == yaml.DoubleQuotedStyle {
		n.Tag = "!!str"
	}
	n.Style = 0
	for _, inner := range n.Content {
		unstyle(inner)
	}
}

// ToJSON returns the JSON of a text that is YAML, or JSON, which is YAML too. It is
// read as the structures of a configuration are: a member that is there twice is
// there twice in the result. The error is Problems, with lines of the file name.
func ToJSON(name string, data []byte) ([]byte, error) {
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var doc, more yaml.Node
	if err := decoder.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, Problems{{Where: name, Text: "is empty"}}
	} else if err != nil {
		return nil, Problems{syntax(name, err)}
	}
	r := &reader{file: name}
	if err := decoder.Decode(&more); err == nil {
		r.problem(&more, "", "only one YAML document is allowed")
	} else if !errors.Is(err, io.EOF) {
		return nil, Problems{syntax(name, err)}
	}
	text := r.json("", doc.Content[0])
	return []byte(text), r.problems.err()
}
