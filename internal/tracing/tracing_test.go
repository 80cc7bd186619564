package tracing_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"artifactstore/conformance/harness"
	"artifactstore/internal/metastore"
	"artifactstore/internal/tracing"
	"artifactstore/internal/web"
	"artifactstore/registry"
	"artifactstore/registry/fact"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/drivertest"
	"artifactstore/storagedriver/memory"
	"artifactstore/storagedriver/observe"
)

var quiet = slog.New(slog.DiscardHandler)

// The environment of the tests has no opinion.
func TestMain(m *testing.M) {
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "OTEL_") {
			_ = os.Unsetenv(name)
		}
	}
	os.Exit(m.Run())
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// start starts tracing into a collector of the test.
func start(t *testing.T, variables ...string) (*tracing.Tracing, *harness.Collector) {
	t.Helper()
	c := harness.StartCollector(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL())
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
	for _, v := range variables {
		name, value, _ := strings.Cut(v, "=")
		t.Setenv(name, value)
	}
	tr, err := tracing.Start(t.Context(), "1.2.3", quiet)
	must(t, err)
	if tr == nil {
		t.Fatal("tracing is off")
	}
	t.Cleanup(func() { tr.Stop(t.Context()) })
	return tr, c
}

func count(n int) func([]harness.Span) bool {
	return func(s []harness.Span) bool { return len(s) >= n }
}

