package metrics

import (
	"context"
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"artifactstore/storagedriver"
	"artifactstore/storagedriver/observe"
)

// storage are the metrics of the storage drivers.
type storage struct {
	operations, failures *prometheus.CounterVec
	seconds              *prometheus.HistogramVec
	written, opened      *prometheus.CounterVec
}

func newStorage() *storage {
	byStore, byOperation := []string{"store"}, []string{"store", "operation"}
	return &storage{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_storage_operations_total",
			Help: "Operations of a storage driver that have ended, well or not.",
		}, byOperation),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_storage_errors_total",
			Help: "Operations of a storage driver that failed: full, broken (a flush failed), missing (nothing is there), other. Those that a client's going away ended are not counted.",
		}, []string{"store", "operation", "cause"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "artifactstore_storage_operation_duration_seconds",
			Help:    "Time that operations of a storage driver took.",
			Buckets: []float64{.0001, .0005, .001, .005, .01, .05, .1, .5, 1, 5, 30},
		}, byOperation),
		written: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_storage_written_bytes_total",
			Help: "Bytes that were written to a store.",
		}, byStore),
		opened: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "artifactstore_storage_opened_bytes_total",
			Help: "Bytes that were opened in a store to be read. What clients took of them is in the bytes sent.",
		}, byStore),
	}
}

func (m *storage) collectors() []prometheus.Collector {
	return []prometheus.Collector{m.operations, m.failures, m.seconds, m.written, m.opened}
}

// operation are the metrics of one operation of one store.
type operation struct {
	total          prometheus.Counter
	seconds        prometheus.Observer
	bytes          prometheus.Counter // nil if it moves none
	full, broken   prometheus.Counter
	missing, other prometheus.Counter
}

// Store returns an observer of the driver of the store with this name.
func (m *Metrics) Store(name string) observe.Observer {
	// All are made here, so that they are there before anything fails, and
	// observing costs no look-up.
	ends := make(map[observe.Op]func(observe.Outcome), len(observe.Ops))
	for _, op := range observe.Ops {
		ends[op] = m.storage.operation(name, op).observe
	}
	return func(ctx context.Context, op observe.Op) (context.Context, func(observe.Outcome)) {
		return ctx, ends[op]
	}
}

func (m *storage) operation(store string, op observe.Op) *operation {
	name := string(op)
	o := &operation{
		total:   m.operations.WithLabelValues(store, name),
		seconds: m.seconds.WithLabelValues(store, name),
		full:    m.failures.WithLabelValues(store, name, "full"),
		broken:  m.failures.WithLabelValues(store, name, "broken"),
		missing: m.failures.WithLabelValues(store, name, "missing"),
		other:   m.failures.WithLabelValues(store, name, "other"),
	}
	switch op {
	case observe.Write:
		o.bytes = m.written.WithLabelValues(store)
	case observe.Open:
		o.bytes = m.opened.WithLabelValues(store)
	}
	return o
}

func (o *operation) observe(out observe.Outcome) {
	o.total.Inc()
	o.seconds.Observe(out.Duration.Seconds())
	if o.bytes != nil {
		o.bytes.Add(float64(out.Bytes))
	}
	switch {
	case out.Err == nil, errors.Is(out.Err, context.Canceled):
	case errors.Is(out.Err, storagedriver.ErrFull):
		o.full.Inc()
	case errors.Is(out.Err, storagedriver.ErrBroken):
		o.broken.Inc()
	case errors.Is(out.Err, storagedriver.ErrNotExist):
		o.missing.Inc()
	default:
		o.other.Inc()
	}
}
