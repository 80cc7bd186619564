package tracing_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"artifactstore/conformance/harness"
	"artifactstore/internal/tracing"
)

// send makes one span with the variables of the test, and waits until it was sent.
func send(t *testing.T, variables map[string]string) {
	t.Helper()
	for name, value := range variables {
		t.Setenv(name, value)
	}
	tr, err := tracing.Start(t.Context(), "", quiet)
	must(t, err)
	serve(tr, httptest.NewRequest("GET", "/", nil), func(http.ResponseWriter, *http.Request) {})
	tr.Stop(t.Context())
}

func TestCollectorIsReachedAsTheVariablesSay(t *testing.T) {
	tests := []struct {
		name      string
		variables map[string]string // $URL is that of the collector
		path      string
		header    map[string]string
	}{
		{"a base address gets the path of traces",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "$URL/base/"}, "/base/v1/traces",
			map[string]string{"Content-Type": "application/x-protobuf", "Content-Encoding": ""}},
		{"the address of traces is taken as it is, and wins",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "$URL/here"}, "/here", nil},
		{"headers are sent, their values decoded",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "$URL", "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=Bearer%20abc, X-Tenant=a=b"}, "/v1/traces",
			map[string]string{"Authorization": "Bearer abc", "X-Tenant": "a=b"}},
		{"bodies are compressed",
			map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "$URL", "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip"}, "/v1/traces",
			map[string]string{"Content-Encoding": "gzip"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			behind, got := harness.StartCollector(t), make(chan *http.Request, 1)
			front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				got <- r
				behind.ServeHTTP(w, r)
			}))
			defer front.Close()
			variables := map[string]string{}
			for name, value := range test.variables {
				variables[name] = strings.ReplaceAll(value, "$URL", front.URL)
			}
			send(t, variables)
			r := <-got
			if r.Method != http.MethodPost || r.URL.Path != test.path {
				t.Errorf("got %s %s, want POST %s", r.Method, r.URL.Path, test.path)
			}
			for name, want := range test.header {
				if value := r.Header.Get(name); value != want {
					t.Errorf("%s is %q, want %q", name, value, want)
				}
			}
			if spans := behind.Spans(t, count(1)); spans[0].Name != "GET none" {
				t.Errorf("spans %+v", spans)
			}
		})
	}
}

func TestWhatMaySucceedLaterIsSentAgain(t *testing.T) {
	behind, tries := harness.StartCollector(t), 0
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if tries++; tries == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		behind.ServeHTTP(w, r)
	}))
	defer front.Close()
	send(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": front.URL})
	behind.Spans(t, count(1))
}

func TestCollectorsCertificateIsTrustedIfTheVariableSaysSo(t *testing.T) {
	behind := harness.StartCollector(t)
	front := httptest.NewTLSServer(behind)
	defer front.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}), 0o600))
	send(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": front.URL, "OTEL_EXPORTER_OTLP_CERTIFICATE": file})
	behind.Spans(t, count(1))
}

// The header can hold a secret: it goes nowhere else.
func TestRedirectionsAreNotFollowed(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer elsewhere.Close()
	asked := make(chan struct{}, 1)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
	}))
	defer front.Close()
	send(t, map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": front.URL, "OTEL_EXPORTER_OTLP_HEADERS": "Authorization=secret"})
	<-asked
}