func TestTracesAreOffUnlessTheEnvironmentAsksForThem(t *testing.T) {
	tests := []struct {
		name      string
		variables map[string]string
		on        bool
	}{
		{"nothing is set", nil, false},
		{"other things are set", map[string]string{"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "nonsense"}, false},
		{"an endpoint", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}, true},
		{"an endpoint of traces", map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1/x"}, true},
		{"an exporter", map[string]string{"OTEL_TRACES_EXPORTER": "otlp"}, true},
		{"an endpoint, and no exporter", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_TRACES_EXPORTER": "none"}, false},
		{"an endpoint that is empty", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, false},
		{"an endpoint, and all is disabled", map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_SDK_DISABLED": "true"}, false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for name, value := range test.variables {
				t.Setenv(name, value)
			}
			tr, err := tracing.Start(t.Context(), "", quiet)
			must(t, err)
			if (tr != nil) != test.on {
				t.Errorf("on: %v, want %v", tr != nil, test.on)
			}
			tr.Stop(t.Context())
		})
	}
}

func TestVariablesThatMakeNoSenseAreNamed(t *testing.T) {
	tests := []struct{ name, value, want string }{
		{"OTEL_SDK_DISABLED", "perhaps", "true or false"},
		{"OTEL_TRACES_EXPORTER", "zipkin", "otlp or none"},
		{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc", "http/protobuf"},
		{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json", "http/protobuf"},
		{"OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "a URL such as"},
		{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "/secret", "a URL such as"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "secret", "name=value"},
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "10s", "milliseconds"},
		{"OTEL_EXPORTER_OTLP_COMPRESSION", "zip", "gzip or none"},
		{"OTEL_EXPORTER_OTLP_CERTIFICATE", "no/such/file", "a file that can be read"},
		{"OTEL_BSP_SCHEDULE_DELAY", "-1", "milliseconds"},
		{"OTEL_TRACES_SAMPLER", "sometimes", "parentbased_always_on"},
		{"OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"},
		{"OTEL_PROPAGATORS", "b3", "tracecontext and baggage"},
		{"OTEL_RESOURCE_ATTRIBUTES", "no-value", "name=value"},
		{"OTEL_RESOURCE_ATTRIBUTES", "team=%zz", "name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a secret=b", "name=value"},
		{"OTEL_EXPORTER_OTLP_HEADERS", "a=secret%0A", "name=value"},
		// Numbers that would overflow, or that there is no memory for.
		{"OTEL_EXPORTER_OTLP_TIMEOUT", "9223372036854775807", "at most a day"},
		{"OTEL_BSP_SCHEDULE_DELAY", "9223372036854775807", "at most a day"},
		{"OTEL_BSP_MAX_QUEUE_SIZE", "99999999999999", "from 1 to 1000000"},
		{"OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "99999999999999", "from 1 to 1000000"},
	}
	for _, test := range tests {
		t.Run(test.name+"="+test.value, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
			t.Setenv(test.name, test.value)
			tr, err := tracing.Start(t.Context(), "", quiet)
			if err == nil {
				tr.Stop(t.Context())
				t.Fatal("no error")
			}
			if !strings.Contains(err.Error(), test.name) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("error %q", err)
			}
		})
	}
}

// Off, nothing is wrapped: there is nothing that could cost.
func TestOffNothingIsWrapped(t *testing.T) {
	var off *tracing.Tracing
	ledger := openLedger(t)
	if off.Ledger(ledger) != registry.Ledger(ledger) || off.Request() != nil || off.Store("files") != nil {
		t.Error("something is wrapped")
	}
	off.Stop(t.Context())
}

func openLedger(t *testing.T) *metastore.Store {
	t.Helper()
	ledger, err := metastore.Open(t.Context(), filepath.Join(t.TempDir(), "artifactstore.db"), metastore.Options{Log: quiet})
	must(t, err)
	t.Cleanup(func() { must(t, ledger.Close()) })
	must(t, ledger.Migrate(t.Context(), nil))
	return ledger
}

// serve runs a request through web.Wrap with tracing and returns its log line.
func serve(tr *tracing.Tracing, r *http.Request, handler http.HandlerFunc) string {
	var log bytes.Buffer
	web.Wrap(handler, web.Options{Observe: tr.Request(), Log: slog.New(slog.NewTextHandler(&log, nil))}).
		ServeHTTP(httptest.NewRecorder(), r)
	return log.String()
}

func TestRequestIsASpanOfTheClientsTrace(t *testing.T) {
	tr, c := start(t, "OTEL_RESOURCE_ATTRIBUTES=deployment.environment=test")
	r := httptest.NewRequest("PUT", "/v2/demo/blobs/uploads/secret", strings.NewReader("12345"))
	r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
	r.Header.Set("X-Request-ID", "req-1")
	r.Header.Set("User-Agent", "oras/1")
	log := serve(tr, r, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		web.SetRoute(r.Context(), "upload")
		web.SetPath(r.Context(), "/v2/demo/blobs/uploads/s...")
		w.WriteHeader(http.StatusCreated)
	})
	span := c.Spans(t, count(1))[0]
	if span.Name != "PUT upload" || !span.Server || span.Failed ||
		span.Trace != "4bf92f3577b34da6a3ce929d0e0e4736" || span.Parent != "00f067aa0ba902b7" {
		t.Errorf("span %+v", span)
	}
	for name, want := range map[string]string{
		"http.request.method": "PUT", "http.route": "upload", "url.path": "/v2/demo/blobs/uploads/s...",
		"http.response.status_code": "201", "http.request.body.size": "5", "user_agent.original": "oras/1", "artifactstore.request": "req-1",
	} {
		if span.Attributes[name] != want {
			t.Errorf("%s is %q, want %q", name, span.Attributes[name], want)
		}
	}
	for name, want := range map[string]string{"service.name": "artifactstore", "service.version": "1.2.3", "deployment.environment": "test"} {
		if span.Resource[name] != want {
			t.Errorf("%s is %q, want %q", name, span.Resource[name], want)
		}
	}
	if !strings.Contains(log, " trace="+span.Trace) {
		t.Errorf("the log says %s", log)
	}
}

func TestFailuresAreMarkedAndRefusalsAreNot(t *testing.T) {
	tr, c := start(t)
	for _, status := range []int{404, 500} {
		serve(tr, httptest.NewRequest("BREW", "/", nil), func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	for _, span := range c.Spans(t, count(2)) {
		failed := span.Attributes["http.response.status_code"] == "500"
		if span.Failed != failed || span.Name != "_OTHER none" {
			t.Errorf("span %+v", span)
		}
	}
}

func TestWhatIsNotSampledOrNotAskedForIsNoSpan(t *testing.T) {
	tr, c := start(t, "OTEL_SERVICE_NAME=shop")
	ok := func(http.ResponseWriter, *http.Request) {}
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		serve(tr, httptest.NewRequest("GET", path, nil), ok)
	}
	unsampled := httptest.NewRequest("GET", "/", nil)
	unsampled.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00")
	if log := serve(tr, unsampled, ok); strings.Contains(log, "trace=") {
		t.Errorf("the log names a trace that is not kept: %s", log)
	}
	serve(tr, httptest.NewRequest("GET", "/last", nil), ok)
	tr.Stop(t.Context())
	spans := c.Spans(t, count(1))
	if len(spans) != 1 || spans[0].Attributes["url.path"] != "/last" || spans[0].Resource["service.name"] != "shop" {
		t.Errorf("spans %+v", spans)
	}
}

func TestSamplersAreObeyed(t *testing.T) {
	for name, want := range map[string]int{
		"always_on": 11, "parentbased_always_on": 11,
		"parentbased_always_off": 1, "parentbased_traceidratio": 1, // they ask the client, who wants the last one
		"always_off": 0, "traceidratio": 0, // these do not
	} {
		t.Run(name, func(t *testing.T) {
			tr, c := start(t, "OTEL_TRACES_SAMPLER="+name, "OTEL_TRACES_SAMPLER_ARG=0")
			ok := func(http.ResponseWriter, *http.Request) {}
			for range 10 {
				serve(tr, httptest.NewRequest("GET", "/", nil), ok)
			}
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
			serve(tr, r, ok)
			tr.Stop(t.Context())
			if spans := c.Spans(t, count(want)); len(spans) != want {
				t.Errorf("%d spans, want %d", len(spans), want)
			}
		})
	}
}

func TestLedgerAndStoreAreChildrenOfTheRequest(t *testing.T) {
	tr, c := start(t)
	ledger := tr.Ledger(openLedger(t))
	driver := observe.Wrap(memory.New(memory.Options{}), tr.Store("files"))
	refusal := registry.Errorf(registry.TagInvalid, "no")
	serve(tr, httptest.NewRequest("GET", "/", nil), func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		must(t, ledger.Update(ctx, registry.System, registry.Keys{}, func(registry.View) (*registry.Change, error) {
			c := new(registry.Change)
			c.Add(&fact.RepositoryCreated{Repository: "demo"})
			return c, nil
		}))
		if err := ledger.Read(ctx, func(registry.View) error { return refusal }); err != error(refusal) {
			t.Errorf("read returned %v", err)
		}
		s, err := driver.Stage(ctx, "a")
		must(t, err)
		_, err = s.Write([]byte("abc"))
		must(t, errors.Join(err, s.Close()))
		if _, err := driver.Open(ctx, "objects/none", 0, 3); !errors.Is(err, storagedriver.ErrNotExist) {
			t.Errorf("open returned %v", err)
		}
	})
	// On behalf of nobody there is no trace.
	_, err := driver.Size(t.Context(), "objects/none")
	if err == nil {
		t.Error("an object is there")
	}
	must(t, ledger.Read(t.Context(), func(registry.View) error { return nil }))
	tr.Stop(t.Context())

	spans := map[string]harness.Span{}
	for _, s := range c.Spans(t, count(5)) {
		spans[s.Name] = s
	}
	request := spans["GET none"]
	for _, name := range []string{"ledger update", "ledger read", "storage stage", "storage open"} {
		if s := spans[name]; s.Parent != request.ID || s.Trace != request.Trace || s.ID == "" {
			t.Errorf("%s is %+v, no child of %+v", name, s, request)
		}
	}
	if len(spans) != 5 {
		t.Errorf("there are %d kinds of spans: %+v", len(spans), spans)
	}
	update, read, open := spans["ledger update"], spans["ledger read"], spans["storage open"]
	if a := update.Attributes; a["artifactstore.batch.changes"] != "1" || a["artifactstore.batch.events"] != "1" ||
		a["artifactstore.batch.flushed"] != "true" || a["artifactstore.batch.wait"] == "" || update.Failed {
		t.Errorf("update %+v", update)
	}
	if read.Failed || read.Attributes["artifactstore.refused"] != "TAG_INVALID" {
		t.Errorf("read %+v", read)
	}
	if !open.Failed || open.Attributes["artifactstore.store"] != "files" {
		t.Errorf("open %+v", open)
	}
}

// A traced driver is as good as the one below.
func TestDriver(t *testing.T) {
	tr, _ := start(t)
	var mu sync.Mutex
	drivers := map[storagedriver.Driver]*memory.Driver{}
	wrap := func(d *memory.Driver) storagedriver.Driver {
		w := observe.Wrap(d, tr.Store("files"))
		mu.Lock()
		defer mu.Unlock()
		drivers[w] = d
		return w
	}
	drivertest.Run(t,
		func(*testing.T) storagedriver.Driver { return wrap(memory.New(memory.Options{})) },
		func(_ *testing.T, old storagedriver.Driver) storagedriver.Driver { return wrap(drivers[old].Reopen()) })
}

// lines counts the lines of a log.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{}
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case l.more <- struct{}{}:
	default:
	}
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func TestACollectorThatRefusesIsLoggedOnce(t *testing.T) {
	c := harness.StartCollector(t)
	c.Answer(http.StatusForbidden)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL())
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	log := &lines{more: make(chan struct{}, 1)}
	tr, err := tracing.Start(t.Context(), "", slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn})))
	must(t, err)
	ok := func(http.ResponseWriter, *http.Request) {}
	serve(tr, httptest.NewRequest("GET", "/", nil), ok)
	<-log.more
	for range 2000 {
		serve(tr, httptest.NewRequest("GET", "/", nil), ok)
	}
	tr.Stop(t.Context())
	if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "traces could not be sent") || !strings.Contains(text, "403") {
		t.Errorf("the log says %s", text)
	}
}

