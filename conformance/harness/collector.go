package harness

import (
	"compress/gzip"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"time"

	common "go.opentelemetry.io/proto/otlp/common/v1"
	trace "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collectTimeout bounds the wait for spans.
const collectTimeout = 20 * time.Second

// Collector receives OpenTelemetry traces on 127.0.0.1, as OTLP over HTTP.
type Collector struct {
	server *httptest.Server

	mu     sync.Mutex
	spans  []Span
	wrong  []error
	status int
	more   chan struct{} // closed when there are more spans
}

// Span is a span as the collector got it. Ids are in hex, Parent is "" for none.
type Span struct {
	Name, Trace, ID, Parent string
	Server                  bool
	Failed                  bool
	// Attributes and Resource have every value as text.
	Attributes, Resource map[string]string
}

// StartCollector starts a collector that ends with the test.
func StartCollector(t testing.TB) *Collector {
	c := &Collector{status: http.StatusOK, more: make(chan struct{})}
	c.server = httptest.NewServer(c)
	t.Cleanup(c.server.Close)
	return c
}

// URL is the collector's address, as "http://127.0.0.1:port".
func (c *Collector) URL() string { return c.server.URL }

// Answer makes the collector answer with a status; it keeps nothing that it
// refuses.
func (c *Collector) Answer(status int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.status = status
}

// ServeHTTP implements http.Handler.
func (c *Collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	spans, err := readSpans(r)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		c.wrong = append(c.wrong, err)
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	w.WriteHeader(c.status)
	if c.status == http.StatusOK {
		c.spans = append(c.spans, spans...)
	}
	close(c.more)
	c.more = make(chan struct{})
}

// Spans waits until there are enough spans and returns all that have come.
func (c *Collector) Spans(t testing.TB, enough func([]Span) bool) []Span {
	t.Helper()
	deadline := time.After(collectTimeout)
	for {
		c.mu.Lock()
		spans, wrong, more := c.spans[:len(c.spans):len(c.spans)], c.wrong, c.more
		c.mu.Unlock()
		for _, err := range wrong {
			t.Fatalf("the collector got what is no trace: %v", err)
		}
		if enough(spans) {
			return spans
		}
		select {
		case <-more:
		case <-deadline:
			t.Fatalf("after %v the collector had only %d spans: %+v", collectTimeout, len(spans), spans)
		}
	}
}

func readSpans(r *http.Request) ([]Span, error) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		var err error
		if body, err = gzip.NewReader(body); err != nil {
			return nil, err
		}
	}
	data, err := io.ReadAll(body)
	if err != nil {
		return nil, err
	}
	request := new(trace.TracesData) // the same on the wire as the request of OTLP
	if err := proto.Unmarshal(data, request); err != nil {
		return nil, err
	}
	var spans []Span
	for _, resource := range request.GetResourceSpans() {
		about := texts(resource.GetResource().GetAttributes())
		for _, scope := range resource.GetScopeSpans() {
			for _, s := range scope.GetSpans() {
				spans = append(spans, Span{
					Name: s.GetName(), Trace: hex.EncodeToString(s.GetTraceId()),
					ID: hex.EncodeToString(s.GetSpanId()), Parent: hex.EncodeToString(s.GetParentSpanId()),
					Server:     s.GetKind() == trace.Span_SPAN_KIND_SERVER,
					Failed:     s.GetStatus().GetCode() == trace.Status_STATUS_CODE_ERROR,
					Attributes: texts(s.GetAttributes()), Resource: about,
				})
			}
		}
	}
	return spans, nil
}

// texts turns attributes into text.
func texts(attributes []*common.KeyValue) map[string]string {
	all := make(map[string]string, len(attributes))
	for _, a := range attributes {
		switch v := a.GetValue().GetValue().(type) {
		case *common.AnyValue_StringValue:
			all[a.GetKey()] = v.StringValue
		case *common.AnyValue_IntValue:
			all[a.GetKey()] = strconv.FormatInt(v.IntValue, 10)
		case *common.AnyValue_BoolValue:
			all[a.GetKey()] = strconv.FormatBool(v.BoolValue)
		case *common.AnyValue_DoubleValue:
			all[a.GetKey()] = strconv.FormatFloat(v.DoubleValue, 'g', -1, 64)
		}
	}
	return all
}
