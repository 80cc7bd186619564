package metrics

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"artifactstore/internal/metastore"
)

// ledger are the metrics of the committer.
type ledger struct {
	commits  *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	changes  prometheus.Histogram
	failures prometheus.Counter
}

func newLedger() *ledger {
	m := &ledger{
		commits: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_ledger_commits_total",
			Help: "Commits, each of a batch of changes. Those with flushed=\"true\" cost a flush of the disk.",
		}, []string{"flushed"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "artifactstore_ledger_commit_duration_seconds",
			Help:    "Time from the first decision of a batch to the end of its commit.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"flushed"}),
		changes: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "artifactstore_ledger_batch_changes",
			Help:    "Changes that were committed together.",
			Buckets: []float64{1, 2, 4, 8, 16, 32, 64, 128, 256},
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "artifactstore_ledger_commit_failures_total",
			Help: "Batches that could not be committed. The changes of a larger batch are then tried one by one.",
		}),
	}
	for _, flushed := range []string{"true", "false"} {
		m.commits.WithLabelValues(flushed)
		m.seconds.WithLabelValues(flushed)
	}
	return m
}

func (m *ledger) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.commits, m.seconds, m.changes, m.failures}
}

// Batch is an observer of the ledger's batches: metastore.Options.Observe.
func (m *Metrics) Batch(b metastore.Batch) {
	if b.Err != nil {
		m.ledger.failures.Inc()
		return
	}
	flushed := strconv.FormatBool(b.Flushed)
	m.ledger.commits.WithLabelValues(flushed).Inc()
	m.ledger.seconds.WithLabelValues(flushed).Observe(b.Duration.Seconds())
	m.ledger.changes.Observe(float64(b.Changes))
}
