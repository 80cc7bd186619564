package admin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/admin"
	"artifactstore/internal/budget"
)

func TestBodiesAreReadStrictly(t *testing.T) {
	s := newServer(t)
	s.pushImage("a", "v1", 1)
	head, err := s.ledger.Events().Head(t.Context())
	must(t, err)
	long := `{"name":"` + strings.Repeat("x", 128<<10) + `"}`
	for name, test := range map[string]struct {
		body   string
		fields []string
		status int
		code   string
		says   string
	}{
		"nothing":                      {"", []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "empty"},
		"white space":                  {" \n", []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "empty"},
		"no type":                      {"{}", nil, 415, "CONTENT_TYPE_REFUSED", "application/json"},
		"text":                         {"{}", []string{"Content-Type: text/plain"}, 415, "CONTENT_TYPE_REFUSED", "application/json"},
		"a form":                       {"a=b", []string{"Content-Type: application/x-www-form-urlencoded"}, 415, "CONTENT_TYPE_REFUSED", ""},
		"another JSON":                 {"{}", []string{"Content-Type: application/problem+json"}, 415, "CONTENT_TYPE_REFUSED", ""},
		"a type that is none":          {"{}", []string{"Content-Type: application/json; ="}, 415, "CONTENT_TYPE_REFUSED", ""},
		"compressed":                   {"{}", []string{"Content-Type: application/json", "Content-Encoding: gzip"}, 415, "CONTENT_TYPE_REFUSED", ""},
		"no object":                    {`[]`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "must be an object"},
		"null":                         {`null`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "must be an object"},
		"cut short":                    {`{"name":"a"`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "JSON at byte"},
		"an unknown member":            {`{"names":"a"}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", `"names"`},
		"another case":                 {`{"Name":"a"}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", `"Name"`},
		"a member twice":               {`{"name":"a","name":"b"}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "JSON at byte"},
		"a member twice by an escape":  {`{"name":"a","n\u0061me":"b"}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "JSON at byte"},
		"something behind":             {`{"name":"a"}{}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "JSON at byte"},
		"text that is none":            {"{\"name\":\"\xff\"}", []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "JSON at byte"},
		"a number":                     {`{"name":1}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "the member name does not take a number"},
		"a time that is none":          {`{"name":"a","until":"tomorrow"}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "a time must be"},
		"too deep":                     {`{"name":` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`, []string{"Content-Type: application/json"}, 400, "BODY_INVALID", "nested"},
		"too long":                     {long, []string{"Content-Type: application/json"}, 413, "BODY_TOO_LARGE", "128 KiB"},
		"as long as it may":            {long[:50] + `"}` + strings.Repeat(" ", 128<<10-52), []string{"Content-Type: application/json"}, 400, "NAME_INVALID", ""},
		"a charset":                    {`{"name":"a"}`, []string{"Content-Type: application/json; charset=utf-8"}, 400, "NAME_INVALID", ""},
		"a page of the web without it": {`{"name":"a"}`, []string{"Content-Type: application/json", "Origin: null"}, 403, "ORIGIN_REFUSED", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := s.ask("POST", "/holds", []byte(test.body), test.fields...).refused(test.status, test.code)
			r.says(test.says)
		})
	}
	s.change("POST", "/holds?name=a", `{}`).refused(400, "PARAMETER_INVALID")
	s.change("POST", "/undo", `{"sequence":0,"reason":"because"}`).refused(400, "BODY_INVALID").says("sequence")
	s.change("POST", "/undo", `{"sequence":9223372036854775808,"reason":"because"}`).refused(400, "BODY_INVALID")
	s.change("PUT", "/policies", `{"reason":"because"}`).refused(400, "BODY_INVALID").says("document")
	s.change("POST", at("a", "/manifests/v1/extend"), `{"reason":"because"}`).refused(400, "BODY_INVALID").says("until")
	s.change("POST", at("a", "/manifests/v1/erase"), `{"reason":"because"}`).refused(400, "PARAMETER_INVALID").says("digest")
	if after, err := s.ledger.Events().Head(t.Context()); err != nil || after != head {
		t.Errorf("the log ended at %v, ends at %v (%v)", head, after, err)
	}
}

// A chunked body does not say how long it is.
func TestLengthOfABodyIsNotTaken(t *testing.T) {
	s := newServer(t)
	chunked := func(body string) int {
		return s.raw("POST /admin/v1/holds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
	}
	if got := chunked("2\r\n{}\r\n0\r\n\r\n"); got != 400 {
		t.Errorf("answered %d", got)
	}
	if got := chunked("20001\r\n" + strings.Repeat(" ", 0x20001) + "\r\n0\r\n\r\n"); got != 413 {
		t.Errorf("answered %d", got)
	}
	if got := s.raw("POST /admin/v1/holds HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 10000000\r\n\r\n"); got != 413 {
		t.Errorf("answered %d before the body came", got)
	}
}

func TestMemoryOfBodiesIsBounded(t *testing.T) {
	share := budget.NewShare(128 << 10)
	s := newServer(t, func(o *settings) { o.admin.Held = share })
	body := `{"name":"a"}` + strings.Repeat(" ", 100<<10)
	s.change("POST", "/holds", body).refused(400, "NAME_INVALID")
	release, ok := share.TryAcquire(64 << 10)
	if !ok {
		t.Fatal("a body was not given back")
	}
	s.change("POST", "/holds", body).refused(429, "TOOMANYREQUESTS", "Retry-After: 1")
	release()
	s.change("POST", "/holds", body).refused(400, "NAME_INVALID")
}

// A store that is looked at is not changed, whatever is asked.
func TestStoreThatIsLookedAtIsNotChanged(t *testing.T) {
	unchanged(t, "STORE_READ_ONLY", func(o *settings) { o.admin.ReadOnly = true })
}

// The grace of a sweep, and whether anything may be erased, are those of a node's
// own configuration.
func TestNodeThatIsUnlikeTheOthersChangesNothing(t *testing.T) {
	unchanged(t, "NODE_UNFIT", func(o *settings) { o.admin.Fit = func() error { return errors.New("sweep.grace differs") } })
}

// unchanged expects that nothing can be changed, and all can be looked at.
func unchanged(t *testing.T, code string, change func(*settings)) {
	s := newServer(t, change)
	s.pushImage("a", "v1", 1)
	head, err := s.ledger.Events().Head(t.Context())
	must(t, err)
	path := strings.NewReplacer("{repository}", "a", "{reference}", s.digest("a", "v1"), "{plan}", "1")
	asked := 0
	for route, methods := range admin.Routes() {
		for _, method := range methods {
			if method == "GET" || method == "HEAD" {
				continue
			}
			body := map[string]string{"/admin/v1/fsck": `{"repair":true}`}[route]
			if body == "" {
				body = `{}`
			}
			s.change(method, path.Replace(route), body).refused(409, code)
			asked++
		}
	}
	if asked < 13 {
		t.Errorf("asked %d endpoints", asked)
	}
	result[admin.SweepReport](s.change("POST", "/sweep", `{"dryRun":true}`))
	result[admin.FsckReport](s.change("POST", "/fsck", `{"deep":true}`))
	if after, err := s.ledger.Events().Head(t.Context()); err != nil || after != head {
		t.Errorf("the log ended at %v, ends at %v (%v)", head, after, err)
	}
}

// Whatever body is sent, the answer is one that the description has, and never a
// failure.
func FuzzBody(f *testing.F) {
	s := newServer(f)
	s.pushImage("a", "v1", 1)
	var routes []string
	for route, methods := range admin.Routes() {
		for _, method := range methods {
			if method != "GET" && method != "HEAD" {
				routes = append(routes, method+" "+strings.NewReplacer("{repository}", "a", "{reference}", "v1", "{plan}", "1").Replace(route))
			}
		}
	}
	slices.Sort(routes)
	for i, body := range []string{`{}`, `{"reason":"because"}`, `{"name":"audit","repository":"a","tag":"v1","until":"2999-01-01T00:00:00Z","reason":"because"}`,
		`{"document":{"policies":[{"name":"p","repositories":["**"],"class":"transient"}]},"reason":"because"}`, `{"repositories":["a**"]}`,
		`{"until":"2999-01-01T00:00:00+01:00","reason":"because"}`, `{"class":"transient","reason":"because"}`, `{"sequence":7,"reason":"because"}`,
		`{"dryRun":true}`, `{"deep":true}`, `{"name":null}`, "{\"\x00\":1}"} {
		for at := range routes {
			f.Add(uint8(at), body)
		}
		f.Add(uint8(i), body[:len(body)/2])
	}
	f.Fuzz(func(t *testing.T, route uint8, body string) {
		method, path, _ := strings.Cut(routes[int(route)%len(routes)], " ")
		r := httptest.NewRequestWithContext(t.Context(), method, "http://localhost"+path, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		s.handler.ServeHTTP(w, r)
		answer := &reply{t, method + " " + path, w.Code, w.Header(), w.Body.Bytes()}
		// An empty member may stand for none, which the description does not tell.
		if s.doc.check(t, method, path, nil, answer); w.Code >= http.StatusInternalServerError {
			t.Errorf("%s %s with %q: %d %s", method, path, body, w.Code, w.Body)
		}
	})
}
