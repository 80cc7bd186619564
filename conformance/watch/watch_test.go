// Package watch_test looks at the server as operators do: it scrapes metrics and
// receives traces, and compares them with what clients did.
package watch_test

import (
	"fmt"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"artifactstore/conformance/harness"
)

func TestMain(m *testing.M) { os.Exit(harness.Main(m)) }

// scrape is what a scrape was answered, and what it means.
type scrape struct {
	text     string
	families map[string]*dto.MetricFamily
}

// scrapeOf scrapes a server.
func scrapeOf(t *testing.T, s *harness.Server) scrape {
	t.Helper()
	admin := harness.NewClient(s.AdminURL())
	defer admin.Close()
	reply, err := admin.Get(t.Context(), "/metrics")
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusOK))
	if kind := reply.Header.Get("Content-Type"); !strings.HasPrefix(kind, "text/plain; version=0.0.4") {
		t.Errorf("the type of the metrics is %s", kind)
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(string(reply.Body)))
	harness.Must(t, err)
	return scrape{string(reply.Body), families}
}

// value returns the value of a series, such as
// `name{route="blob",code="200"}`, added up over the labels that are not
// named. Of a histogram, name_count and name_sum are series.
func (s scrape) value(series string) float64 {
	name, rest, _ := strings.Cut(strings.TrimSuffix(series, "}"), "{")
	base := name
	for _, suffix := range []string{"_count", "_sum"} {
		if cut, ok := strings.CutSuffix(name, suffix); ok && s.families[cut].GetType() == dto.MetricType_HISTOGRAM {
			base = cut
		}
	}
	total := 0.0
	for _, m := range s.families[base].GetMetric() {
		if !matches(m, rest) {
			continue
		}
		switch {
		case m.GetHistogram() != nil && strings.HasSuffix(name, "_count"):
			total += float64(m.GetHistogram().GetSampleCount())
		case m.GetHistogram() != nil:
			total += m.GetHistogram().GetSampleSum()
		default:
			total += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return total
}

// matches tells whether a metric has the labels, written as a="b",c="d".
func matches(m *dto.Metric, labels string) bool {
	var have []string
	for _, l := range m.GetLabel() {
		have = append(have, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
	}
	for want := range strings.SplitSeq(labels, ",") {
		if want != "" && !slices.Contains(have, want) {
			return false
		}
	}
	return true
}

// await scrapes until every series has its value. A large answer can be with
// the client before the server has counted it.
func await(t *testing.T, s *harness.Server, want map[string]float64) scrape {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		got := scrapeOf(t, s)
		var wrong []string
		for _, series := range slices.Sorted(maps.Keys(want)) {
			if value := got.value(series); value != want[series] {
				wrong = append(wrong, fmt.Sprintf("%s is %v, want %v", series, value, want[series]))
			}
		}
		if wrong == nil {
			return got
		}
		select {
		case <-deadline:
			t.Fatalf("%s", strings.Join(wrong, "\n"))
		case <-time.After(10 * time.Millisecond):
		}
	}
}

const layerSize = 200_000 // too much for the database: a file of the store

// traffic pushes an image and pulls it, asks for what is not there, and leaves
// an upload open. It returns the image.
func traffic(t *testing.T, client *harness.Client) *harness.Image {
	t.Helper()
	ctx := t.Context()
	image := harness.NewImage(1, 2, layerSize)
	harness.Must(t, image.Push(ctx, client, "watch/image", "v1"))
	get := func(status int, paths ...string) {
		for _, path := range paths {
			reply, err := client.Get(ctx, path)
			harness.Must(t, err)
			harness.Must(t, reply.Expect(status))
		}
	}
	get(200, "/v2/watch/image/manifests/v1", "/v2/watch/image/manifests/"+image.Digest)
	for _, layer := range image.Layers {
		get(200, "/v2/watch/image/blobs/"+harness.SHA256(layer))
	}
	get(200, "/v2/watch/image/tags/list", "/v2/_catalog", "/v2/")
	get(404, "/v2/watch/image/blobs/"+harness.SHA256([]byte("nothing")), "/v2/watch/image/manifests/none", "/favicon.ico")
	location, err := client.StartUpload(ctx, "watch/image")
	harness.Must(t, err)
	_, err = client.SendChunk(ctx, location, 0, []byte("0123456789"))
	harness.Must(t, err)
	return image
}

func TestMetricsCountExactlyWhatWasDone(t *testing.T) {
	s := harness.Start(t)
	image := traffic(t, s.Client())
	events, err := s.Events(0)
	harness.Must(t, err)
	blobs, manifest := float64(len(image.Config)+2*layerSize), float64(len(image.Manifest))
	got := await(t, s, map[string]float64{
		`artifactstore_http_requests_total{route="uploads",method="POST",code="201"}`: 3,
		`artifactstore_http_requests_total{route="uploads",method="POST",code="202"}`: 1,
		`artifactstore_http_requests_total{route="upload",method="PATCH",code="202"}`: 1,
		`artifactstore_http_requests_total{route="manifest",method="PUT",code="201"}`: 1,
		`artifactstore_http_requests_total{route="manifest",method="GET",code="200"}`: 2,
		`artifactstore_http_requests_total{route="manifest",method="GET",code="404"}`: 1,
		`artifactstore_http_requests_total{route="blob",method="GET",code="200"}`:     2,
		`artifactstore_http_requests_total{route="blob",method="GET",code="404"}`:     1,
		`artifactstore_http_requests_total{route="blob"}`:                             3,
		`artifactstore_http_requests_total{route="tags"}`:                             1,
		`artifactstore_http_requests_total{route="catalog"}`:                          1,
		`artifactstore_http_requests_total{route="base"}`:                             1,
		`artifactstore_http_requests_total{route="none",code="404"}`:                  1,
		`artifactstore_http_request_duration_seconds_count{route="blob"}`:             3,
		`artifactstore_http_received_bytes_total{route="uploads"}`:                    blobs,
		`artifactstore_http_received_bytes_total{route="manifest"}`:                   manifest,
		`artifactstore_http_received_bytes_total{route="upload"}`:                     10,
		`artifactstore_http_requests_in_flight`:                                       1, // the scrape

		`artifactstore_storage_operations_total{store="files",operation="publish"}`: 2,
		`artifactstore_storage_operations_total{store="files",operation="open"}`:    2,
		`artifactstore_storage_operations_total{store="files",operation="delete"}`:  0,
		`artifactstore_storage_written_bytes_total{store="files"}`:                  2 * layerSize,
		`artifactstore_storage_opened_bytes_total{store="files"}`:                   2 * layerSize,
		`artifactstore_storage_errors_total`:                                        0,

		`artifactstore_ledger_commits_total{flushed="true"}`: 6, // three blobs, a manifest, and before it exists each of two files
		`artifactstore_ledger_commit_failures_total`:         0,
		`artifactstore_ledger_queue`:                         0,
		`artifactstore_log_head_sequence`:                    float64(len(events)),
		`artifactstore_uploads_open`:                         1,
		`artifactstore_quarantined_contents`:                 0,
		`artifactstore_quarantined_bytes`:                    0,
		`artifactstore_ready`:                                1,
		`artifactstore_build_info`:                           1,
		`artifactstore_probe_failures_total`:                 0,
	})
	commits := got.value("artifactstore_ledger_commits_total")
	for _, series := range []string{
		"artifactstore_ledger_batch_changes_sum", "artifactstore_ledger_batch_changes_count",
		"artifactstore_ledger_commit_duration_seconds_count",
	} {
		if value := got.value(series); value != commits { // a client that waits makes batches of one
			t.Errorf("%s is %v, there were %v commits", series, value, commits)
		}
	}
	if sent := got.value(`artifactstore_http_sent_bytes_total{route="blob"}`); sent < 2*layerSize || sent > 2*layerSize+500 {
		t.Errorf("%v bytes of blobs were sent, want %d and a refusal", sent, 2*layerSize)
	}
	if free, total := got.value("artifactstore_storage_free_bytes"), got.value("artifactstore_storage_total_bytes"); free <= 0 || total < free {
		t.Errorf("%v of %v bytes are free", free, total)
	}
}

func TestMetricsAreWellFormed(t *testing.T) {
	s := harness.Start(t)
	traffic(t, s.Client())
	problems, err := promlint.New(strings.NewReader(scrapeOf(t, s).text)).Lint()
	harness.Must(t, err)
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestClientsCannotMakeSeries(t *testing.T) {
	s := harness.Start(t)
	client, admin := s.Client(), harness.NewClient(s.AdminURL())
	defer admin.Close()
	junk := func(i int) {
		for _, r := range []struct {
			to           *harness.Client
			method, path string
		}{
			{client, "GET", fmt.Sprintf("/junk/%d", i)},
			{client, "GET", fmt.Sprintf("/v2/junk%d/manifests/tag%d", i, i)},
			{client, "GET", fmt.Sprintf("/v2/junk%d/unknown/thing", i)},
			{client, fmt.Sprintf("METHOD%d", i), fmt.Sprintf("/v2/junk%d/tags/list", i)},
			{admin, fmt.Sprintf("METHOD%d", i), fmt.Sprintf("/admin/v1/junk/%d", i)},
			{admin, "GET", fmt.Sprintf("/admin/v1/repositories/junk%d", i)},
		} {
			reply, err := r.to.Do(t.Context(), harness.Request{Method: r.method, Path: r.path})
			harness.Must(t, err)
			harness.Must(t, reply.Expect(http.StatusNotFound, http.StatusMethodNotAllowed))
		}
	}
	lines := func() int { return strings.Count(scrapeOf(t, s).text, "\nartifactstore_") }
	junk(0)
	lines() // the first scrape is not in its own answer
	before := lines()
	for i := range 1000 {
		junk(i)
	}
	if after := lines(); after != before {
		t.Errorf("6000 requests for junk made %d series of %d", after, before)
	}
	if n := scrapeOf(t, s).value(`artifactstore_http_requests_total{method="other"}`); n != 2*1001 {
		t.Errorf("%v requests with other methods, want %d", n, 2*1001)
	}
}

func TestMetricsAreForOperators(t *testing.T) {
	s := harness.Start(t)
	admin := harness.NewClient(s.AdminURL())
	defer admin.Close()
	tests := []struct {
		name   string
		to     *harness.Client
		method string
		header map[string]string
		status int
	}{
		{"the clients' door has none", s.Client(), "GET", nil, 404},
		{"a web page is refused", admin, "GET", map[string]string{"Origin": "http://evil.example"}, 403},
		{"only reading", admin, "POST", nil, 405},
		{"the header alone", admin, "HEAD", nil, 200},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			reply, err := test.to.Do(t.Context(), harness.Request{Method: test.method, Path: "/metrics", Header: test.header})
			harness.Must(t, err)
			harness.Must(t, reply.Expect(test.status))
		})
	}
}
