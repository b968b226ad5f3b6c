package namer

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are shared by all interpreters of one registry.
type metrics struct {
	watches prometheus.Gauge
	refused prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		watches: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "argosy_namer_watches",
			Help: "Names that are watched at namers, those that have just gone out of use included.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "argosy_namer_watches_refused_total",
			Help: "Times that a name was not watched because as many were as may be.",
		}),
	}
	if reg != nil {
		m.watches = registered(reg, m.watches)
		m.refused = registered(reg, m.refused)
	}
	return m
}

// registered returns the collector of that name that the registry has, which may be an earlier interpreter's.
func registered[C prometheus.Collector](reg prometheus.Registerer, c C) C {
	var already prometheus.AlreadyRegisteredError
	if errors.As(reg.Register(c), &already) {
		if earlier, ok := already.ExistingCollector.(C); ok {
			return earlier
		}
	}
	return c
}
