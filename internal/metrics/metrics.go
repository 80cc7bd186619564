// Package metrics counts what the server does, for Prometheus: requests,
// commits, operations of the stores, and the state at the time of a scrape. It
// is the only room with the metrics library. docs/metrics.md lists what there
// is; no label has values that clients choose.
//
// Nothing here fails or delays what it measures: observers only count, and what
// must be asked for is asked when somebody scrapes, within a limit of time.
package metrics

import (
	"fmt"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// scrapes is how many scrapes are answered at the same time; more get 503.
const scrapes = 4

// Build names the program.
type Build struct{ Version, Commit, Go string }

// Metrics are the metrics of one server. They are safe for concurrent use.
type Metrics struct {
	registry *prometheus.Registry
	requests *requests
	ledger   *ledger
	storage  *storage
}

// New returns metrics that stand at zero.
func New(b Build) *Metrics {
	registry := prometheus.NewRegistry()
	m := &Metrics{registry: registry, requests: newRequests(), ledger: newLedger(), storage: newStorage()}
	info := prometheus.NewGauge(prometheus.GaugeOpts{
		Name:        "artifactstore_build_info",
		Help:        "Always 1; its labels say which build this is.",
		ConstLabels: prometheus.Labels{"version": b.Version, "commit": b.Commit, "goversion": b.Go},
	})
	info.Set(1)
	registry.MustRegister(info, collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	registry.MustRegister(m.requests.collectors()...)
	registry.MustRegister(m.ledger.collectors()...)
	registry.MustRegister(m.storage.collectors()...)
	return m
}

// Handler answers scrapes in the text format of Prometheus, or the one that the
// client asks for. What cannot be collected is left out and logged.
func (m *Metrics) Handler(log *slog.Logger) http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{
		ErrorLog:            errorLog{log},
		ErrorHandling:       promhttp.ContinueOnError,
		MaxRequestsInFlight: scrapes,
	})
}

// errorLog implements promhttp.Logger.
type errorLog struct{ log *slog.Logger }

func (l errorLog) Println(v ...any) {
	l.log.Warn("metrics could not be collected", "error", fmt.Sprint(v...))
}
