package nomad

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// metrics are shared by all Nomad namers of one registry. A name can come from anybody, so that only services that
// Nomad knows get labels of their own.
type metrics struct {
	answered *prometheus.GaugeVec
	errors   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	labels := []string{"namespace", "tag", "service"}
	return &metrics{
		answered: promx.Registered(reg, prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "argosy_nomad_answered_timestamp_seconds",
			Help: "When Nomad last gave a good answer about a service that is watched. Its age grows by up to half a minute where nothing changes.",
		}, labels)),
		errors: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_nomad_errors_total",
			Help: "Requests about a watched service that failed; those about services never seen have empty labels.",
		}, labels)),
	}
}

// followed counts for one watch. It is used by one goroutine.
type followed struct {
	metrics *metrics
	labels  []string
	known   bool // Nomad has had the service
}

func (m *metrics) follow(t target) *followed {
	return &followed{metrics: m, labels: []string{t.namespace, t.tag, t.service}}
}

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
