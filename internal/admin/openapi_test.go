package admin_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"artifactstore/eventlog"
	"artifactstore/internal/admin"
	"artifactstore/internal/budget"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

func TestDescriptionIsServedAsItIs(t *testing.T) {
	s := newServer(t)
	s.get("/openapi.json").want(200, "Content-Type: application/json").bytes(admin.Description)
	s.get("/openapi.json?x=1").refused(400, "PARAMETER_INVALID")
}

func TestDescriptionHasTheRoutesOfTheRouterAndNoOthers(t *testing.T) {
	d := describe(t)
	described := make(map[string][]string)
	for path, operations := range d.root["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			described[path] = append(described[path], strings.ToUpper(method))
		}
		if slices.Contains(described[path], "GET") {
			described[path] = append(described[path], "HEAD")
		}
		slices.Sort(described[path])
	}
	served := admin.Routes()
	served["/metrics"] = []string{"GET", "HEAD"}
	for path := range served {
		slices.Sort(served[path])
	}
	if !maps.EqualFunc(described, served, slices.Equal) {
		t.Errorf("described %q\nserved    %q", described, served)
	}
}

func TestPageOfTheAPIHasTheRoutesOfTheDescription(t *testing.T) {
	page, err := os.ReadFile("../../docs/admin-api.md")
	must(t, err)
	var listed []string
	for _, row := range regexp.MustCompile("(?m)^\\| `(/[^`]+)` \\|").FindAllSubmatch(page, -1) {
		path := string(row[1])
		if path != "/metrics" {
			path = admin.Prefix + path
		}
		listed = append(listed, path)
	}
	slices.Sort(listed)
	if described := slices.Sorted(maps.Keys(describe(t).root["paths"].(map[string]any))); !slices.Equal(listed, described) {
		t.Errorf("the page lists %q\ndescribed are  %q", listed, described)
	}
}

func TestDescriptionIsWellFormed(t *testing.T) {
	d := describe(t)
	if d.root["openapi"] != "3.1.0" {
		t.Errorf("openapi is %v", d.root["openapi"])
	}
	used := make(map[string]bool)
	d.each(func(at string, o map[string]any) {
		if ref, ok := o["$ref"].(string); ok {
			used[strings.TrimPrefix(ref, "#")] = true
			if v, _ := d.at(strings.TrimPrefix(ref, "#")); v == nil {
				t.Errorf("%s: %s leads nowhere", at, ref)
			}
		}
		if properties, ok := o["properties"].(map[string]any); ok && !strings.Contains(at, "/allOf/") {
			checkObject(t, d, at, o, properties)
		}
	})
	ids := make(map[string]bool)
	for path, operations := range d.root["paths"].(map[string]any) {
		for method := range operations.(map[string]any) {
			at := "/paths/" + escape(path) + "/" + method
			o, _ := d.object(at)
			id, _ := o["operationId"].(string)
			if id == "" || ids[id] {
				t.Errorf("%s: its operationId %q is empty or not unique", at, id)
			}
			ids[id] = true
			for _, member := range []string{"summary", "description", "responses", "tags"} {
				if o[member] == nil {
					t.Errorf("%s has no %s", at, member)
				}
			}
			if (o["requestBody"] != nil) == (method == "get") {
				t.Errorf("%s: a GET has no body, all others have one", at)
			}
			checkParameters(t, d, path, at)
			checkResponses(t, d, at)
		}
	}
	for kind, all := range d.root["components"].(map[string]any) {
		for name := range all.(map[string]any) {
			at := "/components/" + kind + "/" + name
			if !used[at] {
				t.Errorf("%s is used nowhere", at)
			}
			if kind == "schemas" { // against the meta-schema of JSON Schema 2020-12
				_, err := d.compiler.Compile(source + "#" + at)
				must(t, err)
			}
		}
	}
}

