package admin_test

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/admin"
)

func TestHostMustBeLoopbackOrConfigured(t *testing.T) {
	s := newServer(t, func(o *settings) {
		o.admin.Hosts = []string{"Registry.example", "10.0.0.5:5001", "[fd00::1]"}
	})
	for host, status := range map[string]int{
		"localhost": 200, "localhost:5001": 200, "LOCALHOST.": 200, "LocalHost:1": 200, "127.0.0.1": 200, "127.9.9.9:1": 200, "[::1]:5001": 200,
		"[::1]": 200, "[::ffff:127.0.0.1]:80": 200, "[0:0:0:0:0:0:0:1]:1": 200,
		"registry.example": 200, "REGISTRY.example.:443": 200, "10.0.0.5": 200, "10.0.0.5:80": 200, "[fd00::1]:5001": 200, "[FD00::1]": 200,

		"evil.example": 403, "localhost.evil.example": 403, "evil.localhost": 403, "127.0.0.1.evil.example": 403, "registry.example.evil.example": 403,
		"2130706433": 403, "0x7f000001": 403, "127.1": 403, "0177.0.0.1": 403, "0.0.0.0": 403, "[::]:5001": 403, "[::2]": 403, "10.0.0.6": 403,
		"192.168.0.1:5001": 403, "localhost..": 403, "xlocalhost": 403, "[localhost]x": 403, ":5001": 403, "registry.example%00": 403,
	} {
		r := s.get("/status", "Host: "+host)
		if r.status != status {
			t.Errorf("%q: %d, want %d", host, r.status, status)
		}
		if status == 403 {
			r.refused(403, "HOST_REFUSED")
		}
	}
	// What no well-behaved client sends.
	for request, status := range map[string]int{
		"GET /admin/v1/status HTTP/1.0\r\n\r\n":                                                      403,
		"GET /admin/v1/status HTTP/1.0\r\nHost: localhost\r\n\r\n":                                   200,
		"GET /admin/v1/status HTTP/1.1\r\nHost:\r\n\r\n":                                             403,
		"GET /admin/v1/status HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n":             400,
		"GET /admin/v1/status HTTP/1.1\r\n\r\n":                                                      400,
		"GET http://evil.example/admin/v1/status HTTP/1.1\r\nHost: localhost\r\n\r\n":                403,
		"GET /admin/v1/status HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n\r\n": 200,
		"GET /admin/v1/repositories/%zz HTTP/1.1\r\nHost: localhost\r\n\r\n":                         400,
		"GET /admin/v1/repositories/% HTTP/1.1\r\nHost: localhost\r\n\r\n":                           400,
	} {
		if got := s.raw(request); got != status {
			t.Errorf("%q: %d, want %d", request, got, status)
		}
	}
}

func TestRequestsOfWebPagesAreRefused(t *testing.T) {
	s := newServer(t, func(o *settings) { o.admin.Metrics = http.NotFoundHandler() })
	for _, path := range []string{"/status", "/nothing", "/events", "/metrics"} {
		for _, origin := range []string{"https://evil.example", "null", "", s.admin.URL, "http://localhost"} {
			s.get(path, "Origin: "+origin).refused(403, "ORIGIN_REFUSED")
		}
	}
	s.do("POST", "/status", "Origin: null").refused(403, "ORIGIN_REFUSED")
	s.get("/status", "Referer: https://evil.example/").want(200, "Access-Control-Allow-Origin:")
}

// Whatever is sent by a method that an endpoint does not have, nothing happens.
func TestOtherMethodsAreRefused(t *testing.T) {
	s := newServer(t, func(o *settings) { o.admin.Metrics = http.NotFoundHandler() })
	s.pushImage("a", "v1", 1)
	head, err := s.ledger.Events().Head(t.Context())
	must(t, err)
	routes := admin.Routes()
	routes["/metrics"] = []string{"GET", "HEAD"}
	path := strings.NewReplacer("{repository}", "a", "{tag}", "v1", "{reference}", "v1", "{digest}", sha256Of(nil), "{plan}", "1")
	for route, methods := range routes {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND", "get"} {
			if !slices.Contains(methods, method) {
				s.ask(method, path.Replace(route), []byte(`{"reason":"because"}`), "Content-Type: application/json").
					want(405, "Allow: "+strings.Join(methods, ", "))
			}
		}
	}
	s.do("PATCH", at("a", "")).refused(405, "METHOD_NOT_ALLOWED", "Allow: GET, HEAD, DELETE")
	for _, method := range []string{"POST", "DELETE", "OPTIONS"} {
		s.do(method, "/nothing").refused(404, "ENDPOINT_UNKNOWN", "Allow:")
	}
	if after, err := s.ledger.Events().Head(t.Context()); err != nil || after != head {
		t.Errorf("the log ended at %v, ends at %v (%v)", head, after, err)
	}
}

func TestHEADIsGETWithoutTheBody(t *testing.T) {
	s := newServer(t, func(o *settings) { o.registry.AllowSparse = true })
	s.furnish()
	for _, path := range append(s.everyPath(), "/nothing", "/usage?x", at("b", "/tags")) {
		got, head := s.get(path), s.do("HEAD", path)
		if head.status != got.status {
			t.Errorf("%s: %d, HEAD %d", path, got.status, head.status)
		}
		for name, values := range got.header {
			// The free space of a disk can have another length each time.
			if name == "X-Request-Id" || name == "Date" || name == "Content-Length" && path == "/storage" {
				continue
			}
			if name == "Content-Length" && got.status >= 400 {
				continue // it counts the id of the request
			}
			if !slices.Equal(values, head.header.Values(name)) {
				t.Errorf("%s: %s is %q, HEAD %q", path, name, values, head.header.Values(name))
			}
		}
	}
}

// A body that nobody asked for is not waited for.
func TestBodyOfAGETIsOfNoAccount(t *testing.T) {
	s := newServer(t)
	r, err := http.NewRequestWithContext(t.Context(), "GET", s.admin.URL+"/admin/v1/status", bytes.NewReader(content(1, 1<<20)))
	must(t, err)
	res, err := s.admin.Client().Do(r)
	must(t, err)
	_, err = io.Copy(io.Discard, res.Body)
	must(t, err)
	must(t, res.Body.Close())
	if res.StatusCode != 200 {
		t.Errorf("answered %d", res.StatusCode)
	}
}
