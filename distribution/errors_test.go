package distribution_test

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

	"artifactstore/distribution"
	"artifactstore/internal/web"
	"artifactstore/registry"
)

// codes reads the constants of type Code from the source of the registry, so
// that a new one cannot be forgotten here.
func codes(t *testing.T) (codes []registry.Code) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "../registry/errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
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
			if err != nil {
				t.Fatal(err)
			}
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
		status, ok := distribution.Status(code)
		if !ok {
			t.Errorf("%s has no row", code)
		} else if status < 400 || status >= 500 && code != registry.StorageFull && code != registry.Unavailable {
			t.Errorf("%s is answered with %d", code, status)
		}
	}
}

// answered lets the door answer err and returns the response.
func answered(t *testing.T, r *http.Request, err error) *httptest.ResponseRecorder {
	t.Helper()
	w := httptest.NewRecorder()
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { distribution.Fail(w, r, err) })
	web.Wrap(handler, web.Options{Failure: distribution.Failure}).ServeHTTP(w, r)
	return w
}

// errorCode reads the OCI form of an error.
func errorCode(t *testing.T, body io.Reader) string {
	t.Helper()
	var got struct {
		Errors []struct {
			Code    string
			Message string
			Detail  json.RawMessage
		}
	}
	decoder := json.NewDecoder(body)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&got); err != nil {
		t.Fatalf("the body is no OCI error: %v", err)
	}
	if len(got.Errors) != 1 || got.Errors[0].Message == "" {
		t.Fatalf("the body has errors %v", got.Errors)
	}
	return got.Errors[0].Code
}

func TestAnswers(t *testing.T) {
	get := httptest.NewRequest("GET", "/v2/a/manifests/v1", nil)
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		request *http.Request
		err     error
		status  int
		code    string
		header  map[string]string
	}{
		{"a refusal", get, registry.Errorf(registry.ManifestUnknown, "no"), 404, "MANIFEST_UNKNOWN", nil},
		{"a wrapped refusal", get, fmt.Errorf("x: %w", registry.Errorf(registry.TagInvalid, "no")), 400, "TAG_INVALID", nil},
		{"a detail", get, &registry.Error{Code: registry.DigestInvalid, Message: "no", Detail: map[string]int{"a": 1}}, 400, "DIGEST_INVALID", nil},
		{"a detail that is no JSON", get, &registry.Error{Code: registry.DigestInvalid, Message: "no", Detail: func() {}}, 400, "DIGEST_INVALID", nil},
		{"a blob in use", get, registry.Errorf(registry.BlobInUse, "no"), 405, "DENIED", nil},
		{"a method that is switched off", httptest.NewRequest("DELETE", "/v2/a/manifests/v1", nil),
			registry.Errorf(registry.Unsupported, "no"), 405, "UNSUPPORTED", map[string]string{"Allow": "GET, HEAD, PUT"}},
		{"no room", get, registry.Errorf(registry.StorageFull, "no"), 507, "STORAGE_FULL", nil},
		{"not now", get, registry.Errorf(registry.Unavailable, "no"), 503, "UNAVAILABLE", map[string]string{"Retry-After": "5"}},
		{"too often", get, registry.Errorf(registry.TooManyRequests, "no"), 429, "TOOMANYREQUESTS", map[string]string{"Retry-After": "1"}},
		{"a failure of the server", get, errors.New("password of /etc/secret"), 500, "UNKNOWN", nil},
		{"an outcome that is not known", get, registry.ErrUnknown, 500, "UNKNOWN", nil},
		{"a code that is not known", get, registry.Errorf("NEW_CODE", "password"), 500, "UNKNOWN", nil},
		{"a body that broke off", get, fmt.Errorf("x: %w", &web.BodyError{Err: io.ErrUnexpectedEOF}), 400, "BLOB_UPLOAD_INVALID", nil},
		{"a body that came too slowly", get, &registry.Error{Code: registry.ManifestInvalid, Message: "no", Err: &web.BodyError{Err: web.ErrSlow}}, 408, "MANIFEST_INVALID", nil},
		{"a client that has gone", get.WithContext(gone), fmt.Errorf("x: %w", context.Canceled), 400, "BLOB_UPLOAD_INVALID", nil},
		{"an upload that was taken over", get, fmt.Errorf("x: %w", context.Canceled), 400, "BLOB_UPLOAD_INVALID", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			w := answered(t, test.request, test.err)
			if w.Code != test.status {
				t.Errorf("status %d, want %d", w.Code, test.status)
			}
			if got := w.Header().Get("Content-Type"); got != "application/json" {
				t.Errorf("content type %q", got)
			}
			for name, want := range test.header {
				if got := w.Header().Get(name); got != want {
					t.Errorf("%s is %q, want %q", name, got, want)
				}
			}
			if strings.Contains(w.Body.String(), "password") {
				t.Errorf("the body tells %q", w.Body)
			}
			if got := errorCode(t, w.Body); got != test.code {
				t.Errorf("code %q, want %q", got, test.code)
			}
		})
	}
}

func TestErrorToHEADHasNoBody(t *testing.T) {
	w := answered(t, httptest.NewRequest("HEAD", "/v2/a/manifests/v1", nil), registry.Errorf(registry.ManifestUnknown, "no"))
	if w.Code != 404 || w.Body.Len() != 0 {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
}

func TestFailureHasTheFormOfTheAPI(t *testing.T) {
	w := httptest.NewRecorder()
	web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("password") }),
		web.Options{Failure: distribution.Failure}).ServeHTTP(w, httptest.NewRequest("GET", "/v2/", nil))
	if w.Code != 500 || strings.Contains(w.Body.String(), "password") || !strings.Contains(w.Body.String(), w.Header().Get("X-Request-ID")) {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	if code := errorCode(t, w.Body); code != "UNKNOWN" {
		t.Errorf("code %q", code)
	}
}

func TestResponseThatCannotBeCompletedIsCutOff(t *testing.T) {
	log := new(logBuffer)
	s := httptest.NewServer(web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusOK) // of no length that the client could check
		io.WriteString(w, strings.Repeat("x", 10_000))
		distribution.Fail(w, r, distribution.CutOff(errors.New("disk on fire")))
	}), web.Options{Log: slog.New(slog.NewJSONHandler(log, nil))}))
	defer s.Close()
	res, err := s.Client().Get(s.URL + "/v2/a/blobs/x")
	must(t, err)
	defer res.Body.Close()
	if data, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("read %d bytes without an error", len(data))
	}
	s.Close() // waits for the handler
	if text := log.String(); !strings.Contains(text, "disk on fire") || !strings.Contains(text, `"aborted":true`) {
		t.Errorf("logged %s", text)
	}
}