// checkObject holds the schema of an object to having a description, also of
// each property, and to being closed.
func checkObject(t *testing.T, d *description, at string, o, properties map[string]any) {
	if o["description"] == nil || o["additionalProperties"] != false || o["type"] != "object" {
		t.Errorf("%s is no closed object with a description", at)
	}
	required, _ := o["required"].([]any)
	for _, name := range required {
		if properties[name.(string)] == nil {
			t.Errorf("%s requires %s, which it does not have", at, name)
		}
	}
	for name := range properties {
		property, _ := d.object(at + "/properties/" + escape(name))
		if property["description"] == nil {
			t.Errorf("%s: %s has no description", at, name)
		}
	}
}

func checkParameters(t *testing.T, d *description, path, at string) {
	o, _ := d.object(at)
	var inPath []string
	parameters, _ := o["parameters"].([]any)
	for i := range parameters {
		p, _ := d.object(fmt.Sprintf("%s/parameters/%d", at, i))
		if p["description"] == nil || p["schema"] == nil {
			t.Errorf("%s: parameter %v has no description or no schema", path, p["name"])
		}
		if p["in"] == "path" {
			inPath = append(inPath, "{"+p["name"].(string)+"}")
		}
	}
	if want := regexp.MustCompile(`\{[a-z]+\}`).FindAllString(path, -1); !slices.Equal(inPath, want) {
		t.Errorf("%s has the parameters %v", path, inPath)
	}
}

func checkResponses(t *testing.T, d *description, at string) {
	responses, _ := d.object(at + "/responses")
	for _, status := range []string{"200", "403", "405", "500"} {
		if responses[status] == nil {
			t.Errorf("%s has no response %s", at, status)
		}
	}
	for status := range responses {
		response, _ := d.object(at + "/responses/" + status)
		if response["description"] == nil || response["content"] == nil || response["headers"] == nil {
			t.Errorf("%s: response %s has no description, content or headers", at, status)
		}
	}
}

// Examples are what people copy: they have to be right.
func TestExamplesOfTheDescriptionFitTheirSchemas(t *testing.T) {
	d, found := describe(t), 0
	d.each(func(at string, o map[string]any) {
		var examples []any
		schema := at
		if all, ok := o["examples"].([]any); ok {
			examples = all
		}
		if one, ok := o["example"]; ok && o["x-itemSchema"] == nil {
			examples, schema = append(examples, one), at+"/schema"
		}
		for _, example := range examples {
			found++
			compiled, err := d.compiler.Compile(source + "#" + schema)
			must(t, err)
			if err := compiled.Validate(example); err != nil {
				t.Errorf("%s: %v", at, err)
			}
		}
	})
	if found < 20 {
		t.Errorf("found only %d examples", found)
	}
}

// neverSent are properties that no server of this version has a reason to send.
// TestEventsThatThisVersionDoesNotMake sends them from a log of its own.
var neverSent = []string{
	"/components/schemas/Event/properties/payloadCBOR",
	"/components/schemas/Event/properties/privateErased",
}

// answerable are the parts of the description that some answer must have: all
// properties, all refusals, all forms of what is asked for.
var answerable = regexp.MustCompile(`^/components/schemas/\w+/properties/[^/]+$|^/components/responses/\w+$|/responses/200/content/[^/]+$`)

