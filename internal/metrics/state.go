package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"artifactstore/internal/dataplane"
)

// probeTimeout is how long a scrape waits for the state. A disk may hang, and
// then even asking for its free space does.
const probeTimeout = 2 * time.Second

// State is what is asked when somebody scrapes. The functions may be called
// concurrently; one whose answer is late is not called again before it came.
type State struct {
	// Ready returns why pushes would be refused now, or nil.
	Ready func(context.Context) error
	// Queue is the number of changes that wait for the committer.
	Queue func() int
	// Head is the sequence of the last event.
	Head func() uint64
	// Uploads counts the open upload sessions.
	Uploads func(context.Context) (int64, error)
	// Quarantined counts what was found damaged and is not served, and its bytes.
	Quarantined func(context.Context) (number, bytes int64, err error)
	// Stores asks every store how it is.
	Stores func(context.Context) []dataplane.Health
}

// descriptions of what is made anew at each scrape.
var (
	readyDesc = prometheus.NewDesc("artifactstore_ready",
		"1 while pushes are taken, 0 while they are refused: what /readyz says.", nil, nil)
	queueDesc = prometheus.NewDesc("artifactstore_ledger_queue",
		"Changes that wait for the committer.", nil, nil)
	headDesc = prometheus.NewDesc("artifactstore_log_head_sequence",
		"Sequence of the last event of the log.", nil, nil)
	uploadsDesc = prometheus.NewDesc("artifactstore_uploads_open",
		"Upload sessions that are neither finished nor cancelled nor expired and removed.", nil, nil)
	quarantinedDesc = prometheus.NewDesc("artifactstore_quarantined_contents",
		"Contents that were found damaged, and are not served until they are pushed again or put back.", nil, nil)
	quarantinedBytesDesc = prometheus.NewDesc("artifactstore_quarantined_bytes",
		"Size of the contents that were found damaged.", nil, nil)
	freeDesc = prometheus.NewDesc("artifactstore_storage_free_bytes",
		"Room for more bytes in a store.", []string{"store"}, nil)
	totalDesc = prometheus.NewDesc("artifactstore_storage_total_bytes",
		"Size of what a store is on, in bytes.", []string{"store"}, nil)
	freeFilesDesc = prometheus.NewDesc("artifactstore_storage_free_files",
		"Room for more files (inodes) in a store.", []string{"store"}, nil)
	totalFilesDesc = prometheus.NewDesc("artifactstore_storage_total_files",
		"Number of files (inodes) that what a store is on can have.", []string{"store"}, nil)
)

// Watch adds the state to what is scraped; it is called once. When ctx is done
// nothing is asked any more.
func (m *Metrics) Watch(ctx context.Context, s State) {
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "artifactstore_probe_failures_total",
		Help: "Scrapes that lack a part of the state, because asking for it failed or took longer than 2 s.",
	}, []string{"probe"})
	c := &state{ctx: ctx, failures: failures, ask: s}
	for name, ask := range map[string]asking{"ready": c.ready, "uploads": c.uploads, "quarantine": c.quarantine, "stores": c.stores} {
		failures.WithLabelValues(name)
		c.probes = append(c.probes, &probe{name: name, ask: ask, idle: make(chan struct{}, 1)})
	}
	m.registry.MustRegister(failures, c)
}

// state is a prometheus.Collector of the state.
type state struct {
	ctx      context.Context // Collect is not given one
	ask      State
	failures *prometheus.CounterVec
	probes   []*probe
}

// asking asks for a part of the state. What it could not learn it leaves out,
// and says so.
type asking func(context.Context) ([]prometheus.Metric, error)

// probe is a part of the state that may take time to be known.
type probe struct {
	name string
	ask  asking
	idle chan struct{} // filled while the probe runs
}

// Describe implements prometheus.Collector.
func (c *state) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		readyDesc, queueDesc, headDesc, uploadsDesc, quarantinedDesc, quarantinedBytesDesc, freeDesc, totalDesc, freeFilesDesc, totalFilesDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. It asks for everything at once and
// returns in bounded time, with what there is.
func (c *state) Collect(ch chan<- prometheus.Metric) {
	ch <- gauge(queueDesc, float64(c.ask.Queue()))
	ch <- gauge(headDesc, float64(c.ask.Head()))
	ctx, cancel := context.WithTimeout(c.ctx, probeTimeout)
	defer cancel()
	answers := make([]<-chan answer, len(c.probes))
	for i, p := range c.probes {
		answers[i] = p.start(ctx)
	}
	for i, p := range c.probes {
		a := await(ctx, answers[i])
		for _, m := range a.metrics {
			ch <- m
		}
		if a.err != nil {
			c.failures.WithLabelValues(p.name).Inc()
		}
	}
}

// await returns an answer that has come, or comes before ctx is done.
func await(ctx context.Context, got <-chan answer) answer {
	select {
	case a := <-got:
		return a
	case <-ctx.Done():
	}
	select { // it may have come while another one was waited for
	case a := <-got:
		return a
	default:
		return answer{err: ctx.Err()}
	}
}

type answer struct {
	metrics []prometheus.Metric
	err     error
}

// start runs the probe on a goroutine that ends when it has its answer, unless
// an earlier one still waits for it.
func (p *probe) start(ctx context.Context) <-chan answer {
	got := make(chan answer, 1)
	select {
	case p.idle <- struct{}{}:
	default:
		got <- answer{err: errors.New("an earlier answer is still awaited")}
		return got
	}
	go func() {
		defer func() { <-p.idle }()
		metrics, err := p.ask(ctx)
		got <- answer{metrics, err}
	}()
	return got
}

func (c *state) ready(ctx context.Context) ([]prometheus.Metric, error) {
	err := c.ask.Ready(ctx)
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	value := 1.0
	if err != nil {
		value = 0
	}
	return []prometheus.Metric{gauge(readyDesc, value)}, nil
}

func (c *state) uploads(ctx context.Context) ([]prometheus.Metric, error) {
	n, err := c.ask.Uploads(ctx)
	if err != nil {
		return nil, err
	}
	return []prometheus.Metric{gauge(uploadsDesc, float64(n))}, nil
}

func (c *state) quarantine(ctx context.Context) ([]prometheus.Metric, error) {
	number, bytes, err := c.ask.Quarantined(ctx)
	if err != nil {
		return nil, err
	}
	return []prometheus.Metric{gauge(quarantinedDesc, float64(number)), gauge(quarantinedBytesDesc, float64(bytes))}, nil
}

// stores reports the room in each store, as far as the store knows it.
func (c *state) stores(ctx context.Context) ([]prometheus.Metric, error) {
	var all []prometheus.Metric
	var errs []error
	for _, h := range c.ask.Stores(ctx) {
		errs = append(errs, h.Err)
		for desc, n := range map[*prometheus.Desc]int64{
			freeDesc: h.Free, totalDesc: h.Total, freeFilesDesc: h.FreeFiles, totalFilesDesc: h.TotalFiles,
		} {
			if h.Err == nil && n >= 0 {
				all = append(all, gauge(desc, float64(n), h.Store))
			}
		}
	}
	return all, errors.Join(errs...)
}

func gauge(desc *prometheus.Desc, value float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
}