// The URL can hold a secret, too.
func TestAFailureIsLoggedWithoutTheURL(t *testing.T) {
	var log bytes.Buffer
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://secret@127.0.0.1:1/v1/traces?token=secret")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "100")
	tr, err := tracing.Start(t.Context(), "", slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	serve(tr, httptest.NewRequest("GET", "/", nil), func(http.ResponseWriter, *http.Request) {})
	tr.Stop(t.Context())
	if text := log.String(); !strings.Contains(text, "traces could not be sent") || !strings.Contains(text, "refused") || strings.Contains(text, "secret") {
		t.Errorf("the log says %s", text)
	}
}

// A collector that accepts connections and then says nothing delays neither
// requests nor, for long, the stop.
func TestACollectorThatHangsDelaysNothing(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "60000")
	tr, err := tracing.Start(t.Context(), "", quiet)
	must(t, err)
	begun := time.Now()
	for range 5000 { // more than wait for the collector
		serve(tr, httptest.NewRequest("GET", "/", nil), func(http.ResponseWriter, *http.Request) {})
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("5000 requests took %v", took)
	}
	begun = time.Now()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // as when the process is told to stop
	tr.Stop(ctx)
	if took := time.Since(begun); took < time.Second || took > 6*time.Second {
		t.Errorf("the stop took %v, want about 3s", took)
	}
}
