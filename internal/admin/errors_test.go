package admin_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"artifactstore/internal/admin"
	"artifactstore/internal/budget"
	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/fact"
)

// codes reads the constants of type Code from the source of the registry, so
// that a new one cannot be forgotten here.
func codes(t *testing.T) (codes []registry.Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../../registry/errors.go", nil, 0)
	must(t, err)
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		if kind, ok := spec.Type.(*ast.Ident); !ok || kind.Name != "Code" {
			return true
		}
		for _, value := range spec.Values {
			text, err := strconv.Unquote(value.(*ast.BasicLit).Value)
			must(t, err)
			codes = append(codes, registry.Code(text))
		}
		return true
	})
	if len(codes) < 20 {
		t.Fatalf("found only %d codes", len(codes))
	}
	return codes
}

func TestEveryCodeHasAStatus(t *testing.T) {
	for _, code := range codes(t) {
		status, ok := admin.StatusOf(code)
		if !ok {
			t.Errorf("%s has no row", code)
		} else if status < 400 || status >= 500 && code != registry.StorageFull && code != registry.Unavailable {
			t.Errorf("%s is answered with %d", code, status)
		}
	}
}

// answered lets the door answer err and returns the response.
func answered(r *http.Request, log io.Writer, err error) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Etag", `"of what could not be read"`)
		admin.Fail(w, r, err)
	})
	web.Wrap(handler, web.Options{Failure: admin.Failure, Log: slog.New(slog.NewJSONHandler(log, nil))}).ServeHTTP(w, r)
	return w
}

func TestErrorsAreProblemDocuments(t *testing.T) {
	get := httptest.NewRequest("GET", "/admin/v1/status", nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name    string
		request *http.Request
		err     error
		status  int
		code    string
		level   string
	}{
		{"a refusal", get, registry.Errorf(registry.ManifestUnknown, "no"), 404, "MANIFEST_UNKNOWN", "INFO"},
		{"a wrapped refusal", get, fmt.Errorf("x: %w", registry.Errorf(registry.TagInvalid, "no")), 400, "TAG_INVALID", "INFO"},
		{"content that is gone", get, &registry.Error{Code: registry.ManifestUnknown, Message: "no", Err: fact.ErrGone}, 404, "MANIFEST_UNKNOWN", "ERROR"},
		{"too much", get, registry.Errorf(registry.TooManyRequests, "no"), 429, "TOOMANYREQUESTS", "INFO"},
		{"a database that is away", get, fmt.Errorf("read the log: %w: password", fact.ErrUnavailable), 503, "UNAVAILABLE", "ERROR"},
		{"a failure of the server", get, errors.New("password of /etc/secret"), 500, "UNKNOWN", "ERROR"},
		{"a code that is not known", get, registry.Errorf("NEW_CODE", "password"), 500, "UNKNOWN", "ERROR"},
		{"a client that has gone", get.WithContext(gone), fmt.Errorf("x: %w", context.Canceled), 500, "UNKNOWN", "INFO"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var log strings.Builder
			w := answered(test.request, &log, test.err)
			var p admin.Problem
			must(t, json.Unmarshal(w.Body.Bytes(), &p))
			if w.Code != test.status || p.Status != test.status || string(p.Code) != test.code || p.Type != "about:blank" || p.Title != http.StatusText(test.status) ||
				p.Detail == "" || p.Request != w.Header().Get("X-Request-Id") {
				t.Errorf("answered %d %s", w.Code, w.Body)
			}
			if h := w.Header(); h.Get("Content-Type") != "application/problem+json" || h.Get("Etag") != "" || (h.Get("Retry-After") != "") != (test.status == 429 || test.status == 503) {
				t.Errorf("header %v", h)
			}
			if strings.Contains(w.Body.String(), "password") {
				t.Errorf("the body tells %q", w.Body)
			}
			if !strings.Contains(log.String(), `"level":"`+test.level+`"`) {
				t.Errorf("logged %s", log.String())
			}
		})
	}
}

func TestFailureIsAProblemDocument(t *testing.T) {
	w := httptest.NewRecorder()
	web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("password") }),
		web.Options{Failure: admin.Failure}).ServeHTTP(w, httptest.NewRequest("GET", "/admin/v1/status", nil))
	var p admin.Problem
	must(t, json.Unmarshal(w.Body.Bytes(), &p))
	if w.Code != 500 || p.Code != "UNKNOWN" || !strings.Contains(p.Detail, w.Header().Get("X-Request-Id")) || strings.Contains(w.Body.String(), "password") {
		t.Errorf("answered %d %s", w.Code, w.Body)
	}
}

