package namer

import (
	"github.com/prometheus/client_golang/prometheus"

	"argosy/internal/promx"
)

// metrics are shared by all interpreters of one registry.
type metrics struct {
	watches prometheus.Gauge
	refused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	return &metrics{
		watches: promx.Registered(reg, prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argosy_namer_watches",
			Help: "Names that are watched at namers, those that have just gone out of use included.",
		})),
		refused: promx.Registered(reg, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argosy_namer_watches_refused_total",
			Help: "Times that a name was not watched because as many were as may be.",
		})),
	}
}
