package remote

import (
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// metrics are shared by all interpreters of one registry: an agent that reloads has two for a moment.
type metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		streams: promx.Registered(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argosy_interpreter_streams",
			Help: "Open streams from the namerd that binds names.",
		})),
		requests: promx.Registered(reg, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_interpreter_requests_total",
			Help: "Requests to the namerd that binds names, streams included, by part of its API and result: ok or failed.",
		}, []string{"kind", "result"})),
	}
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
