package admin_test

import (
	"bytes"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"artifactstore/internal/admin"
)

// description is openapi.json, ready to check answers against. It notes what it
// has seen.
type description struct {
	root     map[string]any
	compiler *jsonschema.Compiler

	mu   sync.Mutex
	seen map[string]bool
}

const source = "http://description/openapi.json"

func describe(t testing.TB) *description {
	t.Helper()
	root, err := jsonschema.UnmarshalJSON(bytes.NewReader(admin.Description))
	must(t, err)
	d := &description{root: root.(map[string]any), compiler: jsonschema.NewCompiler(), seen: make(map[string]bool)}
	d.compiler.AssertFormat()
	must(t, d.compiler.AddResource(source, root))
	return d
}

// at resolves a JSON pointer (RFC 6901), and the $ref that it may lead to.
func (d *description) at(pointer string) (any, string) {
	var v any = d.root
	for _, part := range strings.Split(pointer, "/")[1:] {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch in := v.(type) {
		case map[string]any:
			v = in[part]
		case []any:
			i, err := strconv.Atoi(part)
			if err != nil || i >= len(in) {
				return nil, pointer
			}
			v = in[i]
		default:
			return nil, pointer
		}
	}
	if m, ok := v.(map[string]any); ok {
		if ref, ok := m["$ref"].(string); ok {
			return d.at(strings.TrimPrefix(ref, "#"))
		}
	}
	return v, pointer
}

func (d *description) object(pointer string) (map[string]any, string) {
	v, pointer := d.at(pointer)
	m, _ := v.(map[string]any)
	return m, pointer
}

func escape(part string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(part) }

// methods has the members of a path, in the words of HTTP.
var methods = map[string]string{"GET": "get", "HEAD": "get", "POST": "post", "PUT": "put", "DELETE": "delete"}

// operation finds what the description has for a request, as a pointer.
func (d *description) operation(method, path string) (at string, ok bool) {
	template, ok := d.template(path)
	if !ok {
		return "", false
	}
	at = "/paths/" + escape(template) + "/" + methods[method]
	if o, _ := d.object(at); o == nil || methods[method] == "" {
		// A method that is not there is refused as by any other of the path.
		o, _ := d.object("/paths/" + escape(template))
		return "/paths/" + escape(template) + "/" + slices.Sorted(maps.Keys(o))[0], false
	}
	return at, true
}

// template finds the path of the description that a request is for.
func (d *description) template(path string) (template string, ok bool) {
	path, _, _ = strings.Cut(path, "?")
	parts := strings.Split(path, "/")
	for template := range d.root["paths"].(map[string]any) {
		want := strings.Split(template, "/")
		if slices.EqualFunc(want, parts, func(want, part string) bool {
			return want == part || strings.HasPrefix(want, "{") && part != ""
		}) {
			return template, true
		}
	}
	return "", false
}

// check holds an answer to what the description says of it: its status, its
// header, its content type, its body; and a body that was accepted to what it
// says of the request.
func (d *description) check(t testing.TB, method, path string, body []byte, r *reply) {
	t.Helper()
	d.mu.Lock()
	defer d.mu.Unlock()
	operation, ok := d.operation(method, path)
	if !ok && r.status == http.StatusOK {
		t.Fatalf("%s: answered, and not described", r.what)
	}
	if operation == "" {
		operation = "/paths/" + escape(admin.Prefix+"/status") + "/get" // whose refusals are those of all
	}
	if r.status == http.StatusOK && len(body) > 0 {
		d.validate(t, "the body of "+r.what, operation+"/requestBody/content/application~1json/schema", body)
	}
	response, at := d.object(fmt.Sprintf("%s/responses/%d", operation, r.status))
	if !ok && response == nil {
		response, at = d.object("/components/responses/NotFound")
	}
	if response == nil {
		t.Fatalf("%s: the description has no status %d: %.300s", r.what, r.status, r.body)
	}
	d.seen[at] = true
	d.checkHeader(t, at, r)
	contentType, _, err := mime.ParseMediaType(r.header.Get("Content-Type"))
	must(t, err)
	media, at := d.object(at + "/content/" + escape(contentType))
	if media == nil {
		t.Fatalf("%s: the description has no %s for %d", r.what, contentType, r.status)
	}
	d.seen[at] = true
	if method == http.MethodHead {
		if len(r.body) != 0 {
			t.Errorf("%s: has a body", r.what)
		}
		return
	}
	for _, text := range bodies(t, contentType, r.body) {
		schema := at + "/schema"
		if media["x-itemSchema"] != nil {
			schema = at + "/x-itemSchema"
		}
		d.validate(t, r.what, schema, text)
	}
}

