package remote

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all interpreters of one registry: an agent that reloads has two for a moment.
type metrics struct {
	streams  prometheus.Gauge
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		streams: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argosy_namerd_streams_open",
			Help: "Streams from the namerd that binds names.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "argosy_namerd_requests_total",
			Help: "Requests to the namerd that binds names, streams included, by part of its API and result: ok or failed.",
		}, []string{"kind", "result"}),
	}
	if reg != nil {
		m.streams = registered(reg, m.streams)
		m.requests = registered(reg, m.requests)
	}
	return m
}

func registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}

func result(err error) string {
	if err != nil {
		return "failed"
	}
	return "ok"
}
