package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"artifactstore/internal/dataplane"
	"artifactstore/internal/metastore"
	"artifactstore/internal/metrics"
	"artifactstore/internal/web"
	"artifactstore/storagedriver"
	"artifactstore/storagedriver/observe"
)

var quiet = slog.New(slog.DiscardHandler)

func newMetrics() *metrics.Metrics {
	return metrics.New(metrics.Build{Version: "1.2.3", Commit: "abc", Go: "go1.26"})
}

// healthy is the state of a server without troubles.
func healthy() metrics.State {
	return metrics.State{
		Ready:       func(context.Context) error { return nil },
		Queue:       func() int { return 3 },
		Head:        func() uint64 { return 42 },
		Uploads:     func(context.Context) (int64, error) { return 7, nil },
		Quarantined: func(context.Context) (int64, int64, error) { return 2, 300, nil },
		Stores: func(context.Context) []dataplane.Health {
			return []dataplane.Health{{Store: "files", Health: storagedriver.Health{Free: 10, Total: 100, FreeFiles: 5, TotalFiles: 50}}}
		},
	}
}

// scrape returns what a scrape is answered.
func scrape(t *testing.T, m *metrics.Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler(quiet).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("scrape: %d %s", w.Code, w.Body)
	}
	return w.Body.String()
}

// has checks for lines of a scrape.
func has(t *testing.T, text string, lines ...string) {
	t.Helper()
	for _, line := range lines {
		if !strings.Contains("\n"+text, "\n"+line+"\n") {
			t.Errorf("no line %q", line)
		}
	}
	if t.Failed() {
		for line := range strings.Lines(text) {
			if strings.HasPrefix(line, "artifactstore_") {
				t.Log(strings.TrimSpace(line))
			}
		}
	}
}

// request makes one observation of m.
func request(t *testing.T, m *metrics.Metrics, o web.Observation) {
	t.Helper()
	_, ended := m.Request(httptest.NewRequest("GET", "/", nil))
	ended(o)
}

// everything uses each metric once.
func everything(t *testing.T) *metrics.Metrics {
	t.Helper()
	m := newMetrics()
	m.Watch(t.Context(), healthy())
	m.Store("files")
	m.Batch(metastore.Batch{Changes: 1, Flushed: true})
	request(t, m, web.Observation{Method: "GET", Route: "blob", Status: 200})
	return m
}

