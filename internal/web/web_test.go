package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"artifactstore/internal/web"
)

// wrapped runs one request through Wrap and returns the response and the log.
func wrapped(t *testing.T, handler http.HandlerFunc, r *http.Request) (*httptest.ResponseRecorder, *lines) {
	t.Helper()
	log := new(lines)
	w := httptest.NewRecorder()
	web.Wrap(handler, web.Options{Log: slog.New(slog.NewJSONHandler(log, nil))}).ServeHTTP(w, r)
	return w, log
}

func TestRequestID(t *testing.T) {
	tests := []struct {
		name, header string
		taken        bool
	}{
		{"a simple id is taken over", "build-17.a_B", true},
		{"the longest id is taken over", strings.Repeat("a", 128), true},
		{"a longer id is replaced", strings.Repeat("a", 129), false},
		{"an id with a space is replaced", "a b", false},
		{"an id with a line break is replaced", "a\nb", false},
		{"an id in another script is replaced", "é", false},
		{"without an id one is made", "", false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			if test.header != "" {
				r.Header.Set("X-Request-ID", test.header)
			}
			var seen string
			w, log := wrapped(t, func(w http.ResponseWriter, r *http.Request) { seen = web.RequestID(r.Context()) }, r)
			if (seen == test.header) != test.taken || seen == "" {
				t.Errorf("the handler saw %q", seen)
			}
			if got := w.Header().Get("X-Request-ID"); got != seen {
				t.Errorf("the response says %q, the handler saw %q", got, seen)
			}
			if got := log.requests(t)[0]["request"]; got != seen {
				t.Errorf("the log says %q, the handler saw %q", got, seen)
			}
		})
	}
}

func TestRequestIDsDiffer(t *testing.T) {
	seen := make(map[string]bool)
	for range 100 {
		w, _ := wrapped(t, func(http.ResponseWriter, *http.Request) {}, httptest.NewRequest("GET", "/", nil))
		seen[w.Header().Get("X-Request-ID")] = true
	}
	if len(seen) != 100 {
		t.Errorf("100 requests had %d ids", len(seen))
	}
}

func TestOneLinePerRequest(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		request *http.Request
		handler http.HandlerFunc
		want    map[string]any
		absent  []string
	}{
		{
			name:    "a success",
			request: httptest.NewRequest("PUT", "/v2/a%20b/?secret=1", strings.NewReader("12345")),
			handler: func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, "abc")
			},
			want: map[string]any{"level": "INFO", "method": "PUT", "path": "/v2/a%20b/", "status": 201.0, "received": 5.0, "sent": 3.0},
		},
		{
			name:    "a handler that says nothing",
			request: httptest.NewRequest("GET", "/", nil),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    map[string]any{"status": 200.0},
		},
		{
			name:    "a path that the door redacts",
			request: httptest.NewRequest("GET", "/uploads/topsecret", nil),
			handler: func(w http.ResponseWriter, r *http.Request) { web.SetPath(r.Context(), "/uploads/t...") },
			want:    map[string]any{"path": "/uploads/t..."},
			absent:  []string{"topsecret"},
		},
		{
			name:    "a failure",
			request: httptest.NewRequest("GET", "/", nil),
			handler: func(w http.ResponseWriter, r *http.Request) {
				web.SetError(r.Context(), "UNKNOWN", errors.New("disk on fire"))
				w.WriteHeader(http.StatusInternalServerError)
			},
			want: map[string]any{"level": "ERROR", "status": 500.0, "code": "UNKNOWN", "error": "disk on fire"},
		},
		{
			name:    "a client that has gone",
			request: httptest.NewRequest("GET", "/", nil).WithContext(gone),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    map[string]any{"status": 499.0, "level": "INFO"},
		},
		{
			name:    "a client that the door knows to have gone",
			request: httptest.NewRequest("GET", "/", nil),
			handler: func(w http.ResponseWriter, r *http.Request) {
				web.SetGone(r.Context(), errors.New("reset"))
				w.WriteHeader(http.StatusBadRequest)
			},
			want: map[string]any{"status": 499.0, "error": "reset"},
		},
		{
			name:    "a path without end",
			request: httptest.NewRequest("GET", "/"+strings.Repeat("x", 5000), nil),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    map[string]any{"path": "/" + strings.Repeat("x", 511) + "..."},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, log := wrapped(t, test.handler, test.request)
			entries := log.requests(t)
			if len(entries) != 1 {
				t.Fatalf("%d lines: %s", len(entries), log.text())
			}
			for key, want := range test.want {
				if got := entries[0][key]; got != want {
					t.Errorf("%s is %v, want %v", key, got, want)
				}
			}
			for _, text := range append(test.absent, "secret=1") {
				if strings.Contains(log.text(), text) {
					t.Errorf("the log has %q", text)
				}
			}
		})
	}
}

func TestPanicBeforeTheAnswerIsAnswered(t *testing.T) {
	log := new(lines)
	w := httptest.NewRecorder()
	web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") }), web.Options{
		Log: slog.New(slog.NewJSONHandler(log, nil)),
		Failure: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(http.StatusInternalServerError)
			io.WriteString(w, "sorry "+web.RequestID(r.Context()))
		},
	}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || w.Body.String() != "sorry "+w.Header().Get("X-Request-ID") {
		t.Errorf("answered %d %q", w.Code, w.Body)
	}
	entry := log.requests(t)[0]
	if entry["error"] != "panic: boom" || !strings.Contains(entry["stack"].(string), "web_test.go") || entry["level"] != "ERROR" {
		t.Errorf("logged %v", entry)
	}
}

func TestPanicInTheAnswerCutsItOff(t *testing.T) {
	log := new(lines)
	s := httptest.NewServer(web.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "10")
		io.WriteString(w, "abc")
		http.NewResponseController(w).Flush()
		panic("boom")
	}), web.Options{Log: slog.New(slog.NewJSONHandler(log, nil))}))
	defer s.Close()
	res, err := http.Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if data, err := io.ReadAll(res.Body); err == nil {
		t.Errorf("read %q without an error", data)
	}
	s.Close() // waits for the handler
	if entry := log.requests(t)[0]; entry["aborted"] != true || entry["error"] != "panic: boom" {
		t.Errorf("logged %v", entry)
	}
}

func TestHealth(t *testing.T) {
	ready := web.Ready(func(context.Context) error { return nil })
	broken := web.Ready(func(context.Context) error { return errors.New("secret reason") })
	for _, test := range []struct {
		name    string
		handler http.Handler
		status  int
	}{{"live", web.Live(), 200}, {"ready", ready, 200}, {"not ready", broken, 503}} {
		t.Run(test.name, func(t *testing.T) {
			w, log := wrapped(t, test.handler.ServeHTTP, httptest.NewRequest("GET", "/", nil))
			if w.Code != test.status || strings.Contains(w.Body.String(), "secret") {
				t.Errorf("answered %d %q", w.Code, w.Body)
			}
			if test.status == 503 && log.requests(t)[0]["error"] != "secret reason" {
				t.Errorf("logged %s", log.text())
			}
			if test.status == 200 && log.text() != "" {
				t.Errorf("a check that succeeds is logged: %s", log.text())
			}
		})
	}
}

func TestOptionsThatMakeNoSenseAreRefused(t *testing.T) {
	if err := web.Serve(t.Context(), newPipes(), nil, web.Options{Grace: -1}); err == nil {
		t.Error("a negative grace time was accepted")
	}
}
