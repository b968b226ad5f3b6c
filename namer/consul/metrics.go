package consul

import (
	"cmp"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// metrics are shared by all consul namers of one registry. A name can come from a TLS server name, which is anybody's
// to choose, so that only services that the catalog has get labels of their own.
type metrics struct {
	errors                                     *prometheus.CounterVec
	answered, changed, stale, endpoints, index *prometheus.Desc

	mu   sync.Mutex
	live map[*followed]struct{}
}

// followed is what is told of one watch. Its methods may be called from any goroutine.
type followed struct {
	metrics *metrics
	labels  []string // datacenter, tag, service

	mu      sync.Mutex
	known   bool
	answers time.Time // the last good one
	changes time.Time
	failing bool
	used    int // endpoints
	index   uint64
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"datacenter", "tag", "service"}
	desc := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("argosy_consul_"+name, help, labels, nil)
	}
	m := &metrics{
		live: make(map[*followed]struct{}),
		errors: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_consul_errors_total",
			Help: "Requests about a watched service that failed; those about services never seen have empty labels.",
		}, labels)),
		answered: desc("answered_timestamp_seconds",
			"When Consul last gave a good answer about a service that is watched. Its age grows by some minutes where nothing changes."),
		changed:   desc("changed_timestamp_seconds", "When the instances of a watched service that can be used last changed."),
		stale:     desc("staleness_seconds", "For how long Consul has not given a good answer about a watched service; 0 unless it is in trouble."),
		endpoints: desc("endpoints", "Endpoints in use of a watched service, those that are kept among them."),
		index:     desc("index", "Consul's index of the last good answer about a watched service."),
	}
	return promx.Registered(reg, m)
}

// Describe implements prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.answered, m.changed, m.stale, m.endpoints, m.index} {
		to <- d
	}
}

// seen is what is shown for one service: several watches, of several namers, may be about one.
type seen struct {
	labels            []string
	answered, changed time.Time
	stale             time.Duration
	endpoints         int
	index             uint64
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, s := range m.services() {
		gauge := func(d *prometheus.Desc, v float64) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, s.labels...)
		}
		gauge(m.answered, float64(s.answered.UnixMilli())/1000)
		gauge(m.changed, float64(s.changed.UnixMilli())/1000)
		gauge(m.stale, s.stale.Seconds())
		gauge(m.endpoints, float64(s.endpoints))
		gauge(m.index, float64(s.index))
	}
}

func (m *metrics) services() map[string]*seen {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make(map[string]*seen)
	for f := range m.live {
		f.mu.Lock()
		if f.known {
			id := strings.Join(f.labels, "\x00")
			s := all[id]
			if s == nil {
				s = &seen{labels: f.labels, answered: f.answers}
				all[id] = s
			}
			if f.failing {
				s.stale = max(s.stale, time.Since(f.answers))
			}
			if f.answers.Before(s.answered) {
				s.answered = f.answers
			}
			if f.changes.After(s.changed) {
				s.changed = f.changes
			}
			s.endpoints, s.index = max(s.endpoints, f.used), max(s.index, f.index)
		}
		f.mu.Unlock()
	}
	return all
}

func (m *metrics) follow(r request) *followed {
	f := &followed{metrics: m, labels: []string{
		cmp.Or(r.datacenter, local), strings.ReplaceAll(r.tags, tagSeparator, ","), r.service,
	}}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.live[f] = struct{}{}
	return f
}

// answered notes a good answer.
func (f *followed) answered(a answer) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known = f.known || len(a.entries) > 0
	f.answers, f.failing, f.index = time.Now(), false, a.index
}

// recalled notes that what is known comes from that time.
func (f *followed) recalled(at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.known, f.failing, f.answers = true, true, at
}

// uses notes how many endpoints are in use now.
func (f *followed) uses(endpoints int, changed bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.used = endpoints
	if changed {
		f.changes = time.Now()
	}
}

func (f *followed) failed() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failing = true
	if f.known {
		f.metrics.errors.WithLabelValues(f.labels...).Inc()
	} else {
		f.metrics.errors.WithLabelValues("", "", "").Inc()
	}
}

// stop takes the service out of the metrics when it is no longer watched.
func (f *followed) stop() {
	f.metrics.mu.Lock()
	defer f.metrics.mu.Unlock()
	delete(f.metrics.live, f)
	f.metrics.errors.DeleteLabelValues(f.labels...)
}