func TestMetricsFollowTheNamingRules(t *testing.T) {
	problems, err := promlint.New(strings.NewReader(scrape(t, everything(t)))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestRequestsAreCounted(t *testing.T) {
	m := newMetrics()
	_, ended := m.Request(httptest.NewRequest("GET", "/", nil))
	has(t, scrape(t, m), "artifactstore_http_requests_in_flight 1")
	ended(web.Observation{Method: "GET", Route: "blob", Status: 200, Received: 1, Sent: 4096, Duration: 3 * time.Millisecond})
	request(t, m, web.Observation{Method: "GET", Route: "blob", Status: 404, Sent: 4, Duration: time.Minute})
	request(t, m, web.Observation{Method: "PUT", Route: "upload", Status: 201, Received: 1000})
	has(t, scrape(t, m),
		"artifactstore_http_requests_in_flight 0",
		`artifactstore_http_requests_total{code="200",method="GET",route="blob"} 1`,
		`artifactstore_http_requests_total{code="404",method="GET",route="blob"} 1`,
		`artifactstore_http_requests_total{code="201",method="PUT",route="upload"} 1`,
		`artifactstore_http_sent_bytes_total{method="GET",route="blob"} 4100`,
		`artifactstore_http_received_bytes_total{method="PUT",route="upload"} 1000`,
		`artifactstore_http_request_duration_seconds_bucket{method="GET",route="blob",le="0.0025"} 0`,
		`artifactstore_http_request_duration_seconds_bucket{method="GET",route="blob",le="0.005"} 1`,
		`artifactstore_http_request_duration_seconds_count{method="GET",route="blob"} 2`,
		`artifactstore_build_info{commit="abc",goversion="go1.26",version="1.2.3"} 1`)
}

func TestClientsCannotMakeSeries(t *testing.T) {
	m := newMetrics()
	request(t, m, web.Observation{Method: "BREW", Route: "none", Status: 404})
	before := strings.Count(scrape(t, m), "\n")
	for i := range 1000 {
		request(t, m, web.Observation{Method: fmt.Sprint("M", i), Route: "none", Path: fmt.Sprint("/", i), Status: 404})
	}
	after := scrape(t, m)
	if n := strings.Count(after, "\n"); n != before {
		t.Errorf("1000 methods and paths made %d lines of %d", n, before)
	}
	has(t, after, `artifactstore_http_requests_total{code="404",method="other",route="none"} 1001`)
}

func TestBatchesAreCounted(t *testing.T) {
	m := newMetrics()
	has(t, scrape(t, m), `artifactstore_ledger_commits_total{flushed="false"} 0`, `artifactstore_ledger_commits_total{flushed="true"} 0`)
	m.Batch(metastore.Batch{Changes: 5, Flushed: true, Duration: 4 * time.Millisecond})
	m.Batch(metastore.Batch{Changes: 1, Flushed: true, Duration: time.Second})
	m.Batch(metastore.Batch{Changes: 1})
	m.Batch(metastore.Batch{Changes: 9, Flushed: true, Err: errors.New("disk on fire")})
	has(t, scrape(t, m),
		`artifactstore_ledger_commits_total{flushed="true"} 2`,
		`artifactstore_ledger_commits_total{flushed="false"} 1`,
		`artifactstore_ledger_commit_failures_total 1`,
		`artifactstore_ledger_batch_changes_sum 7`,
		`artifactstore_ledger_batch_changes_bucket{le="4"} 2`,
		`artifactstore_ledger_commit_duration_seconds_bucket{flushed="true",le="0.005"} 1`)
}

func TestStorageIsCounted(t *testing.T) {
	m := newMetrics()
	o := m.Store("files")
	tell := func(op observe.Op, out observe.Outcome) {
		_, ended := o(t.Context(), op)
		ended(out)
	}
	tell(observe.Write, observe.Outcome{Bytes: 100})
	tell(observe.Write, observe.Outcome{Bytes: 20, Err: fmt.Errorf("no: %w", storagedriver.ErrFull)}) // half of it was written
	tell(observe.Publish, observe.Outcome{Bytes: 120})
	tell(observe.Publish, observe.Outcome{Err: storagedriver.ErrBroken})
	tell(observe.Open, observe.Outcome{Bytes: 50})
	tell(observe.Open, observe.Outcome{Err: storagedriver.ErrNotExist})
	tell(observe.Open, observe.Outcome{Err: errors.New("odd")})
	tell(observe.Open, observe.Outcome{Err: fmt.Errorf("gone: %w", context.Canceled)})
	has(t, scrape(t, m),
		`artifactstore_storage_written_bytes_total{store="files"} 120`,
		`artifactstore_storage_opened_bytes_total{store="files"} 50`,
		`artifactstore_storage_operations_total{operation="open",store="files"} 4`,
		`artifactstore_storage_operation_duration_seconds_count{operation="publish",store="files"} 2`,
		`artifactstore_storage_errors_total{cause="full",operation="write",store="files"} 1`,
		`artifactstore_storage_errors_total{cause="broken",operation="publish",store="files"} 1`,
		`artifactstore_storage_errors_total{cause="missing",operation="open",store="files"} 1`,
		`artifactstore_storage_errors_total{cause="other",operation="open",store="files"} 1`,
		`artifactstore_storage_errors_total{cause="other",operation="delete",store="files"} 0`)
}

func TestStateIsAskedAtTheScrape(t *testing.T) {
	m, s := newMetrics(), healthy()
	var unready error
	s.Ready = func(context.Context) error { return unready }
	m.Watch(t.Context(), s)
	has(t, scrape(t, m),
		"artifactstore_ready 1", "artifactstore_ledger_queue 3", "artifactstore_log_head_sequence 42", "artifactstore_uploads_open 7",
		"artifactstore_quarantined_contents 2", "artifactstore_quarantined_bytes 300",
		`artifactstore_storage_free_bytes{store="files"} 10`, `artifactstore_storage_total_bytes{store="files"} 100`,
		`artifactstore_storage_free_files{store="files"} 5`, `artifactstore_storage_total_files{store="files"} 50`,
		`artifactstore_probe_failures_total{probe="ready"} 0`)
	unready = errors.New("full")
	has(t, scrape(t, m), "artifactstore_ready 0", `artifactstore_probe_failures_total{probe="ready"} 0`)
}

func TestWhatCannotBeAskedIsLeftOutAndCounted(t *testing.T) {
	m, s := newMetrics(), healthy()
	s.Uploads = func(context.Context) (int64, error) { return 0, errors.New("locked") }
	s.Stores = func(context.Context) []dataplane.Health {
		return []dataplane.Health{
			{Store: "a", Health: storagedriver.Unlimited()},
			{Store: "b", Err: errors.New("away")},
			{Store: "c", Health: storagedriver.Health{Free: 1, Total: 2, FreeFiles: -1, TotalFiles: -1}},
		}
	}
	m.Watch(t.Context(), s)
	scrape(t, m)
	text := scrape(t, m) // the first one's failures are counted by now
	has(t, text, "artifactstore_ready 1", `artifactstore_storage_free_bytes{store="c"} 1`)
	for _, absent := range []string{"artifactstore_uploads_open ", `{store="a"}`, `{store="b"}`, "artifactstore_storage_free_files{"} {
		if strings.Contains(text, absent) {
			t.Errorf("the scrape has %s", absent)
		}
	}
	if strings.Contains(text, `artifactstore_probe_failures_total{probe="uploads"} 0`) {
		t.Error("the failure is not counted")
	}
}

// A disk that hangs makes even questions about it hang, whatever the context says.
func TestAScrapeDoesNotWaitForAStateThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMetrics(), healthy()
		hang := make(chan struct{})
		var asked atomic.Int32
		s.Stores = func(context.Context) []dataplane.Health {
			asked.Add(1)
			<-hang
			return nil
		}
		m.Watch(t.Context(), s)
		begun := time.Now()
		for range 3 {
			text := scrape(t, m)
			has(t, text, "artifactstore_ready 1", "artifactstore_uploads_open 7")
		}
		if took := time.Since(begun); took > 3*time.Second {
			t.Errorf("three scrapes took %v", took)
		}
		if n := asked.Load(); n != 1 {
			t.Errorf("the store that hangs was asked %d times", n)
		}
		close(hang)
		synctest.Wait()
		scrape(t, m)
		synctest.Wait()
		if n := asked.Load(); n != 2 {
			t.Errorf("after it answered the store was asked %d times in all", n)
		}
	})
}

func TestTooManyScrapesAtATimeAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, s := newMetrics(), healthy()
		hang := make(chan struct{})
		s.Queue = func() int { <-hang; return 1 }
		m.Watch(t.Context(), s)
		h := m.Handler(quiet)
		for range 4 {
			go h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil))
		}
		synctest.Wait() // all of them are at it
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		close(hang)
		synctest.Wait()
		if w.Code != http.StatusServiceUnavailable {
			t.Errorf("the fifth scrape got %d", w.Code)
		}
	})
}

func TestObservingAllocatesNothing(t *testing.T) {
	m := newMetrics()
	store, ctx, r := m.Store("files"), t.Context(), httptest.NewRequest("GET", "/", nil)
	o := web.Observation{Method: "GET", Route: "blob", Status: 200, Sent: 4096, Duration: time.Millisecond}
	b := metastore.Batch{Changes: 1, Flushed: true, Duration: time.Millisecond}
	for name, f := range map[string]func(){
		"a request":    func() { _, ended := m.Request(r); ended(o) },
		"a batch":      func() { m.Batch(b) },
		"an operation": func() { _, ended := store(ctx, observe.Open); ended(observe.Outcome{Bytes: 1}) },
	} {
		if n := testing.AllocsPerRun(1000, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

func BenchmarkRequest(b *testing.B) {
	m, r := newMetrics(), httptest.NewRequest("GET", "/", nil)
	o := web.Observation{Method: "GET", Route: "blob", Status: 200, Sent: 4096, Duration: time.Millisecond}
	b.ReportAllocs()
	for b.Loop() {
		_, ended := m.Request(r)
		ended(o)
	}
}

func BenchmarkScrape(b *testing.B) {
	m := newMetrics()
	m.Watch(b.Context(), healthy())
	m.Store("files")
	m.Batch(metastore.Batch{Changes: 1})
	for _, route := range []string{"base", "catalog", "tags", "manifest", "blob", "uploads", "upload", "referrers", "none"} {
		for _, verb := range []string{"GET", "HEAD", "PUT", "POST"} {
			_, ended := m.Request(httptest.NewRequest("GET", "/", nil))
			ended(web.Observation{Method: verb, Route: route, Status: 200})
		}
	}
	h, r := m.Handler(quiet), httptest.NewRequest("GET", "/metrics", nil)
	for b.Loop() {
		h.ServeHTTP(discard{http.Header{}}, r)
	}
}

// discard is a ResponseWriter that keeps nothing.
type discard struct{ header http.Header }

func (d discard) Header() http.Header         { return d.header }
func (d discard) WriteHeader(int)             {}
func (d discard) Write(p []byte) (int, error) { return io.Discard.Write(p) }

func BenchmarkRequestsAtOnce(b *testing.B) {
	m, r := newMetrics(), httptest.NewRequest("GET", "/", nil)
	o := web.Observation{Method: "GET", Route: "blob", Status: 200, Sent: 4096, Duration: time.Millisecond}
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_, ended := m.Request(r)
			ended(o)
		}
	})
}