// Every answer of every test is checked against the description; this test
// makes sure that the reverse holds: whatever is described is really answered.
func TestWhatIsDescribedIsAnswered(t *testing.T) {
	share, clock, closing, damage := budget.NewShare(1<<20), new(hands), make(chan struct{}), ""
	s := newServer(t, clock.put, func(o *settings) {
		o.registry.AllowSparse = true
		o.admin.Held, o.admin.Closing = share, closing
		o.admin.Check = func(ctx) (string, error) { return damage, nil }
		o.admin.Nodes = func() []admin.Node {
			since := time.Date(2026, 11, 23, 23, 34, 36, 0, time.UTC)
			return []admin.Node{{Name: "node1", Version: "1", Started: since, Seen: since, Self: true},
				{Name: "node2", Version: "1", Started: since, Seen: since, Problem: "the configuration differs"}}
		}
		o.admin.Metrics = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/plain; version=0.0.4")
			fmt.Fprintln(w, "up 1")
		})
	})
	s.furnish()
	s.pushList("team/all", "list")
	for _, path := range s.everyPath() {
		s.get(path).want(200)
	}
	s.get(at("team/all", "/manifests/list")).want(200)
	s.get(at("team/all", "/manifests/list/pushed")).want(200)
	s.get("/digests/" + s.digest("team/all", "one") + "/references?n=1").want(200)
	s.get("/metrics").want(200)
	s.everyChange(clock)
	damage = "view tags: row name=v1: it is missing"
	s.change("POST", "/fsck", `{"repair":true}`).want(200)
	s.get(at("team/app", "/manifests/v1"), "Accept: application/cbor").want(200)
	s.get("/events?n=1", "Accept: text/event-stream").want(200)
	// And what goes wrong.
	s.get("/events?after=100000").refused(409, "CURSOR_UNKNOWN")
	s.get("/nothing").refused(404, "ENDPOINT_UNKNOWN")
	s.get("/usage?n=x").refused(400, "PARAMETER_INVALID")
	s.get("/usage", "Origin: null").refused(403, "ORIGIN_REFUSED")
	s.do("POST", "/usage").refused(405, "METHOD_NOT_ALLOWED")
	s.change("POST", "/undo", "{").refused(400, "BODY_INVALID")
	s.change("POST", "/undo", strings.Repeat(" ", 128<<10+1)).refused(413, "BODY_TOO_LARGE")
	s.do("POST", "/undo").refused(415, "CONTENT_TYPE_REFUSED")
	s.breaksOff()
	close(closing)
	s.change("POST", "/scrub", "{}").refused(503, "UNAVAILABLE", "Retry-After: 5")
	release, _ := share.TryAcquire(1 << 20)
	s.get(at("team/app", "/manifests/v1/referrers")).refused(429, "TOOMANYREQUESTS", "Retry-After: 1")
	release()
	s.damage(s.native("team/app", "large"), func(data []byte) []byte { data[100] ^= 1; return data })
	s.get(at("team/app", "/manifests/large")).refused(500, "CONTENT_DAMAGED")

	s.doc.each(func(at string, o map[string]any) {
		if answerable.MatchString(at) && !s.doc.seen[at] && !slices.Contains(neverSent, at) {
			t.Errorf("%s is described, and was in no answer", at)
		}
	})
}

// erased is a log whose private parts are erased.
type erased struct{ eventlog.Reader }

func (l erased) Read(ctx ctx, after eventlog.Sequence, limit int) ([]eventlog.Event, error) {
	page, err := l.Reader.Read(ctx, after, limit)
	for i := range page {
		page[i].Private = nil
	}
	return page, err
}

func TestEventsThatThisVersionDoesNotMake(t *testing.T) {
	odd := &fakeLog{payload: []byte{0x41, 0xff}, actor: "a"}
	odd.append(fact.KindTagMoved, fact.KindTagMoved)
	for name, test := range map[string]struct {
		reader func(eventlog.Reader) eventlog.Reader
		want   string
	}{
		"an erased private part":         {func(r eventlog.Reader) eventlog.Reader { return erased{r} }, `"privateErased":true`},
		"a payload that is not for JSON": {func(eventlog.Reader) eventlog.Reader { return odd }, `"payloadCBOR":"41ff"`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, func(o *settings) { o.reader = test.reader })
			s.pushBlob("a", content(1, 10))
			for _, accept := range []string{"application/x-ndjson", "text/event-stream"} {
				r := s.get("/events?n=2", "Accept: "+accept).want(200)
				if !bytes.Contains(r.body, []byte(test.want)) {
					t.Errorf("%s: no %s in %s", accept, test.want, r.body)
				}
			}
		})
	}
}

func TestReasonOfAnEventIsTold(t *testing.T) {
	s := newServer(t)
	must(t, s.ledger.Update(t.Context(), registry.Caller{Actor: "system"}, registry.Keys{}, func(registry.View) (*registry.Change, error) {
		return &registry.Change{Entries: []registry.Entry{{Fact: created("a"), Reason: "because"}}}, nil
	}))
	if r := s.get("/events").want(200); !bytes.Contains(r.body, []byte(`"reason":"because"`)) {
		t.Errorf("no reason in %s", r.body)
	}
}