// Whatever is wrong with stored bytes, no answer looks as if it were them.
func TestDamagedBytesAreNeverShown(t *testing.T) {
	flip := func(data []byte) []byte { data[len(data)/2] ^= 1; return data }
	cut := func(data []byte) []byte { return data[:len(data)-1] }
	longer := func(data []byte) []byte { return append(data, ' ') }
	gone := func([]byte) []byte { return nil }
	for name, test := range map[string]struct {
		change func([]byte) []byte
		status int
		code   string
	}{
		"a changed byte": {flip, 500, "CONTENT_DAMAGED"},
		"a byte less":    {cut, 404, "MANIFEST_UNKNOWN"},
		"a byte more":    {longer, 404, "MANIFEST_UNKNOWN"},
		"no file":        {gone, 404, "MANIFEST_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			s.putManifest("a", "large", imageType, s.image("a", 1, `,"annotations":{"padding":"`+strings.Repeat("p", 3*inlineLimit)+`"}`)).want(201)
			info := s.info("a", "large")
			s.damage(info.Native, test.change)
			s.get(at("a", "/manifests/large")).refused(test.status, test.code)
			s.get(at("a", "/manifests/large"), "Accept: application/cbor").refused(test.status, test.code)
			s.do("HEAD", at("a", "/manifests/large"), "Accept: application/cbor").want(test.status)
			s.get(at("a", "/manifests/large/pushed")).want(200)
			s.damage(info.Digest, test.change)
			s.get(at("a", "/manifests/large/pushed")).refused(test.status, test.code)
			s.get(at("a", "/manifests/large/info")).want(200)
			if log := s.log.String(); strings.Count(log, `"level":"ERROR"`) != 4 {
				t.Errorf("not every answer raised an alarm:\n%s", log)
			}
		})
	}
}

// sized is a manifest of about n bytes.
func (s *server) sized(repository string, n int) []byte {
	return s.image(repository, 1, `,"annotations":{"padding":"`+strings.Repeat("p", n)+`"}`)
}

func TestMemoryOfAnswersIsBounded(t *testing.T) {
	share := budget.NewShare(4 << 20)
	s := newServer(t, func(o *settings) { o.admin.Held = share })
	s.putManifest("a", "large", imageType, s.sized("a", 4<<20-1000)).want(201)
	s.putManifest("a", "small", imageType, s.sized("a", 1000)).want(201)
	large := at("a", "/manifests/large")
	s.get(large).want(200) // alone it has room
	release, ok := share.TryAcquire(1 << 20)
	if !ok {
		t.Fatal("an answer did not give back what it held")
	}
	for _, path := range []string{large, large + "/pushed"} {
		s.get(path).refused(429, "TOOMANYREQUESTS", "Retry-After: 1")
	}
	s.get(large, "Accept: application/cbor").refused(429, "TOOMANYREQUESTS")
	s.get(large + "/info").want(200)
	s.get(at("a", "/manifests/small")).want(200)
	release()
	s.get(large, "Accept: application/cbor").want(200)
	s.get(large + "/pushed").want(200)
}

func TestSickStoreIsToldOfAndWhyIsNot(t *testing.T) {
	log := new(logBuffer)
	s := newServer(t, func(o *settings) {
		o.admin.Errors = slog.New(slog.NewJSONHandler(log, nil))
		o.admin.Health = func(context.Context) []admin.StoreHealth {
			return []admin.StoreHealth{{Name: "files", FreeBytes: 1, TotalBytes: 2, FreeFiles: -1, TotalFiles: -1, KeptBytes: 0, Err: errors.New("disk of /secret on fire")}}
		}
	})
	s.get("/storage").want(200).bytes([]byte(`{"items":[{"name":"files","healthy":false,"freeBytes":1,"totalBytes":2,"keptBytes":0}]}` + "\n"))
	if !strings.Contains(log.String(), "on fire") {
		t.Errorf("the log has no cause: %s", log)
	}
}

func TestStatusTellsWhetherPushesAreTaken(t *testing.T) {
	var status admin.Status
	s := newServer(t) // a store that is looked at
	s.get("/status").want(200).json(&status)
	if status.Serving || status.Ready || status.Log.Sequence != 0 || status.Log.Time != nil {
		t.Errorf("status %+v", status)
	}
	for _, reason := range []error{nil, errors.New("secret")} {
		s := newServer(t, func(o *settings) {
			o.admin.Ready = func(context.Context) error { return reason }
			o.admin.Program = admin.Program{Version: "1", Commit: "c", Go: "go"}
		})
		s.pushBlob("a", content(1, 10))
		s.get("/status").want(200).json(&status)
		head, err := s.ledger.Events().Head(t.Context())
		must(t, err)
		if !status.Serving || status.Ready != (reason == nil) || status.Version != "1" || status.Log.ID != head.Log ||
			status.Log.Sequence != uint64(head.Sequence) || status.Log.Chain != head.Chain.String() || status.Log.Time.UnixMicro() != head.Time {
			t.Errorf("status %+v", status)
		}
	}
}
