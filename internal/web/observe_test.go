package web_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"artifactstore/internal/web"
)

func TestObserverIsToldWhatTheLogSays(t *testing.T) {
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name    string
		request *http.Request
		handler http.HandlerFunc
		want    web.Observation
	}{
		{
			name:    "a success",
			request: httptest.NewRequest("PUT", "/v2/demo/secret?query=1", strings.NewReader("12345")),
			handler: func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				web.SetRoute(r.Context(), "things")
				web.SetPath(r.Context(), "/v2/demo/s...")
				w.WriteHeader(http.StatusCreated)
				io.WriteString(w, "abc")
			},
			want: web.Observation{Method: "PUT", Route: "things", Path: "/v2/demo/s...", Status: 201, Received: 5, Sent: 3},
		},
		{
			name:    "a request without a route",
			request: httptest.NewRequest("GET", "/favicon.ico", nil),
			handler: http.NotFound,
			want:    web.Observation{Method: "GET", Route: "none", Path: "/favicon.ico", Status: 404, Sent: 19},
		},
		{
			name:    "a handler that says nothing",
			request: httptest.NewRequest("HEAD", "/", nil),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    web.Observation{Method: "HEAD", Route: "none", Path: "/", Status: 200},
		},
		{
			name:    "a client that has gone",
			request: httptest.NewRequest("GET", "/", nil).WithContext(gone),
			handler: func(http.ResponseWriter, *http.Request) {},
			want:    web.Observation{Method: "GET", Route: "none", Path: "/", Status: 499},
		},
		{
			name:    "a panic",
			request: httptest.NewRequest("GET", "/", nil),
			handler: func(http.ResponseWriter, *http.Request) { panic("boom") },
			want:    web.Observation{Method: "GET", Route: "none", Path: "/", Status: 500, Sent: 15},
		},
		{
			name:    "a check",
			request: httptest.NewRequest("GET", "/readyz", nil),
			handler: web.Ready(func(context.Context) error { return errors.New("no") }).ServeHTTP,
			want:    web.Observation{Method: "GET", Route: "readyz", Path: "/readyz", Status: 503, Sent: 10},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var got []web.Observation
			web.Wrap(test.handler, web.Options{Observe: func(r *http.Request) (context.Context, func(web.Observation)) {
				return r.Context(), func(o web.Observation) { got = append(got, o) }
			}}).ServeHTTP(httptest.NewRecorder(), test.request)
			if len(got) != 1 || got[0].Duration <= 0 {
				t.Fatalf("observed %+v", got)
			}
			got[0].Duration = 0
			if got[0] != test.want {
				t.Errorf("observed %+v, want %+v", got[0], test.want)
			}
		})
	}
}

type mark string

func TestObserversNest(t *testing.T) {
	var order []string
	observer := func(name string) web.Observer {
		return func(r *http.Request) (context.Context, func(web.Observation)) {
			order = append(order, "begin "+name)
			return context.WithValue(r.Context(), mark(name), name), func(web.Observation) { order = append(order, "end "+name) }
		}
	}
	silent := func(r *http.Request) (context.Context, func(web.Observation)) { return r.Context(), nil }
	all := web.Observers(nil, observer("a"), silent, nil, observer("b"))
	web.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		for _, name := range []string{"a", "b"} {
			if r.Context().Value(mark(name)) != name {
				t.Errorf("the context of %s does not reach the handler", name)
			}
		}
		order = append(order, "handle")
	}), web.Options{Observe: all}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if want := []string{"begin a", "begin b", "handle", "end b", "end a"}; !slices.Equal(order, want) {
		t.Errorf("order %q, want %q", order, want)
	}
	if web.Observers(nil, nil) != nil {
		t.Error("observers that nobody is are not nil")
	}
}

func TestTraceIsLogged(t *testing.T) {
	log := new(lines)
	web.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), web.Options{
		Log: slog.New(slog.NewJSONHandler(log, nil)),
		Observe: func(r *http.Request) (context.Context, func(web.Observation)) {
			web.SetTrace(r.Context(), "4bf92f35")
			return r.Context(), nil
		},
	}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	if got := log.requests(t)[0]["trace"]; got != "4bf92f35" {
		t.Errorf("trace is logged as %v", got)
	}
}
