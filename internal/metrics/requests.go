package metrics

import (
	"context"
	"net/http"
	"strconv"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"artifactstore/internal/web"
)

// requestSeconds are the buckets of the durations of requests: an answer from
// memory takes less than a millisecond, a large layer minutes.
var requestSeconds = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

// requests are the metrics of HTTP.
type requests struct {
	inFlight              prometheus.Gauge
	total, received, sent *prometheus.CounterVec
	seconds               *prometheus.HistogramVec

	// ended is made once, so that observing a request allocates nothing.
	ended func(web.Observation)

	mu     sync.RWMutex
	series map[series]*counts
}

// series are the labels of a request. There are few: routes are the doors' own
// words, and a method that HTTP does not know is "other".
type series struct {
	route, method string
	status        int
}

// counts are the metrics of one series.
type counts struct {
	total, received, sent prometheus.Counter
	seconds               prometheus.Observer
}

func newRequests() *requests {
	byKind := []string{"route", "method"}
	m := &requests{
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "artifactstore_http_requests_in_flight",
			Help: "Requests that are being served now.",
		}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_http_requests_total",
			Help: "Requests that have ended. Code 499 is a client that went away before it was answered.",
		}, []string{"route", "method", "code"}),
		received: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_http_received_bytes_total",
			Help: "Bytes of request bodies that were read.",
		}, byKind),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_http_sent_bytes_total",
			Help: "Bytes of response bodies that were written.",
		}, byKind),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "artifactstore_http_request_duration_seconds",
			Help:    "Time from a request's header to the end of its handler, which has written the answer by then.",
			Buckets: requestSeconds,
		}, byKind),
		series: map[series]*counts{},
	}
	m.ended = m.observe
	return m
}

func (m *requests) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.inFlight, m.total, m.received, m.sent, m.seconds}
}

// Request is a web.Observer.
func (m *Metrics) Request(r *http.Request) (context.Context, func(web.Observation)) {
	m.requests.inFlight.Inc()
	return r.Context(), m.requests.ended
}

func (m *requests) observe(o web.Observation) {
	m.inFlight.Dec()
	c := m.of(series{route: o.Route, method: method(o.Method), status: o.Status})
	c.total.Inc()
	c.received.Add(float64(o.Received))
	c.sent.Add(float64(o.Sent))
	c.seconds.Observe(o.Duration.Seconds())
}

// of returns the metrics of a series.
func (m *requests) of(s series) *counts {
	m.mu.RLock()
	c := m.series[s]
	m.mu.RUnlock()
	if c != nil {
		return c
	}
	c = &counts{
		total:    m.total.WithLabelValues(s.route, s.method, strconv.Itoa(s.status)),
		received: m.received.WithLabelValues(s.route, s.method),
		sent:     m.sent.WithLabelValues(s.route, s.method),
		seconds:  m.seconds.WithLabelValues(s.route, s.method),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.series[s] = c
	return c
}

// method is a method that is known, or "other": a client can send any word.
func method(m string) string {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete,
		http.MethodOptions, http.MethodConnect, http.MethodTrace:
		return m
	}
	return "other"
}
