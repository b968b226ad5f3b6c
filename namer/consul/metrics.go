package consul

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all consul namers of one registry. A name can come from a TLS server name, which is anybody's
// to choose, so that only services that the catalog has get labels of their own.
type metrics struct {
	answered *prometheus.GaugeVec
	errors   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"datacenter", "tag", "service"}
	m := &metrics{
		answered: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_consul_answered_timestamp_seconds",
			Help: "When Consul last gave a good answer about a service that is watched. Its age grows by up to a minute where nothing changes.",
		}, labels),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_consul_errors_total",
			Help: "Requests about a watched service that failed; those about services never seen have empty labels.",
		}, labels),
	}
	if reg != nil {
		m.answered = registered(reg, m.answered)
		m.errors = registered(reg, m.errors)
	}
	return m
}

// registered returns the collector of that name that the registry has, which may be an earlier namer's.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}

// followed counts for one watch. It is used by one goroutine.
type followed struct {
	metrics *metrics
	labels  []string
	known   bool
}

func (m *metrics) follow(datacenter, tag, service string) *followed {
	return &followed{metrics: m, labels: []string{datacenter, tag, service}}
}

// answered notes a good answer, and whether the catalog has the service.
func (f *followed) answered(exists bool) {
	f.known = f.known || exists
	if f.known {
		f.metrics.answered.WithLabelValues(f.labels...).Set(float64(time.Now().UnixMilli()) / 1000)
	}
}

func (f *followed) failed() {
	if f.known {
		f.metrics.errors.WithLabelValues(f.labels...).Inc()
	} else {
		f.metrics.errors.WithLabelValues("", "", "").Inc()
	}
}

// stop takes the service out of the metrics when it is no longer watched.
func (f *followed) stop() {
	f.metrics.answered.DeleteLabelValues(f.labels...)
	f.metrics.errors.DeleteLabelValues(f.labels...)
}