// ours are the headers of every HTTP answer.
var ours = []string{"Date", "Content-Type", "Content-Length"}

func (d *description) checkHeader(t testing.TB, at string, r *reply) {
	t.Helper()
	described, _ := d.object(at + "/headers")
	for name := range described {
		header, _ := d.object(at + "/headers/" + escape(name))
		if header["required"] == true && r.header.Get(name) == "" {
			t.Errorf("%s: has no %s", r.what, name)
		}
	}
	for name, values := range r.header {
		described := slices.ContainsFunc(slices.Collect(maps.Keys(described)), func(d string) bool { return http.CanonicalHeaderKey(d) == name })
		if !described && !slices.Contains(ours, name) {
			t.Errorf("%s: the description has no header %s", r.what, name)
		}
		if len(values) != 1 {
			t.Errorf("%s: %s is sent as %q", r.what, name, values)
		}
	}
}

// bodies are the JSON texts of a body that are described by a schema.
func bodies(t testing.TB, contentType string, body []byte) (texts [][]byte) {
	switch contentType {
	case "text/plain", "application/cbor":
		return nil
	case "application/x-ndjson":
		for line := range bytes.Lines(body) {
			texts = append(texts, line)
		}
		return texts
	case "text/event-stream":
		for _, m := range messages(body) {
			if m.data != "" {
				texts = append(texts, []byte(m.data))
			}
		}
		return texts
	}
	return [][]byte{body}
}

func (d *description) validate(t testing.TB, what, pointer string, text []byte) {
	t.Helper()
	schema, err := d.compiler.Compile(source + "#" + (&url.URL{Path: pointer}).EscapedPath())
	must(t, err)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%s: %v in %.300s", what, err, text)
	}
	if err := schema.Validate(v); err != nil {
		t.Errorf("%s: %v\n%.1000s", what, err, text)
	}
	d.cover(pointer, v)
}

// cover notes which properties of a schema a value has.
func (d *description) cover(pointer string, v any) {
	schema, pointer := d.object(pointer)
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			if properties, _ := schema["properties"].(map[string]any); properties[name] != nil {
				d.seen[pointer+"/properties/"+escape(name)] = true
				d.cover(pointer+"/properties/"+escape(name), member)
			} else if _, ok := schema["additionalProperties"].(map[string]any); ok {
				d.cover(pointer+"/additionalProperties", member)
			}
		}
	case []any:
		for _, item := range v {
			d.cover(pointer+"/items", item)
		}
	}
	rules, _ := schema["allOf"].([]any)
	for i := range rules {
		kind, _ := d.at(fmt.Sprintf("%s/allOf/%d/if/properties/kind/const", pointer, i))
		if event, ok := v.(map[string]any); ok && event["kind"] == kind {
			then := fmt.Sprintf("%s/allOf/%d/then/properties/payload", pointer, i)
			d.cover(then, event["payload"])
		}
	}
}

// message is a server-sent event.
type message struct{ id, event, data string }

// messages reads the complete messages of a stream.
func messages(stream []byte) (all []message) {
	for block := range strings.SplitSeq(string(stream), "\n\n") {
		var m message
		for line := range strings.SplitSeq(block, "\n") {
			name, value, _ := strings.Cut(line, ": ")
			switch name {
			case "id":
				m.id = value
			case "event":
				m.event = value
			case "data":
				m.data = value
			}
		}
		if m != (message{}) {
			all = append(all, m)
		}
	}
	return all
}

// each walks all objects of the description.
func (d *description) each(f func(pointer string, object map[string]any)) {
	var walk func(pointer string, v any)
	walk = func(pointer string, v any) {
		switch v := v.(type) {
		case map[string]any:
			f(pointer, v)
			for name, member := range v {
				walk(pointer+"/"+escape(name), member)
			}
		case []any:
			for i, item := range v {
				walk(fmt.Sprintf("%s/%d", pointer, i), item)
			}
		}
	}
	walk("", d.root)
}
