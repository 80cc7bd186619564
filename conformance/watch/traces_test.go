package watch_test

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"artifactstore/conformance/harness"
)

// find returns the first span with a name below a parent.
func find(spans []harness.Span, name, parent string) (harness.Span, bool) {
	for _, s := range spans {
		if s.Name == name && (parent == "" || s.Parent == parent) {
			return s, true
		}
	}
	return harness.Span{}, false
}

func TestTracesShowWhatARequestDid(t *testing.T) {
	c := harness.StartCollector(t)
	s := harness.Start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL(), "OTEL_BSP_SCHEDULE_DELAY=50", "OTEL_SERVICE_NAME=registry-test")
	data := harness.Random(1, layerSize)
	const trace, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
	reply, err := s.Client().Do(t.Context(), harness.Request{
		Method: http.MethodPost, Path: harness.AddQuery("/v2/watch/blobs/uploads/", "digest", harness.SHA256(data)), Body: data,
		Header: map[string]string{"Traceparent": "00-" + trace + "-" + parent + "-01", "X-Request-ID": "push-1"},
	})
	harness.Must(t, err)
	harness.Must(t, reply.Expect(http.StatusCreated))
	pulled, err := s.Client().Get(t.Context(), "/v2/watch/blobs/"+harness.SHA256(data))
	harness.Must(t, err)
	harness.Must(t, pulled.Expect(http.StatusOK))

	spans := c.Spans(t, func(spans []harness.Span) bool {
		_, pushed := find(spans, "POST uploads", "")
		_, got := find(spans, "GET blob", "")
		return pushed && got
	})
	push, _ := find(spans, "POST uploads", "")
	if push.Trace != trace || push.Parent != parent || !push.Server || push.Failed || push.Resource["service.name"] != "registry-test" {
		t.Errorf("the push is %+v", push)
	}
	for name, want := range map[string]string{
		"http.request.method": "POST", "http.route": "uploads", "http.response.status_code": "201",
		"url.path": "/v2/watch/blobs/uploads/", "http.request.body.size": fmt.Sprint(layerSize), "artifactstore.request": "push-1",
	} {
		if push.Attributes[name] != want {
			t.Errorf("%s of the push is %q, want %q", name, push.Attributes[name], want)
		}
	}
	for _, name := range []string{"ledger update", "storage stage", "storage publish"} {
		if child, ok := find(spans, name, push.ID); !ok || child.Trace != trace {
			t.Errorf("the push has no child %s in its trace", name)
		}
	}
	if update, ok := find(spans, "ledger update", push.ID); ok && update.Attributes["artifactstore.batch.changes"] != "1" {
		t.Errorf("the update is %+v", update)
	}
	pull, _ := find(spans, "GET blob", "")
	for _, name := range []string{"ledger read", "storage open"} {
		if _, ok := find(spans, name, pull.ID); !ok {
			t.Errorf("the pull has no child %s", name)
		}
	}
	if pull.Trace == trace || pull.Parent != "" {
		t.Errorf("the pull is part of the trace of the push: %+v", pull)
	}
	if !strings.Contains(s.Output(), "trace="+trace) {
		t.Error("the log does not name the trace")
	}
	for _, span := range spans {
		if strings.HasPrefix(span.Attributes["url.path"], "/readyz") {
			t.Error("health checks are traced")
		}
	}
}

// An upload session's token gives its bearer a right, so it is in no span.
func TestTracesHaveNoTokens(t *testing.T) {
	c := harness.StartCollector(t)
	s := harness.Start(t, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.URL(), "OTEL_BSP_SCHEDULE_DELAY=50")
	location, err := s.Client().StartUpload(t.Context(), "watch")
	harness.Must(t, err)
	_, err = s.Client().SendChunk(t.Context(), location, 0, harness.Random(1, layerSize))
	harness.Must(t, err)
	_, token, _ := strings.Cut(location, "/uploads/")
	spans := c.Spans(t, func(spans []harness.Span) bool { _, ok := find(spans, "PATCH upload", ""); return ok })
	for _, span := range spans {
		for name, value := range span.Attributes {
			if strings.Contains(value, token) || strings.Contains(value, "?") && name == "url.path" {
				t.Errorf("%s of %s is %s", name, span.Name, value)
			}
		}
	}
}

func TestTracesAreOffUnlessAskedFor(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	harness.Must(t, err)
	var connections atomic.Int32
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = conn.Close()
		}
	}()
	endpoint := "OTEL_EXPORTER_OTLP_ENDPOINT=http://" + l.Addr().String()
	for _, env := range [][]string{nil, {endpoint, "OTEL_SDK_DISABLED=true"}, {endpoint, "OTEL_TRACES_EXPORTER=none"}} {
		s, err := harness.Open(harness.Config{Data: t.TempDir() + "/data", Env: env})
		harness.Must(t, err)
		harness.Must(t, harness.NewImage(1, 1, 10).Push(t.Context(), s.Client(), "watch", "v1"))
		harness.Must(t, s.Stop())
		if out := s.Output(); strings.Contains(out, "trace") {
			t.Errorf("with %q the log speaks of traces:\n%s", env, out)
		}
	}
	_ = l.Close()
	<-done
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections were made to a collector that is not wanted", n)
	}
}

func TestVariablesThatAreNotSupportedStopTheStart(t *testing.T) {
	_, err := harness.Open(harness.Config{Data: t.TempDir() + "/data", Env: []string{
		"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_PROTOCOL=grpc",
	}})
	if err == nil || !strings.Contains(err.Error(), "OTEL_EXPORTER_OTLP_PROTOCOL: it can be http/protobuf") {
		t.Errorf("started with %v", err)
	}
}

func TestACollectorThatIsAwayDelaysNothing(t *testing.T) {
	s := harness.Start(t, "OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:1", "OTEL_BSP_SCHEDULE_DELAY=1")
	begun := time.Now()
	for i := range 20 {
		harness.Must(t, harness.NewImage(uint64(i), 1, 10).Push(t.Context(), s.Client(), "watch", "v1"))
	}
	pushed := time.Since(begun)
	begun = time.Now()
	harness.Must(t, s.Stop())
	if stopped := time.Since(begun); pushed > 20*time.Second || stopped > 8*time.Second {
		t.Errorf("20 pushes took %v and the stop %v", pushed, stopped)
	}
}
